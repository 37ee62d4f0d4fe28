"""Splits and pauses that people set by hand; each function returns a sentence about the new state."""

from datetime import datetime

from sqlalchemy import Connection, select

from lanes.errors import ActionRefused, UnknownWorkload
from lanes.rollouts import refusals
from lanes.routing.split import Split
from lanes.store.rollouts.rollouts import open_of
from lanes.store.tables import workload
from lanes.store.workload import workloads


def inherit_split_by_hand(
    connection: Connection, name: str, consumer: str, *, who: str, why: str, now: datetime
) -> str:
    """Let the workload's split count for a consumer again.

    Raises:
        UnknownWorkload: there is no such workload.
        ActionRefused: the consumer has no split of its own, or an open rollout moves it.
    """
    _require_movable(connection, name, consumer)
    before = workloads.splits(connection)
    if not before.has_own(name, consumer):
        raise ActionRefused(
            f'consumer "{consumer}" of workload "{name}" has no split of its own; it inherits already'
        )
    workloads.inherit_split(connection, name, consumer, who=who, why=why, now=now)
    inherited, own = before.of(name, None).basis_points, before.of(name, consumer).basis_points
    shares = (
        f"inherits the workload's split, {inherited / 100:g} % to real-time, {own / 100:g} % before"
    )
    return f'{name} for consumer "{consumer}": {shares}'


def set_split_by_hand(
    connection: Connection, new: Split, *, who: str, why: str, now: datetime
) -> str:
    """Put a split in force.

    Raises:
        UnknownWorkload: there is no such workload.
        ActionRefused: an open rollout moves this very split.
    """
    _require_movable(connection, new.workload, new.consumer)
    before = workloads.splits(connection).of(new.workload, new.consumer).basis_points
    workloads.set_split(connection, new, who=who, why=why, now=now)
    whose = f' for consumer "{new.consumer}"' if new.consumer is not None else ""
    shares = f"{new.basis_points / 100:g} % of undecided items go to real-time, {before / 100:g} % before"
    return f"{new.workload}{whose}: {shares}"


def pause(connection: Connection, name: str, *, now: datetime) -> str:
    """Claim and submit no more work of the workload; answers that are under way are collected.

    Raises:
        UnknownWorkload: there is no such workload.
    """
    since = _require(connection, name)
    if since is not None:
        return f"{name} is paused already, since {since:%Y-%m-%d %H:%M} UTC"
    workloads.pause(connection, name, since=now)
    return f"{name} is paused: items are admitted and routed, and wait"


def resume(connection: Connection, name: str) -> str:
    """Claim and submit the workload's items again.

    Raises:
        UnknownWorkload: there is no such workload.
    """
    if _require(connection, name) is None:
        return f"{name} is not paused"
    workloads.pause(connection, name, since=None)
    return f"{name} is resumed: what waited is served"


def _require_movable(connection: Connection, name: str, consumer: str | None) -> None:
    _require(connection, name)
    refusal = refusals.of_split(name, consumer, open_of(connection, name))
    if refusal is not None:
        raise ActionRefused(refusal)


def _require(connection: Connection, name: str) -> datetime | None:
    """Return since when the workload has been paused; its row is locked until this transaction ends."""
    workloads.lock(connection, name)
    row = connection.execute(select(workload.c.paused_at).where(workload.c.name == name)).first()
    if row is None:
        raise UnknownWorkload(
            f'there is no workload "{name}"; correct the name, or publish a block of that name'
        )
    return row.paused_at

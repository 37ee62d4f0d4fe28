"""What people set by hand: a split, a pause. Each returns the sentence that says what is true now."""

from datetime import datetime

from sqlalchemy import Connection, select

from lanes.errors import ActionRefused, UnknownWorkload
from lanes.rollouts import refusals
from lanes.routing.split import Split
from lanes.store.rollouts.rollouts import open_of
from lanes.store.tables import workload
from lanes.store.workload import workloads


def set_split_by_hand(connection: Connection, new: Split, *, who: str, why: str, now: datetime) -> str:
    """The split is in force.

    Raises:
        UnknownWorkload: there is no such workload.
        ActionRefused: an open rollout moves this very split.
    """
    _require(connection, new.workload)
    refusal = refusals.of_split(new, open_of(connection, new.workload))
    if refusal is not None:
        raise ActionRefused(refusal)
    before = workloads.splits(connection).of(new.workload, new.consumer).basis_points
    workloads.set_split(connection, new, who=who, why=why, now=now)
    whose = f' for consumer "{new.consumer}"' if new.consumer is not None else ""
    shares = f"{new.basis_points / 100:g} % of undecided items go to real-time, {before / 100:g} % before"
    return f"{new.workload}{whose}: {shares}"


def pause(connection: Connection, name: str, *, now: datetime) -> str:
    """Nothing of the workload is claimed or submitted from now on; what is under way comes home.

    Raises:
        UnknownWorkload: there is no such workload.
    """
    since = _require(connection, name)
    if since is not None:
        return f"{name} is paused already, since {since:%Y-%m-%d %H:%M} UTC"
    workloads.pause(connection, name, since=now)
    return f"{name} is paused: items are admitted and routed, and wait"


def resume(connection: Connection, name: str) -> str:
    """The workload's items are claimed and submitted again.

    Raises:
        UnknownWorkload: there is no such workload.
    """
    if _require(connection, name) is None:
        return f"{name} is not paused"
    workloads.pause(connection, name, since=None)
    return f"{name} is resumed: what waited is served"


def _require(connection: Connection, name: str) -> datetime | None:
    """Since when the workload is paused; its row is locked until this transaction ends."""
    workloads.lock(connection, name)
    row = connection.execute(select(workload.c.paused_at).where(workload.c.name == name)).first()
    if row is None:
        raise UnknownWorkload(f'there is no workload "{name}"; correct the name, or publish a block of that name')
    return row.paused_at

"""The accounts that answer the workloads: each workload names a provider block, and the block an account."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, case, func, select, true, union, update

from lanes.batch.batch import OVER
from lanes.store.literals import is_none_of
from lanes.store.tables import batch, workload


@dataclass(frozen=True)
class LaneAccount:
    """An account that answers on the real-time lane.

    `most_calls` is the bound set for the calls of a drain, 0 for none. `provider` is the block whose workloads it answers;
    None: all of them.
    """

    name: str
    most_calls: int = 0
    provider: str | None = None


def note(connection: Connection, opened: Mapping[str, str], *, now: datetime) -> set[str]:
    """Note at the workloads the account of each opened provider block, and return the names of all blocks in use.

    `opened` holds the accounts by block. In use is a block that a workload or an open batch names. A workload that is locked
    is noted by the next call.
    """
    of = workload.c
    rows = connection.execute(select(of.name, of.provider, of.account)).all()
    known = {row.name: (opened.get(row.provider, row.account), row.account) for row in rows}
    stale = {name: account for name, (account, noted) in known.items() if account != noted}
    if stale:
        free = (
            select(of.name)
            .where(of.name.in_(stale))
            .with_for_update(key_share=True, skip_locked=True)
        )
        since = case((of.account.is_not(None), now), else_=of.account_since)
        connection.execute(
            update(workload)
            .where(of.name.in_(free.scalar_subquery()))
            .values(account=case(stale, value=of.name), account_since=since)
        )
    is_open = is_none_of(batch.c.state, OVER)
    in_use = union(select(of.provider), select(batch.c.provider).where(is_open))
    return set(connection.execute(in_use).scalars())


def of_workload(connection: Connection, name: str) -> LaneAccount:
    """Return the account that answers the workload; its name is empty before any run has opened its provider block."""
    wanted = select(workload.c.provider, workload.c.account).where(workload.c.name == name)
    row = connection.execute(wanted).first()
    return LaneAccount("") if row is None else LaneAccount(row.account or "", 0, row.provider)


def served_by(connection: Connection, provider: str | None) -> list[str]:
    """Return the workloads that the account of this provider block answers; None: all workloads."""
    its = true() if provider is None else workload.c.provider == provider
    return [*connection.execute(select(workload.c.name).where(its)).scalars()]


def last_change(connection: Connection) -> datetime | None:
    """Return when a workload moved to another account last; None if none ever did."""
    return connection.execute(select(func.max(workload.c.account_since))).scalar_one()

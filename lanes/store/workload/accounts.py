"""The accounts that pay for the workloads: each workload names a provider block, and the block names an account."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select, text, true, union

from lanes.store.statements import is_, is_none_of
from lanes.store.tables import batch, work, workload
from lanes.words import FINISHED_BATCH, WorkState

MOST = 10_000  # upper bound of a count of waiting work
NOTE = """
with opened as (select * from unnest(cast(:blocks as text[]), cast(:accounts as text[])) o (provider, account)),
stale as (
  select f.name, o.account
    from lanes.workload f join opened o on o.provider = f.provider
   where f.account is distinct from o.account
     and (f.account is null or o.provider = any(cast(:renamed as text[])) or f.account in (select account from opened))
     for no key update of f skip locked)
update lanes.workload f
   set account = s.account,
       account_since = case when f.account in (select account from opened) then :now else f.account_since end
  from stale s where s.name = f.name
"""


@dataclass(frozen=True)
class LaneAccount:
    """An account of the real-time lane.

    `most_calls` is the configured limit of a drain's calls in flight; 0 means none. `provider` is the block whose workloads the
    account serves; None means all workloads.
    """

    name: str
    most_calls: int = 0
    provider: str | None = None


def note(
    connection: Connection, opened: Mapping[str, str], *, new: Collection[str] = (), now: datetime
) -> set[str]:
    """Record the account of each opened provider block at its workloads, and return the names of all blocks in use.

    `opened` maps blocks to accounts. `new` are the blocks whose account name this run has just read. A recorded name is
    replaced only for these blocks, or if it is the account of another opened block (the workload has moved): a run with an
    older reading cannot restore an old name. A block is in use if a workload or an open batch names it. A locked workload is
    skipped; the next call records its account.
    """
    given = {"blocks": list(opened), "accounts": list(opened.values()), "now": now}
    given["renamed"] = list(new)
    connection.execute(text(NOTE), given)
    is_open = is_none_of(batch.c.state, FINISHED_BATCH)
    in_use = union(select(workload.c.provider), select(batch.c.provider).where(is_open))
    return set(connection.execute(in_use).scalars())


def read_account(connection: Connection, name: str) -> LaneAccount:
    """Return the account that serves the workload; its name is empty until a run has opened the provider block."""
    wanted = select(workload.c.provider, workload.c.account).where(workload.c.name == name)
    row = connection.execute(wanted).first()
    return LaneAccount("") if row is None else LaneAccount(row.account or "", 0, row.provider)


def list_workloads(connection: Connection, provider: str | None) -> list[str]:
    """Return the names of the workloads of a provider block; None: of all workloads."""
    its = true() if provider is None else workload.c.provider == provider
    return [*connection.execute(select(workload.c.name).where(its)).scalars()]


def read_backlog(connection: Connection, provider: str) -> tuple[str, int]:
    """Return the account of a block that cannot be loaded (its name if unknown), and its amount of ready work, up to `MOST`."""
    its = select(workload.c.name).where(workload.c.provider == provider)
    account = select(func.max(workload.c.account)).where(workload.c.provider == provider)
    waits = is_(work.c.state, WorkState.READY), work.c.workload.in_(its)
    some = select(work.c.id).where(*waits).limit(MOST).subquery()
    called = connection.execute(account).scalar_one() or provider
    return called, connection.execute(select(func.count()).select_from(some)).scalar_one()


def last_change(connection: Connection) -> datetime | None:
    """Return the last time that any workload moved to another block's account, or None."""
    return connection.execute(select(func.max(workload.c.account_since))).scalar_one()

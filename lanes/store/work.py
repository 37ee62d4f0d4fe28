"""Work, one file because each step of a claim is fenced alike: claiming by rank, renewal, return and loss of a claim."""

from collections.abc import Collection, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeEngine

from lanes.ids import VersionId, WorkId
from lanes.json_data import call_bytes
from lanes.money.cost import upper_bound
from lanes.packing import Claim, ClaimedWork
from lanes.realtime.pace import LEASE
from lanes.realtime.turns import MOST_CONSUMERS, WaitingConsumer
from lanes.settling.attempts import LOST_LEASE
from lanes.settling.outcome import Attempt, Judgment
from lanes.store.statements import is_, is_none_of, octets, one_of
from lanes.store.tables import budget, item, work, workload
from lanes.store.tables.base import Moment
from lanes.store.workload.workloads import versions
from lanes.words import ANSWERING, OUTSIDE_BATCHES, Lane, Outcome, WorkState
from lanes.workload.version import Version

# Ready and claimed work as a table; each part uses its own partial index.
UNASKED = "(select * from lanes.work where state = 'ready' union all select * from lanes.work where state = 'claimed')"
EVER = timedelta(days=36_500)  # all work ranks earlier than now + EVER
MOST_BYTES = 32 * 1024**2  # payloads of one claim
# Consumers with waiting work whose names sort after `after`, each with its earliest rank. Reads one index entry per consumer.
CONSUMERS = f"""
with recursive asked as (select * from unnest(cast(:workloads as text[]), cast(:after as text[])) t (workload, after)),
consumers as (
  select a.workload, first.consumer, first.rank_at, 1 as nth
    from asked a cross join lateral (
      select w.consumer, w.rank_at from lanes.work w
       where w.lane = 'realtime' and w.state = 'ready' and w.workload = a.workload
         and w.consumer >= '' and (w.consumer > a.after or a.after = '')
       order by w.consumer, w.rank_at, w.id limit 1) first
  union all
  select c.workload, following.consumer, following.rank_at, c.nth + 1
    from consumers c cross join lateral (
      select w.consumer, w.rank_at from lanes.work w
       where w.lane = 'realtime' and w.state = 'ready' and w.workload = c.workload and w.consumer >= ''
         and w.consumer > c.consumer
       order by w.consumer, w.rank_at, w.id limit 1) following
   where c.nth < {MOST_CONSUMERS})
select workload, consumer, rank_at from consumers order by workload, nth
"""
# The columns of work and item that `read_claimed` expects, in this order, after id and claim_no.
OF_WORK = ("workload", "version_id", "purpose", "failures", "rank_at", "alone")
OF_ITEM = ("key", "payload", "due_at", "urgent", "consumer")
# `|| ''` keeps the planner from the index of claimed work, which has an entry for each claim since the oldest open snapshot.
RENEW = """
with held as (
  select w.id
    from unnest(cast(:ids as bigint[]), cast(:numbers as integer[])) as claim(id, number)
    join lanes.work w on w.id = claim.id and w.claim_no = claim.number
   where w.state || '' = 'claimed'
   order by w.id for no key update of w skip locked)
update lanes.work w set lease_until = :until from held where w.id = held.id
returning w.id
"""
_now = sa.bindparam("now", type_=Moment)
# ids of the versions to exclude, or of the only versions to claim
_but, _only = (sa.bindparam(name, type_=sa.ARRAY(sa.BigInteger)) for name in ("but", "only"))
# `+ 0` hides the column's statistics: with one version in use, the planner would expect all rows to match, or none
_before = sa.bindparam("before", type_=Moment)  # exclusive upper bound of the rank
_provider = sa.bindparam("provider", type_=sa.Text)  # the provider block; null: all blocks
_askable = work.c.version_id + 0 != sa.all_(_but)
_LISTS = {  # parallel lists: the workload, number, lowest rank and consumer of work to claim
    "workload": sa.bindparam("of_workload", type_=sa.ARRAY(sa.Text)),
    "places": sa.bindparam("of_places", type_=sa.ARRAY(sa.Integer)),
    "since": sa.bindparam("of_since", type_=sa.ARRAY(Moment)),
    "consumer": sa.bindparam("of_consumer", type_=sa.ARRAY(sa.Text)),
}
_in_turn = sa.literal_column("work.consumer >= ''", sa.Boolean)  # as in the indexes for turns
_presses = sa.or_(work.c.urgent, work.c.due_at.is_not(None))


def ready_on(lane: Lane) -> sa.ColumnElement[bool]:
    """Match work that is ready on this lane; the state is a literal, so that generic plans can use partial indexes."""
    return sa.and_(work.c.lane == lane, is_(work.c.state, WorkState.READY))


def claimable(lane: Lane, now: datetime | sa.ColumnElement[datetime]) -> sa.ColumnElement[bool]:
    """Match work that is ready on this lane and whose back-off has ended."""
    return sa.and_(ready_on(lane), work.c.ready_at <= now)


def read_waiting_consumers(
    connection: sa.Connection, after: Mapping[str, str]
) -> dict[str, list[WaitingConsumer]]:
    """Return, for each workload of `after`, up to `MOST_CONSUMERS` consumers with ready real-time work, in order of name.

    Only names that sort after the value of `after` are included. A consumer with only replays and shadows is included too, with
    a rank behind all live work.
    """
    given = {"workloads": list(after), "after": list(after.values())}
    found: dict[str, list[WaitingConsumer]] = {}
    for row in connection.execute(sa.text(CONSUMERS), given):
        found.setdefault(row.workload, []).append(WaitingConsumer(row.consumer, row.rank_at))
    return found


@dataclass(frozen=True)
class WaitingWork:
    """The version and rank of each workload's most urgent claimable work; a claim starts to read at this rank.

    The workloads in `limited` have hard budgets, which limit how much of their work can be claimed.
    """

    versions: Mapping[str, Version]
    since: Mapping[str, datetime]
    limited: Set[str] = frozenset()


def read_waiting(
    connection: sa.Connection,
    lane: Lane,
    *,
    since: Mapping[str, datetime] | None = None,
    but: Sequence[VersionId] = (),
    before: datetime | None = None,
    provider: str | None = None,
    now: datetime,
) -> WaitingWork:
    """Return the waiting work, without paused workloads, unreadable versions and the versions in `but`.

    If `provider` names a block, only workloads of that block are included. The search covers work that ranks at or after its
    workload's `since` and before `before`, where these are given, and all work that its sender marked urgent.
    """
    from_ = since or {}
    asked: dict[str, Any] = {"of_workload": list(from_), "of_since": list(from_.values())}
    rows = connection.execute(
        _select_waiting(lane),
        {
            **asked,
            "but": list(but),
            "before": before or now + EVER,
            "provider": provider,
            "now": now,
        },
    ).all()
    readable = versions(connection, [row.id for row in rows])
    readable_rows = [row for row in rows if row.id in readable]
    return WaitingWork(
        {row.name: readable[row.id] for row in readable_rows},
        {row.name: row.rank_at for row in readable_rows},
        {row.name for row in readable_rows if row.limited},
    )


@cache
def _select_waiting(lane: Lane) -> sa.Select[*tuple[Any, ...]]:
    """Select the workloads with work that is claimable at :now, and the version and rank of each one's most urgent work.

    Versions in :but are excluded. For each :of_workload, the search starts at the rank :of_since.
    """
    heads = _table("heads", _LISTS, workload=sa.Text(), since=Moment)
    conditions = work.c.workload == workload.c.name, claimable(lane, _now), _askable
    head = sa.select(work.c.rank_at, work.c.version_id).where(*conditions)
    head = head.order_by(work.c.rank_at, work.c.id).limit(1)
    within = work.c.rank_at >= _from(heads), work.c.rank_at < _before
    first = head.where(*within).lateral("first")
    # Urgent work is read through an index of its own, without the bounds of :of_since and :before.
    urgent = head.where(sa.text("work.urgent")).lateral("urgent")
    is_urgent_first = sa.func.coalesce(
        urgent.c.rank_at < first.c.rank_at, first.c.rank_at.is_(None)
    )
    of_it = budget.c.workload == workload.c.name
    limited = sa.exists().where(of_it, budget.c.hard_usd.is_not(None))
    return (
        sa.select(
            workload.c.name,
            sa.case((is_urgent_first, urgent.c.version_id), else_=first.c.version_id).label("id"),
            sa.func.least(urgent.c.rank_at, first.c.rank_at).label("rank_at"),
            limited.label("limited"),
        )
        .outerjoin(heads, heads.c.workload == workload.c.name)
        .outerjoin(first, sa.true())
        .outerjoin(urgent, sa.true())
        .where(
            workload.c.provider == sa.func.coalesce(_provider, workload.c.provider),
            workload.c.paused_at.is_(None),
            sa.func.coalesce(first.c.rank_at, urgent.c.rank_at).is_not(None),
        )
    )


def _table(
    name: str, given: Mapping[str, sa.ColumnElement[Any]], **columns: TypeEngine[Any]
) -> sa.FromClause:
    """Return the lists that `columns` names as a table with these columns."""
    named = (sa.column(each, kind) for each, kind in columns.items())
    table = sa.func.unnest(*(given[each] for each in columns)).table_valued(*named, name=name)
    return table.render_derived()


def _from(of: sa.FromClause) -> sa.ColumnElement[datetime]:
    ever = sa.literal("-infinity", sa.Text, literal_execute=True).cast(Moment)
    return sa.func.coalesce(of.c.since, ever)


def most_urgent(
    lane: Lane,
    places: Mapping[str, int],
    within: "ClaimBounds",
    *only: sa.ColumnElement[bool],
    now: datetime,
) -> sa.Select[Any]:
    """Select and lock the most urgent work of each workload; skip work that other transactions have locked."""
    given = _build_parameters(places, within)
    lists = {each: sa.literal(given[each], kind.type) for each, kind in _LISTS.items()}
    return _urgent(lane, lists, sa.literal(now), *only, kind=within.kind)


def _build_parameters(places: Mapping[str, int], within: "ClaimBounds") -> dict[str, Any]:
    if within.turns:
        (workload_,) = places
        turns, most = list(within.turns), list(within.turns.values())
        whose = [workload_] * len(turns)
        ranks = [within.since.get(consumer) for consumer in turns]
        return {"workload": whose, "places": most, "since": ranks, "consumer": turns}
    ranks = [within.since.get(name) for name in places]
    most = list(places.values())
    return {"workload": list(places), "places": most, "since": ranks, "consumer": [""] * len(most)}


def _urgent(
    lane: Lane,
    given: Mapping[str, sa.ColumnElement[Any]],
    now: sa.ColumnElement[datetime],
    *only: sa.ColumnElement[bool],
    kind: "ClaimKind",
) -> sa.Select[*tuple[Any, ...]]:
    columns = {"workload": sa.Text(), "places": sa.Integer(), "since": Moment}
    asked = _table("asked", given, **columns, consumer=sa.Text())
    order: list[sa.ColumnElement[Any]] = [work.c.rank_at, work.c.id]
    if kind is ClaimKind.PRESSING:
        only = (*only, _presses, _in_turn)
    elif kind is ClaimKind.TURNS:
        # A range, and an order by consumer, keep the planner from reading another consumer's long queue by rank alone.
        only = (*only, work.c.consumer.between(asked.c.consumer, asked.c.consumer), _in_turn)
        order.insert(0, work.c.consumer)
    head = (
        sa.select(work.c.id, work.c.item_id, work.c.rank_at)
        .where(work.c.workload == asked.c.workload, claimable(lane, now))
        .where(work.c.rank_at >= _from(asked), *only)
        .order_by(*order)
        .limit(asked.c.places)
        .with_for_update(key_share=True, skip_locked=True)
        .lateral("head")
    )
    return sa.select(asked.c.workload, *head.c).select_from(asked.join(head, sa.true()))


class ClaimKind(StrEnum):
    """The kind of work that a claim takes, most urgent first."""

    ANY = "any"
    PRESSING = "pressing"  # urgent, or with a due time
    TURNS = "turns"  # work of given consumers, with a limit for each


@dataclass(frozen=True)
class ClaimBounds:
    """The bounds of a claim.

    The claim takes work that ranks at or after its workload's `since` and, if given, before `before`. It excludes the versions
    in `but`, or is restricted to the versions in `only`. `pressing` restricts it to work that is urgent or has a due time.
    `turns` restricts it to consumers of one workload, with a limit for each; `since` is then by consumer. The workloads share
    `most_bytes` equally: each gets at least one claim, and exceeds its share by at most one.
    """

    since: Mapping[str, datetime] = field(default_factory=dict[str, datetime])
    but: Sequence[VersionId] = ()
    only: Sequence[VersionId] = ()
    before: datetime | None = None
    most_bytes: int = MOST_BYTES
    pressing: bool = False
    turns: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def kind(self) -> ClaimKind:
        """The kind of work that the claim takes."""
        if self.turns:
            return ClaimKind.TURNS
        return ClaimKind.PRESSING if self.pressing else ClaimKind.ANY


def claim(
    connection: sa.Connection,
    lane: Lane,
    most: Mapping[str, int],
    *,
    worker: str,
    lease: timedelta,
    within: ClaimBounds | None = None,
    now: datetime,
) -> list[ClaimedWork]:
    """Claim up to `most` of the most urgent work of each workload for `worker` and return it, most urgent first.

    A claim is valid until its lease ends; its number fences every later write. Why it starts at a rank: `lanes.realtime.turns`.
    """
    if not most:
        return []
    bounds = within or ClaimBounds()
    parameters = {
        _LISTS[each].key: value for each, value in _build_parameters(most, bounds).items()
    } | {
        "now": now,
        "before": bounds.before or now + EVER,
        "by": worker,
        "until": now + lease,
        "bytes": bounds.most_bytes // len(most),
        **({"only": list(bounds.only)} if bounds.only else {"but": list(bounds.but)}),
    }
    statement = _claim(lane, bounds.kind, chosen=bool(bounds.only))
    return [read_claimed(row) for row in connection.execute(statement, parameters).all()]


@cache
def _claim(lane: Lane, kind: ClaimKind, *, chosen: bool) -> sa.Select[*tuple[Any, ...]]:
    """Build the statement that claims the most urgent work of each :of_workload, within :of_places rows and :bytes."""
    whose = work.c.version_id == sa.any_(_only) if chosen else _askable
    picked = _urgent(lane, _LISTS, _now, whose, work.c.rank_at < _before, kind=kind).cte("picked")
    size, order = octets(item.c.payload), (picked.c.rank_at, picked.c.id)
    before = sa.func.sum(size).over(partition_by=picked.c.workload, order_by=order) - size
    weighed = (
        sa.select(picked.c.id, before.label("bytes_before"), *(item.c[name] for name in OF_ITEM))
        .join_from(picked, item, item.c.id == picked.c.item_id)
        .cte("weighed")
    )
    fits = weighed.c.bytes_before < sa.bindparam("bytes", type_=sa.BigInteger)
    of_work = [work.c[name] for name in ("id", "claim_no", *OF_WORK)]
    taken = (
        sa.update(work)
        .where(work.c.id == weighed.c.id, fits)
        .values(
            state=WorkState.CLAIMED,
            claimed_by=sa.bindparam("by", type_=sa.Text),
            lease_until=sa.bindparam("until", type_=Moment),
            claim_no=work.c.claim_no + 1,
        )
        .returning(*of_work, *(weighed.c[name] for name in OF_ITEM))
        .cte("taken")
    )
    return sa.select(taken).order_by(taken.c.rank_at, taken.c.id)


def read_claimed(row: Any) -> ClaimedWork:
    """Return a row of work joined with its item as claimed work; only answering work gets its item's due time and urgency.

    Values are read by position, because SQLAlchemy would look up each name for every row.
    """
    id_, claim_no, workload_, version_id, purpose, failures, rank_at, alone, *of_item = row[:13]
    key, payload, due_at, urgent, consumer = of_item
    presses = purpose in ANSWERING
    return ClaimedWork(
        Claim(id_, claim_no),
        version_id,
        workload_,
        key,
        payload,
        purpose,
        failures,
        rank_at,
        due_at if presses else None,
        alone,
        urgent and presses,
        consumer=consumer,
    )


def list_abandoned(connection: sa.Connection, *, now: datetime, limit: int = 500) -> list[Attempt]:
    """Return an attempt `unknown` for each claim whose lease has expired: its call may have been billed, up to a bound.

    The bound is the claim's reservation, or else the upper bound of its item's cost. Work that left its claim is included while
    money is still reserved for it. Within 20 s of the server's start no lease counts as expired: until then a live drain could
    not renew it.
    """
    up = sa.func.pg_postmaster_start_time(type_=Moment)
    is_expired = sa.and_(work.c.lease_until < now, ~sa.literal(now, Moment).between(up, up + LEASE))
    claimed_ = sa.select(work.c.id).where(is_(work.c.state, WorkState.CLAIMED), is_expired)
    moved_on = is_none_of(work.c.state, OUTSIDE_BATCHES)
    reserved = sa.select(work.c.id).where(work.c.bound_usd.is_not(None), moved_on, is_expired)
    columns = [work.c[name] for name in ("id", "claim_no", "version_id", "lane", "bound_usd")]
    rows = connection.execute(
        sa.select(*columns, work.c.lease_until.label("until"), item.c.payload)
        .join(item, item.c.id == work.c.item_id)
        .where(work.c.id.in_(sa.union_all(claimed_, reserved)))
        .order_by(work.c.id)
        .limit(limit)
    ).all()
    known_versions = versions(connection, {row.version_id for row in rows})
    lost = Judgment(
        Outcome.UNKNOWN,
        error=f"{LOST_LEASE}: the claim was not renewed in time; the call may have been billed",
    )

    def compute_bound(row: Any) -> Decimal:
        of = known_versions.get(row.version_id)
        if row.bound_usd is not None or of is None:
            return row.bound_usd or Decimal(0)
        with suppress(LookupError):  # the model's price is no longer known
            return upper_bound(of, call_bytes(row.payload), lane=row.lane, at=now)
        return Decimal(0)

    return [
        Attempt(
            Claim(row.id, row.claim_no), lost, None, row.until, now, 0, bound_usd=compute_bound(row)
        )
        for row in rows
    ]


def ready_again() -> sa.ColumnElement[str]:
    """Return the state for work that is given back: ready, or canceled if its item was canceled, amended or settled."""
    answered = sa.and_(item.c.settled_at.is_not(None), work.c.purpose.in_(ANSWERING))
    outdated = sa.exists().where(
        item.c.id == work.c.item_id,
        sa.or_(item.c.canceled_at.is_not(None), item.c.revision > work.c.revision, answered),
    )
    return sa.case((outdated, WorkState.CANCELED), else_=WorkState.READY)


def give_back(
    connection: sa.Connection, claims: Sequence[Claim], *, ready_at: datetime
) -> list[Claim]:
    """Make work whose claim is still in force ready again from `ready_at`, without spending its retry budget.

    Return the claims whose work or item is locked by another transaction; the caller must give these back later.
    """
    if not claims:
        return []
    numbers = {each.work_id: each.number for each in claims}
    unlocked = connection.execute(
        sa.select(work.c.id, work.c.claim_no)
        .join(item, item.c.id == work.c.item_id)
        .where(one_of(set(numbers), work.c.id))
        .order_by(work.c.item_id, work.c.id)
        .with_for_update(of=(item, work), key_share=True, skip_locked=True)
    ).all()
    own_ids = [row.id for row in unlocked if row.claim_no == numbers[row.id]]
    connection.execute(
        sa.update(work)
        .where(one_of(own_ids, work.c.id), work.c.state == WorkState.CLAIMED)
        .values(
            state=ready_again(),
            ready_at=ready_at,
            claimed_by=None,
            lease_until=None,
            bound_usd=None,
        )
    )
    seen = {row.id for row in unlocked}
    return [each for each in claims if each.work_id not in seen]


def renew(
    connection: sa.Connection, claims: Collection[Claim], *, lease: timedelta, now: datetime
) -> set[WorkId]:
    """Extend the leases of the claims that are still in force, with one statement; return the ids of their work.

    Work that another transaction has locked is skipped; the next renewal includes it.
    """
    ids, numbers = [each.work_id for each in claims], [each.number for each in claims]
    given = {"ids": ids, "numbers": numbers, "until": now + lease}
    return set(connection.execute(sa.text(RENEW), given).scalars()) if claims else set()

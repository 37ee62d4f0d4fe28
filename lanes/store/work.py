"""Work, one file because each step of a claim is fenced alike: claimed by rank, renewed, given back, rescued when lost."""

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

# Ready or claimed, each by its own index: as a table.
UNASKED = "(select * from lanes.work where state = 'ready' union all select * from lanes.work where state = 'claimed')"
EVER = timedelta(days=36_500)  # no work ranks so late
MOST_BYTES = 32 * 1024**2  # payloads of one claim
# The consumers whose work waits, from behind a name on, each with the rank of its most urgent: one place of the index for each.
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
# The columns of work and item that `read_claimed` reads, in this order, behind id and claim_no.
OF_WORK = ("workload", "version_id", "purpose", "failures", "rank_at", "alone")
OF_ITEM = ("key", "payload", "due_at", "urgent", "consumer")
RENEW = """
with held as (
  select w.id
    from unnest(cast(:ids as bigint[]), cast(:numbers as integer[])) as claim(id, number)
    join lanes.work w on w.id = claim.id and w.claim_no = claim.number
   where w.state = 'claimed'
   order by w.id for no key update of w skip locked)
update lanes.work w set lease_until = :until from held where w.id = held.id
returning w.id
"""
_now = sa.bindparam("now", type_=Moment)
# ids of the versions to leave out, or to claim alone
_but, _only = (sa.bindparam(name, type_=sa.ARRAY(sa.BigInteger)) for name in ("but", "only"))
# `+ 0`: without statistics, by which one version in use would be all or nothing
_before = sa.bindparam("before", type_=Moment)  # ranks from it on are left out
_provider = sa.bindparam("provider", type_=sa.Text)  # the block of the account; null: of all
_askable = work.c.version_id + 0 != sa.all_(_but)
_LISTS = {  # of workloads, how much of each is asked for, from which rank on, and of which consumer
    "workload": sa.bindparam("of_workload", type_=sa.ARRAY(sa.Text)),
    "places": sa.bindparam("of_places", type_=sa.ARRAY(sa.Integer)),
    "since": sa.bindparam("of_since", type_=sa.ARRAY(Moment)),
    "consumer": sa.bindparam("of_consumer", type_=sa.ARRAY(sa.Text)),
}
_in_turn = sa.literal_column("work.consumer >= ''", sa.Boolean)  # as the indexes of turns say it
_presses = sa.or_(work.c.urgent, work.c.due_at.is_not(None))


def ready_on(lane: Lane) -> sa.ColumnElement[bool]:
    """Match work that is ready on this lane; the state is a literal, so that a plan kept by the server knows it."""
    return sa.and_(work.c.lane == lane, is_(work.c.state, WorkState.READY))


def claimable(lane: Lane, now: datetime | sa.ColumnElement[datetime]) -> sa.ColumnElement[bool]:
    """Match work that is ready on this lane and whose rest is over."""
    return sa.and_(ready_on(lane), work.c.ready_at <= now)


def waiting_consumers(
    connection: sa.Connection, after: Mapping[str, str]
) -> dict[str, list[WaitingConsumer]]:
    """Return the consumers whose real-time work waits in each workload of `after`, by name, from behind the name there on.

    Those of whom only replays and shadows wait are among them, with a rank behind all live work.
    """
    given = {"workloads": list(after), "after": list(after.values())}
    found: dict[str, list[WaitingConsumer]] = {}
    for row in connection.execute(sa.text(CONSUMERS), given):
        found.setdefault(row.workload, []).append(WaitingConsumer(row.consumer, row.rank_at))
    return found


@dataclass(frozen=True)
class WaitingWork:
    """The most urgent claimable work of each workload: its version and its rank, from which a claim reads on.

    Work of the workloads in `limited` is claimed as far as their hard budgets pay for it.
    """

    versions: Mapping[str, Version]
    since: Mapping[str, datetime]
    limited: Set[str] = frozenset()


def waiting(
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

    Where `provider` names a block, only that of the workloads which its account answers.

    Where `since` names a workload, only its work of that rank or later is looked for, and what its sender marked urgent; work
    that ranks `before` a moment alone, if one is given.
    """
    from_ = since or {}
    asked: dict[str, Any] = {"of_workload": list(from_), "of_since": list(from_.values())}
    rows = connection.execute(
        _waiting(lane),
        {
            **asked,
            "but": list(but),
            "before": before or now + EVER,
            "provider": provider,
            "now": now,
        },
    ).all()
    readable = versions(connection, [row.id for row in rows])
    there = [row for row in rows if row.id in readable]
    return WaitingWork(
        {row.name: readable[row.id] for row in there},
        {row.name: row.rank_at for row in there},
        {row.name for row in there if row.limited},
    )


@cache
def _waiting(lane: Lane) -> sa.Select[*tuple[Any, ...]]:
    """Select the workloads with claimable work :now of no version of :but, with the version and rank of their most urgent.

    For each :of_workload, work is looked for from the rank :of_since on.
    """
    heads = _table("heads", _LISTS, workload=sa.Text(), since=Moment)
    here = work.c.workload == workload.c.name, claimable(lane, _now), _askable
    head = sa.select(work.c.rank_at, work.c.version_id).where(*here)
    head = head.order_by(work.c.rank_at, work.c.id).limit(1)
    within = work.c.rank_at >= _from(heads), work.c.rank_at < _before
    first = head.where(*within).lateral("first")
    # by its own index, whatever was taken behind it
    urgent = head.where(sa.text("work.urgent")).lateral("urgent")
    before = sa.func.coalesce(urgent.c.rank_at < first.c.rank_at, first.c.rank_at.is_(None))
    of_it = budget.c.workload == workload.c.name
    limited = sa.exists().where(of_it, budget.c.hard_usd.is_not(None))
    return (
        sa.select(
            workload.c.name,
            sa.case((before, urgent.c.version_id), else_=first.c.version_id).label("id"),
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
    """Return lists as a table with those columns."""
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
    """Select the most urgent work of each workload, locked; work locked by others is passed over."""
    given = _build_parameters(places, within)
    lists = {each: sa.literal(given[each], kind.type) for each, kind in _LISTS.items()}
    return _urgent(lane, lists, sa.literal(now), *only, kind=within.kind)


def _build_parameters(places: Mapping[str, int], within: "ClaimBounds") -> dict[str, Any]:
    if within.turns:
        (workload_,) = places
        turns, most = list(within.turns), list(within.turns.values())
        whose = [workload_] * len(turns)
        return {"workload": whose, "places": most, "since": [None] * len(turns), "consumer": turns}
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
        # as a range and an order, so that no plan reads a flood of another consumer by the rank alone
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
    """The work of a workload that a claim takes, the most urgent first."""

    ANY = "any"
    PRESSING = "pressing"  # urgent or due
    TURNS = "turns"  # that of some consumers, so much of each


@dataclass(frozen=True)
class ClaimBounds:
    """The bounds of a claim: work from the rank `since` of its workload on, and not that of the versions in `but`.

    It ranks `before` a moment, if one is given. Where `only` names versions, only their work; where `pressing`, only what is
    urgent or due; where `turns` names consumers, so much of each of them, of one workload. The workloads share `most_bytes`:
    each has at least one claim, and at most one beyond its part.
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
        """The kind of work that it takes."""
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
    """Claim up to `most` of the most urgent work of each workload for `worker` until the lease ends, most urgent first.

    The returned claim number fences every later write. Why a claim starts at a rank: `lanes.realtime.turns`.
    """
    if not most:
        return []
    of = within or ClaimBounds()
    asked = {_LISTS[each].key: value for each, value in _build_parameters(most, of).items()} | {
        "now": now,
        "before": of.before or now + EVER,
        "by": worker,
        "until": now + lease,
        "bytes": of.most_bytes // len(most),
        **({"only": list(of.only)} if of.only else {"but": list(of.but)}),
    }
    statement = _claim(lane, of.kind, chosen=bool(of.only))
    return [read_claimed(row) for row in connection.execute(statement, asked).all()]


@cache
def _claim(lane: Lane, kind: ClaimKind, *, chosen: bool) -> sa.Select[*tuple[Any, ...]]:
    """Build the statement that claims the most urgent work of each :of_workload, up to :of_places and :bytes."""
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
    """Read a row of work joined with its item; only owed answers have a due time and urgency.

    Values are read by position, because names are looked up for each.
    """
    id_, claim_no, workload_, of, purpose, failures, rank_at, alone, *of_item = row[:13]
    key, payload, due_at, urgent, consumer = of_item
    presses = purpose in ANSWERING
    return ClaimedWork(
        Claim(id_, claim_no),
        of,
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
    """Return an attempt `unknown` for each claim whose lease ran out: its call may have been billed, up to a bound.

    The bound is its reserve, or else what its item would cost. Work that moved on while it was claimed is included as long as
    money is reserved for it. No lease runs out within 20 s of the server's start: until then a live drain could not renew it.
    """
    up = sa.func.pg_postmaster_start_time(type_=Moment)
    over = sa.and_(work.c.lease_until < now, ~sa.literal(now, Moment).between(up, up + LEASE))
    claimed_ = sa.select(work.c.id).where(is_(work.c.state, WorkState.CLAIMED), over)
    moved_on = is_none_of(work.c.state, OUTSIDE_BATCHES)
    reserved = sa.select(work.c.id).where(work.c.bound_usd.is_not(None), moved_on, over)
    columns = [work.c[name] for name in ("id", "claim_no", "version_id", "lane", "bound_usd")]
    rows = connection.execute(
        sa.select(*columns, work.c.lease_until.label("until"), item.c.payload)
        .join(item, item.c.id == work.c.item_id)
        .where(work.c.id.in_(sa.union_all(claimed_, reserved)))
        .order_by(work.c.id)
        .limit(limit)
    ).all()
    known = versions(connection, {row.version_id for row in rows})
    lost = Judgment(
        Outcome.UNKNOWN,
        error=f"{LOST_LEASE}: the claim was not renewed in time; the call may have been billed",
    )

    def compute_bound(row: Any) -> Decimal:
        of = known.get(row.version_id)
        if row.bound_usd is not None or of is None:
            return row.bound_usd or Decimal(0)
        with suppress(LookupError):  # no price is known for its model any more
            return upper_bound(of, call_bytes(row.payload), lane=row.lane, at=now)
        return Decimal(0)

    return [
        Attempt(
            Claim(row.id, row.claim_no), lost, None, row.until, now, 0, bound_usd=compute_bound(row)
        )
        for row in rows
    ]


def ready_again() -> sa.ColumnElement[str]:
    """Return the state of work that is given back: ready, or canceled where its item was canceled, amended or settled."""
    answered = sa.and_(item.c.settled_at.is_not(None), work.c.purpose.in_(ANSWERING))
    outdated = sa.exists().where(
        item.c.id == work.c.item_id,
        sa.or_(item.c.canceled_at.is_not(None), item.c.revision > work.c.revision, answered),
    )
    return sa.case((outdated, WorkState.CANCELED), else_=WorkState.READY)


def give_back(
    connection: sa.Connection, claims: Sequence[Claim], *, ready_at: datetime
) -> list[Claim]:
    """Make work that we still hold ready again from `ready_at`, with nothing spent; return the claims that others hold.

    The caller comes back for these.
    """
    if not claims:
        return []
    numbers = {each.work_id: each.number for each in claims}
    free = connection.execute(
        sa.select(work.c.id, work.c.claim_no)
        .join(item, item.c.id == work.c.item_id)
        .where(one_of(set(numbers), work.c.id))
        .order_by(work.c.item_id, work.c.id)
        .with_for_update(of=(item, work), key_share=True, skip_locked=True)
    ).all()
    ours = [row.id for row in free if row.claim_no == numbers[row.id]]
    connection.execute(
        sa.update(work)
        .where(one_of(ours, work.c.id), work.c.state == WorkState.CLAIMED)
        .values(
            state=ready_again(),
            ready_at=ready_at,
            claimed_by=None,
            lease_until=None,
            bound_usd=None,
        )
    )
    seen = {row.id for row in free}
    return [each for each in claims if each.work_id not in seen]


def renew(
    connection: sa.Connection, claims: Collection[Claim], *, lease: timedelta, now: datetime
) -> set[WorkId]:
    """Extend the leases of those claims that we still hold, by one statement; return the ids of their work.

    Work that another transaction has locked is passed over: it is renewed next time.
    """
    ids, numbers = [each.work_id for each in claims], [each.number for each in claims]
    given = {"ids": ids, "numbers": numbers, "until": now + lease}
    return set(connection.execute(sa.text(RENEW), given).scalars()) if claims else set()

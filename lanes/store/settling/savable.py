"""The current state of the work and items of attempts, locked so that one save at a time changes them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

import sqlalchemy as sa

from lanes.errors import StillLocked
from lanes.ids import ItemId, ResultId, VersionId, WorkId
from lanes.promises.second_pass import SecondPasses
from lanes.routing.lane_rules import may_wait
from lanes.routing.prospect import Chance
from lanes.settling.attempts import LOST_LEASE
from lanes.settling.outcome import Attempt
from lanes.settling.settle import Obligation
from lanes.store.asking import read_as
from lanes.store.database import limit_waits
from lanes.store.routing import turnarounds
from lanes.store.statements import is_, one_of
from lanes.store.states import is_answering, is_open_work
from lanes.store.tables import attempt, item, result, revision, route, second_pass, version, work
from lanes.store.workload.workloads import versions
from lanes.words import ANSWERING, Announces, Lane, Mode, Outcome, Purpose, Standing, WorkState
from lanes.workload.context import LATE
from lanes.workload.version import Version

NONE = Chance(0.0, enough=False, explanation="its version cannot be read")
_ids = sa.bindparam("ids", type_=sa.ARRAY(work.c.id.type))


@dataclass(frozen=True, eq=False, slots=True)
class WorkTerms:
    """The facts shared by all work of one version, lane, purpose, generation and revision, as one object.

    `lane` is the work's current lane: a rescue or a shed changes it under a new claim, so only the claim in force was certainly
    made on it. `purpose` is the current purpose of a try: once a rescue has produced a provisional answer, the batch's try is
    the authoritative pass.
    """

    workload: str
    version_id: VersionId
    lane: Lane
    purpose: Purpose
    generation: int
    revision: int
    mode: Mode
    realtime_model: str
    batch_model: str
    max_failures: int
    compare_fields: tuple[str, ...]
    announces: Announces
    passes: SecondPasses | None = None  # decides which provisional answers get a second pass

    def model(self, lane: Lane) -> str:
        """Return the model of the lane."""
        return self.realtime_model if lane is Lane.REALTIME else self.batch_model


OF_WORK = ("workload", "version_id", "lane", "purpose", "generation", "revision")
OF_VERSION = (
    "mode",
    "realtime_model",
    "batch_model",
    "max_failures",
    "compare_fields",
    "announces",
)


def terms(connection: sa.Connection, attempts: Iterable[Attempt]) -> Mapping[WorkId, WorkTerms]:
    """Return the terms of the attempts' work by work id, without locking."""
    ids = list({each.claim.work_id for each in attempts})
    rows = connection.execute(_common(), {"ids": ids}).all()
    lambdas = {row.version_id for row in rows if _may_leave_out(row)}
    readable = versions(connection, lambdas) if lambdas else dict[VersionId, Version]()
    of_rows = [(row, _terms(row, readable.get(row.version_id))) for row in rows]
    return {id_: common for row, common in of_rows for id_ in row.ids}


@cache
def _common() -> sa.Select[*tuple[Any, ...]]:
    """Select the terms that the work of :ids shares, each with the ids of its work."""
    own = [work.c[name] for name in OF_WORK if name != "purpose"]
    of = (
        sa.select(work.c.id, *own, _purpose().label("purpose"))
        .where(work.c.id == sa.any_(_ids))
        .subquery("of")
    )
    of_work = [of.c[name] for name in OF_WORK]
    of_version = [version.c[name] for name in OF_VERSION]
    return (
        sa.select(
            *of_work, *of_version, second_pass.c.sampled, sa.func.array_agg(of.c.id).label("ids")
        )
        .join(version, version.c.id == of.c.version_id)
        .join(second_pass, second_pass.c.version_id == of.c.version_id, isouter=True)
        .group_by(*of_work, version.c.id, second_pass.c.version_id)
    )


def _purpose() -> sa.ColumnElement[Purpose]:
    """Return the current purpose of a try of the work; only rescued work needs a read of results."""
    provisional = sa.select(result.c.id).where(
        result.c.item_id == work.c.item_id,
        result.c.generation == 0,
        result.c.revision == work.c.revision,
        is_(result.c.standing, Standing.PROVISIONAL),
    )
    is_pass = sa.and_(
        work.c.rescued,
        is_(work.c.lane, Lane.BATCH),
        is_(work.c.purpose, Purpose.ANSWER),
        provisional.exists(),
    )
    authoritative = sa.literal(Purpose.AUTHORITATIVE, work.c.purpose.type)
    return sa.case((is_pass, authoritative), else_=work.c.purpose)


def _may_leave_out(row: Any) -> bool:
    return row.mode is Mode.LAMBDA and row.lane is Lane.REALTIME and row.purpose is Purpose.ANSWER


def _terms(row: Any, of: Version | None) -> WorkTerms:
    passes = None
    if of is not None and of.spec.second_pass.is_stated:
        passes = SecondPasses(of, row.sampled or ())
    return read_as(WorkTerms, row, compare_fields=tuple(row.compare_fields), passes=passes)


class ShownResult(NamedTuple):
    """The answer that an item shows: a stored result (`result_id`), or a result of this save (`of_work`)."""

    output: Any
    result_id: ResultId | None = None
    of_work: WorkId | None = None


@dataclass(slots=True)
class LockedItem:
    """An item as this transaction changes it; `is_earlier` is true if the answer in `shown` belongs to an older revision.

    `open_work` contains the open work that is owed for the newest revision; `bound_to` is the lane to which the newest route
    binds the item. Both, and `due_at`, are loaded only for items that need them.
    """

    key: str
    settled: bool
    canceled: bool
    forgotten: bool
    answered: bool
    acknowledged: bool
    shown: ShownResult | None = None
    is_earlier: bool = False
    open_work: set[WorkId] = field(default_factory=set)
    bound_to: Lane | None = None
    due_at: datetime | None = None

    @property
    def provisional(self) -> Any:
        """The output that the item shows for its newest revision, or None."""
        return None if self.shown is None or self.is_earlier else self.shown.output

    @property
    def earlier(self) -> Any:
        """The output of an older revision that the item still shows, or None."""
        return self.shown.output if self.shown is not None and self.is_earlier else None


@dataclass(slots=True)
class LockedWork:
    """A locked row of work with its item, which other work may share; `rescued` work may have a sibling on the other lane.

    `chance` is the probability that a batch that leaves from now on is back by the item's due time; None without a due time.
    """

    id: WorkId
    item_id: ItemId
    state: WorkState
    claim_no: int
    failures: int
    alone: bool
    rescued: bool
    is_newest_revision: bool
    terms: WorkTerms
    of_item: LockedItem
    chance: Chance | None = None

    def obligation(self, output: Mapping[str, Any]) -> Obligation:
        """Return the work's obligation for `settle`; `output` is the valid answer's output, or empty without one."""
        terms, of_item = self.terms, self.of_item
        passes = terms.passes if output else None
        return Obligation(
            purpose=terms.purpose,
            lane=terms.lane,
            mode=terms.mode,
            failures=self.failures,
            max_failures=terms.max_failures,
            is_newest_revision=self.is_newest_revision,
            item_canceled=of_item.canceled,
            item_settled=of_item.settled,
            item_answered=of_item.answered,
            others_open=bool(of_item.open_work - {self.id}),
            may_wait=may_wait(of_item.bound_to, self.chance),
            other_model=terms.batch_model != terms.realtime_model,
            not_sampled=passes is not None and passes.leaves_out(of_item.key, output),
            compare_fields=terms.compare_fields,
        )


def lock(
    connection: sa.Connection,
    attempts: Iterable[Attempt],
    terms_by_work: Mapping[WorkId, WorkTerms],
    *,
    now: datetime,
    wait: timedelta | None,
) -> dict[WorkId, LockedWork]:
    """Lock the attempts' work until this transaction ends, items before work; return it by id.

    Without `wait`, rows that other transactions have locked are skipped. With `wait`, each row is waited for at most that long,
    and the result is either complete or empty.
    """
    if wait is None:
        rows = _lock_work(connection, terms_by_work, skip=True)
    else:
        try:
            with limit_waits(connection, wait):
                rows = _lock_work(connection, terms_by_work, skip=False)
        except StillLocked:
            return {}
    invalid = (each for each in attempts if each.judged.outcome is not Outcome.VALID)
    unanswered = {each.claim.work_id for each in invalid}
    around = [row for row in rows.values() if row.terms.mode is Mode.LAMBDA or row.id in unanswered]
    _look_around(connection, around, now)
    return rows


def _lock_work(
    connection: sa.Connection, terms_by_work: Mapping[WorkId, WorkTerms], *, skip: bool
) -> dict[WorkId, LockedWork]:
    rows = connection.execute(_select_locked(skip=skip), {"ids": list(terms_by_work)}).all()
    items: dict[ItemId, LockedItem] = {}
    shown_results: dict[ItemId, tuple[ResultId, int]] = {}
    locked: dict[WorkId, LockedWork] = {}
    for (
        id_,
        item_id,
        state,
        claim_no,
        fails,
        alone,
        rescued,
        newest,
        key,
        *stands,
        result_id,
    ) in rows:
        of_item = items.get(item_id)
        if of_item is None:
            of_item = items[item_id] = LockedItem(key, *stands)
            if result_id is not None:
                shown_results[item_id] = result_id, newest
        common = terms_by_work[id_]
        is_newest = common.revision == newest
        locked[id_] = LockedWork(
            id_, item_id, state, claim_no, fails, alone, rescued, is_newest, common, of_item
        )
    _show(connection, items, shown_results)
    return locked


@cache
def _select_locked(*, skip: bool) -> sa.Select[*tuple[Any, ...]]:
    """Select and lock the work of :ids and its items; with `skip`, omit rows that other transactions have locked."""
    names = ("id", "item_id", "state", "claim_no", "failures", "alone", "rescued")
    return (
        sa.select(
            *(work.c[name] for name in names),
            item.c.revision,
            item.c.key,
            item.c.settled_at.is_not(None),
            item.c.canceled_at.is_not(None),
            sa.or_(item.c.forgotten_at.is_not(None), item.c.emptied_at.is_not(None)),
            item.c.answered_at.is_not(None),
            item.c.ack,
            item.c.result_id,
        )
        .join(item, item.c.id == work.c.item_id)
        .where(work.c.id == sa.any_(_ids))
        .order_by(work.c.item_id, work.c.id)
        .with_for_update(of=(item, work), key_share=True, skip_locked=skip)
    )


def _show(
    connection: sa.Connection,
    items: Mapping[ItemId, LockedItem],
    shown_results: Mapping[ItemId, tuple[ResultId, int]],
) -> None:
    """Set the items' shown answers; `shown` contains each item's current result and newest revision."""
    if not shown_results:
        return
    columns = result.c.item_id, result.c.id, result.c.revision, result.c.output
    wanted = sa.select(*columns).where(
        one_of([id_ for id_, _ in shown_results.values()], result.c.id)
    )
    for row in connection.execute(wanted).all():
        of_item = items[row.item_id]
        of_item.shown = ShownResult(row.output, row.id)
        of_item.is_earlier = row.revision != shown_results[row.item_id][1]
    if older := {id_ for id_ in shown_results if items[id_].is_earlier}:
        # A revision for late context has the same payload, so the shown answer still counts as one to the newest revision.
        same = revision.c.item_id == item.c.id, revision.c.number == item.c.revision
        late = sa.select(item.c.id).where(
            *same, one_of(older, item.c.id), revision.c.source == LATE
        )
        for id_ in connection.execute(late).scalars():
            items[id_].is_earlier = False


def _look_around(connection: sa.Connection, rows: Sequence[LockedWork], now: datetime) -> None:
    """Load the other open work of these rows' items, their due times and bound lanes, and the chance of a timely batch."""
    of_items = {row.item_id: row.of_item for row in rows if row.terms.purpose in ANSWERING}
    if not of_items:
        return
    owed = connection.execute(
        sa.select(work.c.id, work.c.item_id, item.c.due_at)
        .join(item, sa.and_(item.c.id == work.c.item_id, item.c.revision == work.c.revision))
        .where(one_of(set(of_items), work.c.item_id), work.c.generation == 0)
        .where(is_answering(), is_open_work())
    )
    for row in owed:
        of_item = of_items[row.item_id]
        of_item.due_at = row.due_at
        of_item.open_work.add(row.id)
    newest = (
        sa.select(route.c.item_id, route.c.binds)
        .where(one_of(set(of_items), route.c.item_id))
        .distinct(route.c.item_id)
        .order_by(route.c.item_id, route.c.id.desc())
    )
    for row in connection.execute(newest):
        of_items[row.item_id].bound_to = row.binds
    _look_ahead(connection, [row for row in rows if row.of_item.due_at is not None], now)


def _look_ahead(connection: sa.Connection, due: Sequence[LockedWork], now: datetime) -> None:
    """Load the probability that a batch is back by each row's due time."""
    if not due:
        return
    readable = versions(connection, {row.terms.version_id for row in due})
    prospects = turnarounds.prospects(connection, now=now)
    for row in due:
        of, due_at = readable.get(row.terms.version_id), row.of_item.due_at
        if due_at is not None:
            row.chance = NONE if of is None else prospects.of(of).chance(due_at)


def find_lost_by_leases(connection: sa.Connection, failed: Sequence[WorkId]) -> set[WorkId]:
    """Return the work among `failed` whose attempts were all lost leases."""
    if not failed:
        return set()
    lost = sa.and_(
        attempt.c.outcome == Outcome.UNKNOWN, sa.func.starts_with(attempt.c.error, LOST_LEASE)
    )
    id_, lost_alone = attempt.c.work_id, sa.func.bool_and(sa.func.coalesce(lost, sa.false()))
    tried = sa.select(id_).where(one_of(set(failed), id_)).group_by(id_).having(lost_alone)
    return set(connection.execute(tried).scalars())

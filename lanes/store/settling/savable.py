"""The work that attempts were for, beside its item as it is now: locked, so that one save at a time moves it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Select,
    and_,
    any_,
    bindparam,
    case,
    func,
    literal,
    or_,
    select,
)

from lanes.errors import StillLocked
from lanes.ids import ItemId, ResultId, VersionId, WorkId
from lanes.routing.lane_rules import may_wait
from lanes.routing.prospect import Chance
from lanes.settling.outcome import Attempt
from lanes.settling.settle import Obligation
from lanes.store.bulk import one_of
from lanes.store.literals import is_
from lanes.store.locks import waiting_at_most
from lanes.store.routing import turnarounds
from lanes.store.states import is_answering, is_open_work
from lanes.store.tables import item, result, route, version, work
from lanes.store.workload.workloads import versions
from lanes.words import ANSWERING, Announces, Lane, Mode, Outcome, Purpose, Standing, WorkState

NONE = Chance(0.0, enough=False, said="its version cannot be read")
_ids = bindparam("ids", type_=ARRAY(work.c.id.type))


@dataclass(frozen=True, eq=False, slots=True)
class WorkTerms:
    """What its tries have in common of some work, and what its version says: one object for all work that has it in common.

    `lane` is where the work is now. A rescue and a shed change it under a new claim: only a claim in force was made there.
    `purpose` is what a try of it is for now: what a batch has of an item that was rescued is the authoritative pass, once its
    provisional answer stands.
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

    def model(self, lane: Lane) -> str:
        """The one that this lane asks."""
        return self.realtime_model if lane is Lane.REALTIME else self.batch_model


def terms(connection: Connection, attempts: Iterable[Attempt]) -> Mapping[WorkId, WorkTerms]:
    """The terms of the attempts' work, by its id. Nothing is locked."""
    rows = connection.execute(
        _common(), {"ids": list({each.claim.work_id for each in attempts})}
    ).all()
    return {id_: common for row in rows for common in [_terms(row)] for id_ in row.ids}


@cache
def _common() -> Select[*tuple[Any, ...]]:
    """What the work of :ids has in common."""
    of = (
        select(
            work.c.id,
            work.c.workload,
            work.c.version_id,
            work.c.lane,
            _purpose().label("purpose"),
            work.c.generation,
            work.c.revision,
        )
        .where(work.c.id == any_(_ids))
        .subquery("of")
    )
    of_work = (
        of.c.workload,
        of.c.version_id,
        of.c.lane,
        of.c.purpose,
        of.c.generation,
        of.c.revision,
    )
    return (
        select(
            *of_work,
            version.c.mode,
            version.c.realtime_model,
            version.c.batch_model,
            version.c.max_failures,
            version.c.compare_fields,
            version.c.announces,
            func.array_agg(of.c.id).label("ids"),
        )
        .join(version, version.c.id == of.c.version_id)
        .group_by(*of_work, version.c.id)
    )


def _purpose() -> ColumnElement[Purpose]:
    """What a try of the work is for; answers are only looked for where it was rescued."""
    provisional = select(result.c.id).where(
        result.c.item_id == work.c.item_id,
        result.c.generation == 0,
        result.c.revision == work.c.revision,
        is_(result.c.standing, Standing.PROVISIONAL),
    )
    is_pass = and_(
        work.c.rescued,
        is_(work.c.lane, Lane.BATCH),
        is_(work.c.purpose, Purpose.ANSWER),
        provisional.exists(),
    )
    return case(
        (is_pass, literal(Purpose.AUTHORITATIVE, work.c.purpose.type)), else_=work.c.purpose
    )


def _terms(row: Any) -> WorkTerms:
    return WorkTerms(
        row.workload,
        row.version_id,
        row.lane,
        row.purpose,
        row.generation,
        row.revision,
        row.mode,
        row.realtime_model,
        row.batch_model,
        row.max_failures,
        tuple(row.compare_fields),
        row.announces,
    )


@dataclass(frozen=True, slots=True)
class ShownResult:
    """What is shown of an item: a stored result by its id, or what this save makes of some work."""

    output: Any
    result_id: ResultId | None = None
    of_work: WorkId | None = None


@dataclass(slots=True)
class LockedItem:
    """An item as this transaction changes it. What is `shown` may be of an older revision: then it `is_earlier`.

    `open_work` names the live work that is owed for its newest revision, `bound_to` the lane that its newest route binds it to,
    `due_at` when it is due: all of them only of items that were asked for.
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
        """The output that stands of its newest revision."""
        return None if self.shown is None or self.is_earlier else self.shown.output

    @property
    def earlier(self) -> Any:
        """The output that is shown of an older revision."""
        return self.shown.output if self.shown is not None and self.is_earlier else None


@dataclass(slots=True)
class LockedWork:
    """One locked row of work, beside its item, which it shares with other work of it. What was `rescued` may have a sibling.

    `chance`: that a batch which leaves from now on is back by the item's due time; None where nobody waits by one.
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

    def obligation(self) -> Obligation:
        """What settle needs to know of it."""
        terms, of_item = self.terms, self.of_item
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
            compare_fields=terms.compare_fields,
        )


def lock(
    connection: Connection,
    attempts: Iterable[Attempt],
    known: Mapping[WorkId, WorkTerms],
    *,
    now: datetime,
    wait: timedelta | None,
) -> dict[WorkId, LockedWork]:
    """The work of the attempts by its id, ours until this transaction ends; the item is locked before its work.

    What another transaction holds is passed over at once. With `wait` it is waited for, each for so long at most; then
    all of it is there, or nothing is.
    """
    if wait is None:
        rows = _locked(connection, known, skip=True)
    else:
        try:
            with waiting_at_most(connection, wait):
                rows = _locked(connection, known, skip=False)
        except StillLocked:
            return {}
    unanswered = {
        each.claim.work_id for each in attempts if each.judged.outcome is not Outcome.VALID
    }
    _look_around(
        connection,
        [row for row in rows.values() if row.terms.mode is Mode.LAMBDA or row.id in unanswered],
        now,
    )
    return rows


def _locked(
    connection: Connection, known: Mapping[WorkId, WorkTerms], *, skip: bool
) -> dict[WorkId, LockedWork]:
    rows = connection.execute(_locking(skip=skip), {"ids": list(known)}).all()
    items: dict[ItemId, LockedItem] = {}
    shown: dict[ItemId, tuple[ResultId, int]] = {}
    locked: dict[WorkId, LockedWork] = {}
    for (
        id_,
        item_id,
        state,
        claim_no,
        failures,
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
                shown[item_id] = result_id, newest
        common = known[id_]
        is_newest = common.revision == newest
        locked[id_] = LockedWork(
            id_, item_id, state, claim_no, failures, alone, rescued, is_newest, common, of_item
        )
    _show(connection, items, shown)
    return locked


@cache
def _locking(*, skip: bool) -> Select[*tuple[Any, ...]]:
    """The work of :ids beside its items, locked; `skip`: but for what others hold."""
    return (
        select(
            work.c.id,
            work.c.item_id,
            work.c.state,
            work.c.claim_no,
            work.c.failures,
            work.c.alone,
            work.c.rescued,
            item.c.revision,
            item.c.key,
            item.c.settled_at.is_not(None),
            item.c.canceled_at.is_not(None),
            or_(item.c.forgotten_at.is_not(None), item.c.emptied_at.is_not(None)),
            item.c.answered_at.is_not(None),
            item.c.ack,
            item.c.result_id,
        )
        .join(item, item.c.id == work.c.item_id)
        .where(work.c.id == any_(_ids))
        .order_by(work.c.item_id, work.c.id)
        .with_for_update(of=(item, work), key_share=True, skip_locked=skip)
    )


def _show(
    connection: Connection,
    items: Mapping[ItemId, LockedItem],
    shown: Mapping[ItemId, tuple[ResultId, int]],
) -> None:
    """These items know what is shown of them; `shown` are the results and the newest revisions, by item."""
    if not shown:
        return
    wanted = select(result.c.item_id, result.c.id, result.c.revision, result.c.output)
    for row in connection.execute(
        wanted.where(one_of([id_ for id_, _ in shown.values()], result.c.id))
    ).all():
        of_item = items[row.item_id]
        of_item.shown = ShownResult(row.output, row.id)
        of_item.is_earlier = row.revision != shown[row.item_id][1]


def _look_around(connection: Connection, rows: Sequence[LockedWork], now: datetime) -> None:
    """These rows' items know what else is owed for them, when they are due, and why they are where they are; and the rows,
    whether a batch would be soon enough."""
    of_items = {row.item_id: row.of_item for row in rows if row.terms.purpose in ANSWERING}
    if not of_items:
        return
    owed = connection.execute(
        select(work.c.id, work.c.item_id, item.c.due_at)
        .join(item, and_(item.c.id == work.c.item_id, item.c.revision == work.c.revision))
        .where(
            one_of(set(of_items), work.c.item_id),
            work.c.generation == 0,
            is_answering(),
            is_open_work(),
        )
    )
    for row in owed:
        of_item = of_items[row.item_id]
        of_item.due_at = row.due_at
        of_item.open_work.add(row.id)
    newest = (
        select(route.c.item_id, route.c.binds)
        .where(one_of(set(of_items), route.c.item_id))
        .distinct(route.c.item_id)
        .order_by(route.c.item_id, route.c.id.desc())
    )
    for row in connection.execute(newest):
        of_items[row.item_id].bound_to = row.binds
    _look_ahead(connection, [row for row in rows if row.of_item.due_at is not None], now)


def _look_ahead(connection: Connection, due: Sequence[LockedWork], now: datetime) -> None:
    """These rows know how surely a batch is back by their due times."""
    if not due:
        return
    readable = versions(connection, {row.terms.version_id for row in due})
    prospects = turnarounds.prospects(connection, now=now)
    for row in due:
        of, due_at = readable.get(row.terms.version_id), row.of_item.due_at
        if due_at is not None:
            row.chance = NONE if of is None else prospects.of(of).chance(due_at)

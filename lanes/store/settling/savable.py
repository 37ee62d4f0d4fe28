"""The work that attempts were for, beside its item as it is now: locked, so that one save at a time moves it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, select

from lanes.errors import StillLocked
from lanes.ids import ItemId, ResultId, VersionId, WorkId
from lanes.routing.route import may_wait
from lanes.settling.outcome import Attempt
from lanes.settling.settle import Obligation
from lanes.store.bulk import one_of
from lanes.store.locks import waiting_at_most
from lanes.store.tables import item, result, route, version, work
from lanes.words import Announces, Lane, Mode, Outcome, Purpose, WorkState
from lanes.workload.window import LEAD

ANSWERING = (Purpose.ANSWER, Purpose.AUTHORITATIVE)
OPEN = (WorkState.READY, WorkState.CLAIMED, WorkState.SUBMITTED)


@dataclass(frozen=True)
class WhoPays:
    """Whose work an attempt tried: what the ledger says of it. It never changes."""

    workload: str
    lane: Lane
    purpose: Purpose
    model: str


def payers(connection: Connection, attempts: Iterable[Attempt]) -> Mapping[WorkId, WhoPays]:
    """Who pays for the responses among the attempts, by id of the work. Nothing is locked."""
    billed = {each.claim.work_id for each in attempts if each.response is not None}
    if not billed:
        return {}
    rows = connection.execute(
        select(
            work.c.id, work.c.workload, work.c.lane, work.c.purpose, version.c.realtime_model, version.c.batch_model
        )
        .join(version, version.c.id == work.c.version_id)
        .where(one_of(billed, work.c.id))
    )  # fmt: skip
    return {row.id: WhoPays(row.workload, row.lane, row.purpose, _model(row)) for row in rows}


def _model(row: Any) -> str:
    """The model that the lane of the work asks."""
    return row.realtime_model if row.lane is Lane.REALTIME else row.batch_model


@dataclass
class ItemNow:
    """An item as this transaction changes it. `earlier` is what is shown of an older revision.

    `open_work` names the live work that is owed for its newest revision, `reason` why its newest route chose a lane:
    both only of items that were asked for.
    """

    settled: bool
    canceled: bool
    forgotten: bool
    answered: bool
    shown_id: ResultId | None
    provisional: dict[str, Any] | None
    earlier: dict[str, Any] | None
    due_at: datetime | None
    acknowledged: bool
    open_work: set[WorkId] = field(default_factory=set)
    reason: str | None = None


class LockedWork:
    """One locked row of work, beside its item, which it shares with other work of it."""

    def __init__(self, row: Any, of_item: ItemNow) -> None:
        self.of_item = of_item
        self.id: WorkId = row.id
        self.item_id: ItemId = row.item_id
        self.key: str = row.key
        self.workload: str = row.workload
        self.version_id: VersionId = row.version_id
        self.lane: Lane = row.lane
        self.purpose: Purpose = row.purpose
        self.revision: int = row.revision
        self.newest: int = row.newest
        self.generation: int = row.generation
        self.state: WorkState = row.state
        self.claim_no: int = row.claim_no
        self.failures: int = row.failures
        self.alone: bool = row.alone
        self.rank_at: datetime = row.rank_at
        self.mode: Mode = row.mode
        self.model = _model(row)
        self.max_failures: int = row.max_failures
        self.batch_takes = LEAD + timedelta(minutes=row.batch_expected_minutes)
        self.compare_fields: Sequence[str] = row.compare_fields
        self.announces: Announces = row.announces

    def obligation(self, now: datetime) -> Obligation:
        """What settle needs to know of it."""
        of_item = self.of_item
        return Obligation(
            purpose=self.purpose,
            lane=self.lane,
            mode=self.mode,
            failures=self.failures,
            max_failures=self.max_failures,
            is_newest_revision=self.revision == self.newest,
            item_canceled=of_item.canceled,
            item_settled=of_item.settled,
            item_answered=of_item.answered,
            others_open=bool(of_item.open_work - {self.id}),
            may_wait=may_wait(of_item.reason, of_item.due_at, batch_takes=self.batch_takes, now=now),
            compare_fields=tuple(self.compare_fields),
        )


def lock(connection: Connection, attempts: Iterable[Attempt], *, wait: timedelta | None) -> dict[WorkId, LockedWork]:
    """The work of the attempts by its id, ours until this transaction ends; the item is locked before its work.

    What another transaction holds is passed over at once. With `wait` it is waited for, each for so long at most; then
    all of it is there, or nothing is.
    """
    ids = {each.claim.work_id for each in attempts}
    if wait is None:
        rows = _locked(connection, ids, skip=True)
    else:
        try:
            with waiting_at_most(connection, wait):
                rows = _locked(connection, ids, skip=False)
        except StillLocked:
            return {}
    unanswered = {each.claim.work_id for each in attempts if each.judged.outcome is not Outcome.VALID}
    _look_around(connection, [row for row in rows.values() if row.id in unanswered or row.mode is Mode.LAMBDA])
    return rows


def _locked(connection: Connection, ids: set[WorkId], *, skip: bool) -> dict[WorkId, LockedWork]:
    rows = connection.execute(
        select(
            work.c.id, work.c.item_id, work.c.workload, work.c.version_id, work.c.lane, work.c.purpose, work.c.revision,
            work.c.generation, work.c.state, work.c.claim_no, work.c.failures, work.c.alone, work.c.rank_at,
            item.c.key, item.c.revision.label("newest"), item.c.received_at, item.c.answered_at, item.c.settled_at,
            item.c.canceled_at, item.c.forgotten_at, item.c.result_id, item.c.due_at, item.c.ack,
            version.c.mode, version.c.realtime_model, version.c.batch_model, version.c.max_failures,
            version.c.batch_expected_minutes, version.c.compare_fields, version.c.announces,
        )
        .join(item, item.c.id == work.c.item_id)
        .join(version, version.c.id == work.c.version_id)
        .where(one_of(ids, work.c.id))
        .order_by(work.c.item_id, work.c.id)
        .with_for_update(of=(item, work), key_share=True, skip_locked=skip)
    ).all()  # fmt: skip
    shown = [row.result_id for row in rows if row.result_id is not None]
    outputs: dict[ResultId, Any] = {}
    if shown:
        found = connection.execute(select(result.c.id, result.c.output, result.c.revision).where(one_of(shown, result.c.id)))
        outputs = {row.id: row for row in found}
    items: dict[ItemId, ItemNow] = {}
    for row in rows:
        if row.item_id not in items:
            shown = outputs.get(row.result_id)
            of_newest = bool(shown) and shown.revision == row.newest
            items[row.item_id] = ItemNow(
                settled=row.settled_at is not None,
                canceled=row.canceled_at is not None,
                forgotten=row.forgotten_at is not None,
                answered=row.answered_at is not None,
                shown_id=shown and shown.id,
                provisional=shown.output if shown and of_newest else None,
                earlier=shown.output if shown and not of_newest else None,
                due_at=row.due_at,
                acknowledged=row.ack,
            )
    return {row.id: LockedWork(row, items[row.item_id]) for row in rows}


def _look_around(connection: Connection, rows: Sequence[LockedWork]) -> None:
    """These rows' items know what else is owed for them, and why they are where they are."""
    of_items = {row.item_id: row.of_item for row in rows if row.purpose in ANSWERING}
    if not of_items:
        return
    owed = connection.execute(
        select(work.c.id, work.c.item_id)
        .join(item, and_(item.c.id == work.c.item_id, item.c.revision == work.c.revision))
        .where(
            one_of(set(of_items), work.c.item_id), work.c.generation == 0, work.c.purpose.in_(ANSWERING),
            work.c.state.in_(OPEN),
        )
    )  # fmt: skip
    for row in owed:
        of_items[row.item_id].open_work.add(row.id)
    newest = (
        select(route.c.item_id, route.c.reason)
        .where(one_of(set(of_items), route.c.item_id))
        .distinct(route.c.item_id)
        .order_by(route.c.item_id, route.c.id.desc())
    )
    for row in connection.execute(newest):
        of_items[row.item_id].reason = row.reason

"""Saves what attempts led to: ledger, attempts, results, corrections, item and work states, events. All or nothing."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Update, func, insert, select

from lanes.claims import Claim
from lanes.ids import BatchId, ItemId
from lanes.money.cost import Part
from lanes.settling.announcing import told_alone
from lanes.settling.outcome import Attempt, Saved, each_once
from lanes.settling.settle import Consequence, Owed, consequence
from lanes.storable import storable
from lanes.store import outbox, signals
from lanes.store.batch import homecoming
from lanes.store.bulk import insert_rows, one_of, update_rows
from lanes.store.money import ledger
from lanes.store.outbox import EventOut
from lanes.store.settling import handovers
from lanes.store.settling.handovers import HandedOver
from lanes.store.settling.savable import LockedWork, lock, payers
from lanes.store.tables import attempt, correction, item, result, work
from lanes.words import Lane, Outcome, Purpose, Standing, WorkState

OPEN = (WorkState.CLAIMED, WorkState.SUBMITTED)


def save(
    connection: Connection, attempts: Sequence[Attempt], *, batch_id: BatchId | None = None, flow_run_id: UUID | None = None,
    now: datetime, wait: timedelta | None = None,
) -> Saved:  # fmt: skip
    """Every attempt had its consequence, once, and its batch counts it; those that others hold were passed over.

    A claim that is no longer the newest writes nothing but its attempt and its bill; saving an attempt twice changes
    nothing. With `wait`, what others hold is waited for, so long at most. `flow_run_id` is the run that made them.
    """
    once = [_storable(each) for each in each_once(attempts)]
    if not once:
        return Saved()
    parts = ledger.book(connection, once, payers(connection, once), batch_id=batch_id)
    rows = lock(connection, once, wait=wait)
    writes = _Writes(batch_id=batch_id, flow_run_id=flow_run_id, now=now)
    late: list[tuple[Attempt, LockedWork, Part]] = []
    for each, part in zip(once, parts, strict=True):
        row = rows.get(each.claim.work_id)
        if row is None:
            writes.saved.passed_over.append(each)
        elif row.claim_no == each.claim.number and row.state in OPEN:
            writes.in_force(each, row, part)
        else:
            late.append((each, row, part))
    recorded = _recorded(connection, [each.claim for each, _, _ in late])
    for each, row, part in late:
        if each.response is not None or _tells_something(each, row, batch_id, {*recorded, *writes.claims}):
            writes.late(each, row, part)
    writes.flush(connection, recorded)
    return writes.saved


def _storable(each: Attempt) -> Attempt:
    """The attempt with an error that can be stored: it may quote anything that the provider said."""
    error = each.judged.error
    return each if error is None else replace(each, judged=replace(each.judged, error=storable(error)))


def _recorded(connection: Connection, claims: Sequence[Claim]) -> dict[Claim, Outcome]:
    """The newest outcome of those claims that have attempts."""
    if not claims:
        return {}
    rows = connection.execute(
        select(attempt.c.work_id, attempt.c.claim_no, attempt.c.outcome)
        .where(one_of({each.work_id for each in claims}, attempt.c.work_id))
        .order_by(attempt.c.id)
    )
    return {Claim(row.work_id, row.claim_no): row.outcome for row in rows}


def _tells_something(each: Attempt, row: LockedWork, batch_id: BatchId | None, recorded: Collection[Claim]) -> bool:
    """Whether an end without a response, of a claim that is no longer in force, is news.

    It is not where the claim's end is known, nor where the work was given back since it was thought lost.
    """
    given_back = batch_id is None and row.state is WorkState.READY and row.claim_no == each.claim.number
    return each.claim not in recorded and not given_back


class _Writes:
    """Collects the rows of one save, so that each table is written once."""

    def __init__(self, *, batch_id: BatchId | None, flow_run_id: UUID | None, now: datetime) -> None:
        self.batch_id, self.flow_run_id, self.now, self.saved = batch_id, flow_run_id, now, Saved()
        self.attempts: list[tuple[Attempt, bool, dict[str, Any]]] = []  # with whether it was late
        self.work: list[dict[str, Any]] = []
        self.results: list[tuple[LockedWork, Attempt, Consequence]] = []
        self.overlays: list[tuple[LockedWork, Attempt, Consequence]] = []
        self.settled: dict[ItemId, str | None] = {}  # why an item was settled without a new result, by its id
        self.failed: dict[ItemId, str | None] = {}  # why an item failed, by its id
        self.owed: list[LockedWork] = []
        self.handed_over: list[HandedOver] = []
        self.told: list[EventOut] = []

    def in_force(self, each: Attempt, row: LockedWork, part: Part) -> None:
        """The attempt belongs to the newest claim: it moves its work and perhaps its item."""
        of_item = row.of_item
        then = consequence(
            row.obligation(self.now), each.judged, provisional=of_item.provisional, earlier=of_item.earlier, now=self.now
        )
        self._attempt(each, row, part, shown=then.standing is not None, late=False)
        row.state, row.failures, row.alone = then.work_state, then.failures, row.alone or then.alone
        if then.work_state is not WorkState.READY:
            of_item.open_work.discard(row.id)
        self.work.append(
            {
                "id": row.id, "state": then.work_state, "failures": then.failures, "alone": row.alone,
                "ready_at": then.ready_at or self.now,
                "finished_at": None if then.work_state is WorkState.READY else self.now,
            }
        )  # fmt: skip
        if then.standing is not None and row.generation > 0:
            self.overlays.append((row, each, then))
        elif then.standing is not None:
            self.results.append((row, each, then))
            row.of_item.settled = row.of_item.settled or then.settles
            row.of_item.answered = True
            if then.standing is Standing.PROVISIONAL:
                row.of_item.provisional = each.judged.output
        elif then.settles:
            row.of_item.settled = True
            self.settled[row.item_id] = then.failure
        elif then.fails:
            self.failed[row.item_id] = then.failure
            self._event("lanes.item.failed", row, reason=then.failure)
        match then.owes:
            case Owed.PASS:
                self.owed.append(row)
            case Owed.ANSWER:
                self.handed_over.append(HandedOver(row, each.judged.outcome))

    def late(self, each: Attempt, row: LockedWork, part: Part) -> None:
        """The claim is no longer in force: billed and recorded, never shown."""
        self._attempt(each, row, part, shown=False, late=True)

    @property
    def claims(self) -> set[Claim]:
        """Those that have an attempt among what is written."""
        return {each.claim for each, _, _ in self.attempts}

    def _attempt(self, each: Attempt, row: LockedWork, part: Part, *, shown: bool, late: bool) -> None:
        said = each.response
        error = None if row.of_item.forgotten else each.judged.error
        self.attempts.append(
            (each, late, {
                "work_id": row.id, "item_id": row.item_id, "claim_no": each.claim.number, "workload": row.workload,
                "lane": row.lane, "purpose": row.purpose, "outcome": each.judged.outcome, "error": error,
                "request_id": said and said.request_id, "message_id": said and said.message_id,
                "batch_id": self.batch_id, "model": said.model if said else row.model,
                "input_tokens": part.input, "output_tokens": part.output, "cache_read_tokens": part.cache_read,
                "cache_write_tokens": part.cache_write, "cost_usd": part.usd, "bound_usd": each.bound_usd,
                "shown": shown, "latency_ms": each.latency_ms, "started_at": each.started_at,
                "ended_at": each.ended_at, "flow_run_id": self.flow_run_id,
            })
        )  # fmt: skip

    def _event(self, name: str, row: LockedWork, **payload: Any) -> None:
        self.told.append(EventOut.of_workload(name, row.workload, {"key": row.key, "lane": row.lane, **payload}))

    def flush(self, connection: Connection, recorded: dict[Claim, Outcome]) -> None:
        """Everything collected is written, each table in one statement. `recorded` is what late claims had before."""
        self._flush_attempts(connection, recorded)
        if self.work:
            moved, _ = update_rows(work, self.work, key="id")
            connection.execute(moved.values(claimed_by=None, session=None, lease_until=None, batch_id=None))
        self._flush_results(connection)
        if self.overlays:
            rows = [self._result(*each) for each in self.overlays]
            connection.execute(insert_rows(result, rows).on_conflict_do_nothing())
        if self.settled:
            connection.execute(_with_failure(self.settled).values(settled_at=self.now))
        if self.failed:
            connection.execute(_with_failure(self.failed).values(failed_at=self.now))
        if self.owed:
            connection.execute(insert_rows(work, [self._authoritative(row) for row in self.owed]).on_conflict_do_nothing())
        if self.handed_over:
            handovers.save(connection, self.handed_over, now=self.now)
        outbox.add(connection, self.told, now=self.now)
        if (self.settled or self.results) and not self.told:
            signals.wake(connection)

    def _flush_attempts(self, connection: Connection, recorded: dict[Claim, Outcome]) -> None:
        """What is new is counted. A batch counts each item once: a later outcome of its claim replaces the earlier."""
        if not self.attempts:
            return
        added = insert_rows(attempt, [row for _, _, row in self.attempts]).on_conflict_do_nothing()
        names = connection.execute(added.returning(attempt.c.work_id, attempt.c.claim_no, attempt.c.message_id))
        new = {(Claim(row.work_id, row.claim_no), row.message_id) for row in names}
        counted, of_claim = Counter[Outcome](), dict(recorded)
        for each, late, _ in self.attempts:
            if each.name not in new:
                continue
            self.saved.outcomes[each.judged.outcome] += 1
            self.saved.late += late
            counted[each.judged.outcome] += 1
            if each.claim in of_claim:
                counted[of_claim[each.claim]] -= 1
            of_claim[each.claim] = each.judged.outcome
        if self.batch_id is not None:
            homecoming.count(connection, self.batch_id, counted)

    def _authoritative(self, row: LockedWork) -> dict[str, Any]:
        return {
            "item_id": row.item_id, "workload": row.workload, "version_id": row.version_id, "lane": Lane.BATCH,
            "purpose": Purpose.AUTHORITATIVE, "revision": row.revision, "state": WorkState.READY, "ready_at": self.now,
            "rank_at": self.now, "created_at": self.now,
        }  # fmt: skip

    def _result(self, row: LockedWork, each: Attempt, then: Consequence) -> dict[str, Any]:
        return {
            "item_id": row.item_id, "work_id": row.id, "version_id": row.version_id, "lane": row.lane,
            "standing": then.standing, "generation": row.generation, "revision": row.revision,
            "output": each.judged.output, "message_id": each.response and each.response.message_id,
            "created_at": self.now,
        }  # fmt: skip

    def _flush_results(self, connection: Connection) -> None:
        if not self.results:
            return
        added = insert_rows(result, [self._result(*each) for each in self.results])
        ids = {row.work_id: row.id for row in connection.execute(added.returning(result.c.work_id, result.c.id))}
        shown: dict[ItemId, dict[str, Any]] = {}  # the newest of an item, which is settled once one of them settles it
        corrections: list[dict[str, Any]] = []
        for row, _, then in self.results:
            result_id = ids[row.id]
            settles = then.settles or bool(shown.get(row.item_id, {}).get("settled_at"))
            shown[row.item_id] = {
                "id": row.item_id, "result_id": result_id, "answered_at": self.now,
                "settled_at": self.now if settles else None,
            }  # fmt: skip
            self.saved.answered += 1
            if told_alone(row.announces, row.lane, acknowledged=row.of_item.acknowledged):
                acknowledged = {"ack": True} if row.of_item.acknowledged else {}
                self._event("lanes.item.answered", row, standing=then.standing, **acknowledged)
            if then.correction is not None and row.of_item.shown_id is not None:
                self.saved.corrected += 1
                self._event("lanes.item.corrected", row, changed_fields=then.correction.changed_fields)
                corrections.append(
                    {
                        "item_id": row.item_id, "generation": row.generation,
                        "provisional_id": row.of_item.shown_id, "authoritative_id": result_id,
                        "changed_fields": then.correction.changed_fields, "distance": then.correction.distance,
                        "corrected_at": self.now,
                    }
                )  # fmt: skip
            row.of_item.shown_id = result_id
        now_shown, given = update_rows(item, list(shown.values()), key="id")
        connection.execute(
            now_shown.values(
                answered_at=func.coalesce(item.c.answered_at, given.c.answered_at),
                settled_at=func.coalesce(item.c.settled_at, given.c.settled_at), failed_at=None, failure=None,
            )
        )  # fmt: skip
        if corrections:
            connection.execute(insert(correction), corrections)


def _with_failure(why: dict[ItemId, str | None]) -> Update:
    rows = [{"id": item_id, "failure": failure} for item_id, failure in why.items()]
    return update_rows(item, rows, key="id")[0]

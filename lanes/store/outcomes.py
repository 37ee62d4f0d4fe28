"""Saves what attempts led to: ledger, attempts, results, corrections, item and work states, events. All or nothing."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Update, func, insert, select

from lanes.outcome import Attempt
from lanes.settle import Consequence, Obligation, consequence
from lanes.store import ledger
from lanes.store.bulk import insert_rows, one_of, update_rows
from lanes.store.ledger import Part
from lanes.store.tables import attempt, correction, event_outbox, item, result, version, work
from lanes.words import Lane, Mode, Outcome, Purpose, Standing, WorkState

OPEN = (WorkState.CLAIMED, WorkState.SUBMITTED)


@dataclass
class Saved:
    """What was written: attempts by outcome, and how many of them were late and only booked."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    answered: int = 0
    corrected: int = 0
    late: int = 0


def save(connection: Connection, attempts: Sequence[Attempt], *, batch_id: int | None = None, now: datetime) -> Saved:
    """Every attempt had its consequence, once.

    A claim that is no longer the newest writes nothing but its attempt and its bill; saving the same response
    twice changes nothing.
    """
    if not attempts:
        return Saved()
    rows = _locked(connection, attempts)
    booked = ledger.book(connection, attempts, rows, batch_id=batch_id)
    writes = _Writes(batch_id=batch_id, now=now)
    for each, part in zip(attempts, booked.parts, strict=True):
        row = rows[each.claim.work_id]
        if row.claim_no == each.claim.number and row.state in OPEN:
            writes.in_force(each, row, part)
        elif each.response is not None and each.response.message_id in booked.new:
            writes.late(each, row, part)
    writes.flush(connection)
    return writes.saved


def _locked(connection: Connection, attempts: Sequence[Attempt]) -> dict[int, "_Row"]:
    """The work of the attempts with its item's standing, locked in one order so that savers never deadlock."""
    rows = connection.execute(
        select(
            work.c.id, work.c.item_id, work.c.workload, work.c.version_id, work.c.lane, work.c.purpose, work.c.revision,
            work.c.generation, work.c.state, work.c.claim_no, work.c.failures,
            item.c.key, item.c.revision.label("newest"), item.c.received_at, item.c.answered_at, item.c.settled_at,
            item.c.canceled_at, item.c.result_id, version.c.spec,
        )
        .join(item, item.c.id == work.c.item_id)
        .join(version, version.c.id == work.c.version_id)
        .where(one_of({each.claim.work_id for each in attempts}, work.c.id))
        .order_by(work.c.item_id, work.c.id)
        .with_for_update(of=(item, work))
    ).all()  # fmt: skip
    shown = [row.result_id for row in rows if row.result_id is not None]
    outputs: dict[int, Any] = {}
    if shown:
        found = connection.execute(
            select(result.c.id, result.c.output, result.c.revision).where(one_of(shown, result.c.id))
        )
        outputs = {row.id: row for row in found}
    items: dict[int, _Item] = {}
    for row in rows:
        if row.item_id not in items:
            shown = outputs.get(row.result_id)
            of_newest = bool(shown) and shown.revision == row.newest
            items[row.item_id] = _Item(
                settled=row.settled_at is not None,
                canceled=row.canceled_at is not None,
                answered=row.answered_at is not None,
                shown_id=shown and shown.id,
                provisional=shown.output if shown and of_newest else None,
                earlier=shown.output if shown and not of_newest else None,
            )
    return {row.id: _Row(row, items[row.item_id]) for row in rows}


@dataclass
class _Item:
    """An item's standing as this transaction changes it. `earlier` is what is shown of an older revision."""

    settled: bool
    canceled: bool
    answered: bool
    shown_id: int | None
    provisional: dict[str, Any] | None
    earlier: dict[str, Any] | None


class _Row:
    """One locked row of work, beside the shared standing of its item."""

    def __init__(self, row: Any, of_item: _Item) -> None:
        self.of_item = of_item
        self.id: int = row.id
        self.item_id: int = row.item_id
        self.key: str = row.key
        self.workload: str = row.workload
        self.version_id: int = row.version_id
        self.lane = Lane(row.lane)
        self.purpose = Purpose(row.purpose)
        self.revision: int = row.revision
        self.newest: int = row.newest
        self.generation: int = row.generation
        self.state: str = row.state
        self.claim_no: int = row.claim_no
        self.failures: int = row.failures
        self.spec: dict[str, Any] = row.spec

    @property
    def model(self) -> str:
        """The model its lane asks."""
        return self.spec["realtime_model" if self.lane is Lane.REALTIME else "batch_model"]

    def obligation(self) -> Obligation:
        """What settle needs to know of it."""
        return Obligation(
            purpose=self.purpose,
            lane=self.lane,
            mode=Mode(self.spec["mode"]),
            failures=self.failures,
            max_failures=self.spec["max_failures"],
            is_newest_revision=self.revision == self.newest,
            item_canceled=self.of_item.canceled,
            item_settled=self.of_item.settled,
            compare_fields=tuple(self.spec["compare_fields"]),
        )


class _Writes:
    """Collects the rows of one save, so that each table is written once."""

    def __init__(self, *, batch_id: int | None, now: datetime) -> None:
        self.batch_id, self.now, self.saved = batch_id, now, Saved()
        self.attempts: list[dict[str, Any]] = []
        self.work: list[dict[str, Any]] = []
        self.results: list[tuple[_Row, Attempt, Consequence]] = []
        self.overlays: list[tuple[_Row, Attempt, Consequence]] = []
        self.settled: dict[int, str | None] = {}  # why an item was settled without a new result, by its id
        self.failed: dict[int, str | None] = {}  # why an item failed, by its id
        self.owed: list[_Row] = []
        self.events: list[dict[str, Any]] = []

    def in_force(self, each: Attempt, row: _Row, part: Part) -> None:
        """The attempt belongs to the newest claim: it moves its work and perhaps its item."""
        of_item = row.of_item
        then = consequence(
            row.obligation(), each.judged, provisional=of_item.provisional, earlier=of_item.earlier, now=self.now
        )
        self._attempt(each, row, part, shown=then.standing is not None)
        row.state, row.failures = then.work_state, then.failures
        self.work.append(
            {
                "id": row.id, "state": then.work_state, "failures": then.failures,
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
        if then.owes_authoritative:
            self.owed.append(row)

    def late(self, each: Attempt, row: _Row, part: Part) -> None:
        """The claim was superseded: billed and recorded, never shown."""
        self.saved.late += 1
        self._attempt(each, row, part, shown=False)

    def _attempt(self, each: Attempt, row: _Row, part: Part, *, shown: bool) -> None:
        said = each.response
        self.saved.outcomes[each.judged.outcome] += 1
        self.attempts.append(
            {
                "work_id": row.id, "item_id": row.item_id, "claim_no": each.claim.number, "workload": row.workload,
                "lane": row.lane, "purpose": row.purpose, "outcome": each.judged.outcome, "error": each.judged.error,
                "request_id": said and said.request_id, "message_id": said and said.message_id,
                "batch_id": self.batch_id, "model": said.model if said else row.model,
                "input_tokens": part.input, "output_tokens": part.output, "cache_read_tokens": part.cache_read,
                "cache_write_tokens": part.cache_write, "cost_usd": part.usd, "bound_usd": each.bound_usd,
                "shown": shown, "latency_ms": each.latency_ms, "started_at": each.started_at,
                "ended_at": each.ended_at,
            }
        )  # fmt: skip

    def _event(self, name: str, row: _Row, **payload: Any) -> None:
        self.events.append(
            {
                "event": name, "resource": f"lanes.workload.{row.workload}",
                "payload": {"key": row.key, "lane": row.lane, **payload}, "occurred_at": self.now,
            }
        )  # fmt: skip

    def flush(self, connection: Connection) -> None:
        """Everything collected is written, each table in one statement."""
        if self.attempts:
            connection.execute(insert_rows(attempt, self.attempts))
        if self.work:
            moved, _ = update_rows(work, self.work, key="id")
            connection.execute(moved.values(claimed_by=None, lease_until=None, batch_id=None))
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
        if self.events:
            connection.execute(insert_rows(event_outbox, self.events))
            connection.execute(select(func.pg_notify("lanes", "")))

    def _authoritative(self, row: _Row) -> dict[str, Any]:
        return {
            "item_id": row.item_id, "workload": row.workload, "version_id": row.version_id, "lane": Lane.BATCH,
            "purpose": Purpose.AUTHORITATIVE if row.of_item.answered else Purpose.ANSWER, "revision": row.revision,
            "state": WorkState.READY, "ready_at": self.now, "rank_at": self.now, "created_at": self.now,
        }  # fmt: skip

    def _result(self, row: _Row, each: Attempt, then: Consequence) -> dict[str, Any]:
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
        shown: dict[int, dict[str, Any]] = {}  # the newest of an item, which is settled once one of them settles it
        corrections: list[dict[str, Any]] = []
        for row, _, then in self.results:
            result_id = ids[row.id]
            settles = then.settles or bool(shown.get(row.item_id, {}).get("settled_at"))
            shown[row.item_id] = {
                "id": row.item_id, "result_id": result_id, "answered_at": self.now,
                "settled_at": self.now if settles else None,
            }  # fmt: skip
            self.saved.answered += 1
            self._event("lanes.item.answered", row, standing=then.standing)
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


def _with_failure(why: dict[int, str | None]) -> Update:
    rows = [{"id": item_id, "failure": failure} for item_id, failure in why.items()]
    return update_rows(item, rows, key="id")[0]

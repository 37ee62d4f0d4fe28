"""Saves what attempts led to: ledger, attempts, results, corrections, item and work states, events. All or nothing."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from lanes.cost import allocate, allocate_usd
from lanes.outcome import Attempt, Response
from lanes.prices import cost, price_version
from lanes.settle import Consequence, Obligation, consequence
from lanes.store.tables import attempt, correction, event_outbox, item, response, result, version, work
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
    new = _book(connection, attempts, rows, batch_id, now)
    parts = _parts(attempts, rows, now)
    writes = _Writes(batch_id=batch_id, now=now)
    for each, part in zip(attempts, parts, strict=True):
        row = rows[each.claim.work_id]
        if row.claim_no == each.claim.number and row.state in OPEN:
            writes.in_force(each, row, part)
        elif each.response is not None and each.response.message_id in new:
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
        .where(work.c.id.in_({each.claim.work_id for each in attempts}))
        .order_by(work.c.item_id, work.c.id)
        .with_for_update(of=(item, work))
    ).all()  # fmt: skip
    shown = [row.result_id for row in rows if row.result_id is not None]
    outputs: dict[int, Any] = {}
    if shown:
        found = connection.execute(
            select(result.c.id, result.c.output, result.c.revision).where(result.c.id.in_(shown))
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


@dataclass(frozen=True)
class _Part:
    """An attempt's part of its response's tokens and cost."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    usd: Any = 0


def _book(
    connection: Connection, attempts: Sequence[Attempt], rows: dict[int, _Row], batch_id: int | None, now: datetime
) -> set[str]:
    """The ids of the responses that were not in the ledger before; all of them are now."""
    sharers = Counter(each.response.message_id for each in attempts if each.response is not None)
    booked: dict[str, dict[str, Any]] = {}
    for each in attempts:
        if each.response is None or each.response.message_id in booked:
            continue
        said, row = each.response, rows[each.claim.work_id]
        booked[said.message_id] = {
            "message_id": said.message_id, "workload": row.workload, "lane": row.lane, "purpose": row.purpose,
            "model": said.model, "batch_id": batch_id, "items": sharers[said.message_id],
            "input_tokens": said.usage.input, "output_tokens": said.usage.output,
            "cache_read_tokens": said.usage.cache_read, "cache_write_tokens": said.usage.cache_write,
            "cost_usd": _usd(said, row, each.ended_at), "price_version": price_version(), "billed_at": each.ended_at,
        }  # fmt: skip
    if not booked:
        return set()
    added = connection.execute(
        upsert(response).on_conflict_do_nothing().returning(response.c.message_id), list(booked.values())
    )
    return set(added.scalars())


def _usd(said: Response, row: _Row, at: datetime) -> Decimal:
    """What the response cost: by the model it names, or else by the one we asked, whose price is known."""
    try:
        return cost(said.usage, model=said.model, lane=row.lane, at=at)
    except LookupError:
        return cost(said.usage, model=row.model, lane=row.lane, at=at)


def _parts(attempts: Sequence[Attempt], rows: dict[int, _Row], now: datetime) -> list[_Part]:
    """Each attempt's part; the parts of one response sum exactly to it."""
    members: dict[str, list[int]] = {}
    for index, each in enumerate(attempts):
        if each.response is not None:
            members.setdefault(each.response.message_id, []).append(index)
    parts = [_Part()] * len(attempts)
    for indexes in members.values():
        first = attempts[indexes[0]]
        assert first.response is not None
        usage, even = first.response.usage, [1] * len(indexes)
        dollars = _usd(first.response, rows[first.claim.work_id], first.ended_at)
        split = zip(
            indexes, allocate(usage.input, even), allocate(usage.output, even), allocate(usage.cache_read, even),
            allocate(usage.cache_write, even), allocate_usd(dollars, even), strict=True,
        )  # fmt: skip
        for index, *amounts in split:
            parts[index] = _Part(*amounts)
    return parts


class _Writes:
    """Collects the rows of one save, so that each table is written once."""

    def __init__(self, *, batch_id: int | None, now: datetime) -> None:
        self.batch_id, self.now, self.saved = batch_id, now, Saved()
        self.attempts: list[dict[str, Any]] = []
        self.work: list[dict[str, Any]] = []
        self.results: list[tuple[_Row, Attempt, Consequence]] = []
        self.overlays: list[tuple[_Row, Attempt, Consequence]] = []
        self.settled: list[dict[str, Any]] = []
        self.failed: list[dict[str, Any]] = []
        self.owed: list[_Row] = []
        self.events: list[dict[str, Any]] = []

    def in_force(self, each: Attempt, row: _Row, part: _Part) -> None:
        """The attempt belongs to the newest claim: it moves its work and perhaps its item."""
        of_item = row.of_item
        then = consequence(
            row.obligation(), each.judged, provisional=of_item.provisional, earlier=of_item.earlier, now=self.now
        )
        self._attempt(each, row, part, shown=then.standing is not None)
        row.state, row.failures = then.work_state, then.failures
        self.work.append(
            {
                "work": row.id, "state": then.work_state, "failures": then.failures,
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
            self.settled.append({"item": row.item_id, "failure": then.failure})
        elif then.fails:
            self.failed.append({"item": row.item_id, "failure": then.failure})
            self._event("lanes.item.failed", row, reason=then.failure)
        if then.owes_authoritative:
            self.owed.append(row)

    def late(self, each: Attempt, row: _Row, part: _Part) -> None:
        """The claim was superseded: billed and recorded, never shown."""
        self.saved.late += 1
        self._attempt(each, row, part, shown=False)

    def _attempt(self, each: Attempt, row: _Row, part: _Part, *, shown: bool) -> None:
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
            connection.execute(insert(attempt), self.attempts)
        if self.work:
            connection.execute(
                update(work).where(work.c.id == bindparam("work")).values(
                    state=bindparam("state"), failures=bindparam("failures"), ready_at=bindparam("ready_at"),
                    finished_at=bindparam("finished_at"), claimed_by=None, lease_until=None, batch_id=None,
                ),
                self.work,
            )  # fmt: skip
        self._flush_results(connection)
        if self.overlays:
            connection.execute(upsert(result).on_conflict_do_nothing(), [self._result(*each) for each in self.overlays])
        if self.settled:
            connection.execute(
                update(item).where(item.c.id == bindparam("item")).values(
                    settled_at=self.now, failure=bindparam("failure")
                ),
                self.settled,
            )  # fmt: skip
        if self.failed:
            connection.execute(
                update(item).where(item.c.id == bindparam("item")).values(
                    failed_at=self.now, failure=bindparam("failure")
                ),
                self.failed,
            )  # fmt: skip
        if self.owed:
            connection.execute(upsert(work).on_conflict_do_nothing(), [self._authoritative(row) for row in self.owed])
        if self.events:
            connection.execute(insert(event_outbox), self.events)
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
        added = connection.execute(
            insert(result).returning(result.c.id, sort_by_parameter_order=True),
            [self._result(*each) for each in self.results],
        ).scalars().all()
        shown: list[dict[str, Any]] = []
        corrections: list[dict[str, Any]] = []
        for result_id, (row, _, then) in zip(added, self.results, strict=True):
            shown.append({"item": row.item_id, "result": result_id, "settled": self.now if then.settles else None})
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
        connection.execute(
            update(item).where(item.c.id == bindparam("item")).values(
                result_id=bindparam("result"), answered_at=func.coalesce(item.c.answered_at, self.now),
                settled_at=func.coalesce(item.c.settled_at, bindparam("settled")), failed_at=None, failure=None,
            ),
            shown,
        )  # fmt: skip
        if corrections:
            connection.execute(insert(correction), corrections)

"""Saves of attempts with their consequences in one transaction: ledger, attempts, results, corrections, states and events."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, literal, select, update
from sqlalchemy.dialects.postgresql import insert

from lanes.ids import BatchId, ItemId, WorkId
from lanes.json_data import replace_unstorable
from lanes.money.cost import BillPart
from lanes.packing import Claim
from lanes.routing.route import fall_back
from lanes.settling.outcome import Attempt, SaveResult, drop_repeats
from lanes.settling.settle import BatchDebt, Consequence, consequence, is_announced_alone
from lanes.store.batch import collection
from lanes.store.batch.creates import LostWork
from lanes.store.money import ledger
from lanes.store.realtime import paid_claims
from lanes.store.routing import routes
from lanes.store.settling import comparisons, refusals
from lanes.store.settling.comparisons import LoneAnswer, PackedAnswer
from lanes.store.settling.savable import LockedWork, ShownResult, find_lost_by_leases, lock, terms
from lanes.store.settling.writing import write
from lanes.store.statements import is_, one_of
from lanes.store.states import is_answering
from lanes.store.tables import attempt, batch, work
from lanes.store.workload import golden
from lanes.store.workload.workloads import versions
from lanes.words import LIVE_CLAIM, OUTSIDE_BATCHES, Lane, Mode, Outcome, Purpose, WorkState

Held = tuple[Attempt, LockedWork, BillPart]  # an attempt, its locked work, its share of the bill


def save(
    connection: Connection,
    attempts: Sequence[Attempt],
    *,
    batch_id: BatchId | None = None,
    flow_run_id: UUID | None = None,
    now: datetime,
    wait: timedelta | None = None,
) -> SaveResult:
    """Save the attempts with their consequences, each once; skip attempts whose rows other transactions have locked.

    For a claim that is no longer in force, only the attempt and its bill are written; an exception is a valid answer whose item
    still needs one because the lease was lost. For archived work, only the bill is written. Saving an attempt twice changes
    nothing. With `wait`, each locked row is waited for at most that long. `flow_run_id` is the run that made the attempts.
    """
    unique_attempts = [_storable(each) for each in drop_repeats(attempts)]
    if not unique_attempts:
        return SaveResult()
    terms_by_work = terms(connection, unique_attempts)
    archived = [each for each in unique_attempts if each.claim.work_id not in terms_by_work]
    if archived:
        unique_attempts = [each for each in unique_attempts if each.claim.work_id in terms_by_work]
        _book_archived(connection, archived, batch_id)
    if not unique_attempts:
        return SaveResult(archived=len(archived))
    booked = ledger.book(connection, unique_attempts, terms_by_work, batch_id=batch_id)
    unique_attempts, stopped = refusals.weigh(
        connection, booked.attempts, terms_by_work, flow_run_id=flow_run_id, now=now
    )
    rows = lock(connection, unique_attempts, terms_by_work, now=now, wait=wait)
    writes = _Writes(now, batch_id)
    writes.saved.stopped, writes.saved.apart = stopped, booked.apart
    writes.saved.archived = len(archived)
    current, late = list[Held](), list[Held]()
    for each, part in zip(unique_attempts, booked.parts, strict=True):
        row = rows.get(each.claim.work_id)
        if row is None:
            writes.saved.passed_over.append(each)
        else:
            (current if _is_in_force(each, row) else late).append((each, row, part))
    recorded, booked_before = _read_recorded(connection, [each.claim for each, _, _ in late])
    failed = [row.id for _, row, _ in late if row.state is WorkState.FAILED]
    lost_work = find_lost_by_leases(connection, failed)
    leftovers = list[Held]()
    # Late answers must come first: a newer failure must not fail an item that has an answer.
    for each, row, part in late:
        is_news = (
            each.response is None or (each.claim, each.response.message_id) not in booked_before
        )
        if batch_id is None and is_news and _settles_late(each, row, lost_work):
            writes.apply_in_force(each, row, part, late=True)
        else:
            leftovers.append((each, row, part))
    for each, row, part in current:
        if _is_in_force(each, row):
            writes.apply_in_force(each, row, part)
        else:
            leftovers.append((each, row, part))
    for each, row, part in leftovers:
        if each.response is not None or _is_news(each, row, batch_id, {*recorded, *writes.claims}):
            writes.late(each, row, part)
    writes.flush(connection, recorded, flow_run_id=flow_run_id)
    over = (row for each, row, _ in (*late, *leftovers) if row.claim_no == each.claim.number)
    ended = {row.id for row in over if row.state is not WorkState.READY}
    paid_claims.end_reserves(connection, sorted(ended))
    return writes.saved


def _is_in_force(each: Attempt, row: LockedWork) -> bool:
    return row.claim_no == each.claim.number and row.state in LIVE_CLAIM


def _book_archived(
    connection: Connection, archived: Sequence[Attempt], batch_id: BatchId | None
) -> None:
    """Book the responses to archived work, with the version that was tried."""
    wanted = select(batch.c.version_id).where(batch.c.id == batch_id)
    of_batch = None if batch_id is None else connection.execute(wanted).scalar()
    tried = {each.claim.work_id: each.version_id or of_batch for each in archived if each.response}
    known = versions(connection, {id_ for id_ in tried.values() if id_ is not None})
    payers = {of: LostWork(known[id_]) for of, id_ in tried.items() if id_ and id_ in known}
    paid = [each for each in archived if each.claim.work_id in payers]
    ledger.book(connection, paid, payers, batch_id=batch_id)


def _storable(each: Attempt) -> Attempt:
    """Return the attempt with an error text that the database can store: characters that it refuses are replaced."""
    error = each.judged.error
    if error is None:
        return each
    return each._replace(judged=each.judged._replace(error=replace_unstorable(error)))


def _read_recorded(
    connection: Connection, claims: Sequence[Claim]
) -> tuple[dict[Claim, Outcome], set[tuple[Claim, str | None]]]:
    """Return the newest outcome of each claim that has attempts, and the (claim, message id) pairs of these attempts."""
    if not claims:
        return {}, set()
    columns = attempt.c.work_id, attempt.c.claim_no, attempt.c.outcome, attempt.c.message_id
    rows = connection.execute(
        select(*columns)
        .where(one_of({each.work_id for each in claims}, attempt.c.work_id))
        .order_by(attempt.c.id)
    )
    of = [(Claim(row.work_id, row.claim_no), row) for row in rows]
    return {claim: row.outcome for claim, row in of}, {(claim, row.message_id) for claim, row in of}


def _settles_late(each: Attempt, row: LockedWork, lost: Collection[WorkId]) -> bool:
    """Return whether a late answer counts although its claim is no longer in force.

    A valid real-time answer was paid for, so it counts if its item still needs one. `lost` is the work that failed only by lost
    leases.
    """
    if each.judged.outcome is not Outcome.VALID or row.terms.lane is not Lane.REALTIME:
        return False
    needed = row.state in OUTSIDE_BATCHES or row.id in lost
    return needed and row.is_newest_revision and not (row.of_item.canceled or row.of_item.settled)


def _is_news(
    each: Attempt, row: LockedWork, batch_id: BatchId | None, recorded: Collection[Claim]
) -> bool:
    """Return whether an attempt without a response adds information about a claim that is no longer in force.

    False if the claim's end is already recorded, or if the work was given back after its claim was assumed lost.
    """
    is_newest = row.claim_no == each.claim.number
    given_back = batch_id is None and row.state is WorkState.READY and is_newest
    return each.claim not in recorded and not given_back


class _Writes:
    """The writes of one save: one row per attempt, in the format of `writing.GIVEN`, and the follow-up work."""

    def __init__(self, now: datetime, batch_id: BatchId | None) -> None:
        self.now, self.batch_id, self.saved = now, batch_id, SaveResult()
        self.given: list[dict[str, Any]] = []
        # The attempts of the rows, in the same order, each with whether it was late.
        self.attempts: list[tuple[Attempt, bool]] = []
        self.owed: list[WorkId] = []
        self.handed_over: list[tuple[LockedWork, Outcome]] = []
        self.rescued: list[ItemId] = []  # settled items whose other lane may have waiting work
        self._packed: list[PackedAnswer] = []
        self._alone: list[LoneAnswer] = []
        self._golden: list[tuple[WorkId, Any]] = []
        self._answers: dict[tuple[Any, ...], Consequence] = {}

    def apply_in_force(
        self, each: Attempt, row: LockedWork, part: BillPart, *, late: bool = False
    ) -> None:
        """Add an attempt of the claim in force, or a `late` answer that counts: it changes its work and perhaps its item."""
        then, of_item, output = self._consequence(each, row), row.of_item, each.judged.output
        row.state, row.failures, row.alone = then.work_state, then.failures, row.alone or then.alone
        values = self._attempt(each, row, part, late=late)
        values |= {"state": then.work_state, "failures": then.failures, "alone": row.alone}
        if then.ready_at is not None:
            values["ready_at"] = then.ready_at
        if then.work_state is not WorkState.READY:
            of_item.open_work.discard(row.id)
        if then.standing is not None:
            values |= {"standing": then.standing, "output": output}
            if row.terms.generation == 0:
                self._show_answer(values, each, row, then)
                self._note_pack(each, row)
        elif then.settles:
            of_item.settled = True
            values |= {"moves_item": True, "settles": True, "failure": then.failure}
        elif then.fails:
            values |= {"moves_item": True, "fails": True, "failure": then.failure}
        # A late answer counts too: after the lost claim, the item may have been routed to a batch.
        if then.settles and (row.rescued or late):
            self.rescued.append(row.item_id)
        elif row.terms.purpose is Purpose.GOLDEN and output is not None:
            self._golden.append((row.id, output))
        elif row.terms.purpose is Purpose.SHADOW and output is not None and row.is_newest_revision:
            self._alone.append(LoneAnswer(row.id, output, row.terms.compare_fields))
        match then.owes:
            case BatchDebt.PASS:
                self.owed.append(row.id)
            case BatchDebt.ANSWER:
                self.handed_over.append((row, each.judged.outcome))

    def late(self, each: Attempt, row: LockedWork, part: BillPart) -> None:
        """Add an attempt whose claim is no longer in force: it is billed, and its answer is never shown."""
        given = self._attempt(each, row, part, late=True)
        if each.version_id is not None:
            given["tried_with"] = each.version_id

    @property
    def claims(self) -> set[Claim]:
        """The claims that have an attempt among the writes."""
        return {each.claim for each, _ in self.attempts}

    def _consequence(self, each: Attempt, row: LockedWork) -> Consequence:
        """Return the consequence of an attempt; valid answers that cannot correct anything share one cached consequence."""
        of_item, judged = row.of_item, each.judged
        may_correct = row.terms.mode is Mode.LAMBDA or of_item.shown is not None
        if may_correct or judged.outcome is not Outcome.VALID:
            shown = {"provisional": of_item.provisional, "earlier": of_item.earlier}
            return consequence(row.obligation(judged.output or {}), judged, **shown, now=self.now)
        alike = (row.terms, row.failures, row.is_newest_revision, of_item.canceled, of_item.settled)
        then = self._answers.get(alike)
        if then is None:
            owed = row.obligation({})
            then = self._answers[alike] = consequence(owed, judged, provisional=None, now=self.now)
        return then

    def _show_answer(
        self, values: dict[str, Any], each: Attempt, row: LockedWork, then: Consequence
    ) -> None:
        """Make this answer the one that the item shows, with its correction if there is one."""
        of_item, terms, values["moves_item"] = row.of_item, row.terms, True
        self.saved.answered += 1
        values["acknowledged"] = known = of_item.acknowledged
        values["told"] = is_announced_alone(terms.announces, terms.lane, acknowledged=known)
        if then.settles:
            values["settles"] = True
        if then.correction is not None and of_item.shown is not None:
            self.saved.corrected += 1
            values |= {
                "changed_fields": then.correction.changed_fields,
                "distance": then.correction.distance,
                "provisional_id": of_item.shown.result_id,
                "provisional_of": of_item.shown.of_work,
            }
        of_item.settled = of_item.settled or then.settles
        of_item.answered = True
        of_item.shown, of_item.is_earlier = ShownResult(each.judged.output, of_work=row.id), False

    def _note_pack(self, each: Attempt, row: LockedWork) -> None:
        """Remember an answer from a shared call, which the check of packing may sample."""
        if each.share.of > 1:
            of, key, pack = row.terms, row.of_item.key, each.share.of
            self._packed.append(PackedAnswer(row.id, of.workload, of.version_id, key, pack))

    def _attempt(
        self, each: Attempt, row: LockedWork, part: BillPart, *, late: bool
    ) -> dict[str, Any]:
        """Add the attempt as a row of the writes and return the row; missing columns are null."""
        reply, judged, claim = each.response, each.judged, each.claim
        lane = self._lane(each, row, late=late)
        values = {
            "n": len(self.given),
            "moves_item": False,
            "work_id": claim.work_id,
            "claim_no": claim.number,
            "outcome": judged.outcome,
            "lane": lane,
            "model": (reply and reply.model) or row.terms.model(lane),
            "input_tokens": part.input,
            "output_tokens": part.output,
            "cache_read_tokens": part.cache_read,
            "cache_write_tokens": part.cache_write,
            "cost_usd": part.usd,
            "bound_usd": each.bound_usd,
            "latency_ms": each.latency_ms,
            "started_at": each.started_at,
            "ended_at": each.ended_at,
        }
        if row.rescued:
            values["tried_for"] = row.terms.purpose
        if reply is not None:
            values |= {"message_id": reply.message_id, "request_id": reply.request_id}
        if each.gathered is not None:
            values |= {"gathered_ms": each.gathered.ms, "left_because": each.gathered.left}
        if judged.error is not None and not row.of_item.forgotten:
            values["error"] = judged.error
        self.given.append(values)
        self.attempts.append((each, late))
        return values

    def _lane(self, each: Attempt, row: LockedWork, *, late: bool) -> Lane:
        """Return the lane of the attempt.

        Attempts of a batch are on the batch lane, and any other response is on the real-time lane. Without a response, the
        attempt of a claim in force is on its work's current lane; a late one is on the real-time lane, unless a person gave the
        work up.
        """
        if self.batch_id is not None:
            return Lane.BATCH
        if each.response is None and (not late or each.judged.outcome is Outcome.GIVEN_UP):
            return row.terms.lane
        return Lane.REALTIME

    def flush(
        self, connection: Connection, recorded: Mapping[Claim, Outcome], *, flow_run_id: UUID | None
    ) -> None:
        """Write all collected rows and follow-up work; `recorded` has the earlier outcomes of late claims."""
        if not self.given:
            return
        fresh = not any(late for _, late in self.attempts)
        known = write(
            connection,
            self.given,
            fresh=fresh,
            batch_id=self.batch_id,
            flow_run_id=flow_run_id,
            now=self.now,
        )
        self._count(connection, known, recorded)
        if self.owed:
            _owe_passes(connection, self.owed, now=self.now)
        if self.handed_over:
            _fall_back(connection, self.handed_over, now=self.now)
        if self.rescued:
            _let_siblings_be(connection, self.rescued, now=self.now)
        if self._packed:
            comparisons.owe_checks(connection, self._packed, now=self.now)
        if self._alone:
            comparisons.weigh_lone_answers(connection, self._alone, now=self.now)
            comparisons.keep_for_rollouts(connection, self._alone, now=self.now)
        if self._golden:
            golden.keep_answers(connection, self._golden, now=self.now)

    def _count(
        self, connection: Connection, known: Collection[int], recorded: Mapping[Claim, Outcome]
    ) -> None:
        """Count the new outcomes. A batch counts each item once: a claim's later outcome replaces its earlier one."""
        new = [each for n, each in enumerate(self.attempts) if n not in known]
        counted = Counter(each.judged.outcome for each, _ in new)
        self.saved.outcomes.update(counted)
        self.saved.late += sum(late for _, late in new)
        self.saved.recorded += [each.claim for each, _ in new]
        if self.batch_id is None:
            return
        of_claim = dict(recorded)
        for each, _ in new:
            if each.claim in of_claim:
                counted[of_claim[each.claim]] -= 1
            of_claim[each.claim] = each.judged.outcome
        collection.count(connection, self.batch_id, counted)


def _owe_passes(connection: Connection, answered: Sequence[WorkId], *, now: datetime) -> None:
    """Insert the authoritative pass on the batch lane that is owed for this work, unless it is open already."""
    owed = {
        "item_id": work.c.item_id,
        "workload": work.c.workload,
        "version_id": work.c.version_id,
        "lane": literal(Lane.BATCH),
        "purpose": literal(Purpose.AUTHORITATIVE),
        "revision": work.c.revision,
        "state": literal(WorkState.READY),
        "ready_at": literal(now),
        "rank_at": literal(now),
        "waits_since": literal(now),
    }
    passes = select(*owed.values()).where(one_of(answered, work.c.id)).order_by(work.c.id)
    connection.execute(insert(work).from_select(list(owed), passes).on_conflict_do_nothing())


def _fall_back(
    connection: Connection, failed: Sequence[tuple[LockedWork, Outcome]], *, now: datetime
) -> None:
    """Route the items of this real-time work, which failed for good, to the batch lane."""
    rows = {row.id: row for row in routes.read_facts(connection, [of.id for of, _ in failed])}
    moves = [
        (rows[of.id], partial(fall_back, last=last, failures=of.failures, chance=of.chance))
        for of, last in failed
    ]
    routes.change(connection, moves, now=now)


def _let_siblings_be(connection: Connection, settled: Sequence[ItemId], *, now: datetime) -> None:
    """Cancel the ready work of these settled items; answers of open calls and batches are recorded but never shown.

    The caller has locked the items. If a drain claims such work at this moment, its answer is also only recorded.
    """
    waits = (
        select(work.c.id)
        .where(one_of(settled, work.c.item_id), is_answering(), is_(work.c.state, WorkState.READY))
        .order_by(work.c.id)
        .with_for_update(key_share=True, skip_locked=True)
        .cte("waits")
    )
    connection.execute(
        update(work)
        .where(work.c.id == waits.c.id)
        .values(state=WorkState.CANCELED, finished_at=now, batch_id=None)
    )

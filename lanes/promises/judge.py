"""What is promised, whether it is kept, and which sentence says so. Pure: measurements and `now` come in.

Too few samples break no promise and keep none: an open incident stays open until a measurement says that it is over.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from lanes.batch.tally import Tally
from lanes.promises.incident import EVERYBODY, TERMS, Promise, Severity
from lanes.units import clock, counted, seconds, share
from lanes.unquoted import discreet
from lanes.words import BatchState, Lane, Verdict
from lanes.workload.version import Version
from lanes.workload.window import Window

LEAST_SAMPLES = 20
RECENT = timedelta(minutes=15)  # what the promises of the real-time lane look at
JUDGED_FOR = timedelta(hours=24)  # how long a collected batch speaks for its workload
SETTLED_FOR = timedelta(hours=1)  # how long a failed authoritative pass is news
START_WITHIN = timedelta(minutes=10)  # of a departure: the opening of the off-peak window, and hourly while it is open
LONG_WAIT = 3  # times the promised p95: what waits longer breaks the promise by itself, however little it is
LEAST_WAIT_S = 60  # but an item that is tried again after a fault is no incident
CALM = 0.9  # a real-time incident ends below this part of its limit, so that it does not flap
FAILED_FOR = timedelta(hours=24)  # how long failed items are news
FELL_BACK_WITHIN = timedelta(days=7)  # how far back those are looked for that fell back to a batch and still wait
UNLIMITED = (Promise.AUTHORITATIVE_FAILED, Promise.ITEMS_FAILED, Promise.BATCH_INCOMPLETE)  # a limit of 0 is promised
OVER = (BatchState.COLLECTED, BatchState.SUPERSEDED, BatchState.RELEASED)  # none of its items waits for it


@dataclass(frozen=True)
class Assessment:
    """One promise, judged. `value` and `limit` are in the promise's unit; `subject` is empty or "batch 41".

    What a run met, and did not measure, says `why`; `flow_run_id` is that run, `block_id` the block that it is about.
    """

    promise: Promise
    workload: str
    verdict: Verdict
    value: float
    limit: float
    samples: int
    sentence: str
    subject: str = ""
    quiet: bool = False  # nothing at all happened for a while, and not because all of it had failed
    why: str | None = None
    flow_run_id: UUID | None = None
    block_id: UUID | None = None

    @property
    def severity(self) -> Severity:
        """Critical from a multiple of the limit on, where the promise does not say always."""
        multiple = TERMS[self.promise].critical_at
        critical = multiple == 0 or (self.limit > 0 and self.value >= self.limit * multiple)
        return Severity.CRITICAL if critical else Severity.WARNING

    @property
    def ends(self) -> bool:
        """Whether an open incident is over.

        On the real-time lane the figure must be clearly below its limit, or all is quiet and nobody is left unanswered.
        """
        if self.promise not in (Promise.REALTIME_SLOW, Promise.REALTIME_FAILING):
            return self.verdict is Verdict.PASSED
        quiet = self.verdict is Verdict.INCONCLUSIVE and self.quiet
        calm = self.verdict is Verdict.PASSED and (self.limit == 0 or self.value <= self.limit * CALM)
        return quiet or calm


@dataclass(frozen=True)
class BatchSeen:
    """A batch as it is now; counts are items, `failed` are errored, canceled, expired or missing."""

    id: int
    workload: str
    state: BatchState
    items: int
    succeeded: int
    invalid: int
    failed: int
    begun_at: datetime
    over_at: datetime | None = None
    note: str | None = None
    missing: int = 0


@dataclass(frozen=True)
class RealtimeSeen:
    """The real-time lane of a workload over the last 15 minutes.

    `p95_s` is over `answered` items, those that already wait longer than promised, `late`, and those that were
    `given_up`, whose wait goes on. `waits_s` is how long the oldest of `late` waits.
    """

    workload: str
    p95_s: float | None
    answered: int
    late: int
    attempts: int
    failed: int
    given_up: int = 0
    waits_s: float | None = None


@dataclass(frozen=True)
class WaitingSeen:
    """What waits for the batch lane: since when the oldest is ready, and when the workload's newest batch was intended."""

    workload: str
    items: int
    ready_since: datetime
    last_intended_at: datetime | None


@dataclass(frozen=True)
class SettledSeen:
    """Items that were settled on their provisional answer within the last hour, with the newest of them."""

    workload: str
    items: int
    key: str
    reason: str


@dataclass(frozen=True)
class FailedSeen:
    """Items that failed within the last 24 hours and that nobody brought back, with the newest of them."""

    workload: str
    items: int
    key: str
    reason: str


@dataclass(frozen=True)
class Seen:
    """Everything the promises are judged by.

    Of `paused` workloads only batches and failed items are judged. Of `unserved` ones, which an open incident of the
    provider explains, the real-time lane is not: one cause is one incident. Nor is, for the same reason, what waits for
    batches of those that the provider has `refused`.
    """

    batches: Sequence[BatchSeen] = ()
    realtime: Sequence[RealtimeSeen] = ()
    waiting: Sequence[WaitingSeen] = ()
    settled: Sequence[SettledSeen] = ()
    failed: Sequence[FailedSeen] = ()
    unserved: frozenset[str] = field(default_factory=frozenset)
    refused: frozenset[str] = field(default_factory=frozenset)
    paused: frozenset[str] = field(default_factory=frozenset)


def verdict(value: float | None, samples: int, limit: float, *, least: int = LEAST_SAMPLES) -> Verdict:
    """What a measurement says of its limit; a limit of 0 promises nothing and is always kept."""
    if limit == 0:
        return Verdict.PASSED
    if samples < least:
        return Verdict.INCONCLUSIVE
    if value is None or not math.isfinite(value):
        return Verdict.ERROR
    return Verdict.FAILED if value > limit else Verdict.PASSED


def assess(versions: Mapping[str, Version], seen: Seen, now: datetime) -> list[Assessment]:
    """Every promise of every published workload, judged by its version in force."""
    return [_unless_unlimited(each) for version in versions.values() for each in _of_workload(version, seen, now)]


def invalid_workload(workload: str, problems: Sequence[str], *, block_id: UUID | None = None) -> Assessment:
    """The breach that a workload's block cannot be published. Its author sees first what to correct, and where."""
    why = "; ".join(problems)
    said, faults = f'{why}. The block of workload "{workload}" cannot be published.', len(problems)
    return Assessment(Promise.WORKLOAD_INVALID, workload, Verdict.FAILED, faults, 0, faults, said, why=why, block_id=block_id)


def mended_workload(workload: str, why: str | None) -> str:
    """How that breach ended; `why` is what was wrong."""
    was = f"; it could not because of {why}" if why else ""
    return f'The block of workload "{workload}" can be published again{was}.'


def frozen(workload: str, lane: Lane, items: int, why: str, *, flow_run_id: UUID | None = None) -> Assessment:
    """The breach that the provider refuses a lane's calls until a person acts; it holds so many items back."""
    said, subject = f"Nothing is paid on the {lane} lane: {why}", f"{lane} lane"
    return Assessment(
        Promise.PROVIDER_FROZEN, workload, Verdict.FAILED, items, 0, items, said, subject, why=why, flow_run_id=flow_run_id
    )


def batch_unclear(workload: str, batch_id: int, items: int, why: str) -> Assessment:
    """The breach that a batch cannot be brought home until a person decides; it holds so many items."""
    said = (
        f"Batch {batch_id} needs a decision: {why}. It holds {counted(items, 'item')}; `lanes batches` says what adopting, "
        "resubmitting or giving it up may cost."
    )
    return Assessment(Promise.BATCH_UNCLEAR, workload, Verdict.FAILED, items, 0, items, said, of_batch(batch_id), why=why)


def of_batch(batch_id: int) -> str:
    """The subject of a batch's incidents."""
    return f"batch {batch_id}"


def provider_down(account: str, models: Sequence[str], calls: int, why: str, *, flow_run_id: UUID | None = None) -> Assessment:
    """The breach that these models of an account have answered none of the last `calls` calls."""
    said = (
        f"{' and '.join(models)} answered none of the last {counted(calls, 'real-time call')}: {why}. What asks them waits, "
        "keeps its rank and spends no retry budget."
    )
    return Assessment(
        Promise.PROVIDER_DOWN, EVERYBODY, Verdict.FAILED, calls, 0, calls, said, account, why=why, flow_run_id=flow_run_id
    )


def approval_waits(workload: str, question: str, *, limit_minutes: float, waited_minutes: float) -> Assessment:
    """The breach that a rollout asks a person to approve; `question` says what the answer decides."""
    return Assessment(Promise.APPROVAL_WAITS, workload, Verdict.FAILED, waited_minutes, limit_minutes, 1, question)


def incomplete(workload: str, batch_id: int, tally: Tally, *, flow_run_id: UUID | None = None) -> Assessment:
    """Whether every item of a collected batch has exactly one outcome, from a result of its own."""
    said = f"Each of the {counted(tally.items, 'item')} of batch {batch_id} has one outcome."
    if tally.surplus:
        said = f"Batch {batch_id} has {counted(tally.outcomes, 'outcome')} of {counted(tally.items, 'item')}."
    if tally.missing:
        lost = f"{tally.missing:,} of {counted(tally.items, 'item')} of batch {batch_id} came home without a result"
        said = f"{lost}, however often the results were read. {said if tally.surplus else ''}".rstrip()
    judged = Verdict.FAILED if tally.wrong else Verdict.PASSED
    return Assessment(
        Promise.BATCH_INCOMPLETE,
        workload,
        judged,
        tally.wrong,
        0,
        tally.items,
        said,
        of_batch(batch_id),
        flow_run_id=flow_run_id,
    )


def _unless_unlimited(judged: Assessment) -> Assessment:
    if judged.limit or judged.promise in UNLIMITED:
        return judged
    return replace(judged, sentence="This is no longer promised.")


def _of_workload(version: Version, seen: Seen, now: datetime) -> Iterator[Assessment]:
    name = version.workload
    batches = [each for each in seen.batches if each.workload == name]
    for batch in batches:
        yield _batch_slow(version, batch, now)
        if batch.state is BatchState.COLLECTED:
            yield _batch_incomplete(batch, now)
    yield _batch_share(version, Promise.BATCH_FAILING, batches, now)
    yield _batch_share(version, Promise.BATCH_INVALID, batches, now)
    yield _authoritative_failed(name, next(_of(seen.settled, name), None))
    yield _items_failed(name, next(_of(seen.failed, name), None))
    if name in seen.paused:
        return
    if name not in seen.refused:
        yield _never_started(version, next(_of(seen.waiting, name), None), now)
    if name in seen.unserved:
        return
    unanswered = any(_of(seen.failed, name))
    for realtime in _of(seen.realtime, name):
        for judged in (_realtime_slow(version, realtime), _realtime_failing(version, realtime)):
            yield replace(judged, quiet=not judged.samples and not unanswered)


def _of(all_of_them: Iterable, name: str) -> Iterator:
    return (each for each in all_of_them if each.workload == name)


def _batch_slow(version: Version, batch: BatchSeen, now: datetime) -> Assessment:
    limit = version.spec.promises.batch_max_minutes
    over = batch.state in OVER
    minutes = ((batch.over_at if over and batch.over_at else now) - batch.begun_at).total_seconds() / 60
    judged = Verdict.PASSED if over else verdict(minutes, 1, limit, least=1)
    open_for, promised = seconds(minutes * 60), seconds(limit * 60)
    match batch.state:
        case BatchState.COLLECTED:
            said = f"Batch {batch.id} came home after {open_for}; {promised} were promised."
        case BatchState.RELEASED | BatchState.SUPERSEDED:
            said = f"Batch {batch.id} was given up after {open_for}; its items are ready for the next batch."
        case _:
            said = f"Batch {batch.id} has been open for {open_for}; {promised} were promised. {_stuck_at(batch)}"
    return Assessment(Promise.BATCH_SLOW, version.workload, judged, minutes, limit, 1, said, of_batch(batch.id))


def _stuck_at(batch: BatchSeen) -> str:
    items = counted(batch.items, "item")
    match batch.state:
        case BatchState.INTENDED:
            return f"The provider never confirmed it; `collect` finds out whether it exists. It holds {items}."
        case BatchState.HELD:
            why = batch.note or "nobody knows whether it exists"
            return f"It is held for a person to decide: {why}. It holds {items}."
        case BatchState.ENDED:
            why = f": {batch.note}" if batch.note else ""
            return f"It has ended at the provider and its results are not all collected{why}. It holds {items}."
        case _:
            return f"It still runs at the provider with {items}."


def _batch_incomplete(batch: BatchSeen, now: datetime) -> Assessment:
    """As when it was closed; after a day it is news no more."""
    outcomes = batch.succeeded + batch.invalid + batch.failed
    judged = incomplete(batch.workload, batch.id, Tally(batch.items, outcomes, batch.missing))
    past = judged.verdict is Verdict.FAILED and batch.over_at is not None and now - batch.over_at > JUDGED_FOR
    return replace(judged, verdict=Verdict.PASSED, sentence=f"{judged.sentence} It is over for a day.") if past else judged


def _batch_share(version: Version, promise: Promise, batches: Sequence[BatchSeen], now: datetime) -> Assessment:
    """By the newest batch that says something: one that is over, or one that is beyond its limit already.

    What is too small to say anything is pooled with the small ones before it.
    """
    promises = version.spec.promises
    failing = promise is Promise.BATCH_FAILING
    limit = promises.batch_max_failure_percent if failing else promises.batch_max_invalid_percent
    what = "items have no answer" if failing else "answers break the output schema"
    pooled = pooled_bad = small = 0
    for batch in sorted(batches, key=lambda each: each.id, reverse=True):
        if batch.state in (BatchState.SUPERSEDED, BatchState.RELEASED) or (batch.over_at and now - batch.over_at > JUDGED_FOR):
            continue
        collected = batch.state is BatchState.COLLECTED
        bad = batch.failed if failing else batch.invalid
        of = batch.succeeded + batch.invalid if collected and not failing else batch.items
        where = f"batch {batch.id}"
        if of < LEAST_SAMPLES and collected:
            pooled, pooled_bad, small = pooled + of, pooled_bad + bad, small + 1
            bad, of, where = pooled_bad, pooled, f"the last {counted(small, 'batch')}"
        percent = 100 * bad / of if of else 0.0
        judged = verdict(percent, of, limit)
        if judged is Verdict.INCONCLUSIVE or (judged is Verdict.PASSED and not collected):
            continue
        said = f"{bad:,} of {of:,} {what} in {where}: {_percent(percent)}, and {_percent(limit)} is the limit."
        return Assessment(promise, version.workload, judged, percent, limit, of, said)
    said = f"{pooled:,} items in the batches of the last 24 hours are too few to judge."
    if not pooled or not limit:
        said = "No batch of the last 24 hours is beyond the limit."
    judged = verdict(None, pooled, limit) if pooled else Verdict.PASSED
    return Assessment(promise, version.workload, judged, 0, limit, pooled, said)


def _never_started(version: Version, waiting: WaitingSeen | None, now: datetime) -> Assessment:
    """By the departure that the oldest of what waits has missed.

    As long as batches of that departure go on leaving, a backlog is neither breach nor end.
    """
    window, limit = Window.of(version.spec), START_WITHIN.total_seconds() / 60
    departure = window.next_departure(waiting.ready_since) if waiting else now
    if waiting is None or departure >= now:
        said = "Nothing waits for the batch lane that should have left."
        return Assessment(Promise.BATCH_NEVER_STARTED, version.workload, Verdict.PASSED, 0, limit, 1, said)
    left = waiting.last_intended_at
    leaving = left is not None and departure <= left < window.next_departure(departure)
    minutes = (now - (left if left is not None and leaving else departure)).total_seconds() / 60
    wait, newest = ("waits", "it") if waiting.items == 1 else ("wait", "the oldest")
    said = (
        f"{counted(waiting.items, 'item')} {wait} for the batch lane; {newest} should have left at "
        f"{clock(departure, beside=now)}."
    )
    if left is not None:
        said += f" The newest batch left at {clock(left, beside=now)}."
    judged = verdict(minutes, 1, limit, least=1)
    if judged is Verdict.PASSED and now - departure > START_WITHIN:
        judged = Verdict.INCONCLUSIVE
    return Assessment(Promise.BATCH_NEVER_STARTED, version.workload, judged, minutes, limit, waiting.items, said)


def _realtime_slow(version: Version, seen: RealtimeSeen) -> Assessment:
    limit, samples = version.spec.promises.realtime_p95_s, seen.answered + seen.late + seen.given_up
    waits_s = seen.waits_s or 0
    if samples:
        said = (
            f"The p95 from received to answered is {seconds(seen.p95_s)} over the last 15 minutes "
            f"({counted(seen.answered, 'answer')}); {seconds(limit)} were promised."
        )
        if seen.late:
            said += f" {counted(seen.late, 'item')} already {'waits' if seen.late == 1 else 'wait'} longer than that"
            said += f", for up to {seconds(waits_s)}." if waits_s else "."
        if seen.given_up:
            said += f" {counted(seen.given_up, 'item')} {'was' if seen.given_up == 1 else 'were'} given up."
    else:
        said = "Nothing was answered in the last 15 minutes and nothing waits longer than promised."
    judged, value = verdict(seen.p95_s, samples, limit), seen.p95_s or 0
    if limit and judged is not Verdict.FAILED and waits_s > max(LONG_WAIT * limit, LEAST_WAIT_S):
        judged, value = Verdict.FAILED, waits_s
    return Assessment(Promise.REALTIME_SLOW, version.workload, judged, value, limit, samples, said)


def _realtime_failing(version: Version, seen: RealtimeSeen) -> Assessment:
    limit = version.spec.promises.realtime_max_error_percent
    percent = 100 * seen.failed / seen.attempts if seen.attempts else 0.0
    said = "Nothing was tried in the last 15 minutes."
    if seen.attempts:
        said = (
            f"{seen.failed:,} of {counted(seen.attempts, 'attempt')} of the last 15 minutes failed: "
            f"{_percent(percent)}, and {_percent(limit)} is the limit."
        )
    judged = verdict(percent, seen.attempts, limit)
    return Assessment(Promise.REALTIME_FAILING, version.workload, judged, percent, limit, seen.attempts, said)


def _authoritative_failed(name: str, seen: SettledSeen | None) -> Assessment:
    if seen is None:
        said = "No authoritative pass has failed for good in the last hour."
        return Assessment(Promise.AUTHORITATIVE_FAILED, name, Verdict.PASSED, 0, 0, 0, said)
    keeps = "keeps its" if seen.items == 1 else "keep their"
    said = (
        f"{counted(seen.items, 'item')} of the last hour {keeps} provisional answer because the authoritative pass "
        f'failed for good. The newest is "{seen.key}": {discreet(seen.reason)}'
    )
    return Assessment(Promise.AUTHORITATIVE_FAILED, name, Verdict.FAILED, seen.items, 0, seen.items, said)


def _items_failed(name: str, seen: FailedSeen | None) -> Assessment:
    if seen is None:
        said = "No item that failed within the last 24 hours is still without an answer."
        return Assessment(Promise.ITEMS_FAILED, name, Verdict.PASSED, 0, 0, 0, said)
    said = (
        f"{counted(seen.items, 'item')} failed within the last 24 hours; `lanes retry {name} --all` tries "
        f'{"it" if seen.items == 1 else "them"} again. The newest is "{seen.key}": {discreet(seen.reason)}'
    )
    return Assessment(Promise.ITEMS_FAILED, name, Verdict.FAILED, seen.items, 0, seen.items, said)


def _percent(percent: float) -> str:
    return share(percent / 100)

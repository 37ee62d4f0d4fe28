"""Promises about batches: they leave in time, run in time, and return a usable answer for every item.

This module also summarizes the health of the batch lane for all reports.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from lanes.batch.batch import Tally
from lanes.ids import BatchId
from lanes.promises import assessment
from lanes.promises.assessment import (
    BATCH,
    LEAST_CLEAN,
    REALTIME,
    Assessment,
    share_verdict,
    verdict,
)
from lanes.promises.incident import (
    EVERYBODY,
    TERMS,
    Incident,
    IncidentState,
    Promise,
    batch_subject,
    lane_of,
)
from lanes.routing.prospect import ENOUGH_BACK, BatchDeparture
from lanes.statistics.shares import SampleShare
from lanes.units import clock, pluralize, seconds, share
from lanes.words import BatchState, Lane, Verdict
from lanes.workload.version import Version

MINUTE = timedelta(minutes=1)
SOONEST = timedelta(minutes=5)  # a younger batch is not late, however fast its kind is
USUALLY = (0.1, 0.9)  # a batch is expected back between these probabilities
JUDGED_FOR = timedelta(hours=24)  # how long a collected batch counts individually for its workload
# probability that a series of batches ever falsely proves a share; there are fewer batches than minutes
UNPROVED = 1e-3
# a batch must leave this soon after a departure: the opening of the off-peak window, and hourly in it
START_WITHIN = timedelta(minutes=10)
CHECK_IN_WITHIN = timedelta(minutes=8)  # a run of `depart` must begin this soon after a departure
# maximum time between two checks of the open batches by `collect`
COLLECT_WITHIN = timedelta(minutes=10)
NO_RUN = "None has begun since: its schedule may be inactive, its deployment or work pool paused, or no worker online."
# States in which no item waits for the batch.
CLOSED = (BatchState.COLLECTED, BatchState.SUPERSEDED, BatchState.RELEASED)


@dataclass(frozen=True)
class BatchProgress:
    """The current state of a batch; counts are items, and `failed` items are errored, canceled, expired or missing.

    `cancelled` is true if Lanes canceled the batch because no item needed it, `in_force` if its version is the workload's
    newest, `owed` if one of its `missing` items still needs an answer, and `told_late` if an open incident reports it as late.
    One object may stand for several `batches`.
    """

    id: BatchId
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
    cancelled: bool = False
    in_force: bool = True
    owed: bool = False
    model: str = ""
    requests: int = 0
    told_late: bool = False
    batches: int = 1

    @property
    def is_over(self) -> bool:
        """Return whether no item waits for the batch."""
        return self.state in CLOSED or self.cancelled


def batch_slow(
    version: Version, batch: BatchProgress, now: datetime, out: BatchDeparture | None = None
) -> Assessment:
    """Assess how long the batch has been or was open, by the turnaround distribution of `out` and by its workload's ceiling.

    The distribution decides once it is learned from `ENOUGH_BACK` batches. A batch that was reported as late stays late until
    it ends, even if the distribution has changed since then.
    """
    ceiling, over = timedelta(minutes=version.spec.promises.batch_max_minutes), batch.is_over
    if out is not None and (over or not ceiling or out.usual_law.evidence.back < ENOUGH_BACK):
        out = None
    limit = (
        min(max(out.usual_law.late_after(ceiling), SOONEST), ceiling) if out else ceiling
    ) / MINUTE
    end = batch.over_at if over and batch.over_at else now
    minutes = (end - batch.begun_at) / MINUTE
    open_for, promised = seconds(minutes * 60), seconds(ceiling.total_seconds())
    match batch.state:
        case BatchState.COLLECTED:
            sentence = f"Batch {batch.id} came back after {open_for}; {promised} were promised."
        case BatchState.RELEASED | BatchState.SUPERSEDED:
            sentence = f"Batch {batch.id} was given up after {open_for}; its items are ready for the next batch."
        case _ if batch.cancelled:
            sentence = f"Batch {batch.id} was cancelled: none of its items needs an answer."
        case _:
            expected = f"{promised} were promised."
            if out is not None:
                expected = _describe_expectation(out, ceiling, now)
            sentence = (
                f"Batch {batch.id} has been open for {open_for}; {expected} {_stuck_at(batch)}"
            )
    result, subject = Verdict.PASSED if over else verdict(minutes, limit), batch_subject(batch.id)
    if batch.told_late and limit and not over and result is Verdict.PASSED:
        result = Verdict.INCONCLUSIVE
    return Assessment(
        Promise.BATCH_SLOW,
        version.workload,
        result,
        minutes,
        limit,
        1,
        sentence,
        subject,
        REALTIME | BATCH,
    )


def _describe_expectation(departure: BatchDeparture, ceiling: timedelta, now: datetime) -> str:
    """Return when the batch was expected, how rare its age is, and when it is now expected."""
    law, age = departure.usual_law, departure.out
    soon, late = (seconds(law.within(each).total_seconds()) for each in USUALLY)
    promised = seconds(ceiling.total_seconds())
    still = f"{promised} were promised"
    if age < ceiling:
        still = f"with a chance of {share(departure.law.by(ceiling, out=age))} within the promised {promised}"
    return (
        f"it was expected after {soon} to {late} by {pluralize(law.evidence.back, 'earlier batch')} of its size, of which "
        f"{share(1 - law.by(age))} take as long. It is expected back at {clock(departure.expected_at, beside=now)}, {still}."
    )


def _stuck_at(batch: BatchProgress) -> str:
    holds = f"It holds {pluralize(batch.items, 'item')}."
    match batch.state:
        case BatchState.INTENDED:
            return (
                f"The provider never confirmed it; `collect` finds out whether it exists. {holds}"
            )
        case BatchState.HELD:
            why = batch.note or "it is not known whether it exists"
            return f"It is held for a person to decide: {why}. {holds}"
        case BatchState.ENDED:
            why = f": {batch.note}" if batch.note else ""
            return (
                f"It has ended at the provider and its results are not all collected{why}. {holds}"
            )
        case _:
            return f"It still runs at the provider with {pluralize(batch.items, 'item')}."


def batch_unclear(workload: str, batch_id: BatchId, items: int, why: str) -> Assessment:
    """Return the breach of a batch with `items` items that cannot be collected until a person decides."""
    sentence = (
        f"Batch {batch_id} needs a decision: {why}. It holds {pluralize(items, 'item')}; `lanes batches` says what adopting, "
        "resubmitting or giving it up may cost."
    )
    subject = batch_subject(batch_id)
    return Assessment.breach(Promise.BATCH_UNCLEAR, workload, items, sentence, subject, why=why)


def incomplete(
    workload: str, batch_id: BatchId, tally: Tally, *, flow_run_id: UUID | None = None
) -> Assessment:
    """Assess whether every item of a collected batch has exactly one outcome, from its own result."""
    items = pluralize(tally.items, "item")
    sentence = f"Each of the {items} of batch {batch_id} has one outcome."
    if tally.surplus:
        sentence = f"Batch {batch_id} has {pluralize(tally.outcomes, 'outcome')} of {items}."
    if tally.missing:
        lost = f"{tally.missing:,} of {items} of batch {batch_id} came back without a result"
        rest = f" {sentence}" if tally.surplus else ""
        sentence = f"{lost}, however often the results were read.{rest}"
    judged = Verdict.FAILED if tally.wrong else Verdict.PASSED
    figures = judged, tally.wrong, 0, tally.items, sentence, batch_subject(batch_id)
    return Assessment(Promise.BATCH_INCOMPLETE, workload, *figures, flow_run_id=flow_run_id)


def batch_incomplete(batch: BatchProgress, now: datetime) -> Assessment:
    """Assess a batch by its counts at closing, until its missing items have an answer, or for a day."""
    tally = Tally(batch.items, batch.succeeded + batch.invalid + batch.failed, batch.missing)
    judged = incomplete(batch.workload, batch.id, tally)
    if judged.verdict is Verdict.PASSED:
        return judged
    if batch.over_at is not None and now - batch.over_at > JUDGED_FOR:
        ending = "That was more than a day ago."
    elif not tally.surplus and not batch.owed:
        ending = "None of them needs an answer."
    else:
        return judged
    return replace(judged, verdict=Verdict.PASSED, sentence=f"{judged.sentence} {ending}")


def batch_share(
    version: Version,
    promise: Promise,
    batches: Sequence[BatchProgress],
    now: datetime,
    earlier: Sequence[BatchProgress] = (),
) -> Assessment:
    """Assess the newest batches of the version in force, pooling as many as a verdict needs.

    The windows of their burn rate begin with each batch of the last day; the longest window adds the `earlier` batches, up to 3
    days. A batch that is still running can only break the promise, by its results so far. An open incident also ends if the
    newest batches have enough items and none of them is bad.
    """
    promises = version.spec.promises
    failing = promise is Promise.BATCH_FAILING
    limit = promises.batch_max_failure_percent if failing else promises.batch_max_invalid_percent
    problem = "items have no answer" if failing else "answers break the output schema"
    pooled, home = SampleShare(0, 0), 0
    for batch in [*sorted(batches, key=lambda each: each.id, reverse=True), *earlier]:
        if not home and batch in earlier:
            continue
        let_go = batch.cancelled or batch.state in (BatchState.SUPERSEDED, BatchState.RELEASED)
        if let_go or not batch.in_force or (batch.over_at and now - batch.over_at > JUDGED_FOR):
            continue
        collected = batch.state is BatchState.COLLECTED
        observed = SampleShare(
            batch.failed if failing else batch.invalid,
            batch.succeeded + batch.invalid if collected and not failing else batch.items,
        )
        scope = f"batch {batch.id}"
        if collected:
            observed = pooled = SampleShare(
                pooled.hits + observed.hits, pooled.samples + observed.samples
            )
            home += batch.batches
            scope = scope if home == 1 else f"the last {home} batches"
        result = share_verdict(observed, limit, UNPROVED)
        quiet = collected and not observed.hits and observed.samples >= LEAST_CLEAN
        if result is Verdict.FAILED or quiet or (result is Verdict.PASSED and collected):
            part, samples = observed.value or 0.0, observed.samples
            counts = f"{observed.hits:,} of {samples:,} {problem} in {scope}"
            sentence = f"{counts}: {share(part)}, and {share(limit / 100)} is the limit."
            figures = result, 100 * part, limit, samples, sentence
            fast = part >= assessment.threshold(assessment.FAST, limit / 100)
            return Assessment(promise, version.workload, *figures, quiet=quiet, fast=fast)
    if pooled.samples:
        counts = f"{pooled.hits:,} of {pooled.samples:,} {problem}"
        sentence = f"{counts} in the batches of the last 24 hours: too little to judge by."
    else:
        sentence = "No batch of the last 24 hours is beyond the limit."
    result = Verdict.INCONCLUSIVE if pooled.samples else Verdict.PASSED
    return Assessment(promise, version.workload, result, 0, limit, pooled.samples, sentence)


@dataclass(frozen=True)
class WaitingBatchWork:
    """A workload's work that waits for a batch: the number of items, the start of the wait, and the newest batch's intent.

    Until `primer_until`, the work waits for the batch that primes the provider's cache.
    """

    workload: str
    items: int
    ready_since: datetime
    last_intended_at: datetime | None
    primer_until: datetime | None = None


@dataclass(frozen=True)
class CheckIn:
    """The newest run of `depart` for a workload: when it began, and the number of items it sent, None while it runs."""

    workload: str
    at: datetime
    sent: int | None

    def describe(self, now: datetime) -> str:
        """Return a sentence about the run."""
        end = "has not ended" if self.sent is None else f"sent {pluralize(self.sent, 'item')}"
        return f" The newest run of `depart` began at {clock(self.at, beside=now)} and {end}."


def never_started(
    version: Version,
    waiting: WaitingBatchWork | None,
    now: datetime,
    checked_in: CheckIn | None = None,
) -> Assessment:
    """Assess by how many minutes the oldest waiting work has missed its departure.

    While batches of that departure are still leaving, a backlog is neither a breach nor the end of one. A departure without a
    run is reported sooner than a departure whose run sent nothing.
    """
    promise, name = Promise.BATCH_NEVER_STARTED, version.workload
    window, within = version.spec.window, START_WITHIN
    departure = window.next_departure(waiting.ready_since) if waiting else now
    if waiting is not None and waiting.primer_until is not None:
        departure = max(departure, waiting.primer_until)
    ran = checked_in.describe(now) if checked_in else ""
    if checked_in is not None and checked_in.at < departure:
        within, ran = CHECK_IN_WITHIN, f"{ran} {NO_RUN}"
    limit = within / MINUTE
    if waiting is None or departure >= now:
        sentence = f"Nothing waits for the batch lane that should have left.{checked_in.describe(now) if checked_in else ''}"
        return Assessment(promise, name, Verdict.PASSED, 0, limit, 1, sentence)
    last_departure = waiting.last_intended_at
    leaving = last_departure is not None and departure <= last_departure < window.next_departure(
        departure
    )
    minutes = (
        now - (last_departure if last_departure is not None and leaving else departure)
    ).total_seconds() / 60
    wait, newest = ("waits", "it") if waiting.items == 1 else ("wait", "the oldest")
    sentence = (
        f"{pluralize(waiting.items, 'item')} {wait} for the batch lane; {newest} should have left at "
        f"{clock(departure, beside=now)}."
    )
    if last_departure is not None:
        sentence += f" The newest batch left at {clock(last_departure, beside=now)}."
    sentence += ran
    result = verdict(minutes, limit)
    if result is Verdict.PASSED and now - departure > within:
        result = Verdict.INCONCLUSIVE
    figures = result, minutes, limit, waiting.items, sentence
    return Assessment(promise, name, *figures, standstill=BATCH)


def collect_stopped(
    batches: Iterable[BatchProgress],
    now: datetime,
    *,
    looked_at: datetime | None,
    watched_since: datetime | None,
) -> Assessment:
    """Assess the minutes in which no run of `collect` has checked the open batches of all workloads.

    Until `watch` itself has run for `COLLECT_WITHIN`, as after a night off, a gap is neither a breach nor the end of one.
    """
    promise, limit = Promise.COLLECT_STOPPED, COLLECT_WITHIN / MINUTE
    open_batches = [
        each for each in batches if not each.is_over and each.state is not BatchState.HELD
    ]
    if not open_batches:
        return Assessment(promise, EVERYBODY, Verdict.PASSED, 0, limit, 0, "No batch is open.")
    since = max(min(each.begun_at for each in open_batches), looked_at or open_batches[0].begun_at)
    minutes, items = (now - since) / MINUTE, sum(each.items for each in open_batches)
    them = f"{pluralize(len(open_batches), 'open batch')} with {pluralize(items, 'item')}"
    result, at = verdict(minutes, limit), clock(since, beside=now)
    sentence = f"No run of `collect` has looked at {them} since {at}."
    if result is Verdict.PASSED:
        sentence = f"`collect` looks at {them}, last at {at}."
    elif now - (watched_since or now) <= COLLECT_WITHIN:
        result = Verdict.INCONCLUSIVE
    return Assessment(promise, EVERYBODY, result, minutes, limit, len(open_batches), sentence)


class ReportedBatch(Protocol):
    """The fields of a batch that its health depends on."""

    @property
    def batch_id(self) -> BatchId: ...
    @property
    def workload(self) -> str: ...
    @property
    def state(self) -> str: ...


def trouble(batch: ReportedBatch, incidents: Iterable[Incident]) -> str | None:
    """Return a short description of a batch's trouble: its broken promises, or that it is held; None if there is none."""
    named = (
        each for each in _select_open(incidents) if each.subject == batch_subject(batch.batch_id)
    )
    broken = _titles(each for each in named if each.workload == batch.workload)
    return broken or (str(batch.state) if batch.state == BatchState.HELD else None)


def health(batches: Sequence[ReportedBatch], incidents: Sequence[Incident]) -> str:
    """Return "batch healthy", or the broken promises of the batch lane and the number of held batches."""
    held = sum(trouble(each, incidents) == BatchState.HELD for each in batches)
    parts = [_titles(_select_open(incidents)), f"{pluralize(held, 'batch')} held" if held else ""]
    return ", ".join(filter(None, parts)) or ("batch healthy" if batches else "no batches")


def _select_open(incidents: Iterable[Incident]) -> Iterator[Incident]:
    """Yield the open incidents of the batch lane."""
    for each in incidents:
        either = (Promise.AUTHORITATIVE_FAILED, Promise.PROVIDER_FROZEN)
        of_lane = lane_of(each.promise) is Lane.BATCH or each.promise in either
        if each.state is IncidentState.OPEN and of_lane:
            yield each


def _titles(incidents: Iterable[Incident]) -> str:
    titles = Counter(TERMS[Promise(each.promise)].title for each in incidents)
    return ", ".join(
        title[0].lower() + title[1:] + (f" ({number})" if number > 1 else "")
        for title, number in titles.items()
    )

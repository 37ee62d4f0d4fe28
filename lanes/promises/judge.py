"""The assessment of all promises of every workload: which promises apply, and from which measurements."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol, TypeVar

from lanes.money.budget import BudgetStatus
from lanes.promises import answers, decisions
from lanes.promises.assessment import Assessment
from lanes.promises.batches import (
    BatchProgress,
    CheckIn,
    WaitingBatchWork,
    batch_incomplete,
    batch_share,
    batch_slow,
    collect_stopped,
    never_started,
)
from lanes.promises.breaches import budget_lasts
from lanes.promises.deadlines import DueCounts, deadline_missed
from lanes.promises.feeds import Feed, feed_silent
from lanes.promises.incident import Promise
from lanes.promises.quality import WatchedFigure, quality_drift
from lanes.routing.prospect import BatchDeparture, BatchProfile, Prospects
from lanes.statistics.shares import NOTHING, SampleShare
from lanes.words import BatchState
from lanes.workload.version import Version

UNLIMITED = (
    Promise.AUTHORITATIVE_FAILED,
    Promise.ITEMS_FAILED,
    Promise.BATCH_INCOMPLETE,
    Promise.FEED_SILENT,
    Promise.RULE_RAISES,
    Promise.QUALITY_DRIFT,
    Promise.MODEL_CHANGED,
)


@dataclass(frozen=True)
class PromiseMeasurements:
    """The measurements from which promises are assessed.

    Of `paused` workloads, only single batches, failed items, budgets and the quality of answers are assessed. Breaches that an
    outage, a refusal of the account or a used-up budget explains are assessed as well; the incident that explains them reports
    them. `earlier` has one entry per workload for all batches of its version in force that came back 1 to 3 days ago.
    `looked_at` is when a run of `collect` last checked the open batches, and `watched_since` when `watch` began to run without
    a gap.
    """

    batches: Sequence[BatchProgress] = ()
    earlier: Sequence[BatchProgress] = ()
    realtime: Sequence[answers.RealtimeFigures] = ()
    waiting: Sequence[WaitingBatchWork] = ()
    departures: Sequence[CheckIn] = ()
    settled: Sequence[answers.RecentItems] = ()
    failed: Sequence[answers.RecentItems] = ()
    due: Sequence[DueCounts] = ()
    feeds: Sequence[Feed] = ()
    budgets: Sequence[BudgetStatus] = ()
    raised: Sequence[decisions.RaisedRules] = ()
    routed: Sequence[decisions.RoutedHours] = ()
    stated: Mapping[str, SampleShare] = field(default_factory=dict[str, SampleShare])
    reads: Sequence[decisions.ConsumerReads] = ()
    quality: Sequence[WatchedFigure] = ()  # the figures with a drift
    paused: frozenset[str] = field(default_factory=frozenset)
    prospects: Prospects | None = None
    looked_at: datetime | None = None
    watched_since: datetime | None = None

    def departure_of(self, version: Version, batch: BatchProgress) -> BatchDeparture | None:
        """Return an open batch's departure with its turnaround distribution; None for a closed batch or without prospects."""
        if self.prospects is None or batch.is_over:
            return None
        of = BatchProfile(batch.model, version.spec.usual_turnaround)
        return self.prospects.underway(of, left_at=batch.begun_at, requests=batch.requests)


def assess(
    versions: Mapping[str, Version], measured: PromiseMeasurements, now: datetime
) -> list[Assessment]:
    """Assess every promise of every published workload by its version in force, and the promise about `collect` once."""
    seen = {"looked_at": measured.looked_at, "watched_since": measured.watched_since}
    assessments = [collect_stopped(measured.batches, now, **seen)]
    for version in versions.values():
        assessments += map(_unless_unlimited, _judge_workload(version, measured, now))
    return assessments


def _judge_workload(
    version: Version, measured: PromiseMeasurements, now: datetime
) -> Iterator[Assessment]:
    name = version.workload
    batches = [each for each in measured.batches if each.workload == name]
    for batch in batches:
        yield batch_slow(version, batch, now, measured.departure_of(version, batch))
        if batch.state is BatchState.COLLECTED:
            yield batch_incomplete(batch, now)
    yield answers.authoritative_failed(name, next(_of(measured.settled, name), None))
    yield answers.items_failed(name, next(_of(measured.failed, name), None))
    yield from (budget_lasts(each) for each in measured.budgets if each.budget.workload == name)
    yield from (quality_drift(each, now) for each in _of(measured.quality, name))
    if name in measured.paused:
        return
    for promise in (Promise.BATCH_FAILING, Promise.BATCH_INVALID):
        yield batch_share(version, promise, batches, now, [*_of(measured.earlier, name)])
    yield deadline_missed(version, next(_of(measured.due, name), None))
    yield from (feed_silent(each, now) for each in _of(measured.feeds, name))
    ran = next(_of(measured.departures, name), None)
    yield never_started(version, next(_of(measured.waiting, name), None), now, ran)
    yield decisions.rule_raises(name, next(_of(measured.raised, name), None), now)
    routed = next(_of(measured.routed, name), decisions.RoutedHours(name, {}))
    for promise in (Promise.ROUTING_SHIFTED, Promise.GUARDS_FIRE):
        yield decisions.shares_grew(promise, routed, now)
    yield decisions.chance_wrong(name, measured.stated.get(name, NOTHING))
    yield decisions.read_late(name, [*_of(measured.reads, name)])
    unanswered = any(_of(measured.failed, name))
    for realtime in _of(measured.realtime, name):
        for assessment in (
            answers.realtime_slow(version, realtime),
            answers.judge_failing(version, realtime),
        ):
            yield replace(
                assessment, quiet=assessment.quiet and (assessment.samples > 0 or not unanswered)
            )


def _unless_unlimited(judged: Assessment) -> Assessment:
    if judged.limit or judged.promise in UNLIMITED:
        return judged
    return replace(judged, sentence="This is no longer promised.")


class _WithWorkload(Protocol):
    @property
    def workload(self) -> str: ...


S = TypeVar("S", bound=_WithWorkload)


def _of(rows: Iterable[S], name: str) -> Iterator[S]:
    return (each for each in rows if each.workload == name)

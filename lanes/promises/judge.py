"""Whether what is promised is kept, of every workload. Pure: measurements and `now` come in.

What a promise is measured by, its limits and its sentences stand in the file of its own; here is which are judged when.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol, TypeVar

from lanes.money.budget import BudgetStatus
from lanes.promises.assessment import Assessment
from lanes.promises.batch_results import batch_incomplete, batch_share
from lanes.promises.batch_runs import BatchSeen, batch_slow
from lanes.promises.deadlines import DueSeen, deadline_missed
from lanes.promises.departures import WaitingSeen, never_started
from lanes.promises.incident import Promise
from lanes.promises.last_answers import ItemsSeen, authoritative_failed, items_failed
from lanes.promises.money import budget_lasts
from lanes.promises.realtime import RealtimeSeen, realtime_failing, realtime_slow
from lanes.words import BatchState
from lanes.workload.version import Version

UNLIMITED = (Promise.AUTHORITATIVE_FAILED, Promise.ITEMS_FAILED, Promise.BATCH_INCOMPLETE)


@dataclass(frozen=True)
class Seen:
    """Everything the promises are judged by.

    Of `paused` workloads only single batches, failed items and budgets are judged. What an outage, a refusal of the account or
    a used-up budget makes wait is judged, and told by that incident.
    """

    batches: Sequence[BatchSeen] = ()
    realtime: Sequence[RealtimeSeen] = ()
    waiting: Sequence[WaitingSeen] = ()
    settled: Sequence[ItemsSeen] = ()
    failed: Sequence[ItemsSeen] = ()
    due: Sequence[DueSeen] = ()
    budgets: Sequence[BudgetStatus] = ()
    paused: frozenset[str] = field(default_factory=frozenset)


def assess(versions: Mapping[str, Version], seen: Seen, now: datetime) -> list[Assessment]:
    """Every promise of every published workload, judged by its version in force."""
    return [
        _unless_unlimited(each)
        for version in versions.values()
        for each in _of_workload(version, seen, now)
    ]


def _of_workload(version: Version, seen: Seen, now: datetime) -> Iterator[Assessment]:
    name = version.workload
    batches = [each for each in seen.batches if each.workload == name]
    for batch in batches:
        yield batch_slow(version, batch, now)
        if batch.state is BatchState.COLLECTED:
            yield batch_incomplete(batch, now)
    yield authoritative_failed(name, next(_of(seen.settled, name), None))
    yield items_failed(name, next(_of(seen.failed, name), None))
    yield from (budget_lasts(each) for each in seen.budgets if each.budget.workload == name)
    if name in seen.paused:
        return
    yield batch_share(version, Promise.BATCH_FAILING, batches, now)
    yield batch_share(version, Promise.BATCH_INVALID, batches, now)
    yield deadline_missed(version, next(_of(seen.due, name), None))
    yield never_started(version, next(_of(seen.waiting, name), None), now)
    unanswered = any(_of(seen.failed, name))
    for realtime in _of(seen.realtime, name):
        for judged in (realtime_slow(version, realtime), realtime_failing(version, realtime)):
            yield replace(judged, quiet=judged.quiet and (judged.samples > 0 or not unanswered))


def _unless_unlimited(judged: Assessment) -> Assessment:
    if judged.limit or judged.promise in UNLIMITED:
        return judged
    return replace(judged, sentence="This is no longer promised.")


class _OfAWorkload(Protocol):
    @property
    def workload(self) -> str: ...


S = TypeVar("S", bound=_OfAWorkload)


def _of(all_of_them: Iterable[S], name: str) -> Iterator[S]:
    return (each for each in all_of_them if each.workload == name)

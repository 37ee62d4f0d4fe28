"""Promises about routing: its rules, the mix of its reasons, its predictions, and prompt reads of real-time answers.

The counts of a workload are compared with those of the same hours of earlier days. The newest 2, 3, 6 and 12 hours are assessed
together, so that a shift that is too small to prove in one hour is reported once it has lasted. Each window is a series that
begins with its first hour, and its bound holds at every look from then on, with an error probability of `ALPHA`. An hour has
about twelve shares, so 50 workloads have 432,000 shares in a month. Together these cause less than 0.2 errors if decisions are
independent and if the shares of an hour are the same each day; reads and batches add 0.01. If the hours of a window have
different shares, its bound is exact at each look, and nearly exact over all looks.

If an hour varies from day to day by more than chance, its decisions are not independent samples: their number is divided by the
ratio of the variances. A share must also exceed the range of the earlier days by that range again, even without its oddest hour
(`tests/benchmarks/watch_routing.py` measures it).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import NamedTuple

import numpy
from numpy.typing import NDArray

from lanes.promises.assessment import NOWHERE, REALTIME, Assessment
from lanes.promises.incident import Promise
from lanes.routing.lane_rules import binds
from lanes.statistics.differences import is_larger
from lanes.statistics.shares import NOTHING, SampleShare, is_above
from lanes.text import QUOTED
from lanes.units import clock, pluralize, share
from lanes.words import Lane, Reason, Verdict

ALPHA = 4e-7
HOUR, TODAY = timedelta(hours=1), timedelta(0)
EARLIER = tuple(timedelta(days=days) for days in (1, 2, 3, 4, 5, 6, 7, 14, 21, 28))
WINDOWS = (2, 3, 6, 12)  # numbers of newest hours that are assessed together
LEAST_HOURS = 3  # fewest earlier days with which a window is compared
LEAST = 20  # fewest decisions with which a window is compared
MOVED = 0.05  # a reason's share may grow by this much
PUSHED = 0.02  # the same for a reason that keeps an item from real time
GUARDS = frozenset({Reason.BUDGET, Reason.CAPACITY, Reason.FALLBACK, Reason.SHED})
LATE_BATCHES = 0.05  # share of the batches that may come back after their stated time
# share of a consumer's reads of real-time answers that may come an hour after the answers
LATE_READS = 0.5


class RaisedRules(NamedTuple):
    """Rules of the version in force that could not be evaluated for items of the last day, with counts and the newest item."""

    workload: str
    version: int
    items: Mapping[str, int]
    since: datetime
    key: str
    errors: Mapping[str, str]  # of the newest item, by rule


@dataclass(frozen=True)
class RoutedHours:
    """The decisions of a workload by hour: the current hour, the hours before it, and the same hours of `EARLIER` days.

    Decisions are counted by lane and reason, such as "batch split". `changed_at` is when a person last changed the routing on
    purpose; `change` names that change.
    """

    workload: str
    hours: Mapping[datetime, Mapping[str, int]]
    changed_at: datetime | None = None
    change: str = ""


class ConsumerReads(NamedTuple):
    """The reads of real-time answers by a consumer; a hit is a read an hour or more after the answer."""

    workload: str
    consumer: str | None
    late: SampleShare


class _Growth(NamedTuple):
    name: str
    hours: int
    usual: float
    limit: float
    now: SampleShare
    surely: bool


def rule_raises(name: str, raised: RaisedRules | None, now: datetime) -> Assessment:
    """Assess the rules that could not be evaluated; one item is enough for a breach."""
    promise = Promise.RULE_RAISES
    if raised is None:
        sentence = "Every rule could be evaluated for every item of the last 24 hours."
        return Assessment(promise, name, Verdict.PASSED, 0, 0, 0, sentence)
    each = (f"`{rule}` for {pluralize(n, 'item')}" for rule, n in sorted(raised.items.items()))
    sentence = (
        f"Version {raised.version} could not evaluate {' and '.join(each)} of the last 24 hours, first at "
        f'{clock(raised.since, beside=now)}; the newest is "{raised.key}". The rule counts as not met there.'
    )
    why = "; ".join(
        f"{rule}: {_mask_quotes(error)}" for rule, error in sorted(raised.errors.items())
    )
    return Assessment.breach(promise, name, sum(raised.items.values()), sentence, why=why)


def _mask_quotes(error: str) -> str:
    """Return the error of a rule with quoted words masked if the rule does not contain them: they come from an item."""
    rule, _, words = error.rpartition("`")
    return f"{rule}`" + QUOTED.sub(lambda of: of[0] if of[0][1:-1] in rule else '"..."', words)


def shares_grew(promise: Promise, history: RoutedHours, now: datetime) -> Assessment:
    """Assess the shares of the newest hours together: of each reason, or of the guards that keep items from real time.

    The mix of reasons is only compared over hours since the last deliberate change, so a change is no breach. A guard that
    fires more often is a breach; a change within a day is then reported as its cause.
    """
    guards, since, hours = promise is Promise.GUARDS_FIRE, history.changed_at, history.hours
    margin, lanes = (PUSHED, REALTIME) if guards else (MOVED, NOWHERE)
    if since and not guards:
        hours = {at: each for at, each in hours.items() if at >= since}
    hour = now.replace(minute=0, second=0, microsecond=0)
    grown = _find_grown_shares(hours, hour, margin, guards=guards)
    known, grown = grown is not None, grown or ()
    sure = next(filter(None, ([each for each in of_it if each.surely] for of_it in grown)), [])
    verdict = Verdict.INCONCLUSIVE if any(grown) or not known else Verdict.PASSED
    sentence = "The shares of the reasons are as in the same hours of earlier days."
    if not known:
        sentence = "Too few earlier hours are known to compare with"
        sentence += f" since {clock(since, beside=now)}, when {history.change}." if since else "."
    figures = verdict, 0.0, 100 * margin, 0
    if sure:
        sure.sort(key=lambda each: each.usual - (each.now.value or 0))
        # a sum of one share is reported once, as that share
        once = {each.now: each for each in reversed(sure)}
        growth = (
            f"{each.name} took {share(each.now.value)} (usually at most {share(each.usual)})"
            for each in reversed(once.values())
        )
        (hits, samples), begun = sure[0].now, clock(hour - (sure[0].hours - 1) * HOUR, beside=now)
        sentence = f"Of {pluralize(samples, 'decision')} since {begun}, {'; '.join(growth)}."
        figures = Verdict.FAILED, 100 * hits / samples, 100 * sure[0].limit, samples
    why = history.change if guards and since and now - since < EARLIER[0] else None
    found = Assessment(promise, history.workload, *figures, sentence, standstill=lanes, why=why)
    return replace(found, quiet=not known)


def _find_grown_shares(
    hours: Mapping[datetime, Mapping[str, int]], hour: datetime, margin: float, *, guards: bool
) -> Sequence[Sequence[_Growth]] | None:
    """Return the shares that grew in each window until `hour`; None if no window can be compared."""
    newest = [hour - number * HOUR for number in range(max(WINDOWS))]
    if guards and not any(
        _list_shares(each, guards) for at in newest for each in hours.get(at, {})
    ):
        return ()
    days = [[hours.get(at - ago, {}) for at in newest] for ago in (TODAY, *EARLIER)]
    counts = {"": numpy.array([[sum(each.values()) for each in day] for day in days], float)}
    for decided in sorted({each for day in days for of_hour in day for each in of_hour}):
        for name in _list_shares(decided, guards):
            seen = numpy.array([[each.get(decided, 0) for each in day] for day in days], float)
            counts[name] = counts[name] + seen if name in counts else seen
    whole, more = counts[""], dict[str, NDArray[numpy.float64]]()
    for name, each in counts.items():
        expected = whole[0] * each[1:].sum(0) / numpy.maximum(whole[1:].sum(0), 1)
        more[name] = (each[0] - expected).cumsum()
    grown = list[Sequence[_Growth]]()
    for length in WINDOWS:
        sizes = whole[:, :length].sum(1)
        if sizes[0] >= LEAST and (sizes[1:] >= 2 * LEAST).sum() >= LEAST_HOURS:
            names = [each for each, n in more.items() if n[length - 1] > margin * sizes[0]]
            found = (_growth(name, counts, length, margin) for name in names)
            grown.append([each for each in found if each])
    return grown or None


@cache
def _list_shares(lane_and_reason: str, guards: bool) -> tuple[str, ...]:
    """Return the shares in which a decision counts: those of the guards, or else those of the other reasons."""
    lane, reason = lane_and_reason.split()
    name, is_guard = f"`{reason}` to {lane}", reason in GUARDS
    if guards:
        return (name, "all guards together") if is_guard else ()
    must = binds(Reason(reason), Lane(lane)) is Lane.REALTIME
    return () if is_guard else (name, "what must be real-time") if must else (name,)


def _growth(
    name: str, counts: Mapping[str, NDArray[numpy.float64]], length: int, margin: float
) -> _Growth | None:
    """Return the growth of a share in the newest `length` hours, None if it did not grow or cannot be compared.

    `counts` has a row per day from today on and a column per hour, newest first. Each hour is compared with the same hour of
    earlier days. The day with the largest share is left out, so that one odd day does not hide another; the largest share of
    the other days is the usual one. The share must exceed the usual share by the range of the days and by the margin, even
    without its oddest hour, and it must exceed the usual share in the last two hours. If hours vary from day to day by more
    than chance, the number of decisions is divided by the ratio of the variances.
    """
    comparable = (counts[""][0] > 0) & (counts[""][1:].sum(0) > 0)
    hits, sizes = counts[name] * comparable, counts[""] * comparable
    now, sizes_now = hits[0, :length], sizes[0, :length]
    of_days, day_sizes = hits[:, :length].sum(1), sizes[:, :length].sum(1)
    day_mask = day_sizes >= 2 * LEAST
    day_mask[0] = False
    if not sizes_now.sum() or day_mask.sum() < LEAST_HOURS:
        return None
    day_mask[numpy.argmax(numpy.where(day_mask, of_days / numpy.maximum(day_sizes, 1), -1))] = False
    whole = sizes[day_mask].sum(0)
    usual = hits[day_mask].sum(0) / numpy.maximum(whole, 1)
    excess = hits - sizes * usual
    by_chance = (whole * usual * (1 - usual)).sum() * (1 - 1 / day_mask.sum())
    spread = max(1.0, (excess[day_mask] ** 2).sum() / by_chance) if by_chance else 1.0
    days = excess[day_mask, :length].sum(1) / day_sizes[day_mask]
    most = max(0.0, days.max())
    limit = most + max(margin, numpy.ptp(days))
    over, lately = excess[0, :length] - limit * sizes_now, excess[0, :2] - most * sizes[0, :2]
    rest = sizes_now.sum() - sizes_now[over.argmax()]
    odd = rest >= LEAST and over.sum() <= over.max()
    if over.sum() <= 0 or lately.sum() <= 0 or odd or not whole[:length][sizes_now > 0].all():
        return None
    expected = (now - excess[0, :length]).sum() / sizes_now.sum()
    weight = (
        (whole[:length][sizes_now > 0] / sizes_now[sizes_now > 0]).min() * sizes_now.sum() / spread
    )
    than = SampleShare(expected * weight, weight)
    alike = SampleShare(now.sum() / spread, sizes_now.sum() / spread)
    surely = rest >= LEAST and is_larger(alike, than, by=most, alpha=ALPHA)
    shown = SampleShare(int(now.sum()), int(sizes_now.sum()))
    return _Growth(name, length, expected + most, expected + limit, shown, bool(surely))


def chance_wrong(name: str, late: SampleShare) -> Assessment:
    """Assess the share of batches that came back later than was stated, with 95 % probability, at their departure."""
    sentence = (
        f"{late.hits:,} of {pluralize(late.samples, 'batch')} of the last 7 days came back after the time that was stated for "
        f"them with a probability of {share(1 - LATE_BATCHES)}."
    )
    return _judge_share(Promise.CHANCE_WRONG, name, late, LATE_BATCHES, sentence)


def read_late(name: str, reads: Sequence[ConsumerReads]) -> Assessment:
    """Assess whether a consumer reads most real-time answers an hour after they came, so that a batch could have served it."""
    known = reads or [ConsumerReads(name, None, NOTHING)]
    most = max(known, key=lambda of: (is_above(of.late, LATE_READS, alpha=ALPHA), of.late.hits))
    sentence = (
        f"Consumer {most.consumer or 'none'} read {most.late.hits:,} of {pluralize(most.late.samples, 'real-time answer')} of "
        "yesterday and today an hour or more after they came. A batch would have served it."
    )
    return _judge_share(Promise.READ_LATE, name, most.late, LATE_READS, sentence)


def _judge_share(
    promise: Promise, name: str, seen: SampleShare, limit: float, sentence: str
) -> Assessment:
    value = seen.value or 0.0
    kept = Verdict.PASSED if value <= limit else Verdict.INCONCLUSIVE
    judged = Verdict.FAILED if is_above(seen, limit, alpha=ALPHA) else kept
    return Assessment(promise, name, judged, 100 * value, 100 * limit, seen.samples, sentence)

"""Promises about routing: its rules, the mix of its reasons, its predictions, and whether real-time answers are read soon.

What is measured of a workload is compared with the same hours of earlier days. The bounds hold at every look from the hour or
day on in which their counts begin, each with a chance of error of `ALPHA`. An hour has about twelve shares, so 50 workloads
have 432,000 of them in a month, which together err less than 0.2 times where decisions are independent and an hour's shares
are those of the same hours before; days of reads and of batches add 0.01. Where hours vary more than that, a share also has to
lie beyond the range of the earlier hours, by as much as that range again, in two hours in a row
(`tests/benchmarks/watch_routing.py` measures it).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import NamedTuple

from lanes.promises.assessment import NOWHERE, REALTIME, Assessment
from lanes.promises.incident import Promise
from lanes.routing.lane_rules import binds
from lanes.statistics.differences import is_larger
from lanes.statistics.shares import NOTHING, SampleShare, is_above
from lanes.text import QUOTED
from lanes.units import clock, counted, share
from lanes.words import Lane, Reason, Verdict

ALPHA = 4e-7
HOUR = timedelta(hours=1)
EARLIER = tuple(timedelta(days=days) for days in (1, 2, 3, 4, 5, 6, 7, 14, 21, 28))
LEAST_HOURS = 3  # earlier hours without which the mix of an hour is not judged
LEAST = 20  # decisions without which an hour is not compared
MOVED = 0.05  # a reason's share may grow by this much
PUSHED = 0.02  # the same of a reason that keeps an item from real time
GUARDS = frozenset({Reason.BUDGET, Reason.CAPACITY, Reason.FALLBACK, Reason.SHED})
LATE_BATCHES = 0.05  # of the batches may come back after the time that was stated for them
LATE_READS = 0.5  # of a consumer's reads of real-time answers may come an hour after them


class RaisedRules(NamedTuple):
    """Rules of the version in force that could not be evaluated for items of the last day: how many of each, and the newest."""

    workload: str
    version: int
    items: Mapping[str, int]
    since: datetime
    key: str
    errors: Mapping[str, str]  # of the newest item, by rule


@dataclass(frozen=True)
class RoutedHours:
    """The decisions of a workload by the hour: this one, the one before, and the same hours of `EARLIER` days.

    They are counted by lane and reason, such as "batch split". `changed_at` is when a person last changed the routing on
    purpose, which `change` names.
    """

    workload: str
    hours: Mapping[datetime, Mapping[str, int]]
    changed_at: datetime | None = None
    change: str = ""


class ConsumerReads(NamedTuple):
    """The reads of real-time answers by a consumer; hits came an hour or more after the answer."""

    workload: str
    consumer: str | None
    late: SampleShare


class _Growth(NamedTuple):
    usual: float
    now: SampleShare
    surely: bool


def rule_raises(name: str, raised: RaisedRules | None, now: datetime) -> Assessment:
    """Judge by the rules that could not be evaluated; one item is enough for a breach."""
    promise = Promise.RULE_RAISES
    if raised is None:
        said = "Every rule could be evaluated for every item of the last 24 hours."
        return Assessment(promise, name, Verdict.PASSED, 0, 0, 0, said)
    each = (f"`{rule}` for {counted(n, 'item')}" for rule, n in sorted(raised.items.items()))
    said = (
        f"Version {raised.version} could not evaluate {' and '.join(each)} of the last 24 hours, first at "
        f'{clock(raised.since, beside=now)}; the newest is "{raised.key}". The rule counts as not met there.'
    )
    why = "; ".join(f"{rule}: {_unquoted(error)}" for rule, error in sorted(raised.errors.items()))
    return Assessment.breach(promise, name, sum(raised.items.values()), said, why=why)


def _unquoted(error: str) -> str:
    """Return the error of a rule without words that it quotes from an item: those that the rule itself does not have."""
    rule, _, words = error.rpartition("`")
    return f"{rule}`" + QUOTED.sub(lambda of: of[0] if of[0][1:-1] in rule else '"..."', words)


def shares_grew(promise: Promise, of: RoutedHours, now: datetime) -> Assessment:
    """Judge the shares of this hour and the one before: of each reason, or of the guards that keep items from real time.

    Hours before the last deliberate change are no measure of the mix of reasons, so a change is no breach. A guard that
    fires more often is one, of which a change within a day is the cause.
    """
    guards, since = promise is Promise.GUARDS_FIRE, of.changed_at
    margin, lanes = (PUSHED, REALTIME) if guards else (MOVED, NOWHERE)
    hours = of.hours
    if since and not guards:
        hours = {at: each for at, each in hours.items() if at >= since}
    hour = now.replace(minute=0, second=0, microsecond=0)
    before = _grown(hours, hour - HOUR, margin, guards=guards)
    newest = _grown(hours, hour, margin, guards=guards) if before else None
    said = "The shares of the reasons are as in the same hours of earlier days."
    verdict = Verdict.INCONCLUSIVE if before and newest != {} else Verdict.PASSED
    if before is None:
        verdict, said = Verdict.INCONCLUSIVE, "Too few earlier hours are known to compare with"
        said += f" since {clock(since, beside=now)}, when {of.change}." if since else "."
    sure = [
        (name, each)
        for name, each in (newest or {}).items()
        if each.surely and before and name in before and before[name].surely
    ]
    figures = verdict, 0.0, 100 * margin, 0
    if sure:
        sure.sort(key=lambda each: each[1].usual - (each[1].now.value or 0))
        told = (
            f"{name} took {share(each.now.value)} (usually at most {share(each.usual)})"
            for name, each in sure
        )
        usual, (hits, samples), _ = sure[0][1]
        said = f"Of {counted(samples, 'decision')} since {clock(hour, beside=now)}, {'; '.join(told)}, "
        said += "as in the hour before."
        figures = Verdict.FAILED, 100 * hits / samples, 100 * (usual + margin), samples
    why = of.change if guards and since and now - since < EARLIER[0] else None
    found = Assessment(promise, of.workload, *figures, said, standstill=lanes, why=why)
    return replace(found, quiet=before is None)


def _shares(of: Mapping[str, int], *, guards: bool) -> dict[str, int]:
    """Count the decisions of an hour by what is compared, and all of them as ""."""
    found = {"": sum(of.values())}
    for each, n in of.items():
        for name in _compared(each, guards):
            found[name] = found.get(name, 0) + n
    return found


@cache
def _compared(lane_and_reason: str, guards: bool) -> tuple[str, ...]:
    """Return the shares for which such a decision counts: of the guards, or else of the other reasons."""
    lane, reason = lane_and_reason.split()
    name, is_guard = f"`{reason}` to {lane}", reason in GUARDS
    if guards:
        return (name, "all guards together") if is_guard else ()
    must = binds(Reason(reason), Lane(lane)) is Lane.REALTIME
    return () if is_guard else (name, "what must be real-time") if must else (name,)


def _grown(
    hours: Mapping[datetime, Mapping[str, int]], hour: datetime, margin: float, *, guards: bool
) -> Mapping[str, _Growth] | None:
    """Return the shares of an hour that grew; None where it cannot be compared.

    The second largest share of the earlier hours is the usual one, so that one odd day hides no other; by how much it lies
    above the share of all of them together, the share has to exceed that too.
    """
    seen, grown = _shares(hours.get(hour, {}), guards=guards), dict[str, _Growth]()
    earlier = (_shares(hours.get(hour - ago, {}), guards=guards) for ago in EARLIER)
    known = [each for each in earlier if each[""] >= LEAST]
    if seen[""] < LEAST or len(known) < LEAST_HOURS:
        return None
    for name in filter(None, seen):
        least, *_, usual, _ = sorted(each.get(name, 0) / each[""] for each in known)
        by, now = max(margin, usual - least), SampleShare(seen[name], seen[""])
        if (now.value or 0) > usual + by:
            hits, all_of_them = (sum(each.get(of, 0) for each in known) for of in (name, ""))
            whole = SampleShare(hits, all_of_them)
            above = min(usual + by - (whole.value or 0), 1.0)
            grown[name] = _Growth(usual, now, is_larger(now, whole, by=above, alpha=ALPHA))
    return grown


def chance_wrong(name: str, late: SampleShare) -> Assessment:
    """Judge the share of batches that came back later than was stated, with 95 % probability, when they left."""
    said = (
        f"{late.hits:,} of {counted(late.samples, 'batch')} of the last 7 days came back after the time that was stated for "
        f"them with a probability of {share(1 - LATE_BATCHES)}."
    )
    return _judged(Promise.CHANCE_WRONG, name, late, LATE_BATCHES, said)


def read_late(name: str, reads: Sequence[ConsumerReads]) -> Assessment:
    """Judge whether a consumer reads most real-time answers an hour after they came, which a batch could have served."""
    known = reads or [ConsumerReads(name, None, NOTHING)]
    most = max(known, key=lambda of: (is_above(of.late, LATE_READS, alpha=ALPHA), of.late.hits))
    said = (
        f"Consumer {most.consumer or 'none'} read {most.late.hits:,} of {counted(most.late.samples, 'real-time answer')} of "
        "yesterday and today an hour or more after they came. A batch would have served it."
    )
    return _judged(Promise.READ_LATE, name, most.late, LATE_READS, said)


def _judged(promise: Promise, name: str, seen: SampleShare, limit: float, said: str) -> Assessment:
    value = seen.value or 0.0
    kept = Verdict.PASSED if value <= limit else Verdict.INCONCLUSIVE
    judged = Verdict.FAILED if is_above(seen, limit, alpha=ALPHA) else kept
    return Assessment(promise, name, judged, 100 * value, 100 * limit, seen.samples, said)

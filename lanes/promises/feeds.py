"""The promise about arrivals: a feed does not fall silent against its own pattern.

A silence is measured in missing arrivals: the expected minutes with arrivals, by hour of the week over the last four weeks.
Each hour uses the lowest expectation of itself and its two neighbors, so that a clock change causes no silence. A silence
breaks the promise when more than `LONGER` times as many arrivals are missing as in the longest earlier silence that was not
reported. If silences have an exponential tail of any scale and n silences were observed, this happens by chance with a
probability of E[V^3] = 6 / n^3, where V is the smallest of n uniform variables: 6 / n^2 times in four weeks, 0.0006 for the
smallest n that is assessed. An irregular feed has long silences and needs a longer one to break the promise; a feed whose days
differ too much, or that is new, is not assessed.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy
from numpy.typing import NDArray

from lanes.promises.assessment import Assessment
from lanes.promises.incident import Promise
from lanes.units import clock, pluralize, seconds
from lanes.words import Verdict

WEEK = 7 * 24 * 60  # in minutes
WEEKS, LEAST_WEEKS = (4, 2)  # weeks of history that are used, at most and at least
# earlier silences that are needed, and the multiple of the longest that is too long
SILENCES, LONGER = (100, 3.0)
MOST_TOLD = 2  # reported silences of these weeks that count as outages, not as part of the pattern
# standard deviation of a weekday's arrivals, as a share of their mean, above which a feed is irregular
IRREGULAR = 0.3
LEAST = 10.0  # fewest missing arrivals of a breach
SOONEST = timedelta(minutes=15)  # a shorter pause is no silence
FORGOTTEN = timedelta(days=7)  # a longer silence is the new pattern


class ArrivalPattern:
    """The arrivals of a workload: the number of minutes with arrivals in each hour of the week, and the earlier silences.

    `minutes` has the minutes with arrivals, counted from 1970, in order; they were read at minute `until`. `told` is the number
    of incidents in that time.
    """

    def __init__(self, minutes: NDArray[numpy.int64], until: int, told: int = 0) -> None:
        self.until = until
        self.weeks = min(WEEKS, (until - int(minutes[0])) // WEEK) if len(minutes) else 0
        begun = until - self.weeks * WEEK
        arrivals = minutes[minutes >= begun]
        each = numpy.bincount(arrivals // 60 % 168, minlength=168) / max(self.weeks, 1)
        fewest = numpy.minimum(each, numpy.minimum(numpy.roll(each, 1), numpy.roll(each, -1)))
        self._sum = numpy.concatenate(([0.0], fewest.cumsum()))
        silences = numpy.sort(numpy.diff(self.count_expected(arrivals)))
        self.most = math.inf
        if self.weeks >= LEAST_WEEKS and len(silences) >= SILENCES:
            hours = numpy.bincount((arrivals - begun) // 60, minlength=168 * self.weeks + 1)[:-1]
            # the number of arrivals, if they are Poisson
            items = -numpy.log1p(-numpy.minimum(hours, 59.5) / 60)
            each_day = items.reshape(self.weeks, 7, 24).sum(axis=2)
            varies = each_day.var(axis=0, ddof=1).mean() / (each_day.mean(axis=0) ** 2).mean()
            if math.sqrt(varies) <= IRREGULAR:
                longest = float(silences[-1 - min(told, MOST_TOLD)])
                self.most = max(LEAST, LONGER * longest)

    def is_of(self, last_at: datetime) -> bool:
        """Return whether the pattern was read within the day before `last_at`."""
        return 0 <= last_at.timestamp() // 60 - self.until < WEEK / 7

    def count_lacking(self, since: datetime, until: datetime) -> float:
        """Return the number of minutes with arrivals that are expected between `since` and `until`."""
        before, after = self.count_expected(
            numpy.array([since.timestamp(), until.timestamp()]) / 60
        )
        return float(after - before)

    def count_expected(self, minutes: NDArray[Any]) -> NDArray[numpy.float64]:
        """Return the number of minutes with arrivals that are expected from 1970 until each of `minutes`."""
        weeks, of_week = numpy.divmod(minutes, WEEK)
        return weeks * self._sum[-1] + numpy.interp(of_week / 60, numpy.arange(169), self._sum)


@dataclass(frozen=True)
class Feed:
    """The arrival time of a workload's newest item, and the pattern of its earlier arrivals, None while it is unknown."""

    workload: str
    last_at: datetime
    pattern: ArrivalPattern | None = None

    def is_silent(self, now: datetime) -> bool:
        """Return whether the silence is long enough to assess, and not so long that it is the new pattern."""
        return SOONEST < now - self.last_at < FORGOTTEN


def feed_silent(feed: Feed, now: datetime) -> Assessment:
    """Assess the time since the last arrival; an incident ends with the next arrival, or after a week of silence."""
    promise, name, silent = Promise.FEED_SILENT, feed.workload, now - feed.last_at
    minutes = silent / timedelta(minutes=1)
    if not feed.is_silent(now):
        sentence = (
            "Items arrive."
            if silent <= SOONEST
            else "Nothing has arrived for a week: that is its pattern now."
        )
        return Assessment(promise, name, Verdict.PASSED, minutes, 0, 0, sentence)
    pattern = feed.pattern
    lacking = 0.0 if pattern is None else pattern.count_lacking(feed.last_at, now)
    sentence = f"Nothing has arrived for {seconds(silent.total_seconds())}, since {clock(feed.last_at, beside=now)}"
    if pattern is None or lacking <= pattern.most:
        return Assessment(
            promise, name, Verdict.INCONCLUSIVE, minutes, 0, 0, f"{sentence}, which is not unusual."
        )
    sentence += (
        f"; by the same hours of the last {pattern.weeks} weeks, items were expected in "
        f"{pluralize(round(lacking), 'minute')} of that time. By that pattern, such a silence "
        "comes less than once in ten years."
    )
    return Assessment(promise, name, Verdict.FAILED, minutes, 0, round(lacking), sentence)

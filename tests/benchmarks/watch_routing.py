"""The promises about the mix of routes, checked twice an hour for a month: false incidents, and shifts that are reported.

Nothing is stored: decisions are drawn with fixed seeds, and `shares_grew` judges them. 50 workloads decide 60 to 6,000 items an
hour, with a daily and a weekly rhythm. The share of each reason differs by the hour of the day, and varies from day to day as a
beta variable: its concentration is 3,000 (hardly any variation) to 60 (a share of 20 % then lies between 11 and 31 % on 19 of
20 days).

- `routing_false`: incidents in a quiet month of all workloads.
- `shift_told`: of shifts of 15 to 40 points from one hour on, the share that is reported within three hours.
- `shift_delay_h`: the median of the hours until the report.
- `guard_told`: of cases in which capacity starts to take 10 to 30 % of the items, the share reported within three hours.
"""

import statistics
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import numpy

from lanes.promises.decisions import EARLIER, HOUR, WINDOWS, RoutedHours, shares_grew
from lanes.promises.incident import Promise
from lanes.words import Verdict

REASONS = (
    "realtime split",
    "batch split",
    "realtime urgent",
    "realtime deadline",
    "batch batch_rule",
    "batch capacity",
)
USUAL = numpy.array([0.3, 0.35, 0.1, 0.1, 0.14, 0.01])
BEGAN = datetime(2026, 9, 28, tzinfo=UTC)  # a Monday
LOOKS = 2  # in an hour
BEFORE, WITHIN = 28, 3  # days of history, and the hours within which a shift must be reported
PROMISES = (Promise.ROUTING_SHIFTED, Promise.GUARDS_FIRE)
SHIFTS = {Promise.ROUTING_SHIFTED: (2, 0.15, 0.4), Promise.GUARDS_FIRE: (5, 0.1, 0.3)}
Decisions = Mapping[str, int]


class _Workload:
    """A workload whose decisions are drawn; from hour `shifts_at` on, one reason gains `points`."""

    def __init__(self, seed: int, *, to: int = 2, points: float = 0.0, shifts_at: int = 10**9):
        self._random = numpy.random.default_rng(seed)
        self._per_hour = 60 * 100 ** self._random.random()
        self._concentration = 60 * 50 ** self._random.random()
        self._daily = self._random.normal(0, 0.3, (24, len(USUAL)))
        self._to, self._points, self._shifts_at = to, points, shifts_at
        self.hours = dict[datetime, Decisions]()

    def hour(self, number: int, looks: int) -> Iterator[tuple[datetime, RoutedHours]]:
        """Draw an hour, and yield the decisions known at each look in it."""
        at, weekend = BEGAN + number * HOUR, (number // 24) % 7 >= 5
        shares = USUAL * numpy.exp(self._daily[number % 24])
        shares = self._random.dirichlet(self._concentration * shares / shares.sum())
        if number >= self._shifts_at:
            shares *= 1 - self._points
            shares[self._to] += self._points
        each = self._per_hour * (1.2 + numpy.sin(number % 24 / 24 * 2 * numpy.pi))
        items = self._random.poisson(each * (0.3 if weekend else 1) / looks, looks)
        seen = numpy.cumsum(self._random.multinomial(items, shares), axis=0).tolist()
        for look, counts in enumerate(seen, 1):
            self.hours[at] = dict(zip(REASONS, counts, strict=True))
            yield at + look * HOUR / looks - timedelta(seconds=1), self._known(at)

    def _known(self, at: datetime) -> RoutedHours:
        newest = [at - number * HOUR for number in range(max(WINDOWS))]
        wanted = (each - ago for ago in (timedelta(0), *EARLIER) for each in newest)
        return RoutedHours("w", {each: self.hours[each] for each in wanted if each in self.hours})

    def told_after(self, since: int, hours: int) -> dict[Promise, list[float]]:
        """Return when incidents open in the `hours` from hour `since` on, counted from the start of that hour."""
        found, is_open = {each: list[float]() for each in PROMISES}, set[Promise]()
        for number in range(since + hours):
            for at, known in self.hour(number, LOOKS if number >= since else 1):
                for promise in PROMISES if number >= since else ():
                    judged = shares_grew(promise, known, at)
                    if judged.verdict is Verdict.FAILED and promise not in is_open:
                        found[promise].append((at - BEGAN) / HOUR - since)
                        is_open.add(promise)
                    elif judged.ends:
                        is_open.discard(promise)
        return found


def measure(*, quick: bool = False) -> dict[str, float]:
    """Return the figures of the promises about the mix of routes."""
    workloads, days, begins = (*((3, 2) if quick else (50, 30)), BEFORE * 24)
    quiet = [_Workload(seed).told_after(begins, 24 * days) for seed in range(workloads)]
    delays = {promise: list[float]() for promise in SHIFTS}
    for promise, (to, least, most) in SHIFTS.items():
        for seed in range(workloads):
            points = least + (most - least) * numpy.random.default_rng(seed).random()
            since = begins + 9 + seed % 9
            moved = _Workload(1_000 + seed, to=to, points=points, shifts_at=since)
            delays[promise] += moved.told_after(since, WITHIN)[promise][:1]
    shifted, pushed = delays.values()
    return {
        "routing_false": float(sum(len(told) for each in quiet for told in each.values())),
        "shift_told": len(shifted) / workloads,
        "shift_delay_h": statistics.median(shifted or [float("inf")]),
        "guard_told": len(pushed) / workloads,
    }


if __name__ == "__main__":
    print(measure())

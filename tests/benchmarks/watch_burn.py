"""Bench part: burn-rate promises on healthy and on broken traffic, in memory, by the product's own decisions.

Samples are independent draws at a stated rate. A look judges the windows as `watch` measures them: from whole minutes on, the
longest two from whole hours on.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import log
from typing import Any

import numpy as np
from scipy.special import xlogy

from lanes.ids import BatchId
from lanes.promises import assessment
from lanes.promises.answers import RealtimeFigures, judge_failing, realtime_slow
from lanes.promises.assessment import LEAST_HITS, Assessment
from lanes.promises.batches import JUDGED_FOR, UNPROVED, BatchProgress, batch_share
from lanes.promises.incident import Promise
from lanes.statistics.shares import SampleShare, is_above
from lanes.words import BatchState, Verdict
from tests.conftest import NOON
from tests.examples import version

Counts = np.ndarray[Any, np.dtype[np.int64]]
LOOK_S = 10
DAY_S = 86_400
HOUR = timedelta(hours=1)
VOLUMES = (25, 100, 300, 1_000)  # samples in the window of an hour, or of five minutes
BUDGETS = (1, 5, 20)  # percent


@dataclass(frozen=True)
class SampledTraffic:
    """Samples of a workload in slots of `LOOK_S` seconds, and how many of them are bad."""

    samples: Counts
    bad: Counts

    def windows(self) -> tuple[Counts, Counts]:
        """Return the hits and the samples of each window at the end of each slot, by place and slot."""
        ends = (np.arange(len(self.samples)) + 1) * LOOK_S
        of = [np.concatenate([[0], np.cumsum(each)]) for each in (self.bad, self.samples)]
        found: list[list[Counts]] = [[], []]
        for window in assessment.WINDOWS:
            since = (ends - int(window.total_seconds())) // 60 * 60
            if window > HOUR:
                since = -(-since // 3600) * 3600
            first = np.maximum(since, 0) // LOOK_S
            for sums, into in zip(of, found, strict=True):
                into.append(sums[1:] - sums[first])
        return np.array(found[0]), np.array(found[1])


def drawn(random: np.random.Generator, an_hour: Any, rate: Any, *, days: float) -> SampledTraffic:
    """Draw traffic of `an_hour` samples an hour, of which the share `rate` is bad; both may vary by slot."""
    slots = int(days * DAY_S / LOOK_S)
    samples = random.poisson(np.broadcast_to(an_hour * LOOK_S / 3600, slots))
    return SampledTraffic(samples, random.binomial(samples, np.broadcast_to(rate, slots)))


Judge = Callable[[tuple[SampleShare, ...]], Assessment]


def failing(percent: float) -> Judge:
    """Return the judge of the share of failed attempts."""
    of = version(promises={"realtime_max_error_percent": percent})
    return lambda windows: judge_failing(of, RealtimeFigures("letters", 1, 0, 0, tried=windows))


def slow() -> Judge:
    """Return the judge of the share of slow answers."""
    of = version()
    return lambda windows: realtime_slow(of, RealtimeFigures("letters", 1, 1, 0, timely=windows))


def openings(traffic: SampledTraffic, judge: Judge, budget: float) -> Iterator[int]:
    """Yield the slots at whose end an incident opens, as `incidents.record` opens and ends it.

    Looks that cannot prove anything are skipped: the likelihood of a mixture is at most that of the observed share.
    """
    hits, samples = traffic.windows()
    share = hits / np.maximum(samples, 1)
    gain = xlogy(hits, share / budget) + xlogy(samples - hits, (1 - share) / (1 - budget))
    proved = (gain >= -log(assessment.UNPROVED)) & (share > budget) & (hits >= LEAST_HITS)

    def look(slot: int) -> Assessment:
        return judge(tuple(map(SampleShare, hits[:, slot].tolist(), samples[:, slot].tolist())))

    free = 0
    for candidate in np.flatnonzero(proved.any(axis=0)).tolist():
        if candidate < free or look(candidate).verdict is not Verdict.FAILED:
            continue
        yield candidate
        free = candidate + 1
        while free < len(traffic.samples):
            judged, age = look(free), timedelta(seconds=(free - candidate) * LOOK_S)
            free += 1
            if judged.verdict is not Verdict.FAILED and judged.ends and age >= judged.stays:
                break


def opened_at_half_limit(*, days: float = 30, seed: int = 26) -> float:
    """Return the incidents opened a day by a true rate at half of its budget, in the worst of all volumes and budgets."""
    random, worst = np.random.default_rng(seed), 0.0
    for budget in BUDGETS:
        for volume in VOLUMES:
            for an_hour in (volume, 12 * volume):
                of = drawn(random, an_hour, budget / 200, days=days)
                found = sum(1 for _ in openings(of, failing(budget), budget / 100))
                worst = max(worst, found / days)
    return worst


def collected(number: int, items: int, bad: int, at: datetime, *, invalid: bool) -> BatchProgress:
    """Return a batch that was collected at `at`."""
    counts = (items - bad, bad, 0) if invalid else (items - bad, 0, bad)
    return BatchProgress(BatchId(number), "letters", BatchState.COLLECTED, items, *counts, at, at)


def judged_batches(promise: Promise, batches: list[BatchProgress], now: datetime) -> Assessment:
    """Judge the batches of 3 days as `measurements.measure` divides them."""
    ages = [(now - each.begun_at, each) for each in batches]
    day = [each for age, each in ages if age <= JUDGED_FOR]
    before = [each for age, each in ages if JUDGED_FOR < age <= assessment.WINDOWS[-1]]
    if not before:
        return batch_share(version(), promise, day, now)
    names = ("items", "succeeded", "invalid", "failed")
    sums = {name: sum(getattr(each, name) for each in before) for name in names}
    earlier = replace(before[0], id=BatchId(0), over_at=None, batches=len(before), **sums)
    return batch_share(version(), promise, day, now, [earlier])


def false_batches(random: np.random.Generator, *, days: float) -> int:
    """Return the number of incidents that the batches of a healthy workload open."""
    every = timedelta(hours=float(random.choice([1, 6, 24])))
    size, rate = int(random.choice([20, 100, 1_000])), 0.05 * random.choice([0.1, 0.3, 0.5])
    opened = 0
    for promise in (Promise.BATCH_FAILING, Promise.BATCH_INVALID):
        known, is_open = list[BatchProgress](), False
        for number in range(int(days * timedelta(days=1) / every)):
            at, bad = NOON + number * every, int(random.binomial(size, rate))
            known = [each for each in known if at - each.begun_at <= assessment.WINDOWS[-1]]
            known.append(
                collected(number + 1, size, bad, at, invalid=promise is Promise.BATCH_INVALID)
            )
            judged = judged_batches(promise, known, at)
            opened += judged.verdict is Verdict.FAILED and not is_open
            is_open = judged.verdict is Verdict.FAILED or (is_open and not judged.ends)
    return opened


def quiet_month(
    *, workloads: int = 50, attempts: int = 10_000_000, days: float = 30, seed: int = 26
) -> int:
    """Return the false incidents of healthy workloads: rates up to half of the budget, volumes of 1 to 1,000, day and night."""
    random, found = np.random.default_rng(seed), 0
    weights = 10 ** random.uniform(0, 3, workloads)
    slots = np.arange(int(days * DAY_S / LOOK_S)) * LOOK_S
    season = 1 + 0.8 * np.sin(2 * np.pi * slots / DAY_S)
    for weight in weights / weights.sum():
        an_hour = attempts * weight / (24 * days) * season
        budget = float(random.choice(BUDGETS)) / 100
        for judge, limit in ((failing(100 * budget), budget), (slow(), 0.05)):
            of = drawn(random, an_hour, limit * random.choice([0.1, 0.3, 0.5]), days=days)
            found += sum(1 for _ in openings(of, judge, limit))
        found += false_batches(random, days=days)
    return found


@dataclass(frozen=True)
class BreachTold:
    """Whether a true breach was reported, and how many seconds after the evidence sufficed."""

    promise: Promise
    told: bool
    delay_s: float


def bad_week(*, seed: int = 26, breaches: int = 36) -> list[BreachTold]:
    """Return how breaches at known moments were reported, a third of each kind, each of a healthy workload of its own.

    The evidence suffices with the first sample since the onset by which the bound of the promise excludes the budget.
    """
    random = np.random.default_rng(seed)
    kinds = (Promise.REALTIME_FAILING, Promise.REALTIME_SLOW, Promise.BATCH_FAILING)
    return [
        _batch_breach(random) if kind is Promise.BATCH_FAILING else _breach(random, kind)
        for kind in kinds * (breaches // len(kinds))
    ]


def _breach(random: np.random.Generator, promise: Promise) -> BreachTold:
    """Break a promise at a moment of the fourth day, for the rest of that day."""
    budget, an_hour = 0.05, float(random.choice([60, 600, 6_000]))
    rate = float(random.choice([0.25, 0.4, 0.6, 0.8, 1.0, 1.0]))
    onset = int(random.uniform(3, 3.5) * DAY_S / LOOK_S)
    slots = np.arange(4 * DAY_S // LOOK_S)
    of = drawn(random, an_hour, np.where(slots < onset, 0.01, rate), days=4)
    judge = slow() if promise is Promise.REALTIME_SLOW else failing(100 * budget)
    told = next((slot for slot in openings(of, judge, budget) if slot >= onset), None)
    hits, samples = np.cumsum(of.bad[onset:]).tolist(), np.cumsum(of.samples[onset:]).tolist()
    suffices = next(
        slot
        for slot, seen in enumerate(map(SampleShare, hits, samples), onset)
        if seen.hits >= LEAST_HITS and is_above(seen, budget, alpha=assessment.UNPROVED)
    )
    delay_s = 0.0 if told is None else max(0, told - suffices) * LOOK_S
    return BreachTold(promise, told is not None, delay_s)


def _batch_breach(random: np.random.Generator) -> BreachTold:
    """Let batches that return every 6 hours fail by more than is promised from the fourth day on."""
    size, rate = int(random.choice([50, 200, 1_000])), float(random.choice([0.15, 0.3, 1.0]))
    known, seen, suffices = list[BatchProgress](), SampleShare(0, 0), None
    for number in range(7 * 4):
        at, broken = NOON + number * 6 * HOUR, number >= 12
        bad = int(random.binomial(size, rate if broken else 0.01))
        known.append(collected(number + 1, size, bad, at, invalid=False))
        if broken:
            seen = SampleShare(seen.hits + bad, seen.samples + size)
            if suffices is None and is_above(seen, 0.05, alpha=UNPROVED):
                suffices = at
        now = at + timedelta(seconds=random.uniform(0, LOOK_S))  # the next look
        if judged_batches(Promise.BATCH_FAILING, known, now).verdict is Verdict.FAILED:
            delay_s = (now - (suffices or now)).total_seconds()
            return BreachTold(Promise.BATCH_FAILING, broken, delay_s)
    return BreachTold(Promise.BATCH_FAILING, told=False, delay_s=0)


def measure(*, quick: bool = False) -> dict[str, float]:
    """Return the figure of this part; `quick` simulates a day instead of a month."""
    return {"opened_at_half_limit_per_day": opened_at_half_limit(days=1 if quick else 30)}

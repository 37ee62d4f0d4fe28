"""Changes of the answers' quality: how many are detected, after how many answers, and how often chance alone raises an alarm.

Everything is in memory and goes through `AnswerWatch.add`, as in the product's own turn of the sweep; seeds are fixed.

- `drift_detected`: share of changes that are reported. There are three kinds, equally frequent: a class of 20 % gains 10
  points, corrections double from 5 % to 10 %, accuracy falls by 5 points from 92 %. Each comes after 10,000 usual answers, and
  must be detected within 10,000 answers.
- `drift_items`: the median of the answers from the change until the report.
- `drift_false_per_month`: drifts that are reported for workloads whose answers never change, for each month of a workload, all
  of its figures together; 200,000 answers a month, a look every half hour.
"""

import statistics
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import numpy

from lanes.ids import ItemId
from lanes.promises.quality import GOOD, AnswerWatch, QualityMeasure, Value

MIX = {"complaint": 0.2, "question": 0.3, "praise": 0.25, "order": 0.15, "other": 0.1}
MOVED = {"complaint": 0.3, "question": 0.26, "praise": 0.22, "order": 0.13, "other": 0.09}
Shares = Mapping[str, float]
CHANGES: tuple[tuple[QualityMeasure, Shares, Shares], ...] = (
    (QualityMeasure.FIELD, MIX, MOVED),
    (
        QualityMeasure.CORRECTION,
        {"agreed": 0.95, "corrected": 0.05},
        {"agreed": 0.9, "corrected": 0.1},
    ),
    (QualityMeasure.ACCURACY, {"right": 0.92, "wrong": 0.08}, {"right": 0.87, "wrong": 0.13}),
)
# The figures of a workload on each lane: its fields, outcomes, the serving model, what is known of both lanes, also by class
# (each a fifth of the answers), and packed answers against single ones.
FIGURES: tuple[tuple[QualityMeasure, Shares, float], ...] = (
    (QualityMeasure.FIELD, MIX, 1),
    (QualityMeasure.FIELD, {"true": 0.97, "false": 0.03}, 1),
    (QualityMeasure.OUTCOME, {"valid": 0.99, "invalid": 0.008, "refused": 0.002}, 1),
    (QualityMeasure.SERVED, {"claude-haiku-5-5": 1}, 1),
    (QualityMeasure.CORRECTION, {"agreed": 0.95, "corrected": 0.05}, 0.5),
    (QualityMeasure.ACCURACY, {"right": 0.92, "wrong": 0.08}, 0.02),
    *((QualityMeasure.CORRECTION, {"agreed": 0.95, "corrected": 0.05}, 0.1) for _ in MIX),
    *((QualityMeasure.ACCURACY, {"right": 0.92, "wrong": 0.08}, 0.004) for _ in MIX),
    (QualityMeasure.PACKED, {"agreed": 0.97, "differed": 0.03}, 0.005),
)
LANES, LEARN, ITEM = 2, 500, ItemId(1)
TESTS = LANES * len(FIGURES)
BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
BEFORE, AT_MOST, A_LOOK = 10_000, 10_000, 50
A_MONTH, DAYS = 200_000, 30


class DrawnAnswers:
    """The answers of one figure, drawn by shares and watched."""

    def __init__(self, random: numpy.random.Generator, measure: QualityMeasure) -> None:
        self._random, self._good = random, GOOD.get(measure)
        self.watch = AnswerWatch()

    def answers(self, shares: Shares, items: int, now: datetime) -> bool:
        """Add `items` answers at once, and return whether a drift is open."""
        drawn = self._random.multinomial(items, [*shares.values()])
        seen: dict[Value, list[ItemId]] = {
            name: [ITEM] * number
            for name, number in zip(shares, map(int, drawn), strict=True)
            if number
        }
        self.watch = self.watch.add(seen, learn=LEARN, good=self._good, tests=TESTS, now=now)
        return self.watch.drift is not None and self.watch.drift.ended_at is None


def measure(*, quick: bool = False) -> dict[str, float]:
    """Return the three figures; `quick` draws fewer answers."""
    random = numpy.random.default_rng(26)
    found = [_until_told(random, *change) for change in CHANGES for _ in range(4 if quick else 100)]
    told = [each for each in found if each is not None]
    months = 1 if quick else 10
    false = sum(_month(random, looks=DAYS * (6 if quick else 48)) for _ in range(months))
    return {
        "drift_detected": len(told) / len(found),
        "drift_items": float(statistics.median(told)) if told else float("inf"),
        "drift_false_per_month": false / months,
    }


def quiet_month(*, workloads: int = 50, looks_a_day: int = 6) -> int:
    """Return how many drifts are reported for `workloads` workloads in a month in which nothing changes."""
    random = numpy.random.default_rng(27)
    return sum(_month(random, looks=DAYS * looks_a_day) for _ in range(workloads))


def _until_told(
    random: numpy.random.Generator, measure: QualityMeasure, usual: Shares, changed: Shares
) -> int | None:
    """Return the answers from a change until its report; None where it is not reported, or was reported before."""
    stream = DrawnAnswers(random, measure)
    for look in range((BEFORE + AT_MOST) // A_LOOK):
        items = look * A_LOOK
        shares = usual if items < BEFORE else changed
        if stream.answers(shares, A_LOOK, BEGIN + timedelta(minutes=look)):
            return items + A_LOOK - BEFORE if items >= BEFORE else None
    return None


def _month(random: numpy.random.Generator, *, looks: int) -> int:
    """Return the drifts that are reported for a workload in a month, which `looks` looks divide."""
    told = 0
    every = timedelta(days=DAYS) / looks
    for _ in range(LANES):
        for measure, shares, part in FIGURES:
            stream, was = DrawnAnswers(random, measure), False
            for look in range(looks):
                items = max(1, round(part * A_MONTH / LANES / looks))
                now = stream.answers(shares, items, BEGIN + look * every)
                told, was = told + (now and not was), now
    return told

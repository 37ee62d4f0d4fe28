"""How soon late batches are reported and how rarely healthy ones, by the product's own judgement, in memory.

A batch departs every half hour for weeks. Turnarounds are lognormal, double from the first week to the last, and take longer
on working days; one of two hundred is stuck. The law is learned four times a day, from the data known by then.
"""

from datetime import UTC, datetime, timedelta

import numpy

from lanes.ids import BatchId, VersionId
from lanes.promises.batches import BatchProgress, batch_slow
from lanes.routing.prospect import Prospects
from lanes.routing.turnaround import STATED, Column, ObservedBatches, Turnarounds
from lanes.words import BatchState, Verdict
from lanes.workload.form import Promises
from lanes.workload.version import Version
from tests.examples import spec

SEED, BEGAN = 26, datetime(2026, 1, 5, tzinfo=UTC)
A_DAY, BETWEEN_S, LEARNS_EVERY = 86_400, 1_800, 12  # seconds, seconds, batches
MEDIAN_S, SIGMA, DRIFT, SEASON = 2_700, 0.6, 1.0, 0.3
STUCK, STUCK_S = 0.005, 20 * 3_600
LEARNING_DAYS = 14
LETTERS = Version(VersionId(1), "letters", 1, spec(promises=Promises(batch_max_minutes=1_440)))
MODEL, MINUTE = LETTERS.spec.batch_model, timedelta(minutes=1)


def measure(*, quick: bool = False) -> dict[str, float]:
    """Return the share of batches beyond the learned 99 % point + 10 % that were reported by then, and the false alarms."""
    rng, days = numpy.random.default_rng(SEED), 42 if quick else 140
    left = numpy.arange(0.0, days * A_DAY, BETWEEN_S)
    is_working_day = left // A_DAY % 7 < 5
    season = 1 + SEASON * numpy.where(is_working_day, 2 / 7, -5 / 7)
    took = MEDIAN_S * (1 + DRIFT * left / left[-1]) * season
    took = took * rng.lognormal(0, SIGMA, len(left))
    stuck = rng.random(len(left)) < STUCK
    took[stuck] += STUCK_S
    stated = numpy.full(len(left), numpy.nan)
    beyond = told = healthy = false = 0
    for first in range(LEARNING_DAYS * A_DAY // BETWEEN_S, len(left), LEARNS_EVERY):
        laws = _known(left[:first], took[:first], stated[:first], float(left[first]))
        for number in range(first, min(first + LEARNS_EVERY, len(left))):
            at = BEGAN + timedelta(seconds=float(left[number]))
            out = Prospects(laws, at).underway(LETTERS, left_at=at, requests=500)
            stated[number] = out.law.within(STATED).total_seconds()
            point = out.usual_law.within(0.99) * 1.1 + MINUTE
            age = timedelta(seconds=float(took[number]))
            if age > point:
                beyond, told = beyond + 1, told + _is_told(laws, at, point)
            if not stuck[number]:
                healthy, false = healthy + 1, false + _is_told(laws, at, age)
    return {"late_told_share": told / beyond, "late_false_per_1000": 1_000 * false / healthy}


def _is_told(laws: Turnarounds, left_at: datetime, age: timedelta) -> bool:
    """Return whether a batch of this age is reported as late."""
    now = left_at + age
    batch = BatchProgress(BatchId(1), "letters", BatchState.SUBMITTED, 500, 0, 0, 0, left_at)
    out = Prospects(laws, now).underway(LETTERS, left_at=left_at, requests=500)
    return batch_slow(LETTERS, batch, now, out).verdict is Verdict.FAILED


def _known(left: Column, took: Column, stated: Column, now: float) -> Turnarounds:
    """Return what is known at `now` of the newest batches of four weeks."""
    age = now - left[-1_344:]
    took, back = numpy.minimum(took[-1_344:], age), took[-1_344:] <= age
    same = numpy.full(len(age), 500.0)
    rows = numpy.stack([age, took, back, same, same, stated[-1_344:]], 1)
    return Turnarounds({MODEL: ObservedBatches(*rows.T)}, BEGAN + timedelta(seconds=now))


if __name__ == "__main__":
    print(measure())

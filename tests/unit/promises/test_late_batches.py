"""Late batches by the turnaround law of their kind: reported before the ceiling, rarely without cause, until they return."""

from datetime import timedelta
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.ids import BatchId
from lanes.promises.assessment import Assessment
from lanes.promises.batches import (
    CHECK_IN_WITHIN,
    COLLECT_WITHIN,
    START_WITHIN,
    BatchProgress,
    CheckIn,
    WaitingBatchWork,
    batch_slow,
)
from lanes.promises.incident import EVERYBODY, Promise, Severity
from lanes.promises.judge import PromiseMeasurements, assess
from lanes.routing.prospect import ENOUGH_BACK, Prospects
from lanes.routing.turnaround import FALSE_ALARMS, Turnaround
from lanes.words import BatchState, Verdict
from tests.conftest import NOON
from tests.examples import version
from tests.took import MODEL, Took, laws, seen

MINUTE = timedelta(minutes=1)
LOGNORMAL = [50 * MINUTE * each for each in numpy.random.default_rng(7).lognormal(0, 0.2, 400)]
KNOWN = [
    Took(each, age=timedelta(days=n // 100, minutes=120 + n % 100 / 2))
    for n, each in enumerate(LOGNORMAL)
]  # of the same hours on four days


def law(of: list[Took] = KNOWN) -> Turnaround:
    return Turnaround(seen(of), usual=60 * MINUTE)


def judged(
    minutes: float,
    *,
    by: list[Took] = KNOWN,
    most: int = 120,
    state: BatchState = BatchState.SUBMITTED,
    told_late: bool = False,
) -> Assessment:
    batch = BatchProgress(
        BatchId(41),
        "letters",
        state,
        200,
        0,
        0,
        0,
        NOON - minutes * MINUTE,
        model=MODEL,
        requests=10,
        told_late=told_late,
    )
    measured = PromiseMeasurements(batches=[batch], prospects=Prospects(laws(by), NOON))
    found = assess({"letters": version(promises={"batch_max_minutes": most})}, measured, NOON)
    return next(each for each in found if each.promise is Promise.BATCH_SLOW)


def test_a_batch_is_late_ten_percent_after_the_99th_percentile_of_its_kind() -> None:
    limit = law().within(0.99) * 1.1 / MINUTE
    assert 80 < limit < 90
    assert judged(limit - 1).verdict is Verdict.PASSED
    found = judged(limit + 1)
    assert (found.verdict, round(found.limit)) == (Verdict.FAILED, round(limit))


def test_the_sentence_states_the_expected_time_its_evidence_and_the_probability() -> None:
    said = judged(95).sentence
    assert "has been open for 95 min; it was expected after 38 min to 63 min" in said
    assert "by 400 earlier batches of its size, of which 0.4 % take as long" in said
    assert "It is expected back at " in said
    assert "with a chance of 27 % within the promised 2.0 h" in said
    assert "2.0 h were promised. It still runs at the provider" in judged(130).sentence


@pytest.mark.parametrize("back", [0, ENOUGH_BACK - 1])
def test_the_ceiling_decides_while_too_few_batches_have_returned(back: int) -> None:
    few = KNOWN[:back] + [Took(each.took, back=False) for each in KNOWN[back:40]]
    assert judged(119, by=few).verdict is Verdict.PASSED
    found = judged(121, by=few)
    assert (found.verdict, found.limit) == (Verdict.FAILED, 120)
    assert "2.0 h were promised" in found.sentence


@given(st.lists(st.integers(1, 400), min_size=ENOUGH_BACK), st.integers(1, 300))
def test_the_limit_of_a_batch_is_at_least_five_minutes_and_at_most_its_ceiling(
    took: list[int], most: int
) -> None:
    by = [Took(each * MINUTE) for each in took]
    limit = judged(0, by=by, most=most).limit
    assert min(5, most) <= limit <= most


@given(st.lists(st.integers(1, 400), min_size=ENOUGH_BACK), st.integers(1, 300))
def test_at_most_one_percent_of_batches_are_late_yet_return_before_the_ceiling(
    took: list[int], most: int
) -> None:
    of, ceiling = law([Took(each * MINUTE) for each in took]), most * MINUTE
    late = of.late_after(ceiling)
    assert of.by(ceiling) - of.by(late) <= FALSE_ALARMS + 1e-6


def test_a_likely_miss_of_the_ceiling_is_reported_before_it_happens() -> None:
    found = judged(59.9, most=60)
    assert found.verdict is Verdict.FAILED
    assert 59 < found.limit < 60
    assert law().by(60 * MINUTE, out=found.limit * MINUTE) < 0.1
    assert "within the promised 60 min" in found.sentence


def test_a_batch_reported_as_late_stays_late_until_it_has_ended() -> None:
    slower = [Took(2 * each.took, age=each.age) for each in KNOWN]
    for by in (slower, KNOWN[:3]):
        found = judged(90, by=by, told_late=True)
        assert (found.verdict, found.ends) == (Verdict.INCONCLUSIVE, False)
    assert judged(90, state=BatchState.COLLECTED, told_late=True).ends
    assert judged(90, most=0, told_late=True).ends


def test_slow_batches_are_late_by_the_earlier_law_until_enough_of_them_have_returned() -> None:
    slow = [Took(119 * MINUTE, back=False, age=119 * MINUTE)] * 8
    out = Prospects(laws(KNOWN + slow), NOON).underway(
        version(), left_at=NOON - 119 * MINUTE, requests=10
    )
    assert out.law.evidence.back < ENOUGH_BACK  # the provider has changed
    found = judged(119, by=KNOWN + slow, most=1440)
    assert (found.verdict, found.limit < 100) == (Verdict.FAILED, True)
    back = [Took(110 * MINUTE, age=119 * MINUTE)] * (ENOUGH_BACK + 5)
    assert judged(119, by=KNOWN + back + slow, most=1440).verdict is Verdict.PASSED


def test_a_batch_without_a_promise_is_never_late() -> None:
    found = judged(900, most=0)
    assert (found.verdict, found.sentence) == (Verdict.PASSED, "This is no longer promised.")


def test_a_batch_is_evaluated_by_a_law_only_if_the_caller_passes_one() -> None:
    batch = BatchProgress(
        BatchId(1), "letters", BatchState.SUBMITTED, 1, 0, 0, 0, NOON - 110 * MINUTE
    )
    assert batch_slow(version(), batch, NOON).verdict is Verdict.PASSED
    out = Prospects(laws(KNOWN), NOON).underway(version(), left_at=batch.begun_at, requests=10)
    assert batch_slow(version(), batch, NOON, out).verdict is Verdict.FAILED


WINDOW: dict[str, Any] = {"off_peak_start": "11:30", "off_peak_end": "11:45"}
DEPARTURE = NOON - 30 * MINUTE


def departed(
    *, after: float, ran: float | None = None, sent: int | None = 0, waits: bool = True
) -> Assessment:
    """Evaluate the promise `after` minutes after a departure; the newest run began `ran` minutes after the departure."""
    now, ready = DEPARTURE + after * MINUTE, DEPARTURE - 60 * MINUTE
    measured = PromiseMeasurements(
        waiting=[WaitingBatchWork("letters", 7, ready, None)] if waits else [],
        departures=[] if ran is None else [CheckIn("letters", DEPARTURE + ran * MINUTE, sent)],
    )
    found = assess({"letters": version(**WINDOW)}, measured, now)
    return next(each for each in found if each.promise is Promise.BATCH_NEVER_STARTED)


@pytest.mark.parametrize(
    ("ran", "told_after"), [(-1440, CHECK_IN_WITHIN), (0.5, START_WITHIN), (None, START_WITHIN)]
)
def test_a_departure_that_sent_nothing_is_reported_in_ten_minutes_and_sooner_without_a_run(
    ran: float | None, told_after: timedelta
) -> None:
    minutes = told_after / MINUTE
    assert minutes <= 10
    assert departed(after=minutes, ran=ran).verdict is Verdict.PASSED
    assert departed(after=minutes + 0.1, ran=ran).verdict is Verdict.FAILED


def test_the_sentence_names_the_newest_run_of_depart_and_the_items_that_it_sent() -> None:
    no_run = departed(after=20, ran=-60 * 24, sent=120).sentence
    assert (
        "11:30 UTC and sent 120 items. None has begun since: its schedule may be inactive" in no_run
    )
    for sent, said in ((0, "and sent 0 items."), (None, "and has not ended.")):
        looked = departed(after=20, ran=1, sent=sent).sentence
        assert looked.endswith(f"The newest run of `depart` began at 11:31 UTC {said}")


def test_a_departure_without_ready_work_is_healthy_and_reports_its_newest_run() -> None:
    found = departed(after=20, ran=1, waits=False)
    assert found.verdict is Verdict.PASSED
    assert found.sentence.endswith(
        "The newest run of `depart` began at 11:31 UTC and sent 0 items."
    )
    assert departed(after=20, waits=False).verdict is Verdict.PASSED


NIGHT = 12 * 60.0


def uncollected(
    *,
    looked: float | None = 60,
    watched: float | None = NIGHT,
    out: float = 90,
    state: BatchState = BatchState.ENDED,
    **batch: Any,
) -> Assessment:
    """Evaluate the promise by the minutes since `collect` last polled, `watch` started and the newer batch began."""
    batches = [
        BatchProgress(BatchId(n), name, state, 20, 0, 0, 0, NOON - out * n * MINUTE, **batch)
        for n, name in ((1, "letters"), (2, "bills"))
    ]
    looked_at, since = (None if ago is None else NOON - ago * MINUTE for ago in (looked, watched))
    measured = PromiseMeasurements(batches=batches, looked_at=looked_at, watched_since=since)
    found = assess({}, measured, NOON)
    (judged,) = [each for each in found if each.promise is Promise.COLLECT_STOPPED]
    assert (judged.workload, judged.subject) == (EVERYBODY, "")
    return judged


def test_collect_breaks_its_promise_after_ten_minutes_without_a_poll_of_open_batches() -> None:
    within = COLLECT_WITHIN / MINUTE
    assert uncollected(looked=within).verdict is Verdict.PASSED
    told = uncollected(looked=within + 1)
    assert (told.verdict, told.severity) == (Verdict.FAILED, Severity.WARNING)
    assert told.sentence == (
        "No run of `collect` has looked at 2 open batches with 40 items since 11:49 UTC."
    )
    assert uncollected(looked=61).severity is Severity.CRITICAL
    assert uncollected(looked=1).sentence.endswith("with 40 items, last at 11:59 UTC.")


@pytest.mark.parametrize(
    "seen",
    [
        {"out": 4.0, "looked": NIGHT},  # the first batches of a day
        {"out": 4.0, "looked": None},
        {"state": BatchState.HELD},
        {"state": BatchState.COLLECTED},
        {"cancelled": True},
    ],
)
def test_new_held_collected_and_canceled_batches_need_no_poll(
    seen: dict[str, Any],
) -> None:
    assert uncollected(**seen).verdict is Verdict.PASSED


@pytest.mark.parametrize("watched", [None, 0.1, 9.9])
def test_collect_has_ten_minutes_after_watch_starts_and_an_open_incident_does_not_end(
    watched: float | None,
) -> None:
    found = uncollected(looked=NIGHT, watched=watched)
    assert (found.verdict, found.ends) == (Verdict.INCONCLUSIVE, False)
    assert uncollected(looked=NIGHT, watched=10.1).verdict is Verdict.FAILED

"""The promises: when one is broken, when a breach has ended, and that too little data shows neither."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.ids import BatchId
from lanes.promises.answers import RealtimeFigures, RecentItems
from lanes.promises.assessment import WINDOWS, Assessment, verdict
from lanes.promises.batches import BatchProgress, WaitingBatchWork
from lanes.promises.breaches import invalid_workload
from lanes.promises.incident import TERMS, Promise, Severity, format_value
from lanes.promises.judge import PromiseMeasurements, assess
from lanes.statistics.shares import SampleShare
from lanes.words import BatchState, Verdict
from tests.conftest import NOON, later
from tests.examples import version

HOUR = timedelta(hours=1)


def judged(
    promise: Promise, seen: PromiseMeasurements, *, now: Any = NOON, subject: str = "", **spec: Any
) -> Assessment:
    found = assess({"letters": version(**spec)}, seen, now)
    return next(each for each in found if each.promise is promise and each.subject == subject)


def batch(
    state: BatchState = BatchState.SUBMITTED, *, id: int = 1, hours: float = 3, **counts: Any
) -> BatchProgress:
    counted: Any = {"items": 100, "succeeded": 0, "invalid": 0, "failed": 0} | counts
    return BatchProgress(BatchId(id), "letters", state, begun_at=NOON - hours * HOUR, **counted)


def collected(*, id: int = 1, ago: float = 1, **counts: Any) -> BatchProgress:
    return batch(BatchState.COLLECTED, id=id, over_at=NOON - ago * HOUR, **counts)


def realtime(
    *,
    p95_s: float | None = 1,
    answered: int = 100,
    late: int = 0,
    attempts: int = 100,
    failed: int = 0,
    given_up: int = 0,
    waits_s: float | None = None,
    slow: int = 0,
) -> PromiseMeasurements:
    """Return measurements with the same figures in every window of the lane."""
    hits = slow + late + given_up
    timely = [SampleShare(hits, answered + late + given_up)] * len(WINDOWS)
    tried = [SampleShare(failed, attempts)] * len(WINDOWS)
    figures = (p95_s, answered, late, given_up, waits_s)
    return PromiseMeasurements(
        realtime=[RealtimeFigures("letters", *figures, timely=timely, tried=tried)]
    )


@pytest.mark.parametrize(
    "state", [BatchState.SUBMITTED, BatchState.INTENDED, BatchState.HELD, BatchState.ENDED]
)
def test_a_batch_that_is_open_too_long_breaks_its_promise_while_it_is_still_open(
    state: BatchState,
) -> None:
    found = judged(
        Promise.BATCH_SLOW, PromiseMeasurements(batches=[batch(state)]), subject="batch 1"
    )
    assert found.verdict is Verdict.FAILED
    assert (found.value, found.limit) == (180, 120)
    assert "3.0 h" in found.sentence


def test_the_items_of_a_batch_that_lanes_canceled_are_not_failures() -> None:
    assert (
        judged(Promise.BATCH_FAILING, PromiseMeasurements(batches=[collected(failed=100)])).verdict
        is Verdict.FAILED
    )
    assert (
        judged(
            Promise.BATCH_FAILING,
            PromiseMeasurements(batches=[collected(failed=100, cancelled=True)]),
        ).verdict
        is Verdict.PASSED
    )


def test_a_batch_within_its_limit_and_a_collected_batch_keep_their_promise() -> None:
    assert (
        judged(
            Promise.BATCH_SLOW, PromiseMeasurements(batches=[batch(hours=1)]), subject="batch 1"
        ).verdict
        is Verdict.PASSED
    )
    home = judged(
        Promise.BATCH_SLOW, PromiseMeasurements(batches=[collected(hours=9)]), subject="batch 1"
    )
    assert home.verdict is Verdict.PASSED
    assert home.ends
    assert "came back after 8.0 h" in home.sentence


def test_a_batch_twice_beyond_its_limit_is_critical() -> None:
    slow, slower = (
        judged(Promise.BATCH_SLOW, PromiseMeasurements(batches=[batch(hours=h)]), subject="batch 1")
        for h in (3, 4)
    )
    assert (slow.severity, slower.severity) == (Severity.WARNING, Severity.CRITICAL)


def test_a_limit_of_zero_promises_nothing_and_ends_an_open_incident() -> None:
    none = {"batch_max_minutes": 0, "realtime_p95_s": 0}
    found = judged(
        Promise.BATCH_SLOW,
        PromiseMeasurements(batches=[batch(hours=99)]),
        subject="batch 1",
        promises=none,
    )
    assert found.ends
    assert found.sentence == "This is no longer promised."
    assert judged(Promise.REALTIME_SLOW, realtime(p95_s=99), promises=none).ends


def test_a_collected_batch_with_too_many_failures_or_invalid_answers_breaks_its_promise() -> None:
    seen = PromiseMeasurements(batches=[collected(succeeded=64, invalid=16, failed=20)])
    failing, invalid = judged(Promise.BATCH_FAILING, seen), judged(Promise.BATCH_INVALID, seen)
    assert (failing.verdict, failing.value) == (Verdict.FAILED, 20)
    assert invalid.verdict is Verdict.FAILED
    assert invalid.value == pytest.approx(100 * 16 / 80)


def test_a_batch_in_progress_breaks_its_promise_only_once_its_share_cannot_recover() -> None:
    early = PromiseMeasurements(batches=[batch(BatchState.ENDED, succeeded=10, failed=16)])
    certain = PromiseMeasurements(batches=[batch(BatchState.ENDED, succeeded=10, failed=17)])
    assert judged(Promise.BATCH_FAILING, early).verdict is Verdict.PASSED
    assert judged(Promise.BATCH_FAILING, certain).verdict is Verdict.FAILED
    promising = PromiseMeasurements(
        batches=[batch(BatchState.ENDED, id=2, succeeded=90), collected(failed=50)]
    )
    assert not judged(Promise.BATCH_FAILING, promising).ends  # the open requests may still fail


def test_batches_are_pooled_from_the_newest_until_they_are_conclusive() -> None:
    tiny = [collected(id=number, items=3, failed=3) for number in range(1, 51)]
    found = judged(Promise.BATCH_FAILING, PromiseMeasurements(batches=tiny))
    assert (found.verdict, found.value, found.samples) == (Verdict.FAILED, 100, 6)
    assert "in the last 2 batches" in found.sentence
    broken = [collected(id=number, items=19, succeeded=14, invalid=5) for number in range(1, 3)]
    assert (
        judged(Promise.BATCH_INVALID, PromiseMeasurements(batches=broken)).verdict is Verdict.FAILED
    )
    fine = collected(id=51, items=19, succeeded=19)
    assert not judged(Promise.BATCH_FAILING, PromiseMeasurements(batches=[*tiny, fine])).ends
    assert judged(
        Promise.BATCH_FAILING,
        PromiseMeasurements(batches=[*tiny, fine, replace(fine, id=BatchId(52), items=1)]),
    ).ends


def test_nightly_batches_at_twice_the_limit_break_the_promise_after_several_nights() -> None:
    nights = [collected(id=number, items=100, succeeded=90, failed=10) for number in range(1, 6)]
    assert (
        judged(Promise.BATCH_FAILING, PromiseMeasurements(batches=nights[:1])).verdict
        is Verdict.INCONCLUSIVE
    )
    assert (
        judged(Promise.BATCH_FAILING, PromiseMeasurements(batches=nights)).verdict is Verdict.FAILED
    )


def test_batches_of_several_days_break_the_promise_together_when_one_day_is_inconclusive() -> None:
    tonight = collected(id=9, items=100, succeeded=90, failed=10)
    before = collected(id=0, items=400, succeeded=360, failed=40, batches=4)
    alone = PromiseMeasurements(batches=[tonight])
    assert judged(Promise.BATCH_FAILING, alone).verdict is Verdict.INCONCLUSIVE
    found = judged(Promise.BATCH_FAILING, replace(alone, earlier=[before]))
    assert (found.verdict, found.samples, found.severity) == (Verdict.FAILED, 500, Severity.WARNING)
    assert "in the last 5 batches" in found.sentence
    assert judged(Promise.BATCH_FAILING, PromiseMeasurements(earlier=[before])).ends


def test_a_batch_that_burns_six_times_its_budget_is_critical() -> None:
    severities = [
        judged(Promise.BATCH_FAILING, PromiseMeasurements(batches=[collected(failed=bad)])).severity
        for bad in (29, 30)
    ]
    assert severities == [Severity.WARNING, Severity.CRITICAL]


def test_small_batches_with_too_few_items_in_total_are_inconclusive() -> None:
    found = judged(
        Promise.BATCH_FAILING, PromiseMeasurements(batches=[collected(items=4, failed=4)])
    )
    assert found.verdict is Verdict.INCONCLUSIVE
    assert not found.ends


def test_the_newest_conclusive_batches_decide_for_their_workload() -> None:
    bad, good, small = (
        collected(id=1, failed=50),
        collected(id=2, failed=1),
        collected(id=3, items=4, failed=4),
    )
    assert (
        judged(Promise.BATCH_FAILING, PromiseMeasurements(batches=[bad])).verdict is Verdict.FAILED
    )
    assert (
        judged(Promise.BATCH_FAILING, PromiseMeasurements(batches=[bad, small])).verdict
        is Verdict.FAILED
    )
    assert judged(Promise.BATCH_FAILING, PromiseMeasurements(batches=[bad, good])).ends
    assert judged(
        Promise.BATCH_FAILING, PromiseMeasurements(batches=[collected(ago=25, failed=50)])
    ).ends


def test_a_batch_of_an_earlier_version_does_not_count_for_the_version_in_force() -> None:
    bad = collected(failed=50)
    assert (
        judged(Promise.BATCH_FAILING, PromiseMeasurements(batches=[bad])).verdict is Verdict.FAILED
    )
    assert judged(
        Promise.BATCH_FAILING, PromiseMeasurements(batches=[replace(bad, in_force=False)])
    ).ends


def waiting(*, since: float, intended: float | None = None) -> PromiseMeasurements:
    last = None if intended is None else NOON - intended * HOUR
    return PromiseMeasurements(waiting=[WaitingBatchWork("letters", 7, NOON - since * HOUR, last)])


NOON_WINDOW: dict[str, Any] = {"off_peak_start": "11:30", "off_peak_end": "11:45"}


def test_batch_work_without_a_batch_since_its_window_opened_counts_as_never_started() -> None:
    found = judged(Promise.BATCH_NEVER_STARTED, waiting(since=2, intended=20), **NOON_WINDOW)
    assert found.verdict is Verdict.FAILED
    assert found.value == 30
    assert "7 items" in found.sentence


def test_a_batch_that_left_does_not_hide_work_that_did_not() -> None:
    found = judged(Promise.BATCH_NEVER_STARTED, waiting(since=2, intended=0.4), **NOON_WINDOW)
    assert (found.verdict, round(found.value)) == (Verdict.FAILED, 24)
    assert "The newest batch left at 11:36 UTC" in found.sentence


def test_a_backlog_neither_breaks_the_promise_nor_ends_its_incident_while_batches_leave() -> None:
    found = judged(Promise.BATCH_NEVER_STARTED, waiting(since=2, intended=0.1), **NOON_WINDOW)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert not found.ends


def test_work_that_waits_for_a_primer_is_measured_from_the_end_of_that_wait() -> None:
    (seen,) = waiting(since=2, intended=0.9).waiting
    for until, expected in ((1, Verdict.PASSED), (-5, Verdict.PASSED), (-12, Verdict.FAILED)):
        held = replace(seen, primer_until=later(minutes=until))
        found = judged(
            Promise.BATCH_NEVER_STARTED, PromiseMeasurements(waiting=[held]), **NOON_WINDOW
        )
        assert (found.verdict, found.value) == (expected, max(0, -until)), until


def test_a_worker_that_died_after_the_opening_is_reported_once_the_next_departure_is_missed() -> (
    None
):
    hours: dict[str, Any] = {"off_peak_start": "08:00", "off_peak_end": "18:00"}
    # Ready at 08:06, after the batch of 08:00 had left; the next one leaves at 09:00.
    seen = waiting(since=3.9, intended=3.99)
    for now, told in ((later(hours=-3, minutes=10), False), (later(hours=-3, minutes=11), True)):
        found = judged(Promise.BATCH_NEVER_STARTED, seen, now=now, **hours)
        assert (found.verdict is Verdict.FAILED) == told


def test_work_that_missed_two_departures_is_reported_although_other_work_leaves() -> None:
    hours: dict[str, Any] = {"off_peak_start": "08:00", "off_peak_end": "18:00"}
    found = judged(Promise.BATCH_NEVER_STARTED, waiting(since=3.9, intended=0.01), **hours)
    assert found.verdict is Verdict.FAILED


def test_work_ready_after_the_opening_or_waiting_for_minutes_breaks_no_promise() -> None:
    came_later = waiting(since=0.2)
    for seen, now in (
        (came_later, NOON),
        (waiting(since=2), later(minutes=-21)),
        (PromiseMeasurements(), NOON),
    ):
        assert judged(Promise.BATCH_NEVER_STARTED, seen, now=now, **NOON_WINDOW).ends


def test_a_paused_workload_is_evaluated_only_by_its_batches() -> None:
    seen = PromiseMeasurements(
        batches=[batch()], waiting=waiting(since=2).waiting, paused=frozenset({"letters"})
    )
    found = {each.promise for each in assess({"letters": version(**NOON_WINDOW)}, seen, NOON)}
    assert Promise.BATCH_SLOW in found
    assert Promise.BATCH_NEVER_STARTED not in found


def test_a_slow_or_failing_realtime_lane_breaks_its_promise() -> None:
    assert judged(Promise.REALTIME_SLOW, realtime(p95_s=5.1, slow=20)).verdict is Verdict.FAILED
    assert judged(Promise.REALTIME_FAILING, realtime(failed=20)).verdict is Verdict.FAILED
    assert (
        judged(Promise.REALTIME_SLOW, realtime(p95_s=40, answered=0, late=20)).verdict
        is Verdict.FAILED
    )


def test_even_a_single_item_that_waits_for_long_breaks_the_promise() -> None:
    day = judged(Promise.REALTIME_SLOW, realtime(p95_s=86_400, answered=0, late=19, waits_s=86_400))
    assert (day.verdict, day.value) == (Verdict.FAILED, 86_400)
    assert "19 items" in day.sentence
    one = judged(Promise.REALTIME_SLOW, realtime(p95_s=1, answered=1000, late=1, waits_s=3_600))
    assert (one.verdict, one.value) == (Verdict.FAILED, 3_600)
    assert (
        judged(Promise.REALTIME_SLOW, realtime(p95_s=1, answered=1000, late=1, waits_s=59)).verdict
        is Verdict.PASSED
    )


def test_a_failed_item_breaks_the_promise_of_the_realtime_lane() -> None:
    found = judged(Promise.REALTIME_SLOW, realtime(p95_s=600, answered=0, given_up=935))
    assert (found.verdict, found.samples) == (Verdict.FAILED, 935)
    assert "935 items were given up" in found.sentence


def test_a_quiet_lane_does_not_end_an_incident_while_items_have_recently_failed() -> None:
    quiet = realtime(p95_s=None, answered=0, attempts=0)
    assert judged(Promise.REALTIME_SLOW, quiet).ends
    assert judged(Promise.REALTIME_FAILING, quiet).ends
    gone = replace(quiet, failed=[RecentItems("letters", 935, "k", "down")])
    assert not judged(Promise.REALTIME_SLOW, gone).ends
    assert not judged(Promise.REALTIME_FAILING, gone).ends
    again = replace(realtime(), failed=gone.failed)
    assert judged(Promise.REALTIME_SLOW, again).ends


def test_too_few_samples_break_no_promise_and_end_no_incident() -> None:
    for found in (
        judged(Promise.REALTIME_SLOW, realtime(p95_s=99, answered=4, slow=4)),
        judged(Promise.REALTIME_FAILING, realtime(attempts=4, failed=4)),
    ):
        assert found.verdict is Verdict.INCONCLUSIVE
        assert not found.ends


def test_a_realtime_incident_ends_when_clearly_below_its_limit_or_when_the_lane_is_quiet() -> None:
    assert not judged(Promise.REALTIME_SLOW, realtime(p95_s=4.9, slow=4)).ends
    assert judged(Promise.REALTIME_SLOW, realtime(p95_s=4.5, answered=200, slow=1)).ends
    assert judged(Promise.REALTIME_SLOW, realtime(p95_s=4.5, answered=3)).ends
    assert judged(Promise.REALTIME_SLOW, realtime(p95_s=None, answered=0)).ends
    assert not judged(Promise.REALTIME_SLOW, realtime(p95_s=60, answered=0, late=3)).ends


def test_an_item_settled_on_its_provisional_answer_is_a_breach_while_it_is_recent() -> None:
    seen = PromiseMeasurements(settled=[RecentItems("letters", 2, "k", "poison: no")])
    assert judged(Promise.AUTHORITATIVE_FAILED, seen).verdict is Verdict.FAILED
    assert judged(Promise.AUTHORITATIVE_FAILED, PromiseMeasurements()).ends


def test_an_invalid_block_is_a_breach_that_names_its_fields() -> None:
    found = invalid_workload("letters", ["patience_s: too small", "urgent_when: a &&"])
    assert found.verdict is Verdict.FAILED
    assert "patience_s" in found.sentence
    assert format_value(found.promise, found.value) == "2 fields"


@pytest.mark.parametrize(
    ("value", "limit", "said"),
    [
        (3, 2, Verdict.FAILED),
        (2, 2, Verdict.PASSED),
        (3, 0, Verdict.PASSED),
        (None, 2, Verdict.ERROR),
        (float("nan"), 2, Verdict.ERROR),
        (float("inf"), 2, Verdict.ERROR),
    ],
)
def test_a_measurement_without_a_sample_is_compared_with_its_limit(
    value: float | None, limit: float, said: Verdict
) -> None:
    assert verdict(value, limit) is said


@given(
    st.floats(0, 300),
    st.integers(0, 500),
    st.integers(0, 500),
    st.integers(0, 500),
    st.integers(0, 500),
)
def test_no_assessment_both_breaks_a_promise_and_ends_its_incident(
    p95_s: float, answered: int, late: int, attempts: int, failed: int
) -> None:
    seen = realtime(
        p95_s=p95_s,
        answered=answered,
        slow=answered // 3,
        late=late,
        attempts=attempts,
        failed=min(failed, attempts),
    )
    for each in assess({"letters": version()}, seen, NOON):
        assert not (each.verdict is Verdict.FAILED and each.ends)
        assert each.sentence.endswith((".", ")"))


def test_every_promise_has_a_unit_and_advice() -> None:
    assert set(TERMS) == set(Promise)
    for promise in Promise:
        assert format_value(promise, 3.0).startswith("3")
        assert TERMS[promise].advice.endswith((".", "?"))

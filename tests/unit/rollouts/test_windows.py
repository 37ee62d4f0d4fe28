"""Gates that judge the whole rollout and their step: either window can fail a gate, and only the step can pass it.

Comparisons of latencies are here too.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.rollouts import gates
from lanes.rollouts.gates import Gate, Judgement, Measure, Measurement, Scope, attach_other, combine
from lanes.words import Verdict
from tests.unit.rollouts.test_gates import (
    ALPHA,
    ERRORS,
    SAVING,
    WORSE,
    judge,
    saving,
    share,
    unmeasured,
)

SLOWER = Gate(measure=Measure.P95_S, max=5, worse_by=0.05, at_least=20)
Counts = tuple[int, int]  # wrong samples, and all samples
COUNTS = st.integers(0, 800).flatmap(lambda most: st.tuples(st.integers(0, most), st.just(most)))


def after(*steps: Counts) -> Judgement:
    """Return the judgement of the error gate after these steps; the last one is the current step."""
    whole = share(ERRORS, *map(sum, zip(*steps, strict=True)))
    return gates.judge_both(ERRORS, share(ERRORS, *steps[-1]), ERRORS, whole, alpha=ALPHA)


def test_a_loss_that_no_single_step_can_show_fails_over_the_whole_rollout() -> None:
    steps = [(7, 60)] * 5
    assert {judge(ERRORS, share(ERRORS, *each)).verdict for each in steps} == {Verdict.INCONCLUSIVE}
    assert after(*steps[:2]).verdict is Verdict.INCONCLUSIVE
    failed = after(*steps)
    assert (failed.verdict, failed.scope) == (Verdict.FAILED, Scope.ROLLOUT)
    assert failed.explanation.startswith("over the whole rollout, 12 % of 300 samples, at most 5")


def test_a_loss_in_an_early_step_fails_a_clean_later_step_until_the_loss_is_diluted() -> None:
    early = (30, 100)
    assert judge(ERRORS, share(ERRORS, 0, 160)).verdict is Verdict.PASSED
    failed = after(early, (0, 160))
    assert (failed.verdict, failed.scope) == (Verdict.FAILED, Scope.ROLLOUT)
    assert failed.beside is not None
    assert failed.beside.verdict is Verdict.PASSED
    assert after(early, (0, 1_000)).verdict is Verdict.PASSED


def test_good_earlier_steps_neither_pass_the_current_step_nor_hide_its_loss() -> None:
    assert after((0, 5_000), (0, 100)).verdict is Verdict.INCONCLUSIVE
    lost = after((0, 5_000), (30, 200))
    assert (lost.verdict, lost.scope) == (Verdict.FAILED, Scope.STEP)


@given(st.lists(COUNTS.filter(lambda each: each[1] > 0), min_size=1, max_size=5))
def test_a_gate_fails_by_either_window_and_passes_by_the_step_alone(steps: list[Counts]) -> None:
    decided = after(*steps)
    of_step, of_whole = decided.of_windows
    assert (of_step.scope, of_whole.scope) == (Scope.STEP, Scope.ROLLOUT)
    has_failed = Verdict.FAILED in (of_step.verdict, of_whole.verdict)
    assert decided.verdict is (Verdict.FAILED if has_failed else of_step.verdict)
    assert decided.scope is (Scope.STEP if decided.between == of_step.between else Scope.ROLLOUT)


def test_a_whole_rollout_that_cannot_be_measured_is_an_error() -> None:
    unread = Measurement(ERRORS.measure, None, 0, problem="no table")
    clean = share(ERRORS, 0, 500)
    assert gates.judge_both(ERRORS, clean, ERRORS, unread, alpha=ALPHA).verdict is Verdict.ERROR
    assert gates.judge_both(ERRORS, clean, ERRORS, None, alpha=ALPHA) == judge(ERRORS, clean)


@given(COUNTS.filter(lambda each: each[1] > 0), COUNTS)
def test_each_of_two_windows_fails_a_gate_with_half_of_its_alpha(
    step: Counts, before: Counts
) -> None:
    decided = after(before, step)
    seen = (step, (step[0] + before[0], step[1] + before[1]))
    half = (gates.judge(ERRORS, share(ERRORS, *each), alpha=ALPHA / 2) for each in seen)
    assert (decided.verdict is Verdict.FAILED) == any(
        each.verdict is Verdict.FAILED for each in half
    )


def compared(*steps: tuple[Counts, Counts], gate: Gate = WORSE) -> Judgement:
    """Return the judgement of a gate that compares the lanes after these steps; the last one is the current step."""

    def side(counts: Counts) -> Measurement:
        return share(gate, *counts) if counts[1] else unmeasured(gate)

    measured = [attach_other(side(of), side(than), "the old version") for of, than in steps]
    return gates.judge_both(gate, measured[-1], gate, combine(measured), alpha=ALPHA)


def test_a_comparison_over_all_steps_finds_a_loss_that_no_single_step_can_show() -> None:
    steps = [((33, 250), (8, 400)), ((33, 250), (5, 250)), ((33, 250), (5, 250))]
    assert [compared(each).verdict for each in steps] == [Verdict.INCONCLUSIVE] * 3
    failed = compared(*steps)
    assert (failed.verdict, failed.scope) == (Verdict.FAILED, Scope.ROLLOUT)
    said = "over the whole rollout, 13 % of 750 samples, 2 % of 900 on the old version, at most 5.0 points worse; at least "
    assert failed.explanation.startswith(said)
    assert failed.measurement.excess is not None
    assert failed.between is not None
    assert failed.between[0] < failed.measurement.excess < failed.between[1]


def test_lanes_that_are_equal_in_each_step_are_equal_over_the_whole_rollout() -> None:
    """Pool the steps: 28 of 100 items are wrong on one lane and 12 on the other, because most items moved in a bad hour."""
    steps = [((2, 100), (38, 1_900)), ((300, 1_000), (300, 1_000)), ((210, 700), (30, 100))]
    whole = compared(*steps).of_windows[1]
    assert whole.verdict is not Verdict.FAILED
    assert whole.measurement.excess == 0
    assert compared(((512, 1_800), (368, 3_000))).verdict is Verdict.FAILED  # samples pooled


def test_a_step_without_samples_on_one_lane_does_not_count_in_the_difference() -> None:
    step = ((30, 200), (5, 300))
    whole = compared(((9, 9), (0, 0)), step).of_windows[1]
    assert (whole.measurement.samples, whole.measurement.excess) == (200, 0.15 - 5 / 300)
    assert whole.between == gates.judge(WORSE, compared(step).measurement, alpha=ALPHA / 2).between
    assert combine([share(WORSE, 1, 9)]).samples == 9


def test_a_latency_is_also_compared_step_by_step() -> None:
    seen = [
        attach_other(
            Measurement(Measure.P95_S, 6.0, 300, wrong),
            Measurement(Measure.P95_S, 3.0, 500, 10),
            "the old version",
        )
        for wrong in (36, 39, 36)
    ]
    failed = gates.judge_both(SLOWER, seen[-1], SLOWER, combine(seen), alpha=ALPHA)
    assert (failed.verdict, failed.scope) == (Verdict.FAILED, Scope.ROLLOUT)
    said = "over the whole rollout, 12 % of 900 samples slower than 5.00 s, 2 % of 1,500 on the old version"
    assert failed.explanation.startswith(said)


def test_a_saving_fails_by_all_steps_together_with_its_bounds_below_the_limit() -> None:
    cheap, dear = ([each * 0.75, each * 1.25] * 200 for each in (0.85, 1.0))
    step = saving(cheap, dear)
    assert judge(SAVING, step).verdict is Verdict.INCONCLUSIVE
    failed = gates.judge_both(SAVING, step, SAVING, combine([step] * 3), alpha=ALPHA)
    assert (failed.verdict, failed.scope) == (Verdict.FAILED, Scope.ROLLOUT)
    assert failed.explanation.startswith(
        "over the whole rollout, 15 % of 1,200 samples and 1,200 on "
    )
    assert failed.between is not None
    assert failed.between[0] < 0.15 < failed.between[1] < SAVING.limit


@pytest.mark.parametrize(
    ("slow", "others_slow", "verdict", "said"),
    [
        (980, 980, Verdict.PASSED, "98 % of 1,000 samples slower than 5.00 s, 98 % of 1,000 on "),
        (150, 30, Verdict.FAILED, "15 % of 1,000 samples slower than 5.00 s, 3 % of 1,000 on "),
        (30, 0, Verdict.INCONCLUSIVE, "3 % of 1,000 samples slower than 5.00 s, 0 % of 1,000 on "),
    ],
)
def test_a_p95_comparison_is_judged_by_the_shares_of_slower_answers_on_both_sides(
    slow: int, others_slow: int, verdict: Verdict, said: str
) -> None:
    other = Measurement(Measure.P95_S, 4.0, 1_000, others_slow)
    seen = judge(SLOWER, Measurement(Measure.P95_S, 8.0, 1_000, slow, other=other))
    assert seen.verdict is verdict
    assert seen.explanation.startswith(f"{said}the other lane, at most 5.0 points worse; ")

"""A gate that judges the whole rollout beside its step: by which of them it fails, and by which it passes."""

from hypothesis import given
from hypothesis import strategies as st

from lanes.rollouts import gates
from lanes.rollouts.gates import Judgement, Measurement, Scope
from lanes.words import Verdict
from tests.unit.rollouts.test_gates import ALPHA, ERRORS, judge, share

Counts = tuple[int, int]  # wrong samples, and all of them
COUNTS = st.integers(0, 800).flatmap(lambda most: st.tuples(st.integers(0, most), st.just(most)))


def after(*steps: Counts) -> Judgement:
    """Return what the gate on errors says when these steps have been taken, the last of which is in force."""
    whole = share(ERRORS, *map(sum, zip(*steps, strict=True)))
    return gates.judge_both(ERRORS, share(ERRORS, *steps[-1]), ERRORS, whole, alpha=ALPHA)


def test_a_loss_that_each_step_alone_is_too_short_to_show_fails_the_whole_rollout() -> None:
    steps = [(7, 60)] * 5
    assert {judge(ERRORS, share(ERRORS, *each)).verdict for each in steps} == {Verdict.INCONCLUSIVE}
    assert after(*steps[:2]).verdict is Verdict.INCONCLUSIVE
    failed = after(*steps)
    assert (failed.verdict, failed.scope) == (Verdict.FAILED, Scope.ROLLOUT)
    assert failed.explanation.startswith("over the whole rollout, 11.7% of 300 samples, at most 5")


def test_a_loss_in_an_early_step_fails_a_later_one_that_is_clean_until_it_is_diluted() -> None:
    early = (30, 100)
    assert judge(ERRORS, share(ERRORS, 0, 160)).verdict is Verdict.PASSED
    failed = after(early, (0, 160))
    assert (failed.verdict, failed.scope) == (Verdict.FAILED, Scope.ROLLOUT)
    assert failed.beside is not None
    assert failed.beside.verdict is Verdict.PASSED
    assert after(early, (0, 1_000)).verdict is Verdict.PASSED


def test_what_went_well_before_passes_no_step_and_hides_no_loss_of_it() -> None:
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


def test_a_whole_rollout_that_cannot_be_measured_passes_nothing() -> None:
    unread = Measurement(ERRORS.measure, None, 0, problem="no table")
    clean = share(ERRORS, 0, 500)
    assert gates.judge_both(ERRORS, clean, ERRORS, unread, alpha=ALPHA).verdict is Verdict.ERROR
    assert gates.judge_both(ERRORS, clean, ERRORS, None, alpha=ALPHA) == judge(ERRORS, clean)


@given(COUNTS.filter(lambda each: each[1] > 0), COUNTS)
def test_a_gate_with_two_windows_fails_by_either_with_half_of_its_alpha(
    step: Counts, before: Counts
) -> None:
    decided = after(before, step)
    seen = (step, (step[0] + before[0], step[1] + before[1]))
    half = (gates.judge(ERRORS, share(ERRORS, *each), alpha=ALPHA / 2) for each in seen)
    assert (decided.verdict is Verdict.FAILED) == any(
        each.verdict is Verdict.FAILED for each in half
    )

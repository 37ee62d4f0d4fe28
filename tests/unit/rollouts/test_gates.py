"""Gates: the evidence that they accept, and the measurements that never pass."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lanes.rollouts import gates
from lanes.rollouts.gates import (
    MEANS,
    MOST_TIMES,
    UPPER,
    Gate,
    Judgement,
    Measure,
    Measurement,
    longest_out,
    worst,
)
from lanes.rollouts.refusals import sample_ratio_mismatch
from lanes.statistics.differences import difference_bounds
from lanes.statistics.shares import MeanSequence, SampleShare, bounds, clean_samples
from lanes.words import Lane, Verdict
from tests.examples import spec

ERRORS = Gate(measure=Measure.ERROR_RATE, max=0.05, at_least=20)
P95 = Gate(measure=Measure.P95_S, max=2.0, at_least=20)
MET = Gate(measure=Measure.DEADLINES_MET, min=0.9, at_least=10)
ALPHA = 0.05


def judge(gate: Gate, measured: Measurement) -> Judgement:
    return gates.judge(gate, measured, alpha=ALPHA)


def share(gate: Gate, wrong: int, samples: int) -> Measurement:
    value = wrong / samples if gate.measure in UPPER else 1 - wrong / samples
    return Measurement(gate.measure, value, samples, wrong)


@st.composite
def measured(draw: st.DrawFn) -> tuple[Gate, Measurement]:
    """Draw any gate on a share with any measurement of its measure, sensible or not."""
    measure = draw(st.sampled_from([each for each in Measure if each not in MEANS]))
    upper = measure in UPPER
    limit = draw(st.floats(0, 1))
    at_least = draw(st.integers(1, 500))
    gate = Gate.model_validate(
        {"measure": measure, "max" if upper else "min": limit, "at_least": at_least}
    )
    value = draw(st.one_of(st.none(), st.floats()))
    problem = draw(st.one_of(st.none(), st.just("no table")))
    samples, wrong, doubtful = (draw(st.integers(low, 600)) for low in (0, -2, 0))
    return gate, Measurement(measure, value, samples, wrong, problem, doubtful)


@given(measured())
def test_a_gate_passes_only_with_enough_samples_a_value_within_the_limit_and_no_problem(
    each: tuple[Gate, Measurement],
) -> None:
    gate, measurement = each
    if judge(gate, measurement).verdict is Verdict.PASSED:
        assert measurement.samples >= gate.at_least
        assert measurement.problem is None
        assert measurement.value is not None
        assert math.isfinite(measurement.value)
        assert gate.keeps(measurement.value)


@given(measured())
def test_a_gate_with_too_few_samples_neither_passes_nor_fails(
    each: tuple[Gate, Measurement],
) -> None:
    gate, measurement = each
    if measurement.samples < gate.at_least:
        assert judge(gate, measurement).verdict in (Verdict.INCONCLUSIVE, Verdict.ERROR)


@given(st.integers(1, 400), st.data())
def test_more_wrong_samples_never_make_a_verdict_better(samples: int, data: st.DataObject) -> None:
    order = [Verdict.PASSED, Verdict.INCONCLUSIVE, Verdict.FAILED]
    fewer = data.draw(st.integers(0, samples))
    more = data.draw(st.integers(fewer, samples))
    verdicts = [judge(ERRORS, share(ERRORS, wrong, samples)).verdict for wrong in (fewer, more)]
    assert order.index(verdicts[0]) <= order.index(verdicts[1])


@given(measured())
def test_a_gate_passes_and_fails_only_by_the_bounds_of_its_confidence_sequence(
    each: tuple[Gate, Measurement],
) -> None:
    gate, measurement = each
    judgement = judge(gate, measurement)
    if judgement.verdict is Verdict.ERROR:
        assert judgement.between is None
        return
    seen = SampleShare(measurement.wrong, measurement.samples)
    low, high = bounds(seen, alpha=ALPHA)
    assert judgement.between == (low, high)
    if judgement.verdict is Verdict.FAILED:
        assert low >= gate.tolerance
    if judgement.verdict is Verdict.PASSED:
        assert high <= gate.tolerance


@pytest.mark.parametrize(
    ("wrong", "samples", "verdict"),
    [
        (0, 19, Verdict.INCONCLUSIVE),
        (0, 20, Verdict.INCONCLUSIVE),  # too few samples prove nothing, even without an error
        (0, 157, Verdict.INCONCLUSIVE),
        (0, 158, Verdict.PASSED),
        (7, 500, Verdict.PASSED),
        (1, 20, Verdict.INCONCLUSIVE),
        (20, 500, Verdict.INCONCLUSIVE),  # 4 % is within the limit, but chance can explain it
        (30, 500, Verdict.INCONCLUSIVE),  # 6 % is beyond the limit, but chance can explain that too
        (4, 20, Verdict.INCONCLUSIVE),
        (5, 20, Verdict.FAILED),
        (45, 500, Verdict.FAILED),
        (20, 20, Verdict.FAILED),
        (19, 19, Verdict.INCONCLUSIVE),  # a gate never decides below `at_least`
    ],
)
def test_an_error_rate_passes_and_fails_only_when_chance_cannot_explain_it(
    wrong: int, samples: int, verdict: Verdict
) -> None:
    assert judge(ERRORS, share(ERRORS, wrong, samples)).verdict is verdict


def test_a_smaller_alpha_needs_more_samples_to_pass_and_to_fail() -> None:
    clean = share(ERRORS, 0, clean_samples(0.05, alpha=ALPHA))
    broken = share(ERRORS, 5, 20)
    for measurement in (clean, broken):
        assert judge(ERRORS, measurement).verdict is not Verdict.INCONCLUSIVE
        assert gates.judge(ERRORS, measurement, alpha=ALPHA / 8).verdict is Verdict.INCONCLUSIVE


def test_a_verdict_states_the_bounds_of_the_true_share() -> None:
    failed = judge(ERRORS, share(ERRORS, 20, 20)).explanation
    assert failed == (
        "100 % of 20 samples, at most 5 %; at least 74 % are on the wrong side, with 95 % confidence at every look"
    )
    passed = judge(ERRORS, share(ERRORS, 0, 200)).explanation
    assert passed == (
        "0 % of 200 samples, at most 5 %; at most 4.1 % are on the wrong side, with 95 % confidence at every look"
    )
    undecided = judge(ERRORS, share(ERRORS, 1, 50)).explanation
    assert undecided.startswith("2 % of 50 samples, at most 5 %; between <0.1 % and ")


def test_a_gate_that_tolerates_every_error_passes_and_a_gate_that_tolerates_none_never_passes() -> (
    None
):
    every = Gate(measure=Measure.ERROR_RATE, max=1, at_least=5)
    assert judge(every, share(every, 5, 5)).verdict is Verdict.PASSED
    none = Gate(measure=Measure.ERROR_RATE, max=0, at_least=5)
    assert judge(none, share(none, 0, 100_000)).verdict is Verdict.INCONCLUSIVE
    assert judge(none, share(none, 1, 100_000)).verdict is Verdict.FAILED


def test_a_p95_gate_passes_only_if_at_most_a_twentieth_of_the_items_is_slower() -> None:
    assert judge(P95, Measurement(Measure.P95_S, 1.9, 300, 1)).verdict is Verdict.PASSED
    assert judge(P95, Measurement(Measure.P95_S, 1.9, 100, 4)).verdict is Verdict.INCONCLUSIVE
    assert judge(P95, Measurement(Measure.P95_S, 2.1, 100, 6)).verdict is Verdict.INCONCLUSIVE
    assert judge(P95, Measurement(Measure.P95_S, 9.0, 100, 20)).verdict is Verdict.FAILED


def test_a_deadline_gate_is_judged_by_the_share_of_missed_deadlines() -> None:
    assert judge(MET, share(MET, 1, 10)).verdict is Verdict.INCONCLUSIVE
    assert judge(MET, share(MET, 1, 150)).verdict is Verdict.PASSED
    assert judge(MET, share(MET, 8, 10)).verdict is Verdict.FAILED


def test_an_unusable_measurement_is_an_error_and_not_a_failure() -> None:
    assert (
        judge(ERRORS, Measurement(Measure.ERROR_RATE, None, 0, problem="no table")).verdict
        is Verdict.ERROR
    )
    assert judge(ERRORS, Measurement(Measure.ERROR_RATE, None, 50)).verdict is Verdict.ERROR
    assert judge(ERRORS, Measurement(Measure.ERROR_RATE, float("nan"), 50)).verdict is Verdict.ERROR
    assert judge(ERRORS, Measurement(Measure.P95_S, 1, 50)).verdict is Verdict.ERROR


def test_the_worst_verdict_decides() -> None:
    passed, failed = judge(ERRORS, share(ERRORS, 0, 50)), judge(ERRORS, share(ERRORS, 50, 50))
    assert worst([passed, failed]) is failed
    assert worst([]) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"measure": "error_rate", "min": 0.1, "at_least": 5},
        {"measure": "error_rate", "max": 5, "at_least": 5},
        {"measure": "agreement", "max": 0.9, "at_least": 5},
        {"measure": "p95_s", "max": 1, "min": 0, "at_least": 5},
        {"measure": "p95_s", "at_least": 5},
        {"measure": "p95_s", "worse_by": 0.1, "at_least": 5},
        {"measure": "error_rate", "max": 0.1, "worse_by": 0.1, "at_least": 5},
        {"measure": "correction_rate", "max": 5, "at_least": 5},
        {"measure": "cost_usd", "min": 0.01, "at_least": 5},
        {"measure": "cost_usd", "max": 0, "at_least": 5, "dry_run": True},
        {"measure": "saving", "min": 30, "at_least": 5},
        {"measure": "saving", "min": -2, "at_least": 5},
        {"measure": "agreement", "min": -0.5, "at_least": 5},
        {"measure": "saving", "worse_by": 0.1, "at_least": 5},
        {"measure": "error_rate", "max": 0.1, "at_least": 0},
        {"measure": "error_rate", "max": float("nan"), "at_least": 5},
    ],
)
def test_a_gate_is_refused_without_a_valid_limit_for_its_measure_and_a_number_of_samples(
    fields: dict[str, object],
) -> None:
    with pytest.raises(ValidationError):
        Gate.model_validate(fields)


@pytest.mark.parametrize(
    ("gate", "wrong", "samples", "doubtful", "verdict"),
    [
        (ERRORS, 0, 500, 495, Verdict.INCONCLUSIVE),  # half of the items have not returned yet
        (ERRORS, 495, 995, 0, Verdict.FAILED),  # they are out for too long, and count as wrong
        (ERRORS, 0, 500, 9, Verdict.PASSED),  # holds even if all doubtful items are wrong
        (ERRORS, 0, 500, 12, Verdict.INCONCLUSIVE),
        (MET, 0, 100, 12, Verdict.INCONCLUSIVE),
        (ERRORS, 495, 995, 495, Verdict.FAILED),  # doubtful items excuse no failure
    ],
)
def test_a_gate_waits_for_doubtful_items_that_could_break_its_limit(
    gate: Gate, wrong: int, samples: int, doubtful: int, verdict: Verdict
) -> None:
    assert judge(gate, replace(share(gate, wrong, samples), doubtful=doubtful)).verdict is verdict


@given(measured(), st.integers(0, 600))
def test_more_doubtful_items_never_make_a_verdict_better(
    each: tuple[Gate, Measurement], more: int
) -> None:
    gate, measurement = each
    doubted = judge(gate, replace(measurement, doubtful=measurement.doubtful + more)).verdict
    sure = judge(gate, measurement).verdict
    assert doubted is sure or (sure, doubted) == (Verdict.PASSED, Verdict.INCONCLUSIVE)


@pytest.mark.parametrize(
    ("hits", "samples", "basis_points", "differs"),
    [
        (0, 0, 2_000, False),
        (200, 1_000, 2_000, False),
        (230, 1_000, 2_000, False),  # chance can explain it
        (300, 1_000, 2_000, True),
        (100, 1_000, 2_000, True),
        (200_950, 1_000_000, 2_000, False),  # too small a difference to matter
        (204_000, 1_000_000, 2_000, True),
        (999, 1_000, 10_000, True),  # at 100 % chance sends no item elsewhere
        (1_000, 1_000, 10_000, False),
        (2, 1_000, 0, True),
    ],
)
def test_a_sample_ratio_that_chance_does_not_explain_is_a_mismatch(
    hits: int, samples: int, basis_points: int, *, differs: bool
) -> None:
    said = sample_ratio_mismatch(SampleShare(hits, samples), basis_points)
    assert (said is not None) is differs
    assert said is None or f"the split sends {basis_points / 100:.2f}% to real time" in said


WORSE = Gate(measure=Measure.ERROR_RATE, worse_by=0.05, at_least=20)
SHARES = st.integers(0, 2_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(SHARES, SHARES, st.integers(0, 50), st.integers(0, 50))
def test_a_gate_that_compares_lanes_decides_only_by_the_bounds_of_their_difference(
    of: tuple[int, int], than: tuple[int, int], doubtful: int, others_doubtful: int
) -> None:
    here, other = (share(WORSE, *each) if each[1] else unmeasured(WORSE) for each in (of, than))
    other = replace(other, doubtful=others_doubtful)
    seen = judge(WORSE, replace(here, other=other, doubtful=doubtful))
    low, high = difference_bounds(SampleShare(*of), SampleShare(*than), alpha=ALPHA)
    assert seen.between == (low, high)
    if min(of[1], than[1]) < WORSE.at_least:
        assert seen.verdict is Verdict.INCONCLUSIVE
    elif low > 0.05 + 1e-9:
        assert seen.verdict is Verdict.FAILED
    elif high > 0.05 + 1e-9:
        assert seen.verdict is Verdict.INCONCLUSIVE
    else:
        assert seen.verdict is not Verdict.FAILED
        assert doubtful + others_doubtful or seen.verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("doubtful", "others_doubtful", "verdict"),
    [(0, 0, Verdict.PASSED), (90, 0, Verdict.INCONCLUSIVE), (0, 90, Verdict.PASSED)],
)
def test_a_comparison_passes_only_if_it_passes_with_every_doubtful_item_counted_against_it(
    doubtful: int, others_doubtful: int, verdict: Verdict
) -> None:
    other = replace(share(WORSE, 50, 1_000), doubtful=others_doubtful)
    here = replace(share(WORSE, 40, 1_000), doubtful=doubtful, other=other)
    assert judge(WORSE, here).verdict is verdict


def test_a_comparison_without_the_other_lane_is_an_error() -> None:
    here = share(WORSE, 40, 1_000)
    broken = replace(here, other=Measurement(Measure.ERROR_RATE, None, 0, problem="no table"))
    assert judge(WORSE, here).verdict is Verdict.ERROR
    assert judge(WORSE, broken).explanation == "no table"


COST = Gate(measure=Measure.COST_USD, max=0.002, at_least=20)
SAVING = Gate(measure=Measure.SAVING, min=0.3, at_least=20)


def mean(gate: Gate, costs: Sequence[float]) -> Measurement:
    value = sum(costs) / len(costs) if costs else None
    return Measurement(gate.measure, value, len(costs), costs=costs)


def saving(here: Sequence[float], there: Sequence[float]) -> Measurement:
    measured, other = mean(SAVING, here), mean(SAVING, there)
    value = 1 - (measured.value or 0) / other.value if other.value else None
    return replace(measured, value=value, other=other)


@given(st.lists(st.floats(0, 0.02), max_size=300))
def test_a_cost_passes_and_fails_only_by_the_bounds_of_its_mean(costs: list[float]) -> None:
    end = MOST_TIMES * COST.limit
    low, high = MeanSequence(0, end, alpha=ALPHA).add(min(each, end) for each in costs).bounds
    seen = judge(COST, mean(COST, costs))
    assert seen.between == (low, high)
    if len(costs) < COST.at_least:
        assert seen.verdict is Verdict.INCONCLUSIVE
    elif low > COST.limit:
        assert seen.verdict is Verdict.FAILED
    elif high >= COST.limit:
        assert seen.verdict is Verdict.INCONCLUSIVE
    else:
        # the mean of the costs before they are cut off may be above the limit
        passes = (seen.measurement.value or 0) <= COST.limit
        assert seen.verdict is (Verdict.PASSED if passes else Verdict.INCONCLUSIVE)


@pytest.mark.parametrize(
    ("costs", "verdict", "said"),
    [
        ([0.001] * 19, Verdict.INCONCLUSIVE, "19 of at least 20 samples"),
        ([0.001] * 40, Verdict.INCONCLUSIVE, "$0.001 of 40 samples, at most $0.002; between $"),
        ([0.001] * 200, Verdict.PASSED, "$0.001 of 200 samples, at most $0.002; at most $0.001"),
        (
            [0.003, 0.004] * 100,
            Verdict.FAILED,
            "$0.0035 of 200 samples, at most $0.002; at least $",
        ),
        ([*[0.001] * 400, 90.0], Verdict.INCONCLUSIVE, "$0.225 of 401 samples"),  # one odd bill
    ],
)
def test_a_verdict_on_a_cost_states_the_bounds_of_its_mean(
    costs: list[float], verdict: Verdict, said: str
) -> None:
    seen = judge(COST, mean(COST, costs))
    assert seen.verdict is verdict
    assert seen.explanation.startswith(said)


@pytest.mark.parametrize(
    ("here", "there", "samples", "verdict", "said"),
    [
        (
            0.5,
            1.0,
            15,
            Verdict.INCONCLUSIVE,
            "15 here and 15 on the other lane, each of at least 20",
        ),
        (0.5, 1.0, 100, Verdict.INCONCLUSIVE, "50 % of 100 samples and 100 on the other lane"),
        (
            0.5,
            1.0,
            1_000,
            Verdict.PASSED,
            "50 % of 1,000 samples and 1,000 on the other lane, at least ",
        ),
        (1.0, 1.0, 1_000, Verdict.FAILED, "0 % of 1,000 samples"),
        (1.5, 1.0, 1_000, Verdict.FAILED, "-50 % of 1,000 samples"),  # a loss
        (0.7, 1.0, 1_000, Verdict.INCONCLUSIVE, "30 % of 1,000 samples"),
    ],
)
def test_a_saving_gate_compares_the_cost_of_an_item_on_both_lanes(
    here: float, there: float, samples: int, verdict: Verdict, said: str
) -> None:
    seen = judge(SAVING, saving([here] * samples, [there] * samples))
    assert seen.verdict is verdict
    assert seen.explanation.startswith(said)


COSTS = st.just(0.0) | st.floats(1e-10, 5)  # a stored cost has ten decimals


@given(st.lists(COSTS, min_size=1), st.lists(COSTS, min_size=1))
def test_the_verdict_on_a_saving_agrees_with_its_bounds(
    here: list[float], there: list[float]
) -> None:
    seen = judge(SAVING, saving(here, there))
    if seen.between is None:  # the other lane cost nothing
        assert sum(there) == 0
        return
    low, high = seen.between
    assert low <= high
    verdicts = {Verdict.PASSED: low >= SAVING.limit, Verdict.FAILED: high <= SAVING.limit}
    assert verdicts.get(seen.verdict, True)


def test_a_gate_on_accuracy_says_how_many_labels_are_missing() -> None:
    gate = Gate(measure=Measure.ACCURACY, min=0.9, at_least=50)
    assert (
        judge(gate, share(gate, 1, 12)).explanation
        == "12 of at least 50 labeled items; label 38 more (`lanes review WORKLOAD`)"
    )


def unmeasured(gate: Gate) -> Measurement:
    return Measurement(gate.measure, None, 0)


def test_the_longest_time_without_an_answer_is_set_by_the_workload_for_each_lane() -> None:
    promised = spec(patience_s=60, promises={"batch_max_minutes": 120, "realtime_p95_s": 5})
    assert longest_out(promised, Lane.REALTIME) == timedelta(seconds=60)
    assert longest_out(promised, Lane.BATCH) == timedelta(hours=2)
    silent = spec(patience_s=0, promises={"batch_max_minutes": 0, "realtime_p95_s": 90})
    assert longest_out(silent, Lane.REALTIME) == timedelta(seconds=90)
    assert longest_out(silent, Lane.BATCH) == timedelta(hours=24)

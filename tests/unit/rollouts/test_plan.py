"""The plan of a rollout: the samples that its gates get at a workload's traffic, by the rules of the rollout's own verdicts."""

from dataclasses import replace
from itertools import cycle, islice
from math import ceil, inf
from statistics import fmean

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.rollouts import plan
from lanes.rollouts.gates import Gate, Measure, Measurement, judge
from lanes.rollouts.plan import ASSUMED_WRONG, LEAST_ITEMS, PlannedGate, RolloutPlan, SplitTraffic
from lanes.rollouts.playbook import Playbook, load
from lanes.statistics.differences import is_larger
from lanes.statistics.shares import SampleShare, is_above
from lanes.words import Lane, Verdict
from tests.rollouts import ERRORS, playbook, step

AGREEMENT = {"measure": "agreement", "min": 0.9, "at_least": 20}
P95 = {"measure": "p95_s", "max": 10, "at_least": 20}
COSTS = {Lane.REALTIME: 0.004, Lane.BATCH: 0.002}


def traffic(a_day: float, **known: object) -> SplitTraffic:
    return SplitTraffic(round(a_day * 7), 7.0, COSTS, **known)  # pyright: ignore[reportArgumentType]


def planned(
    book: Playbook | None = None, *, basis_points: int = 0, seen: SplitTraffic | None = None
) -> RolloutPlan:
    seen = traffic(2_000) if seen is None else seen
    return plan.make(book or load("batch-to-realtime"), "letters", None, basis_points, seen)


def measured(of: PlannedGate, samples: int, wrong: int) -> Measurement:
    """Return the store's measurement of these samples, and of the items that the other lane gets in the same time."""

    def on_a_lane(number: int, bad: int) -> Measurement:
        value = bad / number if of.gate.measure is Measure.ERROR_RATE else 1 - bad / number
        return Measurement(of.gate.measure, value, number, bad)

    here = on_a_lane(samples, wrong)
    if of.gate.worse_by is None:
        return here
    others = round(samples * (1 - of.portion) / of.portion)
    return replace(here, other=on_a_lane(others, int(of.usual * others)))


def passes(of: PlannedGate, samples: int, wrong: int) -> bool:
    """Return whether the gate passes by the rollout's own judgement."""
    return judge(of.gate, measured(of, samples, wrong), alpha=of.alpha).verdict is Verdict.PASSED


@st.composite
def gates(draw: st.DrawFn) -> PlannedGate:
    """Draw any gate with a limit on a share, at any traffic."""
    measure = draw(st.sampled_from([Measure.ERROR_RATE, Measure.DEADLINES_MET]))
    share, at_least = draw(st.floats(0.01, 0.5)), draw(st.integers(1, 300))
    limit = {"max": share} if measure is Measure.ERROR_RATE else {"min": 1 - share}
    gate = Gate.model_validate({"measure": measure, "at_least": at_least, **limit})
    alpha = draw(st.floats(0.0001, 0.1))
    return PlannedGate(gate, alpha, 0.5, 0.05, draw(st.floats(1, 2_000)), draw(st.floats(0.5, 30)))


COMPARED = [
    PlannedGate(Gate(measure=measure, worse_by=by, at_least=40), 0.01, portion, usual, 100.0, days)
    for measure, by, portion, usual, days in (
        (Measure.ERROR_RATE, 0.05, 0.5, 0.05, 7.0),
        (Measure.DEADLINES_MET, 0.1, 0.2, 0.02, 0.5),
        (Measure.ERROR_RATE, 0.2, 0.9, 0.0, 30.0),
    )
]
SLOWER = Gate(measure=Measure.P95_S, max=5, worse_by=0.05, at_least=40)
COMPARED.append(PlannedGate(SLOWER, 0.01, 0.05, 0.02, 100.0, 7.0))


def check_samples(of: PlannedGate, half: float) -> None:
    for samples, share in ((of.fewest, 0.0), (of.needed_samples, half)):
        assert samples is not None
        assert passes(of, samples, ceil(share * samples))
        if samples > 1:
            assert not passes(of, samples - 1, ceil(share * (samples - 1)))


@given(gates())
def test_the_planned_number_of_samples_passes_the_gate_and_one_sample_fewer_does_not(
    of: PlannedGate,
) -> None:
    check_samples(of, of.gate.tolerance / 2)


@pytest.mark.parametrize("of", COMPARED)
def test_the_planned_samples_of_a_comparison_pass_if_the_lanes_do_not_differ(
    of: PlannedGate,
) -> None:
    check_samples(of, of.usual)


@given(gates())
def test_a_gate_is_reachable_if_and_only_if_its_step_passes_without_wrong_samples(
    of: PlannedGate,
) -> None:
    assert of.most_samples is not None
    assert of.is_reachable is (of.most_samples > 0 and passes(of, of.most_samples, 0))


@pytest.mark.parametrize("of", COMPARED)
def test_a_comparison_is_reachable_if_and_only_if_its_step_passes_without_wrong_samples(
    of: PlannedGate,
) -> None:
    assert of.most_samples is not None
    assert of.is_reachable is passes(of, of.most_samples, 0)


@pytest.mark.parametrize("name", ["batch-to-realtime", "realtime-to-batch"])
def test_a_plan_has_the_steps_and_the_gate_alpha_of_its_playbook(name: str) -> None:
    book = load(name)
    made = planned(book, basis_points=0 if book.direction.all_moved else 10_000)
    assert [each.step for each in made.steps] == [*book.steps]
    for at in made.steps:
        assert [each.gate for each in at.gates] == [*at.step.gates]
        assert {each.alpha for each in at.gates} == {book.gate_alpha}


def test_the_shipped_playbook_passes_in_twenty_days_at_two_thousand_items_a_day() -> None:
    first, *_, last = planned().steps
    errors = first.gates[0]
    # These numbers include the shadows of batch items.
    assert (first.a_day, last.a_day) == (pytest.approx(290), 2_000)
    assert (errors.fewest, errors.needed_samples, errors.most_samples) == (218, 1_310, 1_400)
    assert errors.estimate_days(errors.needed_samples) == first.days_to_pass == pytest.approx(13.1)
    assert errors.power == pytest.approx(0.9981, abs=1e-4)
    assert planned().days_to_pass == pytest.approx(19.93, abs=0.01)


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (SplitTraffic(), "nothing came"),
        (SplitTraffic(5_000, 0.9, COSTS), "less than a day"),
        (SplitTraffic(LEAST_ITEMS - 1, 3.0, COSTS), "few items"),
    ],
)
def test_a_plan_estimates_no_days_from_less_than_a_day_or_from_few_items(
    seen: SplitTraffic, why: str
) -> None:
    made = planned(seen=seen)
    assert (made.days_to_pass, made.usd_a_day(Lane.BATCH, 5)) == (None, None), why
    errors, *_, agreement, _ = gates = made.steps[0].gates
    assert (errors.needed_samples, agreement.needed_samples) == (1_310, 592)
    for each in gates:
        assert (each.estimate_days(each.needed_samples), each.most_samples) == (None, None)
        assert each.power is None
        assert each.is_reachable


def test_any_gate_of_a_step_without_a_time_limit_is_reachable() -> None:
    (at,) = planned(playbook(step(5, ERRORS)), seen=traffic(10)).steps
    assert (at.days, at.gates[0].most_samples, at.gates[0].power) == (None, None, None)
    assert at.gates[0].is_reachable


def test_steps_below_the_current_share_are_not_planned_and_their_last_approval_is_owed() -> None:
    made = planned(basis_points=3_000)
    assert (made.first, made.owed_step) == (2, 1)
    assert [each.number for each in made.steps] == [2, 3]
    past = planned(playbook(step(10), step(50)), basis_points=6_000)
    assert (past.first, past.steps) == (None, ())


def test_the_cost_of_a_day_on_a_lane_is_the_number_of_its_items_times_their_cost_there() -> None:
    made = planned()
    assert made.usd_a_day(Lane.REALTIME, 20) == pytest.approx(2_000 * 0.2 * 0.004)
    assert made.usd_a_day(Lane.BATCH, 20) == pytest.approx(2_000 * 0.8 * 0.002)
    towards_batch = planned(load("realtime-to-batch"), basis_points=10_000)
    assert [each.a_day for each in towards_batch.steps] == pytest.approx([560, 1_100, 2_000])


def test_only_items_with_a_sample_of_the_measure_count_for_its_gate() -> None:
    met = {"measure": "deadlines_met", "min": 0.9, "at_least": 20}
    recent = {Measure.DEADLINES_MET: Measurement(Measure.DEADLINES_MET, 0.99, 300, 3)}
    seen = traffic(1_000, recent=recent, tried=3_000)
    (at,) = planned(playbook(step(50, ERRORS, met)), seen=seen).steps
    assert [each.a_day for each in at.gates] == pytest.approx([500, 50])
    none = {Measure.DEADLINES_MET: Measurement(Measure.DEADLINES_MET, None, 0)}
    assert (
        traffic(1_000, recent=none, tried=3_000).estimate_sample_share(Measure.DEADLINES_MET) == 0
    )
    few = traffic(1_000, recent=recent, tried=20)
    assert few.estimate_sample_share(Measure.DEADLINES_MET) == 1


@pytest.mark.slow
def test_a_comparison_expects_the_current_share_of_wrong_samples_on_the_other_lane() -> None:
    worse = {"measure": "error_rate", "worse_by": 0.02, "at_least": 20}
    recent = {Measure.ERROR_RATE: Measurement(Measure.ERROR_RATE, 0.01, 900, 9)}
    book = playbook(step(50, worse))
    (known,) = planned(book, seen=traffic(1_000, recent=recent, tried=900)).steps[0].gates
    (unknown,) = planned(book, seen=traffic(1_000)).steps[0].gates
    assert (known.usual, unknown.usual) == (0.01, ASSUMED_WRONG)
    assert (known.loss, unknown.loss) == pytest.approx((0.05, ASSUMED_WRONG + 0.04))
    assert known.needed_samples is not None
    assert unknown.needed_samples is not None
    assert known.needed_samples < unknown.needed_samples


@pytest.mark.slow
def test_the_latency_gate_of_a_new_version_is_planned_from_the_old_versions_latency() -> None:
    recent = {Measure.P95_S: Measurement(Measure.P95_S, 4.0, 900, 18)}
    made = planned(load("new-version"), seen=traffic(2_000, recent=recent, tried=900))
    latencies = [each for at in made.steps for each in at.gates if each.gate.measure == "p95_s"]
    assert [each.windows for each in latencies] == [1, 2, 2]
    for each in latencies:
        assert (each.usual, each.loss) == pytest.approx((0.02, 0.12))
        assert each.needed_samples is not None
        assert 500 < each.needed_samples < 700
        assert each.power is not None
        assert each.power > 0.8


def drawn(samples: int, share: float, runs: int, seed: int) -> list[SampleShare]:
    hits = numpy.random.default_rng(seed).binomial(samples, share, runs).tolist()
    return [SampleShare(each, samples) for each in hits]


@pytest.mark.parametrize("a_day", [10, 20, 60])
def test_power_is_the_share_of_rollouts_whose_gate_has_failed_by_the_end_of_the_step(
    a_day: int,
) -> None:
    gate = Gate(measure=Measure.ERROR_RATE, max=0.05, at_least=20)
    of = PlannedGate(gate, 0.01, 0.5, 0.05, a_day, 14)
    shares = drawn(a_day * 14, 0.1, 2_000, a_day)
    failed = [is_above(each, gate.tolerance, alpha=of.alpha) for each in shares]
    assert of.power == pytest.approx(numpy.mean(failed), abs=0.03)


def test_a_gate_that_also_judges_the_whole_rollout_has_the_power_of_half_its_alpha() -> None:
    made = planned(playbook(step(10, ERRORS), step(50, ERRORS, P95)))
    (first,), (second, slow) = (at.gates for at in made.steps)
    assert [each.windows for each in (first, second, slow)] == [1, 2, 1]
    for gate in (second, spending(8, measure="cost_usd", max=0.002)):
        half = replace(gate, windows=1, alpha=gate.alpha / 2)
        whole = replace(gate, windows=2)
        assert whole.power == half.power
        assert (
            whole.needed_samples == replace(gate, windows=1).needed_samples != half.needed_samples
        )


@pytest.mark.parametrize("portion", [0.2, 0.5])
def test_the_power_of_a_comparison_includes_chance_on_both_lanes(portion: float) -> None:
    gate = Gate(measure=Measure.ERROR_RATE, worse_by=0.05, at_least=20)
    of = PlannedGate(gate, 0.05, portion, 0.05, 60, 10)
    here = drawn(600, of.loss, 1_000, 1)
    there = drawn(round(600 * (1 - portion) / portion), 0.05, 1_000, 2)
    failed = [
        is_larger(one, other, by=0.05, alpha=of.alpha)
        for one, other in zip(here, there, strict=True)
    ]
    assert of.power == pytest.approx(numpy.mean(failed), abs=0.05)


def spending(a_day: float, **gate: object) -> PlannedGate:
    """Return a gate on money over three days, with costs that vary; the other lane has the estimated cost."""
    costs = tuple(numpy.random.default_rng(7).gamma(4, 0.25, 300).tolist())
    of = Gate.model_validate({"at_least": 20, **gate})
    return PlannedGate(of, 0.01, 0.5, 1.0, a_day, 3.0, costs)


@pytest.mark.parametrize(
    ("of", "half"),
    [
        (spending(100, measure="cost_usd", max=0.002), 0.001),
        (spending(100, measure="saving", min=0.4), 0.3),
    ],
)
def test_a_gate_on_money_passes_with_the_planned_number_of_samples(
    of: PlannedGate, half: float
) -> None:
    def verdict(samples: int) -> Verdict:
        costs = [each * half for each in islice(cycle(of.costs), samples)]
        others = [*islice(cycle(of.costs), samples)]
        other = Measurement(of.gate.measure, fmean(others), samples, costs=others)
        value = fmean(costs) if of.gate.measure is Measure.COST_USD else 1 - half
        seen = Measurement(of.gate.measure, value, samples, other=other, costs=costs)
        return judge(of.gate, seen, alpha=of.alpha).verdict

    assert of.half == pytest.approx(half)
    assert of.fewest is not None
    assert of.needed_samples is not None
    assert of.fewest < of.needed_samples
    assert verdict(of.needed_samples) is Verdict.PASSED
    assert verdict(of.needed_samples - 1) is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("a_day", [4, 8, 20, 40])
def test_the_power_of_a_gate_on_money_is_the_share_of_rollouts_that_detect_the_loss(
    a_day: int,
) -> None:
    of = spending(a_day, measure="cost_usd", max=0.002)
    random, samples = numpy.random.default_rng(a_day), a_day * 3
    failed = 0
    for costs in 0.004 * random.choice(of.costs, (300, samples)):
        seen = Measurement(Measure.COST_USD, costs.mean(), samples, costs=costs.tolist())
        failed += judge(of.gate, seen, alpha=of.alpha).verdict is Verdict.FAILED
    assert of.power == pytest.approx(failed / 300, abs=0.1)


def test_a_dry_run_gate_that_can_never_pass_does_not_block_the_plan() -> None:
    never = {"measure": "error_rate", "max": 0, "at_least": 20, "dry_run": True}
    made = planned(playbook(step(5, P95, never)))
    of = made.steps[0].gates[1]
    assert (of.fewest, of.needed_samples, of.estimate_days(of.needed_samples)) == (None, None, None)
    assert made.days_to_pass is not None


def test_a_step_before_the_first_move_gathers_pairs_within_the_budget_of_the_shadows() -> None:
    """Send 100 of 2,000 items a day to real time too, for 0.4 cents each; a gate of 10 % needs at least 69 samples."""
    book = playbook(step(0, AGREEMENT), shadows={"share": 0.05, "budget_usd": 0.8})
    (at,) = planned(book).steps
    (gate,) = at.gates
    assert (at.a_day, gate.a_day, gate.pairs) == (100, 100, pytest.approx(200))
    assert (gate.fewest, gate.is_unpaid) == (69, False)
    assert replace(gate, pairs=68.0).is_unpaid


def test_pairs_of_all_steps_count_together() -> None:
    """Gather 100 pairs a day: the second step has the pairs of the first step, and needs no extra time for them."""
    book = playbook(
        step(10, AGREEMENT, items=1, at_most_minutes=1_440),
        step(50, AGREEMENT, items=1, at_most_minutes=1_440),
        shadows={"share": 0.05, "budget_usd": 8},
    )
    made = planned(book)
    first, second = (each.gates[0] for each in made.steps)
    assert (first.most_samples, second.most_samples) == (100, 200)
    assert (
        first.estimate_days(first.needed_samples)
        == second.estimate_days(second.needed_samples)
        == 4.68
    )
    assert made.days_to_pass == pytest.approx(4.68, abs=0.01)


@pytest.mark.slow
def test_pairs_show_that_a_lane_is_no_worse_with_fewer_items() -> None:
    """Assume that half of the wrong answers are wrong on both lanes, as the plan does."""
    apart = PlannedGate(
        Gate(measure=Measure.ACCURACY, worse_by=0.05, at_least=40), 0.01, 0.5, 0.1, 100.0, 7.0
    )
    paired = replace(apart, pairs=inf)
    assert apart.needed_samples is not None
    assert paired.needed_samples is not None
    assert paired.needed_samples < 0.6 * apart.needed_samples
    assert paired.judge_samples(500, 0.3).verdict is Verdict.FAILED

"""Rollouts under repeated looks, one file because all figures are of the same gates: how often one errs, and its sample size.

The benchmark stores nothing and makes no calls: it draws samples with fixed seeds, and the product's own gates and tests judge
them. The rollouts follow the shipped playbook `batch-to-realtime`, which divides its `alpha` of 5 % among its sixteen gates;
costs are drawn separately, as a mean. The comparison is with the rule that Lanes had before: at any look, a gate passed when
its value was within the limit, and failed when the lower bound of a fixed sample (Clopper-Pearson, 99 %) was above it.

- `false_alarm_upper`: nothing is worse than allowed, and every gate's true value lies at its limit. Each step has 30 looks
  between 20 and 20,000 items and goes on whatever its gates say, so that all of alpha is at stake. The figure is the upper 99 %
  bound of the share of rollouts in which a gate ever fails. The largest of three shares counts: this one, the share of
  comparisons of two equal lanes that tell them apart (by difference, by ratio, of pairs, and of steps whose split and errors
  differ), and the share of means that leave their bounds. `naive_false_alarm` is the share under the earlier rule.
- `pass_at_twice_limit`: twice as many items are wrong as the first step tolerates; 30 looks, one every 20 items.
- `items_vs_fixed`: half as many items are wrong as the first step tolerates. Median of the items until the gate passes, over
  the items of the smallest fixed sample that passes with a power of 90 % at the same chance of error.
- `moved_when_stopped`: 15 % of the items are wrong on the lane that receives the traffic, and 10 % on the other lane, which is
  the limit. 2,000 items a day, 30 looks within the two weeks that a step may take. Median share of the traffic that had been
  moved when a gate failed or the time ran out; the largest over a gate with a limit and two gates that compare the lanes: by
  the difference, with a tolerance of 2 points, and by the ratio, with a tolerance of 1.1.
- `paired_sample_share`: the same loss, and 80 % of the errors are shared. Items until a test of pairs detects the loss, over
  those of the test with different items on each lane, half on either; medians.
- `oracle_difference`: the largest difference between our bounds and those of `ville`, without its intersections. The bounds of
  a share and of a mean are the same sequences and are compared at every look; for differences `ville` has other sequences,
  which are compared at 5,000 to 20,000 samples.
"""

import argparse
import statistics
from collections.abc import Callable, Sequence
from functools import cache

import numpy
import ville
from numpy.typing import NDArray
from scipy import special, stats

from lanes.rollouts.gates import MEANS, Gate, Measure, Measurement, judge
from lanes.rollouts.playbook import Playbook, load
from lanes.statistics import shares
from lanes.statistics.differences import PairedShares, difference_bounds, is_larger, is_smaller
from lanes.statistics.shares import MeanSequence, SampleShare
from lanes.words import Verdict
from tests.benchmarks.telling import installed, tell

LOOKS = 30
ALPHA = 0.05
SPREAD = tuple(sorted({round(each) for each in numpy.geomspace(20, 20_000, LOOKS)}))
EVERY_20 = tuple(range(20, 20 * LOOKS + 1, 20))
ITEMS_A_DAY, STEP_DAYS = 2_000, 14
# The looks of a step, in days.
LOOK_DAYS = tuple(STEP_DAYS * number / LOOKS for number in range(1, LOOKS + 1))
BASE, LOSS, SHARED = 0.1, 0.05, 0.8
TOLERATED_LOSS, TOLERATED_RATIO = 0.02, 1.1  # of gates that compare the lanes
CONFIDENCE = 0.99  # of the earlier rule, and of the reported bounds of false alarms
LONGEST = 40_000  # the most items within which a test must detect a loss
Counts = NDArray[numpy.int64]
Comparison = Callable[[SampleShare, SampleShare, float, float], Verdict]
# From a gate and a number of samples: the most wrong samples that pass, and the fewest that fail.
Rule = Callable[[Gate, int], tuple[int, int]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=int, default=2_000)
    parser.add_argument("--samples", type=int, default=20_000, help="that the oracle compares")
    given = parser.parse_args()
    playbook = load("batch-to-realtime")
    ours, both = rule_of(playbook.gate_alpha), rule_of(playbook.gate_alpha / 2)
    seen: dict[str, dict[str, float]] = {
        "false alarms": {
            "gates": false_alarms(playbook, ours, both, given.rollouts),
            "unpaired": false_unpaired(given.rollouts),
            "of all steps": false_of_steps(given.rollouts),
            "ratio": false_ratios(given.rollouts),
            "paired": false_paired(given.rollouts),
            "mean": false_means(given.rollouts),
        },
        "passes at twice the limit": passes_at_twice(playbook, ours, given.rollouts),
        "passes at twice the limit, before": passes_at_twice(playbook, earlier, given.rollouts),
        "items at half of the limit": items_at_half(playbook, given.rollouts),
        "a loss, by its limit": moved_by_limit(given.rollouts),
        "a loss, by the difference": moved_by_comparison(by_difference, given.rollouts),
        "a loss, by the ratio": moved_by_comparison(by_ratio, given.rollouts),
        "items to see a loss": items_to_see(given.rollouts),
        "oracle": against_oracle(given.samples),
    }
    for name, figures in seen.items():
        print(f"{name}: {', '.join(f'{what} {each:.4g}' for what, each in figures.items())}")
    half, to_see = seen["items at half of the limit"], seen["items to see a loss"]
    found = {
        "false_alarm_upper": max(
            upper(each, given.rollouts) for each in seen["false alarms"].values()
        ),
        "naive_false_alarm": false_alarms(playbook, earlier, None, given.rollouts),
        "pass_at_twice_limit": seen["passes at twice the limit"]["passed"],
        "items_vs_fixed": half["items"] / half["fixed"],
        "moved_when_stopped": max(
            seen[f"a loss, {how}"]["moved"]
            for how in ("by its limit", "by the difference", "by the ratio")
        ),
        "paired_sample_share": to_see["paired"] / to_see["unpaired"],
        "oracle_difference": max(seen["oracle"].values()),
    }
    tell("gates", found, **vars(given), seen=seen, peers=installed("ville"))


def rule_of(alpha: float) -> Rule:
    """Return the product's rule at this chance of error, as the numbers of wrong samples at which it decides."""

    known: dict[tuple[Measure, float, int], tuple[int, int]] = {}

    def verdict(gate: Gate, samples: int, wrong: int) -> Verdict:
        share = wrong / samples
        is_share = gate.measure is not Measure.P95_S
        value = share if is_share else gate.limit * (0.9 if share < gate.tolerance else 1.1)
        return judge(gate, Measurement(gate.measure, value, samples, wrong), alpha=alpha).verdict

    def rule(gate: Gate, samples: int) -> tuple[int, int]:
        of = gate.measure, gate.limit, samples
        if of not in known:
            passes_not = first(lambda n: verdict(gate, samples, n) is not Verdict.PASSED, samples)
            fails_from = first(lambda n: verdict(gate, samples, n) is Verdict.FAILED, samples)
            known[of] = passes_not - 1, fails_from
        return known[of]

    return rule


def earlier(gate: Gate, samples: int) -> tuple[int, int]:
    """Return the decision of the earlier rule."""
    passes_to = int(numpy.floor(gate.tolerance * samples + 1e-9))
    wrong = numpy.arange(1, samples + 1)
    surely = special.betaincinv(wrong, samples - wrong + 1, 1 - CONFIDENCE)
    return passes_to, 1 + int(numpy.searchsorted(surely, gate.tolerance, "right"))


def first(is_so: Callable[[int], bool], most: int) -> int:
    """Return the first number, 0 to `most`, for which the monotone condition `is_so` holds; `most` + 1 where it never holds."""
    low, high = 0, most + 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_so(middle) else (middle + 1, high)
    return low


def counted(drawn: numpy.random.Generator, share: float, looks: Sequence[int], runs: int) -> Counts:
    """Return how many samples are wrong at each look, with a row for each run."""
    steps = numpy.diff([0, *looks])
    return drawn.binomial(steps, share, (runs, len(looks))).cumsum(axis=1)


def upper(share: float, runs: int) -> float:
    """Return an upper confidence bound of a share that was observed in `runs` runs."""
    hits = round(share * runs)
    return float(stats.beta.ppf(CONFIDENCE, hits + 1, runs - hits)) if hits < runs else 1.0


def false_alarms(playbook: Playbook, rule: Rule, both: Rule | None, runs: int) -> float:
    """Return the share of rollouts in which a gate at its limit ever fails; `both` judges step and whole windows."""
    drawn, failed = numpy.random.default_rng(1), numpy.zeros(runs, bool)
    before: dict[Measure, Counts] = {}
    for number, step in enumerate(playbook.steps):
        whole = {gate.measure: gate for gate in playbook.whole_gates(number)} if both else {}
        for gate in (each for each in step.gates if each.measure not in MEANS):
            wrong = counted(drawn, gate.tolerance, SPREAD, runs)
            fails = both if both is not None and gate.measure in whole else rule
            failed |= (wrong >= [fails(gate, each)[1] for each in SPREAD]).any(axis=1)
            if gate.measure in whole:
                of_all, loosest = before[gate.measure] + wrong, whole[gate.measure]
                limits = [fails(loosest, number * SPREAD[-1] + each)[1] for each in SPREAD]
                failed |= (of_all >= limits).any(axis=1)
            before[gate.measure] = before.get(gate.measure, 0) + wrong[:, -1:]
    return float(failed.mean())


def false_unpaired(runs: int) -> float:
    """Return the share of comparisons of two equal lanes that ever tell them apart; a fifth of the traffic is moved."""
    drawn, few = numpy.random.default_rng(2), [max(1, each // 4) for each in SPREAD]
    of, than = counted(drawn, BASE, few, runs), counted(drawn, BASE, SPREAD, runs)
    apart = numpy.zeros(runs, bool)
    for run, look in numpy.argwhere(may_differ(of, few, than, SPREAD)):
        one = SampleShare(int(of[run, look]), few[look])
        other = SampleShare(int(than[run, look]), SPREAD[look])
        apart[run] |= is_larger(one, other, by=0, alpha=ALPHA)
        apart[run] |= is_smaller(one, other, by=0, alpha=ALPHA)
    return float(apart.mean())


def false_of_steps(runs: int) -> float:
    """Return the share of rollouts in which two equal lanes ever differ over all steps; split and errors change with each."""
    drawn, apart = numpy.random.default_rng(12), numpy.zeros(runs, bool)
    before, known = [list[tuple[SampleShare, SampleShare]]() for _ in range(runs)], 0.0
    for portion, share in ((0.05, 0.02), (0.2, 0.1), (0.5, 0.3)):
        here, there = (
            [max(1, round(each * of)) for each in SPREAD] for of in (portion, 1 - portion)
        )
        of, than = (counted(drawn, share, each, runs) for each in (here, there))
        ratio = known + likelier(of, here, than, there)
        seen = [
            zip(map(SampleShare, one, here), map(SampleShare, other, there), strict=True)
            for one, other in zip(of.tolist(), than.tolist(), strict=True)
        ]
        steps = [[*each] for each in seen]
        for run, look in numpy.argwhere(ratio >= -numpy.log(ALPHA)):
            apart[run] |= is_larger(*steps[run][look], by=0, alpha=ALPHA, before=before[run])
        for run in range(runs):
            before[run].append(steps[run][-1])
        known = ratio[:, -1:]
    return float(apart.mean())


def may_differ(
    of: Counts, items: Sequence[int], than: Counts, others: Sequence[int]
) -> NDArray[numpy.bool_]:
    """Return where a test could tell the two shares apart at all."""
    return likelier(of, items, than, others) >= -numpy.log(ALPHA)


def likelier(
    of: Counts, items: Sequence[int], than: Counts, others: Sequence[int]
) -> NDArray[numpy.float64]:
    """Return the log likelihood ratio of two shares, as observed, over a single share: no mixture exceeds it."""

    def likely(wrong: Counts, samples: Counts) -> NDArray[numpy.float64]:
        share = wrong / samples
        return special.xlogy(wrong, share) + special.xlogy(samples - wrong, 1 - share)

    here, there = numpy.array(items), numpy.array(others)
    return likely(of, here) + likely(than, there) - likely(of + than, here + there)


def false_ratios(runs: int) -> float:
    """Return the share of comparisons of two equal lanes whose ratio is ever found to differ from 1."""
    drawn, portion = numpy.random.default_rng(11), 0.05
    looks = [[max(1, round(each * part)) for each in SPREAD] for part in (portion, 1 - portion)]
    of, than = (counted(drawn, BASE, each, runs).tolist() for each in looks)
    apart = 0
    for ones, others in zip(of, than, strict=True):
        apart += any(
            shares.excludes(SampleShare(one, one + other), portion, alpha=ALPHA)
            for one, other in zip(ones, others, strict=True)
        )
    return apart / runs


def false_paired(runs: int) -> float:
    """Return the share of comparisons of two equal lanes by pairs that ever call one lane worse."""
    drawn = numpy.random.default_rng(3)
    one, other = (counted(drawn, BASE * (1 - SHARED), SPREAD, runs) for _ in range(2))
    worse = numpy.zeros(runs, bool)
    for ours, theirs in ((one, other), (other, one)):
        worse |= (ours >= worse_from()[numpy.minimum(ours + theirs, LONGEST)]).any(axis=1)
    return float(worse.mean())


def false_means(runs: int) -> float:
    """Return the share of means that ever leave their bounds; the costs vary as the costs of calls do."""
    drawn, left = numpy.random.default_rng(4), 0
    looks = [round(each) for each in numpy.geomspace(2, 600, LOOKS)]
    for costs in drawn.beta(2, 18, (runs, looks[-1])):
        sequence, is_within = MeanSequence(0, 1, alpha=ALPHA), True
        for start, end in zip([0, *looks], looks, strict=False):
            low, high = sequence.add(costs[start:end].tolist()).bounds
            is_within &= low <= 0.1 <= high
        left += not is_within
    return left / runs


def passes_at_twice(playbook: Playbook, rule: Rule, runs: int) -> dict[str, float]:
    """Return the share of rollouts that leave the first step although twice as many items are wrong as it tolerates."""
    gate = playbook.steps[0].gates[0]
    wrong = counted(numpy.random.default_rng(5), 2 * gate.tolerance, EVERY_20, runs)
    passed, failed = decided([gate], [wrong], EVERY_20, rule)
    return {"passed": float((passed < failed).mean()), "failed": float((failed < passed).mean())}


def decided(
    gates: Sequence[Gate], wrong: Sequence[Counts], looks: Sequence[int], rule: Rule
) -> tuple[Counts, Counts]:
    """Return the look of each run at which all gates pass, and that at which one fails; the number of looks where none."""
    passes = numpy.ones(wrong[0].shape, bool)
    fails = numpy.zeros(wrong[0].shape, bool)
    for gate, counts in zip(gates, wrong, strict=True):
        of_looks = [rule(gate, each) for each in looks]
        passes &= counts <= [passes_to for passes_to, _ in of_looks]
        fails |= counts >= [fails_from for _, fails_from in of_looks]
    return first_look(passes), first_look(fails)


def first_look(is_so: NDArray[numpy.bool_]) -> Counts:
    """Return the first look of each run at which the condition holds; the number of looks where it never holds."""
    return numpy.where(is_so.any(axis=1), is_so.argmax(axis=1), is_so.shape[1])


def items_at_half(playbook: Playbook, runs: int) -> dict[str, float]:
    """Return the median items until the first gate passes with half as many wrong items, and the items of a fixed sample."""
    gate, alpha = playbook.steps[0].gates[0], playbook.gate_alpha
    truth, most = gate.tolerance / 2, 6_000
    passes_to, now = numpy.full(most, -1), -1
    # each further sample allows at most one more wrong sample
    for samples in range(gate.at_least, most + 1):
        share = SampleShare(now + 1, samples)
        now += shares.is_below(share, gate.tolerance, alpha=alpha)
        passes_to[samples - 1] = now
    drawn = numpy.random.default_rng(6)
    passes = [(drawn.random(most) < truth).cumsum() <= passes_to for _ in range(runs)]
    needed = [int(each.argmax()) + 1 if each.any() else most for each in passes]
    sizes = numpy.arange(1, most)
    critical = stats.binom.ppf(alpha, sizes, gate.tolerance)
    critical -= stats.binom.cdf(critical, sizes, gate.tolerance) > alpha
    has_power = stats.binom.cdf(critical, sizes, truth) >= 0.9
    return {"items": statistics.median(needed), "fixed": float(sizes[numpy.argmax(has_power)])}


def moved_by_limit(runs: int) -> dict[str, float]:
    """Return the share that had been moved when a gate with a limit stopped the rollout, and the day."""
    limit = load("batch-to-realtime").model_dump(mode="json")
    gate = {"measure": "error_rate", "max": BASE, "at_least": 20}
    for step in limit["steps"]:
        step["gates"] = [gate]
    playbook = Playbook.model_validate(limit)
    rule = rule_of(playbook.gate_alpha)
    drawn = numpy.random.default_rng(7)

    def looked_at(step: int) -> tuple[Counts, Counts]:
        moved = playbook.steps[step]
        looks = [round(day * ITEMS_A_DAY * moved.percent / 100) for day in LOOK_DAYS]
        wrong = counted(drawn, BASE + LOSS, looks, runs)
        return decided(moved.gates, [wrong], looks, rule)

    return stopped([step.percent / 100 for step in playbook.steps], looked_at, runs)


def moved_by_comparison(compare: Comparison, runs: int) -> dict[str, float]:
    """Return the share that had been moved when a comparison with the other lane stopped the rollout, and the day."""
    # in the last step, the remaining 5 % are the other side of the comparison
    portions = 0.05, 0.2, 0.5, 0.95
    drawn, alpha = numpy.random.default_rng(8), ALPHA / len(portions)

    def looked_at(step: int) -> tuple[Counts, Counts]:
        here, there = (
            [max(1, round(day * ITEMS_A_DAY * part)) for day in LOOK_DAYS]
            for part in (portions[step], 1 - portions[step])
        )
        of, than = counted(drawn, BASE + LOSS, here, runs), counted(drawn, BASE, there, runs)
        ends = numpy.full((2, runs), LOOKS)
        for run in range(runs):
            for look in range(LOOKS):
                one = SampleShare(int(of[run, look]), here[look])
                other = SampleShare(int(than[run, look]), there[look])
                verdict = compare(one, other, portions[step], alpha)
                if verdict is not Verdict.INCONCLUSIVE:
                    ends[int(verdict is Verdict.FAILED), run] = look
                    break
        return ends[0], ends[1]

    return stopped(portions, looked_at, runs)


def by_difference(one: SampleShare, other: SampleShare, portion: float, alpha: float) -> Verdict:
    if is_larger(one, other, by=TOLERATED_LOSS, alpha=alpha):
        return Verdict.FAILED
    is_kept = is_smaller(one, other, by=TOLERATED_LOSS, alpha=alpha)
    return Verdict.PASSED if is_kept else Verdict.INCONCLUSIVE


def by_ratio(one: SampleShare, other: SampleShare, portion: float, alpha: float) -> Verdict:
    """Return the verdict of the ratio's bounds, computed from the equivalent share of all wrong items."""
    seen = SampleShare(one.hits, one.hits + other.hits)
    moved = TOLERATED_RATIO * portion / (TOLERATED_RATIO * portion + 1 - portion)
    if shares.is_above(seen, moved, alpha=alpha):
        return Verdict.FAILED
    is_kept = shares.is_below(seen, moved, alpha=alpha)
    return Verdict.PASSED if is_kept else Verdict.INCONCLUSIVE


def stopped(
    portions: Sequence[float], looked_at: Callable[[int], tuple[Counts, Counts]], runs: int
) -> dict[str, float]:
    """Return the median share moved and day when rollouts stopped, and the shares that a gate or nothing stopped."""
    moved, day = numpy.ones(runs), numpy.zeros(runs)
    going, by_gate = numpy.ones(runs, bool), numpy.zeros(runs, bool)
    for step, portion in enumerate(portions):
        passed, failed = looked_at(step)
        ends = numpy.minimum(numpy.minimum(passed, failed) + 1, LOOKS) * STEP_DAYS / LOOKS
        day += numpy.where(going, ends, 0)
        stays = going & ~(passed < failed)
        by_gate |= stays & (failed < LOOKS)
        moved[stays], going = portion, going & ~stays
    return {
        "moved": float(numpy.median(moved)),
        "days": float(numpy.median(day)),
        "stopped_by_gate": float(by_gate.mean()),
        "never_stopped": float(going.mean()),
    }


@cache
def worse_from() -> Counts:
    """Return, for each number of pairs that are wrong on one lane only, how many on one lane make that lane worse."""
    found, wrong = numpy.zeros(LONGEST + 1, int), 1
    for pairs in range(LONGEST + 1):
        while wrong <= pairs and not PairedShares(wrong, pairs - wrong, 0).is_worse(alpha=ALPHA):
            wrong += 1
        found[pairs] = wrong
    return found


def items_to_see(runs: int) -> dict[str, float]:
    """Return the medians of the items until a loss is detected, and the items of fixed samples with a power of 90 %."""
    drawn = numpy.random.default_rng(9)
    only_one, only_other = BASE + LOSS - BASE * SHARED, BASE * (1 - SHARED)
    paired = []
    for _ in range(runs):
        kind = drawn.random(4_000)
        one = (kind < only_one).cumsum()
        other = ((kind >= only_one) & (kind < only_one + only_other)).cumsum()
        sees = one >= worse_from()[one + other]
        paired.append(int(sees.argmax()) + 1 if sees.any() else LONGEST)
    looks = range(50, LONGEST // 4, 50)  # samples at each look, on either lane
    of, than = counted(drawn, BASE + LOSS, looks, runs), counted(drawn, BASE, looks, runs)
    unpaired = [LONGEST] * runs
    for run, look in numpy.argwhere(may_differ(of, looks, than, looks)):
        if unpaired[run] == LONGEST:
            one, other = (SampleShare(int(each[run, look]), looks[look]) for each in (of, than))
            if is_larger(one, other, by=0, alpha=ALPHA):
                unpaired[run] = 2 * looks[look]
    sure, power = stats.norm.isf([ALPHA / 2, 0.1])
    apart = only_one + only_other
    spread = (BASE + LOSS) * (1 - BASE - LOSS) + BASE * (1 - BASE)
    fixed = (sure * apart**0.5 + power * (apart - LOSS**2) ** 0.5) ** 2 / LOSS**2
    return {
        "paired": statistics.median(paired),
        "unpaired": statistics.median(unpaired),
        "paired_fixed": float(fixed),
        "unpaired_fixed": float(2 * (sure + power) ** 2 * spread / LOSS**2),
    }


def against_oracle(samples: int) -> dict[str, float]:
    """Return the largest difference of each sequence from the oracle's."""
    drawn = numpy.random.default_rng(10)
    few, some = min(3_000, samples), min(5_000, samples)
    hits, costs = drawn.random(few) < BASE, drawn.beta(2, 18, few)
    share = ville.BernoulliCS(ALPHA, intersect=False).fit(hits)
    mean = ville.EmpiricalBernsteinCS(alpha=ALPHA, intersect=False).fit(costs)
    sequence = MeanSequence(0, 1, alpha=ALPHA)
    of_share, of_mean = [], []
    for number, (count, cost) in enumerate(zip(hits.cumsum().tolist(), costs, strict=True)):
        oracle = share.lower_[number], share.upper_[number]
        of_share.append(apart(shares.bounds(SampleShare(count, number + 1), alpha=ALPHA), oracle))
        oracle = mean.lower_[number], mean.upper_[number]
        of_mean.append(apart(sequence.add([float(cost)]).bounds, oracle))
    moved = drawn.random(samples) < 0.5
    wrong = drawn.random(samples) < numpy.where(moved, BASE + LOSS, BASE)
    lanes = [SampleShare(int(wrong[each].sum()), int(each.sum())) for each in (moved, ~moved)]
    unpaired = ville.BettingABTest(alpha=ALPHA, grid=2_000).fit(wrong, moved)
    kinds = drawn.choice([1, -1, 0], some, p=[0.07, 0.02, 0.91])
    pairs = PairedShares(*(int((kinds == kind).sum()) for kind in (1, -1, 0)))
    paired = ville.BettingCS((-1, 1), ALPHA, grid=1_000, intersect=False).fit(kinds)
    return {
        "share": max(of_share),
        "mean": max(of_mean),
        "difference": apart(difference_bounds(*lanes, alpha=ALPHA), unpaired.interval()),
        "paired": apart(pairs.bounds(alpha=ALPHA), paired.interval()),
    }


def apart(ours: tuple[float, float], oracle: tuple[float, float]) -> float:
    return max(abs(one - other) for one, other in zip(ours, oracle, strict=True))


if __name__ == "__main__":
    main()

"""The plan of a rollout: the traffic and cost of its steps, and the days until its gates can decide at today's traffic.

A plan has two readers: `lanes plan` prints it, and the start of a rollout is allowed or refused by it. A plan has no rules of
its own: it calls `judge` with expected measurements and with the rollout's alpha for each gate.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import cycle, islice
from math import ceil, inf, sqrt
from statistics import NormalDist, fmean, pstdev

from lanes.rollouts.gates import (
    MEANS,
    UPPER,
    Gate,
    Judgement,
    Measure,
    Measurement,
    attach_other,
    judge,
)
from lanes.rollouts.playbook import Direction, Playbook, PlaybookStep
from lanes.statistics.differences import PairedShares
from lanes.words import Lane, Verdict

LEAST_DAYS, LEAST_ITEMS = 1.0, 30  # less traffic does not predict future traffic
LEAST_SEEN = 30  # with fewer samples, the performance of the other lane is assumed
ASSUMED_WRONG, ASSUMED_COST = 0.05, 1.0  # a share of wrong samples, and a multiple of the estimate
ASSUMED_ALIKE = 0.5  # assumed fraction of the wrong answers in pairs that are wrong on both lanes
MOST_SAMPLES, MOST_COSTS = 10_000_000, 50_000  # a gate that needs more counts as never passing
COSTS_KEPT = 500  # number of recent items that show how costs vary
MINUTES_A_DAY, DAY_S = 24 * 60, 86_400
QUANTILES = [NormalDist().inv_cdf((number + 0.5) / 25) for number in range(25)]


@dataclass(frozen=True)
class SplitTraffic:
    """The items of a workload, or of one consumer, whose lane the split decided during `days`.

    `each_usd` is the estimated mean cost of an item by lane. `recent` are measurements of recent items on the lane that gives
    traffic away, and `tried` is the number of these items.
    """

    items: int = 0
    days: float = 0.0
    each_usd: Mapping[Lane, float] = field(default_factory=dict[Lane, float])
    recent: Mapping[Measure, Measurement] = field(default_factory=dict[Measure, Measurement])
    tried: int = 0

    @property
    def a_day(self) -> float | None:
        """The number of items per day; None with less than a day or too few items."""
        if self.days < LEAST_DAYS or self.items < LEAST_ITEMS:
            return None
        return self.items / self.days

    def estimate_sample_share(self, measure: Measure) -> float:
        """Return the share of the items that are samples of a measure, such as the items with a due time; 1 if unknown.

        Labels and authoritative passes come later, so a share of 0 counts as unknown, except for due times.
        """
        measurement = self.recent.get(measure)
        if measurement is None or self.tried < LEAST_SEEN:
            return 1.0
        if not measurement.samples:
            return 0.0 if measure is Measure.DEADLINES_MET else 1.0
        return min(1.0, measurement.samples / self.tried)

    def find_measurement(self, measure: Measure) -> Measurement | None:
        """Return the measurement of the lane that gives traffic away; None with too few samples."""
        measurement = self.recent.get(measure)
        return (
            measurement if measurement is not None and measurement.samples >= LEAST_SEEN else None
        )

    def usual(self, measure: Measure) -> float:
        """Return the share of wrong samples, or the mean cost, of the giving lane; an assumed value with too few samples."""
        measurement = self.find_measurement(measure)
        if measurement is None:
            return ASSUMED_COST if measure in MEANS else ASSUMED_WRONG
        if measure in MEANS:
            return fmean(measurement.costs) or ASSUMED_COST
        return measurement.wrong / measurement.samples

    def costs(self, measure: Measure) -> tuple[float, ...]:
        """Return the costs of recent items as multiples of their mean; a single 1 with too few samples."""
        measurement = self.find_measurement(measure)
        if measurement is None or measure not in MEANS:
            return (1.0,)
        newest = measurement.costs[-COSTS_KEPT:]
        mean = fmean(newest)
        return tuple(each / mean for each in newest) if mean else (1.0,)


@dataclass(frozen=True)
class PlannedGate:
    """A gate of a step, with the evidence that it can expect there.

    `portion` is the receiving lane's share of the items. `usual` is the share of wrong samples or the mean cost on the other
    lane, and `costs` the variation of costs, both from `SplitTraffic`. `a_day` is the number of samples per day, None if the
    traffic is unknown. `days` is the length of the step, None without a limit. `pairs` is the largest number of items that both
    lanes answer within the budget of the shadows: None if the gate does not evaluate pairs, infinite if their cost is unknown.
    For a gate on pairs, `pairs` and `days` count from the start of the rollout. `windows` is 2 if the whole rollout is
    evaluated too; each window then fails with half of `alpha`.
    """

    gate: Gate
    alpha: float
    portion: float
    usual: float
    a_day: float | None
    days: float | None
    costs: tuple[float, ...] = (1.0,)
    pairs: float | None = None
    windows: int = 1

    @cached_property
    def fewest(self) -> int | None:
        """The smallest number of samples to pass if none is wrong, or costs anything; None if the gate never passes."""
        return self._samples(0.0)

    @cached_property
    def needed_samples(self) -> int | None:
        """The smallest number of samples to pass if the true value is `half`; None if the gate never passes."""
        return self._samples(self.half)

    @property
    def most_samples(self) -> int | None:
        """The number of samples that the step can gather; None if the traffic is unknown or the step has no time limit."""
        if self.a_day is None or self.days is None:
            return None
        return int(min(self.a_day * self.days, inf if self.pairs is None else self.pairs))

    @property
    def is_reachable(self) -> bool:
        """Whether the gate can pass within the step if no sample is wrong; True if `most_samples` is None."""
        if self.most_samples is None:
            return True
        return self.fewest is not None and self.fewest <= self.most_samples

    @property
    def is_unpaid(self) -> bool:
        """Whether the budget of the shadows is used up before the gate can pass."""
        if self.pairs is None or self.pairs == inf:
            return False
        return self.fewest is None or self.fewest > self.pairs

    @property
    def half(self) -> float:
        """A good true share or cost: half the tolerance; the other lane's value if the gate allows a worse one."""
        may_be_worse = self.gate.worse_by is not None or self.gate.limit < 0
        return self.usual if may_be_worse else self._tolerance / 2

    @property
    def loss(self) -> float:
        """A bad true share or cost, with which the gate should fail: twice the tolerance."""
        if self.gate.worse_by is not None:
            return min(1.0, self.usual + 2 * self.gate.worse_by)
        return 2 * self._tolerance if self.gate.measure in MEANS else min(1.0, 2 * self._tolerance)

    @cached_property
    def power(self) -> float | None:
        """The probability that the gate has failed by the end of the step if `loss` is true; None if `most_samples` is None.

        The gate may also fail at any earlier look, so its true power is a little larger. SciPy is imported here because it
        takes a third of a second to load, and the start of a rollout does not need it.
        """
        samples = self.most_samples
        if samples is None:
            return None
        if self.gate.measure in MEANS:
            return self._power_of_mean(min(samples, MOST_COSTS))

        def fails(wrong: int) -> bool:
            seen = self.judge_samples(samples, wrong / samples, alpha=self.alpha / self.windows)
            return seen.verdict is Verdict.FAILED

        if not samples or not fails(samples):
            return 0.0
        from scipy.special import bdtrc

        wrong = _first(fails, 0, samples)
        if self.gate.worse_by is None:
            return float(bdtrc(wrong - 1, samples, self.loss))
        spread = samples * sqrt(self.usual * (1 - self.usual) / self._others(samples))
        return fmean(
            float(bdtrc(min(max(wrong + place * spread, 1), samples) - 1, samples, self.loss))
            for place in QUANTILES
        )

    def _power_of_mean(self, samples: int) -> float:
        """Return the probability that a mean's bounds exclude the limit if `loss` is true, by the central limit theorem."""
        judgement = self.judge_samples(samples, self.loss, alpha=self.alpha / self.windows)
        if (
            judgement.between is None
            or judgement.measurement.value is None
            or samples < self.gate.at_least
        ):
            return 0.0
        low, high = judgement.between
        margin = low - self.gate.limit if self.gate.measure in UPPER else self.gate.limit - high
        error = abs(self.loss) * pstdev(self.costs) / sqrt(samples)
        if self.gate.compares:
            if (others := self._others(samples)) < self.gate.at_least:
                return 0.0
            error *= sqrt(1 + samples / others) / self.usual
        return NormalDist(0, error).cdf(margin) if error else float(margin > 0)

    def estimate_days(self, samples: int | None) -> float | None:
        """Return the days to gather `samples`, infinite without traffic; None if the traffic is unknown or `samples` None."""
        if self.a_day is None or samples is None:
            return None
        return samples / self.a_day if self.a_day else inf

    def judge_samples(self, samples: int, truth: float, *, alpha: float | None = None) -> Judgement:
        """Return the gate's judgement on `samples` with a true share or mean of `truth`, and usual values on the other lane."""
        measured = self._imagine(samples, truth, ceil(truth * samples - 1e-9))
        if self.gate.compares:
            others = self._others(samples)
            other = self._imagine(others, self.usual, int(self.usual * others))
            alike = int(ASSUMED_ALIKE * min(measured.wrong, other.wrong))
            one, another = measured.wrong - alike, other.wrong - alike
            pairs = PairedShares(one, another, samples - one - another)
            paired = pairs if self.pairs is not None else None
            measured = replace(attach_other(measured, other, measured.called), pairs=paired)
        return judge(self.gate, measured, alpha=alpha or self.alpha)

    @property
    def _tolerance(self) -> float:
        """The tolerance as a share of wrong samples or as a mean cost."""
        times = self.usual if self.gate.measure is Measure.SAVING else 1.0
        return times * self.gate.tolerance

    def _others(self, samples: int) -> int:
        """Return the other lane's expected number of samples when the receiving lane has `samples`."""
        if self.pairs is not None:
            return samples
        return round(samples * (1 - self.portion) / self.portion) if self.portion else 0

    def _samples(self, truth: float) -> int | None:
        """Return the fewest samples to pass if the true share or mean is `truth`; None if the gate never passes."""

        def passes(samples: int) -> bool:
            enough = samples >= self.gate.at_least  # avoids useless calls of `judge`
            return enough and self.judge_samples(samples, truth).verdict is Verdict.PASSED

        most = MOST_COSTS if self.gate.measure in MEANS else MOST_SAMPLES
        low, high = 0, 1
        while not passes(high):
            if high > most:
                return None
            low, high = high, 2 * high
        return _first(passes, low, high)

    def _imagine(self, samples: int, truth: float, wrong: int) -> Measurement:
        """Return a hypothetical measurement of `samples`: `wrong` of them are wrong, or their mean cost is about `truth`."""
        measure = self.gate.measure
        if not samples:
            return Measurement(measure, None, 0)
        if measure in MEANS:
            costs = [truth * each for each in islice(cycle(self.costs), samples)]
            return Measurement(measure, fmean(costs), samples, costs=costs)
        value = wrong / samples
        if measure is Measure.P95_S:
            value = self.gate.limit if value <= self.gate.tolerance else self.gate.limit + 1
        elif measure not in UPPER:
            value = 1 - value
        return Measurement(measure, value, samples, wrong)


def _first(is_so: Callable[[int], bool], never: int, surely: int) -> int:
    """Return the smallest number above `never`, and at most `surely`, for which `is_so` returns True, by bisection."""
    while surely - never > 1:
        middle = (never + surely) // 2
        never, surely = (never, middle) if is_so(middle) else (middle, surely)
    return surely


@dataclass(frozen=True)
class PlannedStep:
    """A step that the rollout will take. `number` counts from 0; `a_day` is the receiving lane's number of items per day."""

    number: int
    step: PlaybookStep
    a_day: float | None
    days: float | None  # longest time of the step; None without a limit
    gates: tuple[PlannedGate, ...]

    @property
    def days_for_items(self) -> float | None:
        """The days until the step's number of items is reached; None if the traffic is unknown."""
        if self.a_day is None:
            return None
        return self.step.hold.items / self.a_day

    @property
    def days_to_pass(self) -> float | None:
        """The days until the step's gates have passed, each with a true value of `half`; None if unknown.

        Gates on pairs are left out: their days count from the start of the rollout (`days_for_pairs`).
        """
        return _longest([self.days_for_items, *self._list_days(paired=False)])

    @property
    def days_for_pairs(self) -> float | None:
        """The days from the rollout's start until the step's gates on pairs have passed, 0 without any; None if unknown."""
        return _longest([0.0, *self._list_days(paired=True)])

    def _list_days(self, *, paired: bool) -> list[float | None]:
        gates = (each for each in self.gates if (each.pairs is not None) is paired)
        return [each.estimate_days(each.needed_samples) for each in gates if not each.gate.dry_run]


@dataclass(frozen=True)
class Readiness:
    """The state of a playbook's preconditions on the batch lane.

    `batches` counts the required batches that have ended or should have; `late` counts those of them that did not return in
    time with a result for every item.
    """

    judgements: Sequence[Judgement]
    batches: int
    late: int


@dataclass(frozen=True)
class RolloutPlan:
    """The plan of a playbook on a workload.

    `basis_points` is the share of real time before the rollout (0 for a new version). `steps` are the steps that the rollout
    will take. `before` is the state of the preconditions, None without any.
    """

    playbook: Playbook
    workload: str
    consumer: str | None
    basis_points: int
    traffic: SplitTraffic
    first: int | None  # the first step to take; None: the share is past all steps
    steps: tuple[PlannedStep, ...]
    before: Readiness | None = None

    @property
    def owed_step(self) -> int | None:
        """The last step before `first` that needs approval, if any: no traffic moves before a person approves."""
        return None if self.first is None else self.playbook.find_owed_step(self.first)

    @property
    def days_to_pass(self) -> float | None:
        """The days until all steps have passed, without the time that people take to approve; None if unknown."""
        days = 0.0
        for each in self.steps:
            if each.days_to_pass is None or each.days_for_pairs is None:
                return None
            days = max(days + each.days_to_pass, each.days_for_pairs)
        return days

    def usd_a_day(self, lane: Lane, percent: float) -> float | None:
        """Return a lane's cost per day while `percent` of the items go to real time; None if unknown.

        The cost of a new version is unknown before it has answered items.
        """
        each, a_day = self.traffic.each_usd.get(lane), self.traffic.a_day
        if each is None or a_day is None or self.playbook.direction is Direction.VERSION:
            return None
        return a_day * each * (percent if lane is Lane.REALTIME else 100 - percent) / 100


def make(
    playbook: Playbook,
    workload: str,
    consumer: str | None,
    basis_points: int,
    traffic: SplitTraffic,
    before: Readiness | None = None,
) -> RolloutPlan:
    """Return the plan of a playbook on a workload's traffic; `basis_points` is the share that goes to real time now."""
    first = playbook.first_step(basis_points)
    taken = range(len(playbook.steps) if first is None else first, len(playbook.steps))
    steps = tuple(
        _plan_step(playbook, number, traffic, _days(playbook.steps[taken.start : number + 1]))
        for number in taken
    )
    return RolloutPlan(playbook, workload, consumer, basis_points, traffic, first, steps, before)


def _days(steps: Sequence[PlaybookStep]) -> float | None:
    """Return the longest total time of these steps in days; None if one of them has no limit."""
    minutes = [each.hold.at_most_minutes for each in steps]
    known = [each for each in minutes if each is not None]
    return sum(known) / MINUTES_A_DAY if len(known) == len(minutes) else None


def _longest(days: Sequence[float | None]) -> float | None:
    known = [each for each in days if each is not None]
    return max(known) if len(known) == len(days) else None


def _plan_step(
    playbook: Playbook, number: int, traffic: SplitTraffic, total_days: float | None
) -> PlannedStep:
    """Return the plan of a step; gates on pairs get the rollout's days up to the end of the step, None without a limit."""
    step, all_items = playbook.steps[number], traffic.a_day
    portion = playbook.direction.compute_moved_percent(step.percent) / 100
    days = _days([step])
    shadows, shadow_count = playbook.shadows, _shadows_paid(playbook, traffic)
    share = shadows.share if shadows is not None else 0.0
    whole = {gate.measure for gate in playbook.whole_gates(number)}

    def plan_gate(gate: Gate) -> PlannedGate:
        paired = playbook.judges_pairs(gate)
        sampled = traffic.estimate_sample_share(gate.measure)
        return PlannedGate(
            gate,
            playbook.gate_alpha,
            portion,
            traffic.usual(gate.measure),
            None if all_items is None else all_items * sampled * (share if paired else portion),
            total_days if paired else days,
            traffic.costs(gate.measure),
            shadow_count * sampled if paired else None,
            2 if gate.measure in whole else 1,
        )

    a_day = None if all_items is None else all_items * (portion + share * (1 - portion))
    return PlannedStep(number, step, a_day, days, tuple(map(plan_gate, step.gates)))


def _shadows_paid(playbook: Playbook, traffic: SplitTraffic) -> float:
    """Return the number of shadows on the dearer lane that the playbook's budget pays for; infinite if the cost is unknown."""
    dearest = max(traffic.each_usd.values(), default=0.0)
    if playbook.shadows is None or not dearest:
        return inf
    return playbook.shadows.budget_usd / dearest

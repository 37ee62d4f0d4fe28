"""Gates, one file because their spec, measurement and verdict are read together: only evidence passes a gate.

A gate evaluates a measure as the share of wrong samples. A sample is an item with all its tries and amendments. It is wrong if
a try failed, the provider refused or did not answer it, it was shed, is overdue (`longest_out`), missed its deadline, was
corrected, or was slower than a p95 limit (5 % may be slower). An item in a batch that is in flight for longer than half of the
returned items took is in doubt: it is no sample yet, but a gate that it could break waits for it. Both decisions are bounds of
one confidence sequence (`lanes.statistics.shares`), which are valid at all looks together. A gate

- is an `error` without a usable number, and `inconclusive` below `at_least` samples: in both cases the rollout holds;
- has `failed` if the lower bound of the true share is above the tolerance;
- has `passed` if the upper bound is below the tolerance, even if every item in doubt were wrong;
- is `inconclusive` in between: more samples will decide it.

A gate on money has no wrong samples: `cost_usd` and `saving` are means with confidence sequences of their own
(`lanes.statistics.shares`). These need bounded values, so the cost of an item is capped: at `MOST_TIMES` the limit for a cost,
and at `MOST_TIMES` the item's estimate for a saving. The gate evaluates the mean of the capped costs.

A gate with `worse_by` compares the receiving lane with the other lane at the same time (a concurrent control). It decides by
the bounds of the difference of both shares (`lanes.statistics.differences`), so that a fault of both lanes fails no rollout,
and needs `at_least` samples of each lane. If items take both lanes (`Playbook.shadows`), agreement and accuracy are evaluated
on these pairs: the items are the same, so fewer reveal a difference (`lanes.statistics.differences.PairedShares`).

A gate that all earlier steps of a playbook also have is evaluated twice at each look (`judge_both`): on the items of the step
in force, and on the items of the whole rollout. It fails if either evaluation fails, which finds a loss that the single steps
are too short to show. It passes on the items of the step alone: a lane that serves a small share well may serve a larger share
badly, and earlier good results must not hide a loss that the larger share causes. The limit of the whole rollout is the loosest
of these steps (`Playbook.whole_gates`): if each step is within its own limit, all items together are within the loosest one,
however the true shares differ. A gate that compares the lanes never pools the steps (`combine`): it evaluates the mean of their
differences. The split differs between steps, so pooling would mistake a difference between hours for one between the lanes
(Simpson's paradox).

`alpha` is the probability that a verdict is ever wrong: that a gate within its limit ever fails, or that a gate beyond its
limit ever passes. A rollout divides its alpha over the gates of all its steps (`Playbook.gate_alpha`). A gate with two windows
can fail in either, so each window has half of the gate's alpha for failures; it passes in the step alone, with all of it.
"""

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from functools import partial
from itertools import chain
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lanes.statistics import differences, shares
from lanes.units import share
from lanes.words import Lane, Verdict

if TYPE_CHECKING:  # a page about a rollout does not need rules and schemas, which take time to load
    from lanes.workload.version import Spec

PROVIDER_KEEPS = timedelta(hours=24)  # an unfinished batch expires after this time
MOST_TIMES = 5  # an item's cost is capped at this multiple of the limit or of its estimate
P95_TOLERATED = 0.05  # with a p95 within its limit, at most this share of items is slower

Limit = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Least = Annotated[float, Field(strict=True, ge=-1, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=1)]
Margin = Annotated[float, Field(strict=True, gt=0, lt=1)]


class Measure(StrEnum):
    """A measure of the lane that receives the traffic."""

    # share of the items that had a failed or unserved try, were shed, or are overdue
    ERROR_RATE = "error_rate"
    P95_S = "p95_s"  # 95th percentile of the seconds from received to answered
    DEADLINES_MET = "deadlines_met"  # share of the items with a due time that were answered by then
    # share of the items whose authoritative pass confirmed the provisional answer, or whose answers on both lanes agree
    AGREEMENT = "agreement"
    # share of the items whose authoritative pass corrected the provisional answer
    CORRECTION_RATE = "correction_rate"
    # share of the labeled items whose answer matches every labeled field
    ACCURACY = "accuracy"
    COST_USD = "cost_usd"  # mean cost of an item in US dollars, over all its tries
    # relative saving per item against the other lane at the same time; each cost is relative to the estimated real-time price
    SAVING = "saving"


# These have a `max`, the others a `min`.
UPPER = (Measure.ERROR_RATE, Measure.P95_S, Measure.CORRECTION_RATE, Measure.COST_USD)
# These may be `worse_by`.
COMPARABLE = (Measure.ERROR_RATE, Measure.P95_S, Measure.DEADLINES_MET, Measure.ACCURACY)
CONFIRMING = (Measure.AGREEMENT, Measure.CORRECTION_RATE)  # these need an authoritative pass
# These can be evaluated on the batch lane before a rollout begins.
BEFORE = (
    Measure.ERROR_RATE,
    Measure.P95_S,
    Measure.DEADLINES_MET,
    Measure.ACCURACY,
    Measure.COST_USD,
)
# These are evaluated on pairs if items take both lanes.
PAIRED = (Measure.AGREEMENT, Measure.ACCURACY)
MEANS = (Measure.COST_USD, Measure.SAVING)  # these are means, the others shares of samples


class Scope(StrEnum):
    """The items that a gate evaluates."""

    STEP = "step"  # the items of the step in force
    ROLLOUT = "rollout"  # the items of all steps so far


class Gate(BaseModel):
    """The spec of one condition. Shares are 0 to 1; `at_least` is the number of samples below which it never passes.

    A `saving` may be negative: `min: -0.5` tolerates items that cost half as much again. `worse_by` is the tolerated excess of
    the share of wrong samples over the other lane; with `p95_s`, samples slower than `max` are wrong. A gate with `dry_run` is
    measured, evaluated and shown, but decides nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    measure: Measure
    max: Limit | None = None
    min: Least | None = None
    worse_by: Margin | None = None
    at_least: Count
    dry_run: Annotated[bool, Field(strict=True)] = False

    @model_validator(mode="after")
    def _has_its_limit(self) -> Self:
        bound_name = "max" if self.measure in UPPER else "min"
        if self.worse_by is not None and self.measure not in COMPARABLE:
            raise ValueError(
                f"{self.measure} is not compared with the other lane; write `{bound_name}`"
            )
        limits = {name for name in ("max", "min", "worse_by") if getattr(self, name) is not None}
        compared, or_so = {"worse_by"}, " or by `worse_by`" if self.measure in COMPARABLE else ""
        if self.measure is Measure.P95_S:
            compared, or_so = {"max", "worse_by"}, " (seconds), alone or with `worse_by`,"
        if limits not in ({bound_name}, compared):
            raise ValueError(
                f"{self.measure} is limited by `{bound_name}`{or_so} and by nothing else"
            )
        if self.measure not in (Measure.P95_S, Measure.COST_USD) and self.limit > 1:
            raise ValueError(
                f"{bound_name}: {self.measure} is a share from 0 to 1; write 5 % as 0.05"
            )
        if self.limit < 0 and self.measure is not Measure.SAVING:
            raise ValueError(
                f"min: {self.measure} is a share from 0 to 1; only a saving may be negative"
            )
        if self.measure is Measure.COST_USD and self.limit <= 0:
            raise ValueError("max: a cost per item is above 0 US dollars")
        return self

    @property
    def limit(self) -> float:
        """The value of `worse_by` if set, else of `max` or `min`."""
        if self.worse_by is not None:
            return self.worse_by
        return self.max if self.max is not None else self.min or 0.0

    @property
    def compares(self) -> bool:
        """Whether the gate needs the other lane's items at the same time."""
        return self.worse_by is not None or self.measure is Measure.SAVING

    @property
    def tolerance(self) -> float:
        """The largest allowed share of wrong samples, 0 to 1; with `worse_by`, its largest excess over the other lane."""
        if self.worse_by is not None:
            return self.worse_by
        if self.measure is Measure.P95_S:
            return P95_TOLERATED
        return self.limit if self.measure in UPPER else 1 - self.limit

    def keeps(self, value: float) -> bool:
        """Return whether a value is within `max` or `min`."""
        return value <= self.limit if self.measure in UPPER else value >= self.limit


@dataclass(frozen=True)
class Measurement:
    """A number with its sample size. `wrong` counts the samples beyond the limit; `problem` is the reason for no number.

    `doubtful` counts the items in flight for longer than half of the returned items took; they are no samples yet. `other` is
    the measurement of the other lane at the same time, and `pairs` compares the answers if both lanes answered the same items.
    `costs` are the samples' costs in the order in which they ended: in US dollars for `cost_usd`, as multiples of the estimated
    real-time price for `saving`. `strata` are the steps of a whole rollout with samples of both lanes, if the gate compares.
    """

    measure: Measure
    value: float | None
    samples: int
    wrong: int = 0
    problem: str | None = None
    doubtful: int = 0
    other: "Measurement | None" = None
    costs: Sequence[float] = ()
    pairs: differences.PairedShares | None = None
    called: str = "the other lane"  # the name of the side that `other` measures, for sentences
    strata: "Sequence[Measurement]" = ()
    workload: str = "WORKLOAD"  # for the advice about too few labels

    @property
    def wrong_share(self) -> shares.SampleShare:
        """The share of wrong samples."""
        return shares.SampleShare(self.wrong, self.samples)

    @property
    def pessimistic_share(self) -> shares.SampleShare:
        """The share of wrong samples if every item in doubt were wrong."""
        return shares.SampleShare(self.wrong + self.doubtful, self.samples + self.doubtful)

    @property
    def optimistic_share(self) -> shares.SampleShare:
        """The share of wrong samples if every item in doubt were right."""
        return shares.SampleShare(self.wrong, self.samples + self.doubtful)

    @property
    def sides(self) -> "list[tuple[Measurement, Measurement]]":
        """The pairs of measurements to compare, one for each step: this lane and the other lane."""
        return [(each, each.other) for each in self.strata or (self,) if each.other is not None]

    @property
    def excess(self) -> float | None:
        """The excess of the share of wrong samples over the other lane; None unless both lanes have samples."""
        sides = [(here.wrong_share, other.wrong_share) for here, other in self.sides]
        return (
            differences.compute_mean_difference(sides)
            if sides and all(each.samples for each in chain(*sides))
            else None
        )


def combine(steps: Sequence[Measurement]) -> Measurement:
    """Return the combined measurement of the steps; on both lanes a step is weighted by its samples on the receiving lane."""
    newest = steps[-1]
    sides = [each for step in steps for each in step.sides if each[0].samples and each[1].samples]
    if newest.problem is not None or not sides:
        return newest
    receiving, giving = zip(*sides, strict=True)

    weights = [each.samples for each in receiving]

    def combine_side(measurements: Sequence[Measurement]) -> Measurement:
        values = (fmean(each.costs) if each.costs else each.value or 0.0 for each in measurements)
        counts = ((each.samples, each.wrong, each.doubtful) for each in measurements)
        samples, wrong, doubtful = map(sum, zip(*counts, strict=True))
        costs = array("d", chain.from_iterable(each.costs for each in measurements))
        seen = Measurement(newest.measure, fmean(values, weights), samples, wrong, costs=costs)
        return replace(seen, doubtful=doubtful)

    return replace(
        attach_other(combine_side(receiving), combine_side(giving), newest.called), strata=receiving
    )


def attach_other(measured: Measurement, other: Measurement, called: str) -> Measurement:
    """Return the measurement with the giving side's as `other`; a saving gets its value from both."""
    value = measured.value
    if measured.measure is Measure.SAVING:
        value = 1 - value / other.value if value is not None and other.value else None
    return replace(measured, value=value, other=other, called=called)


@dataclass(frozen=True)
class Judgement:
    """A gate's verdict on a measurement, with a sentence that explains it.

    `between` is the confidence interval of the true share of wrong samples, 0 to 1, of its excess over the other lane, -1 to 1,
    or of a mean, in US dollars or as a share; None without a usable number. `beside` is the judgement of the other window if
    the gate has two.
    """

    gate: Gate
    measurement: Measurement
    verdict: Verdict
    explanation: str
    between: tuple[float, float] | None = None
    scope: Scope = Scope.STEP
    beside: "Judgement | None" = None

    @property
    def of_windows(self) -> "tuple[Judgement, ...]":
        """The judgement of the step and, if there is one, that of the whole rollout."""
        if self.beside is None:
            return (self,)
        return (self, self.beside) if self.scope is Scope.STEP else (self.beside, self)


@dataclass(frozen=True)
class Figures:
    """The number of items that the receiving lane answered during the step, and a measurement for each gate, in their order.

    `moved` is the share of the split's decisions for real time, or for the new version; an entity counts once, and so does an
    item without one. `whole` are the measurements of the whole rollout for `Playbook.whole_gates`; empty during its first step.
    """

    answered: int
    measurements: list[Measurement]
    moved: shares.SampleShare = shares.NOTHING
    whole: Sequence[Measurement] = ()


def judge(gate: Gate, measured: Measurement, *, alpha: float) -> Judgement:
    """Return the gate's judgement; the probability that it is wrong at any look is at most `alpha`.

    The gate never passes below `at_least` samples or without a number.
    """
    other = measured.other if gate.compares else None
    problem = _problem(gate, measured)
    if problem is None and gate.compares:
        unmeasured = f"{measured.called} was not measured"
        problem = unmeasured if other is None else _problem(gate, other)
    if problem is None and measured.value is None and _fewest(measured, other) >= gate.at_least:
        problem = f"no value of {measured.samples:,} samples"
    if problem is not None:
        return Judgement(gate, measured, Verdict.ERROR, problem)
    if gate.measure in MEANS:
        return _judge_means(gate, measured, other, alpha=alpha)
    if other is not None:
        return _judge_difference(gate, measured, other, alpha=alpha)
    sample_share = measured.wrong_share
    low, high = between = shares.bounds(sample_share, alpha=alpha)
    conclude = partial(Judgement, gate, measured, between=between)
    if measured.value is None or measured.samples < gate.at_least:
        return conclude(Verdict.INCONCLUSIVE, _too_few(gate, measured, None))
    sentence = f"{format_value(gate.measure, measured.value)} of {measured.samples:,} samples, {_limit(gate)}"
    assurance = f"are on the wrong side, with {confidence(alpha)} confidence at every look"
    if shares.is_above(sample_share, gate.tolerance, alpha=alpha):
        return conclude(Verdict.FAILED, f"{sentence}; at least {share(low)} {assurance}")
    if gate.keeps(measured.value) and _surely_keeps(gate, measured.pessimistic_share, alpha=alpha):
        return conclude(Verdict.PASSED, f"{sentence}; at most {share(high)} {assurance}")
    undecided = f"{sentence}; between {share(low)} and {share(high)} are on the wrong side"
    if measured.doubtful:
        undecided += f"; {measured.doubtful} more are out for longer than most took"
    return conclude(Verdict.INCONCLUSIVE, undecided)


def judge_both(
    gate: Gate, measured: Measurement, loosest: Gate, whole: Measurement | None, *, alpha: float
) -> Judgement:
    """Return the judgement that decides: the step's, unless the step does not fail and the whole rollout fails or is an error.

    `loosest` is the gate for `whole`, the measurement of the whole rollout, which is None while the step is the whole rollout.
    """
    step = judge(gate, measured, alpha=alpha)
    if step.verdict is Verdict.FAILED:
        step = judge(gate, measured, alpha=alpha / 2)
    if whole is None:
        return step
    of_all = replace(judge(loosest, whole, alpha=alpha / 2), scope=Scope.ROLLOUT)
    if step.verdict is Verdict.FAILED or of_all.verdict not in (Verdict.FAILED, Verdict.ERROR):
        return replace(step, beside=of_all)
    sentence = f"over the whole rollout, {of_all.explanation}"
    return replace(of_all, explanation=sentence, beside=step)


def _judge_difference(
    gate: Gate, measured: Measurement, other: Measurement, *, alpha: float
) -> Judgement:
    pairs = measured.pairs
    if pairs is not None:
        low, high = between = pairs.bounds(alpha=alpha)
        is_worse, is_kept = low > gate.limit, high < gate.limit
    else:
        *before, now = [(here.wrong_share, there.wrong_share) for here, there in measured.sides]
        low, high = between = differences.difference_bounds(*now, alpha=alpha, before=before)
        is_worse = differences.is_larger(*now, by=gate.limit, alpha=alpha, before=before)
        *before, now = [
            (here.pessimistic_share, there.optimistic_share) for here, there in measured.sides
        ]
        is_kept = differences.is_smaller(*now, by=gate.limit, alpha=alpha, before=before)
    conclude = partial(Judgement, gate, measured, between=between)
    if measured.value is None or other.value is None or _fewest(measured, other) < gate.at_least:
        return conclude(Verdict.INCONCLUSIVE, _too_few(gate, measured, other))
    of_others = "the same" if pairs is not None else f"{other.samples:,}"
    own_share, other_share, slow = measured.value, other.value, ""
    if gate.measure is Measure.P95_S:
        own_share = measured.wrong_share.value or 0.0
        other_share = own_share - (measured.excess or 0.0)
        slow = f" slower than {format_value(gate.measure, gate.max or 0.0)}"
    sentence = f"{share(own_share)} of {measured.samples:,} samples{slow}, "
    sentence += f"{share(other_share)} of {of_others} on {measured.called}, {_limit(gate)}"
    assurance = f"worse, with {confidence(alpha)} confidence at every look"
    if is_worse:
        return conclude(Verdict.FAILED, f"{sentence}; at least {points(low)} {assurance}")
    if is_kept:
        return conclude(Verdict.PASSED, f"{sentence}; at most {points(high)} {assurance}")
    undecided = f"{sentence}; between {points(low)} and {points(high)} worse"
    if doubtful := measured.doubtful + other.doubtful:
        undecided += f"; {doubtful} more are out for longer than most took"
    return conclude(Verdict.INCONCLUSIVE, undecided)


def _judge_means(
    gate: Gate, measured: Measurement, other: Measurement | None, *, alpha: float
) -> Judgement:
    if other is None:
        end = MOST_TIMES * gate.limit
        low, high = between = shares.capped_bounds(measured.costs, end, alpha=alpha)
    elif not measured.strata:
        sides = measured.costs, other.costs
        low, high = between = shares.saving_bounds(*sides, MOST_TIMES, alpha=alpha)
    else:
        steps = [(here.costs, there.costs) for here, there in measured.sides]
        excess = shares.excess_bounds(steps, 1 - gate.limit, MOST_TIMES, alpha=alpha)
        high, low = (gate.limit - each / (other.value or math.inf) for each in excess)
        between = low, high
    conclude = partial(Judgement, gate, measured, between=between)
    if measured.value is None or _fewest(measured, other) < gate.at_least:
        return conclude(Verdict.INCONCLUSIVE, _too_few(gate, measured, other))
    of = f"{measured.samples:,} samples" + (
        f" and {other.samples:,} on {measured.called}" if other else ""
    )
    sentence = f"{format_value(gate.measure, measured.value)} of {of}, {_limit(gate)}"
    assurance = f"with {confidence(alpha)} confidence at every look"
    at_most = f"{sentence}; at most {format_value(gate.measure, high)}, {assurance}"
    at_least = f"{sentence}; at least {format_value(gate.measure, low)}, {assurance}"
    too_high, too_low = low > gate.limit, high < gate.limit
    if gate.measure not in UPPER:
        too_high, too_low = too_low, too_high
    if too_high:
        return conclude(Verdict.FAILED, at_least if gate.measure in UPPER else at_most)
    if too_low and gate.keeps(measured.value):
        return conclude(Verdict.PASSED, at_most if gate.measure in UPPER else at_least)
    undecided = f"{sentence}; between {format_value(gate.measure, low)} and {format_value(gate.measure, high)}"
    return conclude(Verdict.INCONCLUSIVE, undecided)


def _fewest(measured: Measurement, other: Measurement | None) -> int:
    return measured.samples if other is None else min(measured.samples, other.samples)


def _too_few(gate: Gate, measured: Measurement, other: Measurement | None) -> str:
    counts = f"{measured.samples:,}"
    if other is not None:
        counts = f"{measured.samples:,} here and {other.samples:,} on {measured.called}, each"
    if gate.measure is Measure.ACCURACY:
        missing = gate.at_least - _fewest(measured, other)
        of = f"{counts} of at least {gate.at_least}"
        return f"{of} labeled items; label {missing} more (`lanes review {measured.workload}`)"
    return f"{counts} of at least {gate.at_least} samples"


def points(difference: float) -> str:
    """Return a difference of two shares in percentage points, formatted for people."""
    return f"{100 * difference:.1f} points"


def _surely_keeps(gate: Gate, sample_share: shares.SampleShare, *, alpha: float) -> bool:
    """Return whether the share of wrong samples is surely below the tolerance; with a tolerance of 1 it always is."""
    return gate.tolerance >= 1 or shares.is_below(sample_share, gate.tolerance, alpha=alpha)


def longest_out(spec: "Spec", lane: Lane) -> timedelta:
    """Return the time after which a gate counts an unanswered item without a due time as wrong.

    In real time it is the patience or the promised p95, whichever is longer. In batch, counted from the submission, it is the
    workload's promise for a batch, or the provider's expiry without a promise.
    """
    if lane is Lane.REALTIME:
        return timedelta(seconds=max(spec.patience_s, spec.promises.realtime_p95_s))
    return timedelta(minutes=spec.promises.batch_max_minutes) or PROVIDER_KEEPS


def confidence(alpha: float) -> str:
    """Return the confidence of a gate in percent, formatted for people."""
    return f"{100 * (1 - alpha):.4g} %"


def worst(judgements: Sequence[Judgement]) -> Judgement | None:
    """Return the judgement that decides: failed before error before inconclusive; None if all passed."""
    order = (Verdict.FAILED, Verdict.ERROR, Verdict.INCONCLUSIVE, Verdict.PASSED)
    return min(judgements, key=lambda each: order.index(each.verdict), default=None)


def _problem(gate: Gate, measured: Measurement) -> str | None:
    if measured.problem is not None:
        return measured.problem
    if measured.measure is not gate.measure:
        return f"{measured.measure} was measured for a gate on {gate.measure}"
    if not 0 <= measured.wrong <= measured.samples:
        return f"{measured.wrong} of {measured.samples:,} samples are no share"
    least = -math.inf if gate.measure is Measure.SAVING else 0.0
    numbers = [*measured.costs] if measured.value is None else [measured.value, *measured.costs]
    for value in numbers:
        if not (math.isfinite(value) and value >= least):
            return f"{value} is no {gate.measure}"
    if gate.measure in MEANS and len(measured.costs) != measured.samples:
        return f"{len(measured.costs)} costs of {measured.samples:,} samples"
    return None


def format_value(measure: Measure, value: float) -> str:
    """Return a value of a measure, or a bound of it, formatted for people."""
    if not math.isfinite(value):
        return "unknown"
    if measure is Measure.COST_USD:
        return f"${value:.3g}"
    return f"{value:.2f} s" if measure is Measure.P95_S else share(value)


def _limit(gate: Gate) -> str:
    if gate.worse_by is not None:
        return f"at most {points(gate.worse_by)} worse"
    return f"at {'most' if gate.measure in UPPER else 'least'} {format_value(gate.measure, gate.limit)}"

"""The observations of one workload in a period, on which advice is based, and the decay of its answers' value."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf, log, sqrt
from statistics import NormalDist
from typing import NamedTuple

from lanes.advice.savings import Savings
from lanes.money.budget import DAYS_PER_MONTH
from lanes.units import seconds
from lanes.words import Mode

AT_ONCE_S = 60  # a reader waited for a result that it read within this many seconds of the answer
MIN_ITEMS = 30  # with fewer, shares are not meaningful
MIN_BILLED = 20  # with fewer, a lane's price per item is estimated
MIN_READS = 20  # with fewer, a consumer's reading habit is unknown
MIN_COMPARED = 20  # with fewer, the worth of the authoritative pass is unknown
MIN_DAYS = 1.0  # with less, a month cannot be projected
MIN_WHOLE_DAYS = 7  # with fewer, the variation between days is unknown
LATE_SHARE = 0.2  # a consumer that reads a smaller share at once can be moved to batch
LATER_S = 3_600  # a result that was read this late could have waited for a batch
# The ways to read results that record the read.
RECORDING = "lanes.read_result, client.wait or lanes results --reader"
# Compared with the models in use.
MODELS = ("claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5")


class Pattern(StrEnum):
    """A way for a workload to use the lanes."""

    REALTIME = "realtime"
    BATCH = "batch"
    HYBRID = "hybrid"
    LAMBDA = "lambda"


class Leaning(StrEnum):
    """The pattern that one criterion favors."""

    REALTIME = "for realtime"
    BATCH = "for batch"
    HYBRID = "for hybrid"
    LAMBDA = "for lambda"
    UNKNOWN = "not enough data"


@dataclass(frozen=True)
class Criterion:
    """One line of the decision framework: its question, the evidence, and the pattern that it favors."""

    name: str
    evidence: str
    leaning: Leaning


@dataclass(frozen=True)
class LaneUse:
    """One lane in the period: the items that it answered validly, its bill, and the p95 from received to first answer.

    `list_usd` is the cost of these answers' tokens, uncached, at the list price of the real-time lane.
    """

    answered: int = 0
    billed_usd: float = 0.0
    list_usd: float = 0.0
    p95_s: float | None = None
    timed: int = 0


@dataclass(frozen=True)
class RealtimeNeed:
    """The share of some items that needs real-time: at least `low`, at most `high`; the difference was not observed."""

    low: float
    high: float


@dataclass(frozen=True)
class ConsumerUse:
    """The items of one consumer (None: items without a consumer), by their first route and by their reads.

    Reads count items that real-time answered first: the first recorded read after that answer, by any reader. `unknown` counts
    the items that still have no recorded read after a minute. They may have been read at once, for instance by a SELECT.
    """

    consumer: str | None
    routed: int
    demanded: int = 0  # pinned to real-time, urgent, or due before a batch is back
    deferred: int = 0  # pinned to batch, or matched by the workload's batch rule
    realtime: int = 0  # routed to real-time, for any reason
    reads: int = 0
    at_once: int = 0
    median_s: float | None = None
    later: int = 0  # reads after at least `LATER_S`
    unknown: int = 0
    # Pairs of the seconds from answer to read and the number of recorded reads that took them.
    delays: Sequence[tuple[float, int]] = ()
    # The total time that the unknown reads have been pending so far; at most 12 h each.
    unread_s: float = 0.0

    @property
    def undecided(self) -> int:
        """The number of items that only the split decided."""
        return self.routed - self.demanded - self.deferred

    @property
    def answers(self) -> int:
        """The number of answers that can have been read at once: those with a recorded read and those with an unknown one."""
        return self.reads + self.unknown

    @property
    def at_once_share(self) -> float | None:
        """The share of recorded reads within a minute of the answer; None if there are too few reads."""
        return self.at_once / self.reads if self.reads >= MIN_READS else None

    @property
    def at_once_bounds(self) -> RealtimeNeed:
        """The share of answers read within a minute: `low` by recorded reads, `high` if all unknown reads were that early."""
        if self.at_once_share is None:
            return RealtimeNeed(0.0, 1.0)
        return RealtimeNeed(
            self.at_once / self.answers, (self.at_once + self.unknown) / self.answers
        )


@dataclass(frozen=True)
class LimitUse:
    """A limit per minute of the real-time model, as last reported, and an item's average use of it (`each`)."""

    name: str
    per_minute: int
    left: float
    each: float
    told_s: float  # the age of the report in seconds


@dataclass(frozen=True)
class DayUse:
    """One UTC day of the period: its `length` in days (below 1 for the first and last), and the items and use of each lane."""

    length: float
    items: int = 0  # received
    realtime: LaneUse = LaneUse()
    batch: LaneUse = LaneUse()


@dataclass(frozen=True)
class ModelPrice:
    """The cost of the period's tokens with another model, as a multiple of the cost with each lane's own model."""

    name: str
    realtime_factor: float
    batch_factor: float


@dataclass(frozen=True)
class Evidence:
    """The measurements of one workload in a period. Counts are of items received in it and not canceled.

    Bills, estimates, comparisons and corrections are those of `version`, which is in force; `of_others` counts the answers of
    other versions, which say nothing about this version's costs.
    """

    workload: str
    mode: Mode
    days: float  # from the period's first item to its end
    items: int
    realtime: LaneUse = LaneUse()
    batch: LaneUse = LaneUse()
    estimated_realtime_usd: float | None = None  # mean of the routes' estimates
    estimated_batch_usd: float | None = None
    # The batch lane's list price of a token, as a share of the real-time lane's.
    batch_list_share: float = 0.5
    with_due: int = 0
    urgent: int = 0
    due_within_5s: int = 0
    due_before_batch: int = 0  # due before a batch is back with sufficient probability
    # The time within which a batch is back, with the workload's required confidence.
    batch_expected_s: float = 3600
    peak_per_minute: int = 0
    # The items of each whole day, without the partial first and last days.
    days_arrivals: Sequence[int] = ()
    days_seen: Sequence[DayUse] = ()
    compared: int = 0
    corrected: int = 0
    # The mean share of fields that the newest corrections changed; None if there are none.
    distance: float | None = None
    consumers: Sequence[ConsumerUse] = ()
    # The monthly spending that the workload's tightest budget allows; None if it has no budget.
    budget_month_usd: float | None = None
    limits: Sequence[LimitUse] = ()  # the provider's limits; empty if it reported none
    provider_discount: float = 0.5  # the discount on a token of the batch model on the batch lane
    # Other models with a known price; empty if nothing was billed.
    models: Sequence[ModelPrice] = ()
    # None if no version answered anything, or if it is unknown what the calls share.
    savings: Savings | None = None
    version: int = 1
    of_others: int = 0

    @property
    def is_mixed(self) -> bool:
        """Whether other versions also answered items of the period."""
        return self.of_others > 0

    @property
    def corrected_share(self) -> float | None:
        """The share of the compared answers that the authoritative pass corrected; None if too few were compared."""
        return self.corrected / self.compared if self.compared >= MIN_COMPARED else None

    @property
    def scarcest(self) -> LimitUse | None:
        """The limit of which an item uses the largest share; None if the provider reported none."""
        return max(self.limits, key=lambda each: each.each / each.per_minute, default=None)

    def peak_share(self, limit: LimitUse) -> float:
        """Return the share of a limit that the busiest minute would use on the real-time lane; may exceed 1."""
        return self.peak_per_minute * limit.each / limit.per_minute


def needs(evidence: Evidence) -> RealtimeNeed | None:
    """Return the share of items that needs real-time; None if no item was routed.

    Demanded items need real-time. Undecided items need it as often as their consumer reads at once; if some of the reads are
    unknown, that part of the need is unknown too.
    """
    consumers = evidence.consumers
    routed = sum(each.routed for each in consumers)
    if not routed:
        return None
    low = sum(each.demanded + each.undecided * each.at_once_bounds.low for each in consumers)
    high = sum(each.demanded + each.undecided * each.at_once_bounds.high for each in consumers)
    return RealtimeNeed(low / routed, high / routed)


@dataclass(frozen=True)
class Prices:
    """The price of an item on real-time, the discount of batch, and the basis of each: billed or estimated."""

    realtime_usd: float
    discount: float
    realtime_basis: str
    batch_basis: str


def prices(evidence: Evidence) -> Prices | None:
    """Return both lanes' prices of the same item; None if no price is known.

    The lanes answered different items, so their bills are compared token by token, each with the list price of the tokens
    that it billed. The routes' estimates state how many tokens an item takes on batch, where more items share a call. A
    lane without enough billed items gets the other lane's billed price, scaled by the ratio of the estimates.
    """
    realtime, batch, ratio = evidence.realtime, evidence.batch, _estimate_ratio(evidence)
    if _has_bill(realtime) and _has_bill(batch):
        level = realtime.billed_usd / realtime.list_usd
        batch_level = batch.billed_usd / batch.list_usd
        packing = (ratio / evidence.batch_list_share) if ratio else 1.0
        whole_usd = realtime.list_usd + batch.list_usd / packing
        return Prices(
            level * whole_usd / (realtime.answered + batch.answered),
            1 - batch_level / level * packing,
            "billed",
            "billed",
        )
    if ratio is None:
        return None
    if _has_bill(realtime):
        return Prices(realtime.billed_usd / realtime.answered, 1 - ratio, "billed", "estimated")
    if _has_bill(batch) and ratio:
        return Prices(batch.billed_usd / batch.answered / ratio, 1 - ratio, "estimated", "billed")
    return Prices(evidence.estimated_realtime_usd or 0, 1 - ratio, "estimated", "estimated")


def project_items(evidence: Evidence) -> float | None:
    """Return the number of items a month at the period's rate; None if the period is shorter than a day."""
    return evidence.items / evidence.days * DAYS_PER_MONTH if evidence.days >= MIN_DAYS else None


def _has_bill(use: LaneUse) -> bool:
    return use.answered >= MIN_BILLED and use.billed_usd > 0 and use.list_usd > 0


def _estimate_ratio(evidence: Evidence) -> float | None:
    """Return the estimated cost of an item on batch divided by that on real-time."""
    if not evidence.estimated_realtime_usd or evidence.estimated_batch_usd is None:
        return None
    return evidence.estimated_batch_usd / evidence.estimated_realtime_usd


CONFIDENCE = 0.95
LONGEST_S = 31_536_000  # the longest half-life that a definition accepts


@dataclass(frozen=True)
class ValueDecay:
    """The half-life of an answer's value in seconds, with a 95 % confidence interval.

    An answer keeps its value until its reader comes. The estimate assumes that answers without a recorded read have not been
    read so far. The interval is valid whatever the unknown reads were: `low_s` assumes that all of them were at once, `high_s`
    that none has occurred.
    """

    half_life_s: float
    low_s: float
    high_s: float
    reads: int
    unknown: int

    @property
    def interval_text(self) -> str:
        """The interval in words."""
        return (
            f"{CONFIDENCE:.0%} confidence: {seconds(self.low_s)} to {seconds(self.high_s)}".replace(
                "%", " %"
            )
        )

    def compute_value_left(self, after_s: float) -> float:
        """Return the share of the value, 0 to 1, that is left `after_s` seconds after the answer."""
        return 2.0 ** (-after_s / self.half_life_s)

    def is_quick(self, within_s: float) -> bool | None:
        """Return whether more than half of the value is lost within `within_s` seconds; None if the interval allows both."""
        if self.high_s < within_s:
            return True
        return False if self.low_s >= within_s else None


@dataclass(frozen=True)
class ConsumerDecay:
    """The decay of the value of one consumer's answers (None: items without a consumer)."""

    consumer: str | None
    decay: ValueDecay


def list_decays(uses: Sequence[ConsumerUse]) -> list[ConsumerDecay]:
    """Return the decay of the answers' value for each consumer with enough recorded reads."""
    found = ((each.consumer, decay([each])) for each in uses)
    return [ConsumerDecay(consumer, of) for consumer, of in found if of is not None]


def decay(uses: Sequence[ConsumerUse]) -> ValueDecay | None:
    """Return the decay of the answers' value for these consumers; None if none of them has enough recorded reads."""
    reads, unknown = sum(each.reads for each in uses), sum(each.unknown for each in uses)
    read_s = sum(took_s * n for each in uses for took_s, n in each.delays)
    if all(each.at_once_share is None for each in uses) or read_s <= 0:
        return None
    so_far = Waits(reads, read_s + sum(each.unread_s for each in uses))
    alpha = 1 - CONFIDENCE
    low, _ = Waits(reads + unknown, read_s).bounds_s(alpha=alpha)
    _, high = so_far.bounds_s(alpha=alpha)
    return ValueDecay(so_far.half_life_s, low, high, reads, unknown)


class Waits(NamedTuple):
    """Waiting times: `ended` of them have ended; all of them together have lasted `total_s` seconds so far.

    The model is an exponential distribution in which some waits have not ended yet (censored). The most likely rate is the
    number of ended waits over the total time of all waits (Epstein and Sobel, JASA 48, 1953). Twice the rate times this time
    has a chi-square distribution with twice that number of degrees of freedom. Because the observation stops at a point in
    time, the upper bound of the rate counts one more ended wait (Garwood, Biometrika 28, 1936). Unlike the bounds of
    `lanes.statistics`, these hold at one look, and only as far as the distribution fits.
    """

    ended: int
    total_s: float

    @property
    def half_life_s(self) -> float:
        """The most likely time within which half of the waits end, in seconds; infinite if none has ended."""
        return log(2) * self.total_s / self.ended if self.ended else inf

    def bounds_s(self, *, alpha: float) -> tuple[float, float]:
        """Return bounds that contain the half-life, in seconds, with a probability of 1 - alpha."""
        twice = 2 * log(2) * self.total_s
        low = twice / chi_square(2 * self.ended + 2, 1 - alpha / 2)
        high = twice / chi_square(2 * self.ended, alpha / 2) if self.ended else inf
        return low, high


def chi_square(freedom: int, below: float) -> float:
    """Return the value that a chi-square variable does not exceed with the probability `below`, above 0 and below 1.

    Uses the cube root approximation of Wilson and Hilferty (PNAS 17, 1931): accurate to 0.1 % for probabilities of 2 to 98 %
    from 40 degrees of freedom on. SciPy's function is exact, but takes longer to import than everything else that a status
    needs.
    """
    spread = 2 / (9 * freedom)
    root = 1 - spread + NormalDist().inv_cdf(below) * sqrt(spread)
    return freedom * max(root, spread) ** 3

"""The observations of one workload in a period: the evidence that advice rests on, and how its answers lose value."""

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

AT_ONCE_S = 60  # a result read within this of being answered was waited for
MIN_ITEMS = 30  # below, shares say nothing
MIN_BILLED = 20  # below, a lane's price per item is estimated
MIN_READS = 20  # below, a consumer's habit is unknown
MIN_COMPARED = 20  # below, the worth of the authoritative pass is unknown
MIN_DAYS = 1.0  # below, a month cannot be projected
MIN_WHOLE_DAYS = 7  # below, nothing is said of how days differ
LATE_SHARE = 0.2  # who reads fewer than this at once can be moved to batch
LATER_S = 3_600  # a result read this late could have waited for a batch
# how results are taken so that their reads are recorded
RECORDING = "lanes.read_result, client.wait or lanes results --reader"
MODELS = ("claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5")  # held against those in use


class Pattern(StrEnum):
    """A way for a workload to use the lanes."""

    REALTIME = "realtime"
    BATCH = "batch"
    HYBRID = "hybrid"
    LAMBDA = "lambda"


class Leaning(StrEnum):
    """The pattern that one criterion speaks for."""

    REALTIME = "for realtime"
    BATCH = "for batch"
    HYBRID = "for hybrid"
    LAMBDA = "for lambda"
    UNKNOWN = "not enough data"


@dataclass(frozen=True)
class Criterion:
    """One line of the decision framework: what it asks, what was seen, and what that speaks for."""

    name: str
    evidence: str
    leaning: Leaning


@dataclass(frozen=True)
class LaneUse:
    """One lane in the period: items with a valid answer from it, what it billed, p95 from received to first answer.

    `list_usd` is what the tokens of these answers would cost, uncached, at the list price of the real-time lane.
    """

    answered: int = 0
    billed_usd: float = 0.0
    list_usd: float = 0.0
    p95_s: float | None = None
    timed: int = 0


@dataclass(frozen=True)
class RealtimeNeed:
    """The share of some items that needs real-time: at least `low`, at most `high`; the difference was never observed."""

    low: float
    high: float


@dataclass(frozen=True)
class ConsumerUse:
    """The items of one consumer (None: items without a consumer), by their first route and by how they were read.

    Reads count items that real-time answered first: the first recorded read after that answer, by any reader. `unknown` counts
    those without a recorded read although a minute has passed. They may have been read at once, for instance by a SELECT.
    """

    consumer: str | None
    routed: int
    demanded: int = 0  # pinned to real-time, urgent, or due before a batch is back
    deferred: int = 0  # pinned to batch, or the workload's batch rule holds
    realtime: int = 0  # routed to real-time, whatever the reason
    reads: int = 0
    at_once: int = 0
    median_s: float | None = None
    later: int = 0  # reads after `LATER_S` or more
    unknown: int = 0
    # seconds from answer to read, and how many recorded reads took that
    delays: Sequence[tuple[float, int]] = ()
    unread_s: float = (
        0.0  # for which the unknown ones have waited so far, together; each within 12 h
    )

    @property
    def undecided(self) -> int:
        """Items that nothing but the split decided."""
        return self.routed - self.demanded - self.deferred

    @property
    def answers(self) -> int:
        """Answers that could have been read at once: those whose read is recorded, and those whose read is unknown."""
        return self.reads + self.unknown

    @property
    def at_once_share(self) -> float | None:
        """The share of the recorded reads that came within a minute; None: too few to tell."""
        return self.at_once / self.reads if self.reads >= MIN_READS else None

    @property
    def at_once_bounds(self) -> RealtimeNeed:
        """The share of the answers that were read within a minute: `low` by recorded reads, `high` if all unknown ones were."""
        if self.at_once_share is None:
            return RealtimeNeed(0.0, 1.0)
        return RealtimeNeed(
            self.at_once / self.answers, (self.at_once + self.unknown) / self.answers
        )


@dataclass(frozen=True)
class LimitUse:
    """A limit a minute of the model that real time asks, as it was told last, and what an item takes of it on average."""

    name: str
    per_minute: int
    left: float
    each: float
    told_s: float  # how long ago


@dataclass(frozen=True)
class DayUse:
    """One day (UTC) of the period, `length` of it: below 1 on its first and last. What each lane billed and answered then."""

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

    What is billed, estimated, compared and corrected is that of `version`, which is in force; `of_others` are the answers of
    other versions, which say nothing of its costs.
    """

    workload: str
    mode: Mode
    days: float  # from the first item of the period to its end
    items: int
    realtime: LaneUse = LaneUse()
    batch: LaneUse = LaneUse()
    estimated_realtime_usd: float | None = None  # mean of the routes' estimates
    estimated_batch_usd: float | None = None
    batch_list_share: float = 0.5  # list price of a token on batch, as a share of real-time's
    with_due: int = 0
    urgent: int = 0
    due_within_5s: int = 0
    due_before_batch: int = 0  # due before a batch is likely enough back
    batch_expected_s: float = 3600  # in which it is, with the confidence that the workload asks for
    peak_per_minute: int = 0
    # items of each whole day, the first and last cut days left out
    days_arrivals: Sequence[int] = ()
    days_seen: Sequence[DayUse] = ()
    compared: int = 0
    corrected: int = 0
    # mean share of the fields that the newest corrections changed; None: there are none
    distance: float | None = None
    consumers: Sequence[ConsumerUse] = ()
    # what the workload's narrowest budget allows in a month; None: there is none
    budget_month_usd: float | None = None
    limits: Sequence[LimitUse] = ()  # of the provider; none where none were told
    provider_discount: float = 0.5  # by which a token of batch's model is cheaper on batch
    # other models whose price is known; none where nothing was billed
    models: Sequence[ModelPrice] = ()
    # None: nothing was answered, by other versions too, or what its calls share is not known
    savings: Savings | None = None
    version: int = 1
    of_others: int = 0

    @property
    def is_mixed(self) -> bool:
        """Whether other versions answered items of the period too."""
        return self.of_others > 0

    @property
    def corrected_share(self) -> float | None:
        """The share of the compared answers that the authoritative pass corrected; None: too few to say."""
        return self.corrected / self.compared if self.compared >= MIN_COMPARED else None

    @property
    def scarcest(self) -> LimitUse | None:
        """The limit that an item uses most of; None if the provider reported none."""
        return max(self.limits, key=lambda each: each.each / each.per_minute, default=None)

    def peak_share(self, limit: LimitUse) -> float:
        """Return the share of a limit that the busiest minute would use in real-time; may exceed 1."""
        return self.peak_per_minute * limit.each / limit.per_minute


def needs(evidence: Evidence) -> RealtimeNeed | None:
    """Return the share of items that needs real-time; None if nothing was routed.

    Demanded items need it. Undecided items need it as often as their consumer reads at once; as far as its reads are
    unknown, so is its need.
    """
    of = evidence.consumers
    routed = sum(each.routed for each in of)
    if not routed:
        return None
    low = sum(each.demanded + each.undecided * each.at_once_bounds.low for each in of)
    high = sum(each.demanded + each.undecided * each.at_once_bounds.high for each in of)
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

    The lanes answered different items, so their bills are compared token by token: each against the list price of the
    very tokens it billed. How many tokens an item takes on batch, where more items share a call, the routes' estimates
    say. A lane without enough billed items gets the other's billed price, in the proportion of the estimates.
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
    """Return the items a month at the period's pace; None if the period is shorter than a day."""
    return evidence.items / evidence.days * DAYS_PER_MONTH if evidence.days >= MIN_DAYS else None


def _has_bill(use: LaneUse) -> bool:
    return use.answered >= MIN_BILLED and use.billed_usd > 0 and use.list_usd > 0


def _estimate_ratio(evidence: Evidence) -> float | None:
    """Return the estimated cost of an item on batch divided by that on real-time."""
    if not evidence.estimated_realtime_usd or evidence.estimated_batch_usd is None:
        return None
    return evidence.estimated_batch_usd / evidence.estimated_realtime_usd


CONFIDENCE = 0.95
LONGEST_S = 31_536_000  # the longest half-life that a definition takes


@dataclass(frozen=True)
class ValueDecay:
    """The half-life of an answer's value in seconds, with an interval of 95 % confidence.

    An answer keeps its value until its reader comes. The estimate takes answers without a recorded read as not read so far. The
    interval holds whatever they were: for `low_s` all of them were read at once, and for `high_s` none of them was read.
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
        """Return whether more than half of the value is lost within that time; None where the interval allows both."""
        if self.high_s < within_s:
            return True
        return False if self.low_s >= within_s else None


@dataclass(frozen=True)
class ConsumerDecay:
    """The decay of the value of one consumer's answers (None: items without a consumer)."""

    consumer: str | None
    decay: ValueDecay


def by_consumer(uses: Sequence[ConsumerUse]) -> list[ConsumerDecay]:
    """Return how the value decays for each consumer with enough recorded reads."""
    found = ((each.consumer, decay([each])) for each in uses)
    return [ConsumerDecay(consumer, of) for consumer, of in found if of is not None]


def decay(uses: Sequence[ConsumerUse]) -> ValueDecay | None:
    """Return how the value of these consumers' answers decays; None if none of them has enough recorded reads."""
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
    """Waiting times: `ended` of them have ended, and all of them together took `total_s` seconds so far.

    They follow an exponential law, and some have not ended yet (censored). The most likely rate is the number of waits that
    ended over the total time of all waits (Epstein and Sobel, JASA 48, 1953). Twice the rate times that time is distributed as
    chi-square with twice that number of degrees of freedom; because time ends the look here, the bounds with one more end above
    hold (Garwood, Biometrika 28, 1936). Unlike the bounds of `lanes.statistics` they hold at one look, and only as far as the
    law does.
    """

    ended: int
    total_s: float

    @property
    def half_life_s(self) -> float:
        """The most likely time within which half of them end; infinite where none ended."""
        return log(2) * self.total_s / self.ended if self.ended else inf

    def bounds_s(self, *, alpha: float) -> tuple[float, float]:
        """Return bounds of the half-life in seconds, which hold it with a probability of 1 - alpha."""
        twice = 2 * log(2) * self.total_s
        low = twice / chi_square(2 * self.ended + 2, 1 - alpha / 2)
        high = twice / chi_square(2 * self.ended, alpha / 2) if self.ended else inf
        return low, high


def chi_square(freedom: int, below: float) -> float:
    """Return the value below which a chi-square variable lies with that probability, above 0 and below 1.

    By the cube root of Wilson and Hilferty (PNAS 17, 1931): right within 0.1 % for probabilities of 2 to 98 % from 40 degrees
    of freedom on. SciPy's is exact, and takes longer to load than all else that a status needs.
    """
    spread = 2 / (9 * freedom)
    root = 1 - spread + NormalDist().inv_cdf(below) * sqrt(spread)
    return freedom * max(root, spread) ** 3

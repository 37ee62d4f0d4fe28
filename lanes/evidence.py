"""What was observed of one workload in a period: the evidence that advice rests on, and the words for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from lanes.words import Mode

AT_ONCE_S = 60  # a result read within this of being answered was waited for
MIN_ITEMS = 30  # below, shares say nothing
MIN_BILLED = 20  # below, a lane's price per item is estimated
MIN_READS = 20  # below, a consumer's habit is unknown
MIN_COMPARED = 20  # below, the worth of the authoritative pass is unknown
MIN_DAYS = 1.0  # below, a month cannot be projected
DAYS_PER_MONTH = 30.4
LATE_SHARE = 0.2  # who reads fewer than this at once can be moved to batch
WORTH_CORRECTING = 0.05  # share of corrected answers from which the authoritative pass earns its place


class Pattern(StrEnum):
    """How a workload may use the lanes."""

    REALTIME = "realtime"
    BATCH = "batch"
    HYBRID = "hybrid"
    LAMBDA = "lambda"


class Leaning(StrEnum):
    """What one criterion speaks for."""

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
    """One lane in the period: items with a valid answer from it, what it billed, p95 from received to first answer."""

    answered: int = 0
    billed_usd: float = 0
    p95_s: float | None = None
    timed: int = 0


@dataclass(frozen=True)
class ConsumerUse:
    """The items of one consumer (None: of nobody named), by how they were first routed, and how they were read.

    Reads count items that real-time answered first: the first read since, whoever read it. `unread` were never read.
    """

    consumer: str | None
    routed: int
    demanded: int = 0  # pinned to real-time, urgent, or due before a batch is back
    deferred: int = 0  # pinned to batch, or the workload's batch rule holds
    realtime: int = 0  # routed to real-time, whatever the reason
    reads: int = 0
    at_once: int = 0
    median_s: float | None = None
    unread: int = 0

    @property
    def undecided(self) -> int:
        """Items that nothing but the split decided."""
        return self.routed - self.demanded - self.deferred

    @property
    def at_once_share(self) -> float | None:
        """The share of the reads that came within a minute; None: too few reads to say."""
        return self.at_once / self.reads if self.reads >= MIN_READS else None


@dataclass(frozen=True)
class Evidence:
    """What was seen of one workload in a period. Counts are of items received in it and not canceled."""

    workload: str
    mode: Mode
    days: float  # from the first item of the period to its end
    items: int
    realtime: LaneUse = LaneUse()
    batch: LaneUse = LaneUse()
    estimated_realtime_usd: float | None = None  # mean of the routes' estimates
    estimated_batch_usd: float | None = None
    with_due: int = 0
    urgent: int = 0
    due_within_5s: int = 0
    due_before_batch: int = 0  # due before a batch is usually back
    batch_expected_s: float = 3600
    peak_per_minute: int = 0
    days_arrivals: Sequence[int] = ()  # items of each whole day, the first and last cut days left out
    compared: int = 0
    corrected: int = 0
    consumers: Sequence[ConsumerUse] = ()


@dataclass(frozen=True)
class Needs:
    """Which share of the items needs real-time: at least `low`, at most `high`; the difference was never observed."""

    low: float
    high: float


def needs(evidence: Evidence) -> Needs | None:
    """The share that needs real-time; None when nothing was routed.

    Demanded items need it. Undecided items need it as often as their consumer reads at once; without enough reads
    they are the unknown part.
    """
    routed = sum(each.routed for each in evidence.consumers)
    if not routed:
        return None
    needed = unknown = 0.0
    for each in evidence.consumers:
        needed += each.demanded
        if each.at_once_share is None:
            unknown += each.undecided
        else:
            needed += each.undecided * each.at_once_share
    return Needs(needed / routed, (needed + unknown) / routed)


def prices(evidence: Evidence) -> tuple[float, float, str, str] | None:
    """Per item: real-time USD, batch discount, and what each lane's price rests on; None when no price is known.

    A lane without enough billed items gets the other's billed price, in the proportion of the routes' estimates.
    """
    realtime, batch = _billed(evidence.realtime), _billed(evidence.batch)
    if realtime and batch is not None:
        return realtime, 1 - batch / realtime, "billed", "billed"
    if not evidence.estimated_realtime_usd or evidence.estimated_batch_usd is None:
        return None
    ratio = evidence.estimated_batch_usd / evidence.estimated_realtime_usd
    if realtime:
        return realtime, 1 - ratio, "billed", "estimated"
    if batch and ratio:
        return batch / ratio, 1 - ratio, "estimated", "billed"
    return evidence.estimated_realtime_usd, 1 - ratio, "estimated", "estimated"


def projected(evidence: Evidence) -> float | None:
    """Items a month at the period's pace; None below a day of it."""
    return evidence.items / evidence.days * DAYS_PER_MONTH if evidence.days >= MIN_DAYS else None


def _billed(use: LaneUse) -> float | None:
    return use.billed_usd / use.answered if use.answered >= MIN_BILLED else None

"""What packing does to answers, and what windows do for packs, as figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from lanes.money.always_valid import Share
from lanes.words import FlushReason, Lane


@dataclass(frozen=True)
class PackFigures:
    """How many items of a workload share a call on a lane, and what is known of that: of packed items how many said the same
    alone, and of answers alone how many were repeated. `size` and `allowed` are None while nothing was ever decided: as many
    as the workload allows. `checks_usd` is what finding out cost for the items of the period.
    """

    workload: str
    lane: Lane
    size: int | None
    allowed: int | None
    packed: Share
    alone: Share
    since: datetime | None
    why: str
    checks_usd: Decimal


@dataclass(frozen=True)
class WindowFigures:
    """The windows of a workload's real-time items: how long one gathered on average, how many shared a call, and why they
    left, as counts of items."""

    workload: str
    items: int
    mean_wait_s: float
    items_per_call: float
    left: Mapping[FlushReason, int]

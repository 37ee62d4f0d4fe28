"""What real time can take: what the provider's limits leave, who answers nobody, how long what waits takes and items waited."""

from dataclasses import dataclass
from datetime import datetime

from lanes.realtime.circuit import CircuitState
from lanes.routing.capacity import Limit


@dataclass(frozen=True)
class CapacityFigures:
    """A model's limits as they were told last, and what waits for it in real time.

    `drain_s` is how long that takes at the present rate and within the limits; None where neither is known.
    """

    account: str
    model: str
    limits: list[Limit]
    waiting: int
    drain_s: float | None


@dataclass(frozen=True)
class CircuitFigures:
    """A model of an account that answers nobody: `faults` calls in a row, the last of which met `why`."""

    account: str
    model: str
    state: CircuitState
    since: datetime
    faults: int
    why: str


@dataclass(frozen=True)
class WaitFigures:
    """How long items waited for their real-time call, in seconds from received to asked, with a window to gather in."""

    workload: str
    items: int
    p50_s: float
    p95_s: float

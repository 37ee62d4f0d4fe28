"""What the real-time lane gave to batches because it could not serve it."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class ShedFigures:
    """The items of a workload that were shed in the period. `saved_usd` is what their batches are estimated to save.

    Of the newest of them, `looked_at` in number: how many are `answered`, how long that took from shed to answered, in seconds
    (None where none is); and why the last one was shed.
    """

    workload: str
    items: int
    saved_usd: Decimal
    looked_at: int
    answered: int
    p50_s: float | None
    p95_s: float | None
    why: str

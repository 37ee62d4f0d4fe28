"""What the second look did: items that it took to real time, whether that was in time, and what it cost."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class RescueFigures:
    """The items of a workload that were rescued in the period, canceled ones apart.

    `met` were first answered by their due time; `waiting` are neither answered nor due yet. `usd` is what real time billed for
    them, `twice_usd` the part of it that bought nothing but time: of items that their batch was billed for, too.
    """

    workload: str
    items: int
    met: int
    waiting: int
    usd: Decimal
    twice_usd: Decimal

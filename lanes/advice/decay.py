"""How the value of an answer decays, estimated from its reads: by the half-life, half of the readers have come."""

from collections.abc import Sequence
from dataclasses import dataclass

from lanes.advice.evidence import ConsumerUse
from lanes.statistics.decay import Waits
from lanes.units import seconds

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
    def said(self) -> str:
        """The interval in words."""
        return (
            f"{CONFIDENCE:.0%} confidence: {seconds(self.low_s)} to {seconds(self.high_s)}".replace(
                "%", " %"
            )
        )

    def left(self, after_s: float) -> float:
        """Return the share of the value, 0 to 1, that is left `after_s` seconds after the answer."""
        return 2.0 ** (-after_s / self.half_life_s)

    def is_quick(self, within_s: float) -> bool | None:
        """Return whether more than half of the value is lost within that time; None where the interval allows both."""
        if self.high_s < within_s:
            return True
        return False if self.low_s >= within_s else None


@dataclass(frozen=True)
class ConsumerDecay:
    """How the value decays of the answers of one consumer (None: items without a consumer)."""

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

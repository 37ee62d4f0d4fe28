"""How calls are used: what they took, whether they mark what they share for the provider's cache, and what that saved."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from lanes.money.caching import STATES, Caching, Saved
from lanes.words import Lane


@dataclass(frozen=True)
class CallFigures:
    """The billed calls of one lane in the period. Tokens are sums; `input_tokens` leaves out what a cache served or stored."""

    workload: str
    lane: Lane
    calls: int
    items: int
    input_tokens: int
    cache_read_tokens: int
    output_tokens: int
    cache_write_tokens: int = 0

    @property
    def prompt_tokens(self) -> int:
        """Every input token, cached or not."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens

    @property
    def items_per_call(self) -> float:
        """How many items shared a call, on average."""
        return self.items / self.calls


@dataclass(frozen=True)
class CachingFigures:
    """How a lane of a workload caches, by the version in force, and what that saved in the period, by all of them; US dollars.

    `hit_rate` was measured last, in about so many calls, and looked at then; `pays_from` is None where it never pays.
    """

    workload: str
    lane: Lane
    state: str
    why: str
    hit_rate: float | None
    pays_from: float | None
    calls: int
    looked_at: datetime
    saved_usd: Decimal


def caching_figures(
    stands: Iterable[tuple[str, Lane, Caching]], saved: Iterable[Saved]
) -> list[CachingFigures]:
    """A row for each lane that was looked at."""
    usd = {(each.workload, each.lane): each.usd for each in saved}
    return [
        CachingFigures(
            workload,
            lane,
            STATES[of.marks],
            of.why,
            of.hit_rate,
            of.pays_from if math.isfinite(of.pays_from) else None,
            of.calls,
            of.decided_at,
            usd.get((workload, lane), Decimal(0)),
        )
        for workload, lane, of in stands
    ]

"""Break-even of a second lane: from which volume, and below which share of real-time items, a hybrid pays for itself.

All amounts are US dollars; `share` is the part of the items, 0 to 1, that needs real-time. A month counts the provider's
bill and what each lane that runs takes to keep.
"""

from dataclasses import dataclass
from math import inf

RULE_OF_THUMB = 0.2  # "under 20 % of the items need real-time: build the batch lane"


@dataclass(frozen=True)
class BreakEven:
    """One month of a workload: `items` at `realtime_usd` each; batch is cheaper by `discount`; its lane costs `fixed_usd`.

    A discount of 0 or below means that batch saves nothing. `realtime_fixed_usd` is what the real-time lane costs.
    """

    items: float
    realtime_usd: float
    discount: float
    fixed_usd: float
    realtime_fixed_usd: float = 0

    @property
    def batch_usd(self) -> float:
        """An item on the batch lane, the provider's bill alone."""
        return self.realtime_usd * (1 - self.discount)

    @property
    def share(self) -> float:
        """r* = 1 - F / (N c d): at this real-time share the saving pays exactly for the lane. -inf: it never does."""
        possible = self.items * self.realtime_usd * self.discount
        return 1 - self.fixed_usd / possible if possible > 0 else -inf

    def bill(self, items: float, share: float) -> float:
        """Return the provider's bill in US dollars for `items` items: `share` of them on real-time, the others on batch."""
        return items * self.realtime_usd * (1 - (1 - share) * self.discount)

    def volume(self, share: float) -> float:
        """Return the items a month from which a hybrid pays at that real-time share; inf if it never does."""
        saved_per_item = self.realtime_usd * (1 - share) * self.discount
        return self.fixed_usd / saved_per_item if saved_per_item > 0 else inf

    def saving(self, share: float) -> float:
        """Return what a hybrid takes off a month's bill, (1 - r) d of it, before the cost of the lane."""
        return self.items * self.realtime_usd * (1 - share) * self.discount

    def net(self, share: float) -> float:
        """Return the saving less the cost of the lane; negative if the lane costs more than it saves."""
        return self.saving(share) - self.fixed_usd

    @property
    def batch_net(self) -> float:
        """What batch alone saves against real-time alone, each lane paid; negative: it costs more."""
        return self.net(0) + self.realtime_fixed_usd

    def realtime_month(self, items: float) -> float:
        """Return the monthly cost in US dollars of `items` items on real-time alone, including the lane's fixed cost."""
        return self.bill(items, 1) + self.realtime_fixed_usd

    def hybrid_month(self, items: float, share: float) -> float:
        """Return the monthly cost in US dollars of `items` items on both lanes, including the fixed costs of both."""
        return self.bill(items, share) + self.realtime_fixed_usd + self.fixed_usd

"""How the real-time lane's free places are divided among workloads that wait, so that no backlog starves another."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Standing:
    """A workload that waits: its weight, and the largest percentage it may take while others wait."""

    weight: int
    max_share_percent: int


def divide(places: int, waiting: Mapping[str, Standing]) -> dict[str, int]:
    """Places per workload: by weight, none above its largest share while another waits, each at least one.

    A workload that waits alone takes everything. Every waiting workload gets at least one place, so the sum may
    exceed `places` by less than the number of workloads.
    """
    if len(waiting) == 1 or places <= 0:
        return dict.fromkeys(waiting, max(places, 0))
    total = sum(standing.weight for standing in waiting.values())
    return {
        name: max(1, min(places * standing.weight // total, places * standing.max_share_percent // 100))
        for name, standing in waiting.items()
    }

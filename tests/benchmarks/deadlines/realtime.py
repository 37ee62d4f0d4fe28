"""The real-time lane of all contenders: the item due first is sent first, one call after the other."""

import heapq
from collections import deque

from tests.benchmarks.deadlines.world import SeededDays

NEWEST = 200  # calls that are remembered


class RankedLane:
    """Items by their rank, which is their due time.

    With `skipping`, the lane makes no futile call: a contender that knows the future leaves out items that cannot be in time.
    """

    def __init__(self, world: SeededDays, *, skipping: bool = False) -> None:
        self._world, self._skipping = world, skipping
        self.waiting: list[tuple[float, int]] = []  # a heap
        self._free_at = 0.0
        # When a call was answered, and how many seconds it took.
        self.asked = deque[tuple[float, float]](maxlen=NEWEST)
        self.answered_at: dict[int, float] = {}

    def add(self, item: int, rank: float) -> None:
        """Add an item, which waits from now on."""
        heapq.heappush(self.waiting, (rank, item))

    def work(self, since: float, until: float) -> None:
        """Answer the items whose calls can begin in between."""
        while self.waiting:
            begins = self._world.asked_at(max(self._free_at, since))
            if begins >= until:
                return
            rank, item = heapq.heappop(self.waiting)
            took = self._world.call_s(begins)
            if self._skipping and rank < begins + took:
                self.answered_at[item] = float("inf")
                continue
            self._free_at = self.answered_at[item] = begins + took
            self.asked.append((begins + took, took))

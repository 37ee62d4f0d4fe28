"""The real-time lane as all share it: what is due first is asked first, one call after the other."""

import heapq
from collections import deque

from tests.benchmarks.deadlines.world import SeededDays

NEWEST = 200  # calls that are remembered


class RankedLane:
    """Items by their rank, which is when they are due.

    One that is `skipping` asks nothing in vain: who knows the future leaves out what cannot be in time any more.
    """

    def __init__(self, world: SeededDays, *, skipping: bool = False) -> None:
        self._world, self._skipping = world, skipping
        self.waiting: list[tuple[float, int]] = []  # a heap
        self._free_at = 0.0
        self.asked = deque[tuple[float, float]](
            maxlen=NEWEST
        )  # when a call was answered, and how many seconds it took
        self.answered_at: dict[int, float] = {}

    def add(self, item: int, rank: float) -> None:
        """Let it wait from now on."""
        heapq.heappush(self.waiting, (rank, item))

    def work(self, since: float, until: float) -> None:
        """Answer what could be asked in between."""
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

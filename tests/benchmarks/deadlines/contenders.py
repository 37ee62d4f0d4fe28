"""The contenders of Lanes: the fixed setting that it had, and the rule of `firming`."""

import heapq
from collections.abc import Iterable

from lanes.workload.version import Version
from lanes.workload.window import LEAD
from tests.benchmarks.deadlines.days import NEVER, DayState
from tests.benchmarks.deadlines.world import BEGIN, MINUTE, moment

STATIC_S = 60 * MINUTE  # the assumed time of every batch
LEAD_S = LEAD.total_seconds()
# firming 0.4.0, `ticket.submit`: risk_buffer = max(60.0, min(600.0, 0.15 * window)) seconds. Everything goes to a batch at
# once; when only the buffer is left, `ticket.collect` cancels the batch and sends the missing items at list price.
SHARE, LEAST_S, MOST_S = 0.15, 60.0, 600.0


class Static:
    """A fixed rule: a batch is back after 60 minutes, and there is no second look.

    Items due sooner go to real time. A batch leaves early where its items could not wait for the schedule.
    """

    def __init__(self, version: Version) -> None:
        self._window = version.spec.window

    def takes_realtime(self, stand: DayState, item: int, now: float) -> bool:
        """Return whether the item is due before a batch that leaves at once is back."""
        return stand.due(item) < now + LEAD_S + STATIC_S

    def presses(self, stand: DayState, now: float) -> bool:
        """Return whether a waiting item is due before a batch that leaves with the schedule is back."""
        scheduled = (self._window.next_departure(moment(now)) - BEGIN).total_seconds()
        return any(now < due < scheduled + LEAD_S + STATIC_S for due in stand.waiting.values())

    def rescued(self, stand: DayState, now: float) -> Iterable[int]:
        """Return no items."""
        return ()


class Firming:
    """A rule by which each due item leaves in its own batch, and is rescued at 15 % of its time left, ten minutes at most.

    The simulation gives it more than it has: the lane answers rescued items in the order of their due times, not one after the
    other by their place in a list, and repeats calls that the provider refuses. Items without a due time leave with the others.
    """

    def __init__(self) -> None:
        self._rescues: list[tuple[float, int]] = []  # a heap

    def takes_realtime(self, stand: DayState, item: int, now: float) -> bool:
        """Return false: the rule sends no item to real time at the door."""
        due = stand.due(item)
        if due < NEVER:
            budget = due - float(stand.world.arrives[item])
            heapq.heappush(self._rescues, (due - max(LEAST_S, min(MOST_S, SHARE * budget)), item))
        return False

    def presses(self, stand: DayState, now: float) -> bool:
        """Return whether any waiting item has a due time: these items leave at once."""
        return any(due < NEVER for due in stand.waiting.values())

    def rescued(self, stand: DayState, now: float) -> Iterable[int]:
        """Return the items that are not back when their buffer begins."""
        while self._rescues and self._rescues[0][0] <= now:
            _, item = heapq.heappop(self._rescues)
            if item in stand.out or item in stand.waiting:
                yield item

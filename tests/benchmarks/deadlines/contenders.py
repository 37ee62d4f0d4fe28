"""Who contends beside Lanes: the fixed setting that it had, and the rule of `firming`."""

import heapq
from collections.abc import Iterable

from lanes.workload.version import Version
from lanes.workload.window import LEAD
from tests.benchmarks.deadlines.days import NEVER, DayState
from tests.benchmarks.deadlines.world import BEGIN, MINUTE, moment

STATIC_S = 60 * MINUTE  # how long any batch takes
LEAD_S = LEAD.total_seconds()
# firming 0.4.0, `ticket.submit`: risk_buffer = max(60.0, min(600.0, 0.15 * window)) seconds. Everything goes to a batch at
# once; `ticket.collect` cancels it when no more than that is left, and asks what is missing at list price.
SHARE, LEAST_S, MOST_S = 0.15, 60.0, 600.0


class Static:
    """A fixed rule: a batch is back after 60 minutes, and no second look.

    Items due sooner go to real time. A batch leaves early where its items could not wait for the schedule.
    """

    def __init__(self, version: Version) -> None:
        self._window = version.spec.window

    def takes_realtime(self, stand: DayState, item: int, now: float) -> bool:
        """Due before a batch that leaves at once is back."""
        return stand.due(item) < now + LEAD_S + STATIC_S

    def presses(self, stand: DayState, now: float) -> bool:
        """Due before one is back that leaves with the schedule."""
        scheduled = (self._window.next_departure(moment(now)) - BEGIN).total_seconds()
        return any(now < due < scheduled + LEAD_S + STATIC_S for due in stand.waiting.values())

    def rescued(self, stand: DayState, now: float) -> Iterable[int]:
        """None."""
        return ()


class Firming:
    """Everything that is due leaves in a batch of its own, and is rescued when 15 % of its time are left: ten minutes at most.

    It is given more than it has: the lane answers what is rescued as it is due, not one after the other by its place in a list,
    and asks again what the provider refuses. What is never due leaves with the others.
    """

    def __init__(self) -> None:
        self._rescues: list[tuple[float, int]] = []  # a heap

    def takes_realtime(self, stand: DayState, item: int, now: float) -> bool:
        """Never at the door."""
        due = stand.due(item)
        if due < NEVER:
            budget = due - float(stand.world.arrives[item])
            heapq.heappush(self._rescues, (due - max(LEAST_S, min(MOST_S, SHARE * budget)), item))
        return False

    def presses(self, stand: DayState, now: float) -> bool:
        """Whatever is due leaves at once."""
        return any(due < NEVER for due in stand.waiting.values())

    def rescued(self, stand: DayState, now: float) -> Iterable[int]:
        """Return what is not back when its buffer begins."""
        while self._rescues and self._rescues[0][0] <= now:
            _, item = heapq.heappop(self._rescues)
            if item in stand.out or item in stand.waiting:
                yield item

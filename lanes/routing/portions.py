"""How many items the router takes at once, and how long a backlog rests: what may wait yields to what is urgent.

A portion of a backlog delays the urgent items that come meanwhile, and takes processor time from their answers. The router
assumes nothing of the machine: it measures how long its portions take, and how long urgent items waited for their routes.
"""

FEW = 20  # of the first portion after something came: it may be urgent, and waits for no more than these
LEAST = 100  # of a backlog's portion: fewer cost mostly their transaction
MOST = 1_000  # items of one transaction
WITHIN_S = 0.05  # how much longer than a small portion another may take, and how long an urgent item may wait for its route
LONGEST_REST = 9.0  # in portions: a backlog has a tenth of the time, however late urgent items are


class Portions:
    """The sizes of the router's portions, and the rests of a backlog between them. Moments are seconds of any one clock.

    The size of a backlog's portions grows by `LEAST` while everything is in time, and is halved when a portion takes too long
    or an urgent item waited too long. Where a small portion takes long too, others may take longer. While answers are under
    way a backlog rests after each portion: as long as that took, and longer in proportion as urgent items are late.
    """

    def __init__(self) -> None:
        self.urgent = FEW  # urgent items that the next portion may take beyond its size
        self._backlog, self._late, self._few_s = LEAST, 0.0, 0.0
        self._is_new, self._rests_until = True, float("-inf")

    def begin(self) -> None:
        """Make the next portion small, because something new came that may be urgent."""
        self._is_new = True

    def size(self, at: float) -> int:
        """Return how many items the next portion takes: few while a backlog rests."""
        return FEW if self._is_new or at < self._rests_until else self._backlog

    def rest_s(self, at: float) -> float:
        """Return the seconds until a backlog goes on; 0 if it may now."""
        return max(0.0, self._rests_until - at)

    def routed(
        self, size: int, seconds: float, *, urgent: int, waited_s: float, busy: bool, at: float
    ) -> None:
        """Learn from a portion of that size, which ended `at` this moment.

        `urgent` of its items were urgent, and the one that came first had waited `waited_s` until the portion ended. `busy`
        says that answers are under way.
        """
        self._is_new = False
        self.urgent = MOST if urgent >= self.urgent else FEW
        self._late = max(waited_s / WITHIN_S, self._late / 2)
        if size <= FEW:
            self._few_s = seconds
            return
        if self._late > 1 or seconds > self._few_s + WITHIN_S:
            self._backlog = max(LEAST, self._backlog // 2)
        else:
            self._backlog = min(MOST, self._backlog + LEAST)
        if busy:
            self._rests_until = at + seconds * min(max(1.0, self._late), LONGEST_REST)

"""Which part of a drain has something to do: its loop, its router, its publisher. Who knows of something wakes them."""

import asyncio

ROUTED_WITHIN_S = 0.1  # how long a look for work waits for the routing of what was received


class Wakes:
    """The parts of one drain that may have something to do."""

    def __init__(self, *, routed_within_s: float = ROUTED_WITHIN_S) -> None:
        self.loop, self.routing, self.telling = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.routing.set()  # what was received before it began
        self._look, self._routed_within_s = True, routed_within_s
        self._later: asyncio.TimerHandle | None = None

    def others_committed(self) -> None:
        """Wake every part after a foreign commit: it may have brought an item, ready work or an event.

        Received items are routed first, so that one look for work finds them too. If routing takes long, or another drain does
        it, the look does not wait for it.
        """
        self.routing.set()
        self.telling.set()
        if self._later is None:
            loop = asyncio.get_running_loop()
            self._later = loop.call_later(self._routed_within_s, self.work_is_ready)

    def received(self) -> None:
        """Record that something waits for the router."""
        self.routing.set()

    def work_is_ready(self) -> None:
        """Record that there may be work that the loop has not seen."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._look = True
        self.loop.set()

    def all_is_routed(self) -> None:
        """Look for work now if a look was waiting for routing to end: the router has routed every received item."""
        if self._later is not None:
            self.work_is_ready()

    def place_is_free(self) -> None:
        """Record that a call ended, so that what waits for its place can be asked."""
        self.loop.set()

    def saved(self) -> None:
        """Wake the publisher and the loop: attempts are committed, and events with them."""
        self.telling.set()
        self.loop.set()

    def looks(self) -> bool:
        """Return whether to look for work, and reset the request: the caller must look."""
        look, self._look = self._look, False
        return look

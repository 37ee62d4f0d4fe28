"""When drains are called for because nobody serves what waits. Pure: one looker tells what it sees, look by look.

Two triggers of `answer` answer two events: that an item arrived, at most every ten minutes, because a drain that lives reads
the stream; and a call, which is made only where no drain lives, none is on its way, and something needs one.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

ARRIVALS_THROTTLE = timedelta(minutes=10)  # the trigger of arrivals fires at most once in this time
CALLS_THROTTLE = timedelta(seconds=30)  # that of calls
IN_VAIN_AFTER = timedelta(seconds=5)  # a trigger that works has a run on its way by then
LOOK_EVERY_S = 0.5  # where no drain lives, an item waits for half of that, and for its process
READ_EVERY = timedelta(minutes=1)  # how often late events are looked for, as a drain does


@dataclass(frozen=True)
class Unserved:
    """What stands on the real-time lane while no drain reads."""

    ready: int  # work that could be claimed
    received: bool  # items that nobody routed yet
    keep_warm: bool  # a drain is to live even where nothing waits
    unread: bool = False  # events that are stored, and that no drain has read

    @property
    def needs_a_drain(self) -> bool:
        """Whether somebody has to come for it."""
        return bool(self.ready or self.received or self.keep_warm or self.unread)


class Calls:
    """The calls of one looker since it last saw a drain."""

    def __init__(self) -> None:
        self._called_at: datetime | None = None
        self._number = 0

    def served(self) -> None:
        """A drain reads: whatever was called for before has been answered."""
        self._called_at, self._number = None, 0

    def due(self, now: datetime) -> bool:
        """Whether it is time to look, and to call: at once, soon again in case the call was lost, and then as often as the
        trigger may hear it."""
        if self._called_at is None:
            return True
        return now - self._called_at >= (IN_VAIN_AFTER if self._number == 1 else CALLS_THROTTLE)

    def call(self, now: datetime) -> bool:
        """A drain is called for. Whether an earlier call was in vain: a trigger can fail without a trace."""
        self._called_at = now
        self._number += 1
        return self._number > 1

"""When drains are called for because nobody serves what waits. Pure: one looker tells what it sees, tick by tick."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from lanes.realtime.warmth import THROTTLE

CALL_EVERY = THROTTLE / 2  # a call inside the trigger's throttle is dropped; the next one is not far


@dataclass(frozen=True)
class Unserved:
    """What stands on the real-time lane while no drain reads."""

    ready: int  # work that could be claimed
    received: bool  # items that nobody routed yet
    keep_warm: bool  # a drain is to live even where nothing waits

    @property
    def needs_a_drain(self) -> bool:
        """Whether somebody has to come for it."""
        return bool(self.ready or self.received or self.keep_warm)


class Calls:
    """The calls of one looker since it last saw a drain."""

    def __init__(self, *, every: timedelta = CALL_EVERY) -> None:
        self._every = every
        self._called_at: datetime | None = None

    def served(self) -> None:
        """A drain reads: whatever was called for before has been answered."""
        self._called_at = None

    def due(self, now: datetime) -> bool:
        """Whether it is time to look, and to call: at once, and again while nobody comes."""
        return self._called_at is None or now - self._called_at >= self._every

    def call(self, now: datetime) -> bool:
        """A drain is called for. Whether an earlier call was in vain: a trigger can fail without a trace."""
        in_vain, self._called_at = self._called_at is not None, now
        return in_vain

"""The rules for when a drain stays, and when more drains are needed. Pure: the drain passes in what it sees."""

from dataclasses import dataclass
from datetime import datetime, timedelta

LINGER = timedelta(seconds=90)  # how long a drain without a successor waits for something to do
POOL = "realtime"  # the work pool whose concurrency limit bounds the drains of all hosts
POOL_LIMIT = 8  # of a new pool, and what a pool without a limit counts as
PATIENCE = timedelta(seconds=10)  # how long a drain lingers beside the keeper
# work that waited this long, while the provider takes calls, needs another drain
LATE = timedelta(seconds=5)


@dataclass(frozen=True)
class Sight:
    """A drain's view of itself and of the other drains."""

    keeps: bool  # it holds the role that stays warm
    wanted_by_successor: bool  # another drain waits to take that role over
    keeper_exists: bool  # some drain holds that role
    idle_since: datetime  # when it last did something
    busy: bool  # it has calls in flight
    drains: int  # that run now, this one among them
    most: int | None  # of them are of use; None while that is not known


def most_drains(limit: int | None) -> int:
    """Return how many drains are of use where the pool admits `limit` runs at once.

    Half of the places stay free for those that take over: the drains of a new release start while the old ones finish, and
    those of a host that died keep their places until Prefect notices it.
    """
    return max(1, (POOL_LIMIT if limit is None else limit) // 2)


def stays(sight: Sight, now: datetime) -> bool:
    """Return whether the drain goes on.

    A keeper stays until its successor waits, however busy it is; the others until they have been idle, and not at all when
    more drains run than are of use.
    """
    if sight.keeps and sight.wanted_by_successor:
        return False
    if sight.busy or sight.keeps:
        return True
    if sight.most is not None and sight.drains > sight.most:
        return False
    idle = now - sight.idle_since
    return idle < (PATIENCE if sight.keeper_exists else LINGER)


def needs_more(
    waits_since: datetime | None, now: datetime, *, drains: int, most: int | None
) -> bool:
    """Return whether waiting work needs another drain beside those that run; no more are called while `most` is not known.

    `waits_since` is when the oldest of it could have been claimed.
    """
    if waits_since is None or most is None:
        return False
    return now - waits_since > LATE and drains < most


ARRIVALS_THROTTLE = timedelta(minutes=10)  # the trigger of arrivals fires at most once in this time
CALLS_THROTTLE = timedelta(seconds=30)  # that of calls
# a call that was heard has a drain, or a run on its way, by then
IN_VAIN_AFTER = timedelta(seconds=5)
LOOK_EVERY_S = 0.5  # where no drain lives, an item waits for half of that, and for its process
# a heard arrival calls a drain after that, unless the trigger has made a run by then
TRIGGER_S = 0.2
READ_EVERY = timedelta(minutes=1)  # how often late events are looked for, as a drain does


@dataclass(frozen=True)
class Unserved:
    """Work on the real-time lane while no drain claims any."""

    ready: int  # work that could be claimed
    received: bool  # some items are not routed yet
    keep_warm: bool  # a drain is to live even where nothing waits
    unread: bool = False  # events that are stored, and that no drain has read

    @property
    def needs_a_drain(self) -> bool:
        """Return whether a drain must start to serve it."""
        return bool(self.ready or self.received or self.keep_warm or self.unread)


class Calls:
    """The calls of one looker since it last saw a drain."""

    def __init__(self) -> None:
        self._due_at: datetime | None = None
        self._number = 0

    def record_drain(self) -> None:
        """Record that a drain reads, which answers every earlier call."""
        self._due_at, self._number = None, 0

    def is_due(self, now: datetime) -> bool:
        """Return whether it is time to look for work and call for another drain.

        At once, then soon again in case the call was lost, then as often as the trigger may run.
        """
        return self._due_at is None or now >= self._due_at

    def call(self, now: datetime) -> None:
        """Record a call for a drain."""
        self._number += 1
        self._due_at = now + (IN_VAIN_AFTER if self._number == 1 else CALLS_THROTTLE)

    def record_coming_drain(self, now: datetime) -> None:
        """Record that a drain is on its way: looks would only take from it what its start needs."""
        self._due_at = now + IN_VAIN_AFTER

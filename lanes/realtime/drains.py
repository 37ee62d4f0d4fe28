"""The rules for when a drain stays and when more drains are needed. Pure functions: the drain passes in its observations."""

from dataclasses import dataclass
from datetime import datetime, timedelta

LINGER = timedelta(seconds=90)  # idle time after which a drain ends if no keeper exists
POOL = "realtime"  # the work pool whose concurrency limit bounds the drains of all hosts
# The limit of a new pool for several machines, and the assumed limit of a pool without one.
POOL_LIMIT = 8
PATIENCE = timedelta(seconds=10)  # idle time after which a drain ends if a keeper exists
# Work that has waited this long while the provider accepts calls needs another drain.
LATE = timedelta(seconds=5)


@dataclass(frozen=True)
class Sight:
    """A drain's view of itself and of the other drains."""

    keeps: bool  # the drain is the keeper: it holds the role that stays warm
    wanted_by_successor: bool  # another drain waits to become the keeper
    keeper_exists: bool  # some drain is the keeper
    idle_since: datetime  # time of the drain's last activity
    busy: bool  # the drain has calls in flight
    drains: int  # number of running drains, including this one
    younger: int  # how many of them began later than this one
    most: int | None  # largest useful number of drains; None while unknown


def limit_for_one_machine(processors: int) -> int:
    """Return the limit of a new pool for a single machine: places for one drain per processor and for their successors.

    Four drains on two processors answered less than two did.
    """
    return min(POOL_LIMIT, 2 * processors)


def most_drains(limit: int | None) -> int:
    """Return the largest useful number of drains for a pool that admits `limit` concurrent runs.

    Half of the slots stay free for successors: the drains of a new release start while the old drains finish, and the drains of
    a dead host occupy their slots until Prefect notices.
    """
    return max(1, (POOL_LIMIT if limit is None else limit) // 2)


def find_reason_to_end(sight: Sight, now: datetime) -> str | None:
    """Return why the drain ends, None if it continues.

    A keeper stays until a successor waits, and then ends even while busy. Any other drain stays while it is busy and until its
    idle time has passed. If more drains run than are useful, the youngest ones end as soon as they are idle; the older ones
    continue, because they have learned what their calls need.
    """
    if sight.keeps and sight.wanted_by_successor:
        return "another drain takes over"
    if sight.busy or sight.keeps:
        return None
    if sight.most is not None and sight.younger < sight.drains - sight.most:
        return f"{sight.drains} drains run, and the limit of the work pool allows {sight.most}"
    patience = PATIENCE if sight.keeper_exists else LINGER
    if now - sight.idle_since < patience:
        return None
    return f"no work for {patience.total_seconds():g} s"


def needs_more(
    waits_since: datetime | None, now: datetime, *, drains: int, most: int | None
) -> bool:
    """Return whether waiting work needs another drain; never while `most` is unknown.

    `waits_since` is the time from which the oldest waiting work has been claimable, None if no work waits.
    """
    if waits_since is None or most is None:
        return False
    return now - waits_since > LATE and drains < most


ARRIVALS_THROTTLE = timedelta(minutes=10)  # shortest interval of the trigger for arrivals
CALLS_THROTTLE = timedelta(seconds=30)  # shortest interval of the trigger for calls
# After this time, a call that was received has led to a drain or a scheduled run.
IN_VAIN_AFTER = timedelta(seconds=5)
LOOK_EVERY_S = 0.5  # without a drain, an item waits half of this on average, plus a process start
# An arrival calls a drain after this time, unless the trigger has created a run by then.
TRIGGER_S = 0.2
READ_EVERY = timedelta(minutes=1)  # interval of the check for late events, the same as in a drain


@dataclass(frozen=True)
class Unserved:
    """The work on the real-time lane while no drain runs to claim it."""

    ready: int  # number of claimable work rows
    received: bool  # some items are not routed yet
    keep_warm: bool  # a drain must run even if no work waits
    unread: bool = False  # some stored events have not been read by a drain

    @property
    def needs_a_drain(self) -> bool:
        """Whether a drain must start."""
        return bool(self.ready or self.received or self.keep_warm or self.unread)


class Calls:
    """The calls for a drain that one watcher has made since it last saw a drain."""

    def __init__(self) -> None:
        self._due_at: datetime | None = None
        self._number = 0

    def record_drain(self) -> None:
        """Record that a drain is running, which settles every earlier call."""
        self._due_at, self._number = None, 0

    def is_due(self, now: datetime) -> bool:
        """Return whether it is time to check for work and call for a drain.

        The first call is due at once, the second one soon, in case the first was lost, and later ones as often as the trigger
        may fire.
        """
        return self._due_at is None or now >= self._due_at

    def call(self, now: datetime) -> None:
        """Record a call for a drain."""
        self._number += 1
        self._due_at = now + (IN_VAIN_AFTER if self._number == 1 else CALLS_THROTTLE)

    def record_coming_drain(self, now: datetime) -> None:
        """Record that a drain is starting, and delay the next check: it would only take processor time from the start."""
        self._due_at = now + IN_VAIN_AFTER

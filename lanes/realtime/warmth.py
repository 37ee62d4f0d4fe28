"""When a drain stays, and when more of them are needed. Pure: the drain tells what it sees."""

from dataclasses import dataclass
from datetime import datetime, timedelta

LINGER = timedelta(seconds=90)  # how long a drain that nobody follows waits for something to do
MOST_DRAINS = 4  # at once; each is a process with places of its own
PATIENCE = timedelta(seconds=10)  # how long a drain lingers beside the keeper
LATE = timedelta(
    seconds=5
)  # work that waited this long, while the provider takes calls, needs another drain


@dataclass(frozen=True)
class Sight:
    """What a drain sees of itself and of the others."""

    keeps: bool  # it holds the role that stays warm
    wanted_by_successor: bool  # somebody waits to take that role over
    keeper_exists: bool  # some drain holds that role
    idle_since: datetime  # when it last did something
    busy: bool  # it has calls in flight
    drains: int  # that run now, this one among them


def stays(sight: Sight, now: datetime) -> bool:
    """Whether the drain goes on. A keeper stays until its successor waits; the others until they have been idle,
    and not at all when more drains run than are of use.
    """
    if sight.busy:
        return True
    if sight.keeps:
        return not sight.wanted_by_successor
    if sight.drains > MOST_DRAINS:
        return False
    idle = now - sight.idle_since
    return idle < (PATIENCE if sight.keeper_exists else LINGER)


def needs_more(waits_since: datetime | None, now: datetime, *, drains: int) -> bool:
    """Whether waiting work needs another drain beside those that run; `waits_since` is when the oldest of it could have been
    claimed."""
    return waits_since is not None and now - waits_since > LATE and drains < MOST_DRAINS

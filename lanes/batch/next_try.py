"""When another run of `depart` may have more luck than one that just failed."""

from datetime import datetime, timedelta
from enum import Enum, auto

AGAIN_AFTER = timedelta(minutes=2)
AGAIN_WITHIN = timedelta(hours=1)


class NotCreated(Enum):
    """What it means for its batch that a create failed."""

    MAYBE = (
        auto()
    )  # it may exist all the same: only the provider's list tells, after its grace period
    FOR_NOW = auto()  # the provider is busy, or was not reached at all
    FOR_GOOD = auto()  # only a person can help


def next_try(
    why: NotCreated,
    *,
    retry_after_s: float | None,
    listing_grace_s: float,
    chance: float,
    now: datetime,
) -> datetime | None:
    """When to try again, None when only a person can help.

    As long as the provider says, between two minutes and an hour; `chance`, 0 to 1, spreads what waits together over half
    of that more. What may exist is waited for as long as the provider may take to list it.
    """
    match why:
        case NotCreated.MAYBE:
            return now + timedelta(seconds=listing_grace_s)
        case NotCreated.FOR_NOW:
            wait = max(AGAIN_AFTER, timedelta(seconds=retry_after_s or 0))
            return now + min(AGAIN_WITHIN, wait * (1 + chance / 2))
        case NotCreated.FOR_GOOD:
            return None

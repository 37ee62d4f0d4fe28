"""Which routes bind their item to its lane, and how one says that it may wait. Apart from the decision itself, so that who
reads reports loads no rules for it."""

from lanes.words import Lane, Reason

# Reasons of routes that do not bind.
FREE = frozenset(
    {Reason.VALUE, Reason.SPLIT, Reason.BUDGET, Reason.CAPACITY, Reason.FALLBACK, Reason.SHED}
)
MAY_WAIT = "; it may wait for a batch"  # stands behind why an item left real time, before how surely a batch is in time


def binds(reason: Reason, lane: Lane) -> Lane | None:
    """The lane that a route for this reason binds its item to; None: it may change the lane while nothing answered it.

    Who pinned it or made a rule for it, its urgency and its due time bind; the split, its value and the guards do not.
    """
    return None if reason in FREE else lane


def asks_for(reason: Reason, lane: Lane) -> Lane | None:
    """The lane that items need which are routed so: what binds them to it, or what they are worth; None: either would do."""
    return lane if reason is Reason.VALUE else binds(reason, lane)

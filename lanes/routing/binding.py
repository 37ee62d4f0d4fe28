"""Which routes bind their item to its lane. Apart from the decision itself, so that who reads reports loads no rules for it."""

from lanes.words import Lane, Reason

FREE = frozenset(
    {Reason.VALUE, Reason.SPLIT, Reason.BUDGET, Reason.CAPACITY, Reason.FALLBACK, Reason.SHED}
)  # reasons of routes that do not bind


def binds(reason: Reason, lane: Lane) -> Lane | None:
    """The lane that a route for this reason binds its item to; None: it may change the lane while nothing answered it.

    Who pinned it or made a rule for it, its urgency and its due time bind; the split, its value and the guards do not.
    """
    return None if reason in FREE else lane

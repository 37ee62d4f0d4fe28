"""Which answers are told one by one, as events of their own."""

from typing import assert_never

from lanes.words import Announces, Lane


def told_alone(announces: Announces, lane: Lane, *, acknowledged: bool) -> bool:
    """Whether an answer of that lane has an event of its own: by its workload's word, and always where the item's sender asked
    to be told of it."""
    if acknowledged:
        return True
    match announces:
        case Announces.EACH:
            return True
        case Announces.REALTIME:
            return lane is Lane.REALTIME
        case Announces.SUMMARY:
            return False
        case _:
            assert_never(announces)

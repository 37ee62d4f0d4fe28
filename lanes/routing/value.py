"""What an answer loses by waiting, weighed against what a batch saves. Pure: the wait's law and the costs come in."""

from functools import lru_cache
from typing import NamedTuple

from lanes.money.cost import Estimate
from lanes.units import dollars
from lanes.words import Lane, Mode


class Weighed(NamedTuple):
    """The lane that is worth more, None where both are worth the same; and a sentence with both numbers."""

    lane: Lane | None
    said: str


def worth_usd(value_usd: float, half_life_s: float, age_s: float) -> float:
    """What an answer is worth now whose item occurred `age_s` ago; what occurs later is worth all of it."""
    return value_usd * 2.0 ** (-max(age_s, 0.0) / half_life_s)


def saved_usd(costs: Estimate, mode: Mode) -> float:
    """What an item costs less where a batch alone answers it; in Lambda mode one does so after real time too."""
    return costs.less_in_batch if mode is Mode.PLAIN else float(costs.realtime)


def weigh(worth: float, lost: float, saved: float) -> Weighed:
    """The better lane for an answer that is worth so much now, in US dollars, of which waiting loses the share `lost`, 0 to 1,
    on average, where a batch saves so much. `saved` is negative where a batch is dearer."""
    loses = worth * lost
    lane = Lane.REALTIME if loses > saved else Lane.BATCH if loses < saved else None
    return Weighed(
        lane, f"waiting loses about {dollars(loses)} of {dollars(worth)}, {_saves(saved)}"
    )


@lru_cache(maxsize=4096)  # items of one length save the same
def _saves(saved: float) -> str:
    return (
        f"a batch saves {dollars(saved)}" if saved >= 0 else f"a batch costs {dollars(-saved)} more"
    )

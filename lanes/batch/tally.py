"""How the items of a batch fared, counted: each outcome counts under one of the batch's columns."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from lanes.words import Outcome

COUNTED = {
    Outcome.VALID: "succeeded",
    Outcome.INVALID: "invalid",
    Outcome.REFUSED: "invalid",
    Outcome.TRUNCATED: "invalid",
    Outcome.ERRORED: "errored",
    Outcome.POISON: "errored",
    Outcome.PACK_REFUSED: "errored",
    Outcome.UNSERVED: "errored",
    Outcome.UNKNOWN: "errored",  # its result cannot be read
    Outcome.CANCELED: "canceled",
    Outcome.EXPIRED: "expired",
    Outcome.MISSING: "missing",
}  # any other outcome ends no request of a batch
COUNTS = tuple(dict.fromkeys(COUNTED.values()))


@dataclass(frozen=True)
class Tally:
    """How the outcomes of a batch add up; `missing` of them stand for items that the provider sent no result for."""

    items: int
    outcomes: int
    missing: int

    @property
    def surplus(self) -> int:
        """How many outcomes there are beyond one for each item; negative where some items have none."""
        return self.outcomes - self.items

    @property
    def wrong(self) -> int:
        """How many items have no result of their own, or not exactly one outcome: 0 for a batch that came home whole."""
        return self.missing + abs(self.surplus)


def counts(outcomes: Mapping[Outcome, int]) -> Counter[str]:
    """By how much the counts of a batch change with these outcomes; negative numbers take outcomes back."""
    sums: Counter[str] = Counter()
    for outcome, number in outcomes.items():
        if outcome in COUNTED:
            sums[COUNTED[outcome]] += number
    return sums

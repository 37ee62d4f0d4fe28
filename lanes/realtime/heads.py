"""Where each workload's queue begins, so that looks do not read past what was taken from it again and again.

Claimed work, and an item that was routed, leave their place in the index behind for as long as an open snapshot may still see
it: a report that runs for minutes, a dump. Half a million such places take a tenth of a second, and every claim, and every
chunk that is routed, would read past them. So a look from the head of the queue that was slow rests for a second. Looks in
between begin behind what was taken last. A place is a rank of work, the received item that was taken last, or the number of a
published event.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

P = TypeVar("P")

SLOW_S = 0.01  # a look from the head of the queue that takes longer is not repeated at once; otherwise every look is one
REST_S = 1.0  # until the next one, however long it took: a lock that it met delays what it would find by no more


@dataclass(frozen=True)
class Look(Generic[P]):
    """From which place on to look through each workload's queue; a workload that is not named, from its head."""

    since: Mapping[str, P]
    whole: bool


class Heads(Generic[P]):
    """The place up to which each workload's queue was taken. Moments are seconds of the host's steady clock.

    Something may appear before it: due sooner, amended, given back, committed late. The next look from the head finds it. What
    is urgent is looked for every time, whatever was taken.
    """

    def __init__(self) -> None:
        self._taken: dict[str, P] = {}
        self._whole_again_at = float("-inf")

    def look(self, at: float) -> Look[P]:
        """Return where to look now."""
        whole = at >= self._whole_again_at
        return Look({} if whole else dict(self._taken), whole)

    def looked(self, look: Look[P], taken: Mapping[str, P], *, took_s: float, at: float) -> None:
        """Note how long a look took, which ended at this moment; `taken` are the last places taken of each workload."""
        self.take(taken)
        if look.whole and took_s > SLOW_S:
            self._whole_again_at = at + REST_S

    def take(self, taken: Mapping[str, P]) -> None:
        """The last places taken of each workload."""
        self._taken |= taken

    @property
    def taken(self) -> Mapping[str, P]:
        """Up to where each workload's queue was taken."""
        return self._taken

    def rest_s(self, at: float) -> float:
        """Return the seconds until a look begins at the head again; 0 when the next one does."""
        return max(0.0, self._whole_again_at - at)

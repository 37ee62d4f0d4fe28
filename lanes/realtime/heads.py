"""Where each workload's queue begins, so that what was taken from it is not looked past again and again.

Claimed work, and an item that was routed, leave their place in the index behind for as long as somebody's open snapshot may
still see it: a report that runs for minutes, a dump. Half a million such places take a tenth of a second, and every claim, and
every chunk that is routed, would look past them. A look tells where what waits begins, so that who takes it looks past nothing
again. Places are ranks of work, what of the received items was taken last, or numbers of events that were published.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

P = TypeVar("P")

SLOW_S = 0.01  # a look through the whole queue that takes longer is not repeated at once; otherwise every look is one
REST = 20  # for so many times as long as it took: such looks take a twentieth of the time at most


@dataclass(frozen=True)
class Look(Generic[P]):
    """From which place on each workload's queue is looked through; one that is not named, from its most urgent."""

    since: Mapping[str, P]
    whole: bool


class Heads(Generic[P]):
    """The place up to which each workload's queue was taken. Moments are seconds of the host's steady clock.

    Something may appear before it: urgent, amended, given back, committed late. The next look through the whole queue finds it.
    """

    def __init__(self) -> None:
        self._taken: dict[str, P] = {}
        self._whole_again_at = float("-inf")

    def look(self, at: float) -> Look[P]:
        """Where to look now."""
        whole = at >= self._whole_again_at
        return Look({} if whole else dict(self._taken), whole)

    def looked(self, look: Look[P], taken: Mapping[str, P], *, took_s: float, at: float) -> None:
        """Finding out who waits took so long, up to this moment; `taken` are the last places taken of each workload."""
        self.take(taken)
        if look.whole and took_s > SLOW_S:
            self._whole_again_at = at + REST * took_s

    def take(self, taken: Mapping[str, P]) -> None:
        """The last places taken of each workload."""
        self._taken |= taken

    @property
    def taken(self) -> Mapping[str, P]:
        """Up to where each workload's queue was taken."""
        return self._taken

    def rest_s(self, at: float) -> float:
        """In how many seconds the whole queue is looked through again; 0 when the next look does."""
        return max(0.0, self._whole_again_at - at)

"""Where each workload's queue begins, so that looks do not read past the same taken places again and again.

Claimed work, and a routed item, leave their place in the index for as long as an open snapshot may still see it: of a report
that runs for minutes, or a dump. Half a million such places take a tenth of a second, and every claim and every chunk that is
routed would read past them. So after a slow look from the head of the queue, looks begin for a second behind what was taken
last. Places are ranks of work, the item routed last, or ids of published events.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

P = TypeVar("P")

SLOW_S = 0.01  # a look from the head that takes longer is not repeated at once
REST_S = 1.0  # until the next look from the head, however long the last one took


@dataclass(frozen=True)
class QueueLook(Generic[P]):
    """The place from which on to look through each workload's queue; workloads that are not named, from the head."""

    since: Mapping[str, P]
    whole: bool


class QueueCursor(Generic[P]):
    """The place up to which each workload's queue was taken. Moments are seconds of any one clock.

    Something may appear before it: due sooner, amended, given back, or committed late. The next look from the head finds it.
    Urgent work is looked for every time.
    """

    def __init__(self, *, slow_s: float = SLOW_S, rest_s: float = REST_S) -> None:
        self._slow_s, self._rest_s = slow_s, rest_s
        self._taken: dict[str, P] = {}
        self._whole_again_at = float("-inf")

    def look(self, at: float) -> QueueLook[P]:
        """Return where to look now."""
        whole = at >= self._whole_again_at
        return QueueLook({} if whole else dict(self._taken), whole)

    def looked(
        self, look: QueueLook[P], taken: Mapping[str, P], *, took_s: float, at: float
    ) -> None:
        """Note that a look ended `at` this moment, how long it took, and the last place taken of each workload."""
        self.take(taken)
        if look.whole and took_s > self._slow_s:
            self._whole_again_at = at + self._rest_s

    def take(self, taken: Mapping[str, P]) -> None:
        """Move to the last place taken of each workload."""
        self._taken |= taken

    @property
    def taken(self) -> Mapping[str, P]:
        """The place up to which each workload's queue was taken."""
        return self._taken

    def rest_s(self, at: float) -> float:
        """Return the seconds until a look begins at the head again; 0 if the next one does."""
        return max(0.0, self._whole_again_at - at)

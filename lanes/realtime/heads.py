"""Where each workload's queue begins, so that what was claimed from it is not looked past again and again.

Claimed work leaves its place in the index behind for as long as somebody's open snapshot may still see it: a report that runs
for minutes, a dump. Half a million such places take a tenth of a second, and every claim would look past them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

SLOW_S = 0.02  # a look through the whole queue that takes longer is not repeated at once; otherwise every look is one
REST = 10  # for so many times as long as it took: with the claim behind it, such a look takes a sixth of the time at most


@dataclass(frozen=True)
class Look:
    """From which rank on each workload's work is looked for; one that is not named, from its most urgent."""

    since: Mapping[str, datetime]
    whole: bool


class Heads:
    """The rank up to which each workload's work was claimed. Moments are seconds of the host's steady clock.

    Work may appear before it: urgent, amended, given back. The next look through the whole queue finds it.
    """

    def __init__(self) -> None:
        self._claimed: dict[str, datetime] = {}
        self._whole_again_at = float("-inf")

    def look(self, at: float) -> Look:
        """Where to look now."""
        whole = at >= self._whole_again_at
        return Look({} if whole else dict(self._claimed), whole)

    def looked(self, look: Look, claimed: Mapping[str, datetime], *, took_s: float, at: float) -> None:
        """Finding out who waits took so long, up to this moment; `claimed` are the last ranks taken of each workload."""
        self._claimed |= claimed
        if look.whole and took_s > SLOW_S:
            self._whole_again_at = at + REST * took_s

    def rest_s(self, at: float) -> float:
        """In how many seconds the whole queue is looked through again; 0 when the next look does."""
        return max(0.0, self._whole_again_at - at)

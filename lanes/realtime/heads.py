"""Where each workload's queue begins, so that what was claimed from it is not looked past again and again.

Claimed work leaves its place in the index behind for as long as somebody's open snapshot may still see it: a report that runs
for minutes, a dump. Half a million such places take a tenth of a second, and every claim would look past them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

WHOLE_REST = 5  # a look at the whole queue is followed by none for so many times as long: it takes a sixth of the time at most


@dataclass(frozen=True)
class Look:
    """From which rank on each workload's work is looked for; one that is not named, from its most urgent."""

    since: Mapping[str, datetime]
    whole: bool


class Heads:
    """The rank up to which each workload's work was claimed. Moments are seconds of the host's steady clock.

    Work may appear before it: urgent, amended, given back. Looks at the whole queue find it, one after the other as long as
    they are quick, and otherwise as often as they may be.
    """

    def __init__(self) -> None:
        self._claimed: dict[str, datetime] = {}
        self._whole_again_at = float("-inf")

    def look(self, at: float) -> Look:
        """Where to look now."""
        whole = at >= self._whole_again_at
        return Look({} if whole else dict(self._claimed), whole)

    def looked(self, look: Look, claimed: Mapping[str, datetime], *, took_s: float, at: float) -> None:
        """The look ended and took so long; `claimed` are the last ranks that it took of each workload."""
        self._claimed |= claimed
        if look.whole:
            self._whole_again_at = at + WHOLE_REST * took_s

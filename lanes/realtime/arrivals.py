"""How quickly items arrive, learned from those that did: a count that fades, over the time that it stands for. Pure."""

import math
from dataclasses import dataclass, field
from datetime import datetime

MEMORY_S = 10.0  # an arrival counts for 1/e after so long: two of the longest windows
LEAST_S = 1.0  # so long has to be looked at least: a burst of a moment is no rate


@dataclass
class Arrivals:
    """The arrivals of one kind at one place, by the clock of whoever counts them."""

    _faded: float = field(default=0.0, init=False)
    _since: datetime | None = field(default=None, init=False)
    _at: datetime | None = field(default=None, init=False)

    def came(self, number: int, now: datetime) -> None:
        """So many more arrived."""
        self._faded = self._faded * self._fading(now) + number
        self._since, self._at = self._since or now, max(self._at or now, now)

    def per_s(self, now: datetime, *, but: datetime) -> float | None:
        """Arrivals a second, but for the one that came at `but`: that somebody is there makes no other likelier.

        None where nothing was there before that one: then nobody knows.
        """
        if self._since is None or self._since >= but:
            return None
        looked_s = max(LEAST_S, (now - self._since).total_seconds())
        own = math.exp(-max(0.0, (now - but).total_seconds()) / MEMORY_S)
        others = max(0.0, self._faded * self._fading(now) - own)
        return others / (MEMORY_S * (1 - math.exp(-looked_s / MEMORY_S)))

    def _fading(self, now: datetime) -> float:
        """What is left of the count since the newest arrival."""
        return (
            1.0
            if self._at is None
            else math.exp(-max(0.0, (now - self._at).total_seconds()) / MEMORY_S)
        )

"""The clock of the stand-in."""

from __future__ import annotations

import time
from collections.abc import Callable

from anthropic_standin.limits import EndpointSettings


class EndpointClock:
    """The only clock of the stand-in: the machine's time plus the setting `clock_ahead_s`.

    `machine` returns the machine's time, in seconds since the epoch.
    """

    def __init__(
        self, settings: EndpointSettings, *, machine: Callable[[], float] = time.time
    ) -> None:
        self._settings, self._machine = settings, machine

    def now(self) -> float:
        """Return the seconds since the epoch."""
        return self._machine() + self._settings.clock_ahead_s

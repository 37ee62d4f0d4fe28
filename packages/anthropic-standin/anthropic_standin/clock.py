"""The clock of the stand-in."""

from __future__ import annotations

import time
from collections.abc import Callable

from anthropic_standin.limits import EndpointSettings


class EndpointClock:
    """The one clock of everything that happens here: ahead of this machine's by as much as the settings say.

    `machine` is this machine's, in seconds since the epoch.
    """

    def __init__(
        self, settings: EndpointSettings, *, machine: Callable[[], float] = time.time
    ) -> None:
        self._settings, self._machine = settings, machine

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._machine() + self._settings.clock_ahead_s

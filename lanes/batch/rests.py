"""Who met trouble rests before it is tried again, and its trouble is told once."""

from dataclasses import dataclass
from datetime import timedelta

from lanes.settling.settle import backoff


@dataclass(frozen=True)
class _Rest:
    times: int
    trouble: str
    until: float


class Rests:
    """By id: 2 s after the first trouble in a row, then twice as long each time, up to five minutes.

    Moments are seconds of any one clock.
    """

    def __init__(self) -> None:
        self._rests: dict[int, _Rest] = {}

    def over(self, id_: int, now: float) -> bool:
        """Whether it may be tried."""
        rest = self._rests.get(id_)
        return rest is None or now >= rest.until

    def troubled(
        self, id_: int, trouble: str, now: float, *, at_least: timedelta = timedelta(0)
    ) -> bool:
        """It rests from now on; whether the trouble is another than before."""
        before = self._rests.get(id_)
        times = 1 if before is None else before.times + 1
        until = now + max(backoff(times), at_least).total_seconds()
        self._rests[id_] = _Rest(times, trouble, until)
        return before is None or before.trouble != trouble

    def well(self, id_: int) -> bool:
        """Its trouble is over; whether it had any."""
        return self._rests.pop(id_, None) is not None

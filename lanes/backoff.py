"""Exponential back-off: how long to rest after consecutive failures."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Backoff:
    """An exponential back-off: the rest starts at `first` and grows by `factor` with every failure, up to `longest`."""

    first: timedelta
    longest: timedelta
    factor: int = 2

    @classmethod
    def from_seconds(cls, first: float, longest: float, *, factor: int = 2) -> "Backoff":
        """Return a back-off whose bounds are given in seconds."""
        return cls(timedelta(seconds=first), timedelta(seconds=longest), factor)

    def rest_after(self, failures: int, *, draw: float = 1.0) -> timedelta:
        """Return the rest after `failures` consecutive failures; it is zero without a failure.

        `draw`, a random number from 0 to 1, spreads the retries of callers that failed together: 0 halves the rest.
        """
        if failures <= 0:
            return timedelta(0)
        rest = min(self.first * self.factor ** min(failures - 1, 20), self.longest)
        return rest * (0.5 + draw / 2)

    def seconds_after(self, failures: int, *, draw: float = 1.0) -> float:
        """Return the result of `rest_after` in seconds."""
        return self.rest_after(failures, draw=draw).total_seconds()


@dataclass(frozen=True, slots=True)
class _Rest:
    failures: int
    error: str
    until_s: float


class Backoffs:
    """The back-offs of several things, by id; times are seconds on any one clock."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._rests: dict[int, _Rest] = {}

    def is_due(self, id_: int, now_s: float) -> bool:
        """Return whether the thing may be tried again."""
        rest = self._rests.get(id_)
        return rest is None or now_s >= rest.until_s

    def fail(
        self, id_: int, error: str, now_s: float, *, at_least: timedelta = timedelta(0)
    ) -> bool:
        """Start a rest of at least `at_least` after a failure; return whether the error differs from the previous one."""
        previous = self._rests.get(id_)
        failures = 1 if previous is None else previous.failures + 1
        rest = max(self._backoff.rest_after(failures), at_least)
        self._rests[id_] = _Rest(failures, error, now_s + rest.total_seconds())
        return previous is None or previous.error != error

    def recover(self, id_: int) -> bool:
        """Clear the failures; return whether there were any."""
        return self._rests.pop(id_, None) is not None

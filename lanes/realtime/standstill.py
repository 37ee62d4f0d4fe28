"""What does not answer a drain, and since when: models in an outage, and what an account or a setting holds up. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

ACCOUNT = "the account"


@dataclass(frozen=True)
class Standstill:
    """A model or the account that does not answer; `calls` is how many in a row, `why` what the last met.

    `bad` says the same as its incident does, where that is known: a number of calls, or of held items.
    """

    whom: str
    since: datetime
    calls: int
    why: str
    bad: str = ""


class Standstills:
    """Those of one drain."""

    def __init__(self) -> None:
        self._open: dict[str, Standstill] = {}
        self._answered_at: datetime | None = None

    @property
    def all(self) -> Sequence[Standstill]:
        """The oldest first."""
        return sorted(self._open.values(), key=lambda each: (each.since, each.whom))

    @property
    def full(self) -> bool:
        """Whether nothing at all was answered since the first of them began."""
        return bool(self._open) and (
            self._answered_at is None or self._answered_at < self.all[0].since
        )

    def met(self, whom: str, why: str, *, calls: int | None = None, now: datetime) -> None:
        """It is not answered; `calls` in a row, where that is known, else one more than before."""
        known = self._open.get(whom) or Standstill(whom, now, 0, why)
        self._open[whom] = replace(
            known, calls=known.calls + 1 if calls is None else calls, why=why
        )

    def over(self, model: str) -> None:
        """Others are answered by the model."""
        self._open.pop(model, None)

    def answered(self, model: str, now: datetime) -> None:
        """Note that a call was answered by the model, and so by the account."""
        self._answered_at = now
        for whom in (model, ACCOUNT):
            self._open.pop(whom, None)

"""How often somebody has a turn in a standing run, and how long that turn may take."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Duty:
    """`name` says in the run's log whose turn went wrong."""

    name: str
    every: timedelta = timedelta(0)  # from one turn to the next at least; nothing: at every tick
    within_s: float = 10.0  # in the database; a turn that takes longer is ended

    def is_due(self, before: datetime | None, now: datetime) -> bool:
        """Whether it is time for a turn; `before` is when the one before began, None where there was none."""
        return before is None or now - before >= self.every

"""How many items may be in flight on the real-time lane: fewer when the provider says so, then more again by one."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

DEFAULT_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(minutes=5)  # the provider may name days; we ask again sooner
FREEZE = timedelta(seconds=30)


@dataclass
class Pace:
    """Additive increase, multiplicative decrease (Chiu and Jain, 1989) over the number of items in flight."""

    most: int = 16
    allowed: float = field(default=0, init=False)
    in_flight: int = field(default=0, init=False)
    rests_until: datetime | None = field(default=None, init=False)
    _resting: dict[str, datetime] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.allowed = self.most

    def places(self, now: datetime) -> int:
        """How many more items may be asked now."""
        if self.rests_until is not None and now < self.rests_until:
            return 0
        return max(0, int(self.allowed) - self.in_flight)

    def reserve(self, items: int) -> None:
        """These items are in flight."""
        self.in_flight += items

    def release(self, items: int) -> None:
        """These items are no longer in flight."""
        self.in_flight -= items

    def succeeded(self) -> None:
        """A call was answered: the allowance creeps back, by one call per round of calls."""
        self.allowed = min(self.most, self.allowed + 1 / max(self.allowed, 1))

    def slow_down(self, *, retry_after_s: float | None, now: datetime) -> None:
        """The provider limits us: half as many calls, none before it says."""
        self.allowed = max(1, self.allowed / 2)
        wait = DEFAULT_WAIT.total_seconds() if retry_after_s is None else max(0, retry_after_s)
        self._rest(timedelta(seconds=min(LONGEST_WAIT.total_seconds(), wait)), now)

    def freeze(self, now: datetime) -> None:
        """Nothing paid for a while: an account or a setting needs a person."""
        self._rest(FREEZE, now)

    def freeze_workload(self, name: str, now: datetime) -> None:
        """Nothing of this workload for a while: its model needs a person. The others go on."""
        self._resting[name] = now + FREEZE

    def resting(self, now: datetime) -> list[str]:
        """The workloads of which nothing may be asked now."""
        return [name for name, until in self._resting.items() if now < until]

    def next_try(self, name: str, now: datetime) -> datetime:
        """When work of this workload that was given back may be asked again."""
        return max(now, self.rests_until or now, self._resting.get(name, now))

    def _rest(self, wait: timedelta, now: datetime) -> None:
        self.rests_until = max(self.rests_until or now, now + wait)

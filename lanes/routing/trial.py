"""A trial of a changed definition on stored traffic: what would have moved, at which cost, and with how many late items.

Each item is decided twice, as of the moment in which it was received: by the version in force and by the changed one. All
else is the same for both, and as it is today: the split, the prices, the known batches. So all differences come from the
change. Budgets and the load of real time are left out, because they were those of the time.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from lanes.money.estimates import Estimates, Sharing
from lanes.routing.forecast import as_routed_usd
from lanes.routing.prospect import Prospects
from lanes.routing.route import ArrivedItem, Route, decide, rule_faults
from lanes.routing.split import Splits
from lanes.words import Lane, Reason
from lanes.workload.version import Version

if TYPE_CHECKING:
    from lanes.routing.turnaround import Turnarounds

MOST_EXAMPLES = 20
Place = tuple[Lane, Reason]


@dataclass
class TrialSide:
    """The traffic under one of the two versions: US dollars, and the expected number of late items."""

    usd: Decimal = Decimal(0)
    late: float = 0.0
    faults: int = 0
    first_fault: str | None = None


@dataclass(frozen=True)
class MovedItem:
    """An item that would have another route."""

    key: str
    before: Place
    after: Place
    explanation: str


@dataclass
class Trial:
    """The results so far; `due` counts the items that came before their due time."""

    in_force: Version
    changed: Version
    items: int = 0
    due: int = 0
    before: TrialSide = field(default_factory=TrialSide)
    after: TrialSide = field(default_factory=TrialSide)
    routes: Counter[tuple[Place, Place]] = field(default_factory=Counter)
    examples: list[MovedItem] = field(default_factory=list)

    @property
    def moved(self) -> int:
        """Return how many would be on the other lane."""
        return sum(
            number for (before, after), number in self.routes.items() if before[0] is not after[0]
        )


class TrialRun:
    """A trial in progress; items of one minute share the prospects, and both versions are priced as calls share at present."""

    def __init__(
        self,
        trial: Trial,
        splits: Splits,
        turnarounds: "Turnarounds",
        now: datetime,
        sharing: Sharing | None = None,
    ) -> None:
        self.trial, self._splits, self._turnarounds = trial, splits, turnarounds
        sharing = (sharing or Sharing()).like(trial.in_force, trial.changed)
        self._sharing = sharing
        self._estimates, self._prospects = Estimates(now, sharing), Prospects(turnarounds, now)
        self._minute = now

    def add(self, item: ArrivedItem) -> None:
        """Decide the item by both versions.

        Raises:
            LookupError: no price is known for one of their models.
        """
        at, trial = item.received_at, self.trial
        minute = at.replace(second=0, microsecond=0)
        if minute != self._minute:
            self._prospects, self._minute = Prospects(self._turnarounds, minute), minute
        before = self._decided(item, trial.in_force, trial.before)
        after = self._decided(item, trial.changed, trial.after)
        trial.items += 1
        trial.due += item.due_at is not None and item.due_at > at
        was, would_be = (before.lane, before.reason), (after.lane, after.reason)
        trial.routes[was, would_be] += 1
        if was[0] is not would_be[0] and len(trial.examples) < MOST_EXAMPLES:
            trial.examples.append(MovedItem(item.key, was, would_be, after.explanation))

    def _decided(self, item: ArrivedItem, version: Version, side: TrialSide) -> Route:
        at = item.received_at
        route = decide(
            item,
            version,
            self._splits,
            now=at,
            estimates=self._estimates,
            prospects=self._prospects,
        )
        side.usd += as_routed_usd(route, passes=self._sharing.passes_of(version))
        if route.lane is Lane.BATCH and item.due_at is not None and item.due_at > at:
            side.late += 1 - self._prospects.of(version).chance(item.due_at).probability
        if faults := rule_faults(item, version, now=at):
            side.faults += 1
            side.first_fault = side.first_fault or f"{item.key}: {faults[0]}"
        return route

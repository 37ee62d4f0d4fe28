"""Forecasts before sending or publishing: of a file of items, and of a changed definition on stored traffic."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from lanes.doors.filedoor import FileLine
from lanes.doors.item import Refusal, Submission
from lanes.ids import VersionId
from lanes.money.budget import BudgetStatus
from lanes.money.estimates import Estimate, Estimates, Sharing
from lanes.routing.load import Load
from lanes.routing.prospect import Prospects
from lanes.routing.room import Guards, Room
from lanes.routing.route import ArrivedItem, Route, decide, rule_faults
from lanes.routing.split import Splits
from lanes.units import usd
from lanes.words import Lane, Reason
from lanes.workload.version import Version

MOST_EXAMPLES = 20


@dataclass(frozen=True)
class LaneConditions:
    """The inputs of routing besides item and version: splits, batch turnarounds, budgets, load, and shared calls.

    Without a load, real time has room; without prospects, batches take as long as the version states.
    """

    splits: Splits
    prospects: Prospects | None = None
    budgets: Sequence[BudgetStatus] = ()
    load: Load | None = None
    sharing: Sharing = field(default_factory=Sharing)


@dataclass(frozen=True)
class FilePlan:
    """A plan with all items on one lane, `pack` items per call; costs are estimates in US dollars.

    `takes_s` is the number of seconds until real time has answered the items behind the waiting work; None for a batch, and if
    the load is not known. `probability` is the probability that a batch is back by the requested time; `back_at` is when a
    batch is back with the confidence of its version.
    """

    lane: Lane
    pack: int
    calls: int
    usd: Decimal
    takes_s: float | None = None
    probability: float | None = None
    back_at: datetime | None = None


class FilePlans:
    """The plans of one file, summed item by item; `alone` is the version without packing."""

    def __init__(self, version: Version, sharing: Sharing) -> None:
        self._version, self._sharing = version, sharing
        # The version without packing has its own id, because estimates are cached by version.
        self.alone = replace(
            version,
            id=VersionId(-version.id),
            spec=version.spec.model_copy(update={"realtime_pack": 1, "batch_pack": 1}),
        )
        self.items = 0
        self._usd = {(lane, packed): Decimal(0) for lane in Lane for packed in (False, True)}

    def add(self, *, alone: Estimate, packed: Estimate) -> None:
        """Add an item with its cost without packing and its cost with packing."""
        self.items += 1
        for costs, is_packed in ((alone, False), (packed, True)):
            self._usd[Lane.REALTIME, is_packed] += costs.realtime
            self._usd[Lane.BATCH, is_packed] += costs.batch

    def build(
        self, prospects: Prospects, load: Load | None, *, by: datetime | None
    ) -> list[FilePlan]:
        """Return the plans for all items, for each lane first without packing; empty if there are no items."""
        if not self.items:
            return []
        return [
            self._plan(lane, is_packed, prospects, load, by)
            for lane in Lane
            for is_packed in (False, True)
            if not is_packed or self._sharing.pack_of(self._version, lane) > 1
        ]

    def _plan(
        self,
        lane: Lane,
        is_packed: bool,
        prospects: Prospects,
        load: Load | None,
        by: datetime | None,
    ) -> FilePlan:
        version = self._version if is_packed else self.alone
        pack = self._sharing.pack_of(version, lane)
        calls, usd = -(-self.items // pack), self._usd[lane, is_packed]
        if lane is Lane.REALTIME:
            takes_s = (
                None if load is None else Room(load, self._sharing).takes_s(version, self.items)
            )
            return FilePlan(lane, pack, calls, usd, takes_s=takes_s)
        prospect = prospects.for_size(version, calls)
        back_at = prospect.presses_until if by is None else prospect.back_at
        probability = None if by is None else prospect.chance(by).probability
        return FilePlan(lane, pack, calls, usd, probability=probability, back_at=back_at)


@dataclass(frozen=True)
class ForecastExample:
    """An item and the route that it would get."""

    place: str
    lane: Lane
    reason: Reason
    explanation: str


@dataclass
class Forecast:
    """The forecast of a file, in US dollars.

    `as_routed_usd` is the cost of the routes, including owed authoritative passes. `plans` has the alternatives that answer all
    items on one lane. Items without a due time are due at `by`.
    """

    workload: str
    version: int
    by: datetime | None = None
    items: int = 0
    all_realtime_usd: Decimal = Decimal(0)
    all_batch_usd: Decimal = Decimal(0)
    as_routed_usd: Decimal = Decimal(0)
    plans: list[FilePlan] = field(default_factory=list)
    routes: Counter[tuple[Lane, Reason]] = field(default_factory=Counter)
    examples: list[ForecastExample] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    bad: list[Refusal] = field(default_factory=list)

    def add(self, place: str, route: Route, *, passes: float) -> None:
        """Add an item; a share `passes` of its kind gets an authoritative pass after real time."""
        self.items += 1
        self.all_realtime_usd += route.realtime_usd
        self.all_batch_usd += route.batch_usd
        self.as_routed_usd += estimate_routed_usd(route, passes=passes)
        self.routes[route.lane, route.reason] += 1
        if len(self.examples) < MOST_EXAMPLES:
            self.examples.append(
                ForecastExample(place, route.lane, route.reason, route.explanation)
            )


def estimate_routed_usd(route: Route, *, passes: float) -> Decimal:
    """Return an item's cost on the lane of its route, with its share of authoritative passes after real time."""
    if route.lane is Lane.BATCH:
        return route.batch_usd
    return route.realtime_usd + route.batch_usd * Decimal(passes)


def forecast(
    lines: Iterable[FileLine | Refusal],
    version: Version,
    lanes: LaneConditions,
    *,
    now: datetime,
    by: datetime | None = None,
) -> Forecast:
    """Forecast the well-formed lines as if they arrived now, with the present sharing of calls.

    Lines without a due time are due at `by`, if it is given. The forecast respects budgets beyond their soft limits and the
    load of real time.
    """
    result = Forecast(version.workload, version.number, by)
    plans = FilePlans(version, lanes.sharing)
    prospects = lanes.prospects or Prospects.assume(now)
    estimates = Estimates(now, lanes.sharing.like(version, plans.alone))
    room = None if lanes.load is None else Room(lanes.load, lanes.sharing)
    guards = Guards(lanes.budgets, room)
    for line in lines:
        if isinstance(line, Refusal):
            result.bad.append(line)
            continue
        item = build_arrived_item(line.submission, now, by)._replace(earlier=line.earlier)
        route = decide(
            item,
            version,
            lanes.splits,
            now=now,
            estimates=estimates,
            prospects=prospects,
            guards=guards,
        )
        if room is not None and route.lane is Lane.REALTIME:
            room.add(version)
        result.add(line.submission.place, route, passes=lanes.sharing.passes_of(version))
        size, history = item.characters, item.history_chars(version)
        plans.add(
            alone=estimates.of(plans.alone, size, history),
            packed=estimates.of(version, size, history),
        )
    result.plans = plans.build(prospects, lanes.load, by=by)
    result.notes = [*_name_exceeded(lanes.budgets, result.as_routed_usd)]
    return result


def _name_exceeded(budgets: Iterable[BudgetStatus], routed_usd: Decimal) -> Iterable[str]:
    """Yield a sentence for each budget of all consumers that these items would exceed."""
    for each in budgets:
        soft, hard, after = each.budget.soft_usd, each.budget.hard_usd, each.used_usd + routed_usd
        if each.budget.consumer is not None:
            continue
        if hard is not None and after > hard:
            yield f"{each.sentence}; these items would bring it to {usd(after)}: some of them would wait for the next period"
        elif soft is not None and after > soft:
            yield f"{each.sentence}; these items would bring it to {usd(after)}"


def build_arrived_item(sent: Submission, now: datetime, by: datetime | None = None) -> ArrivedItem:
    """Build the item as routing would see it if it arrived now, due at `by` unless it has its own due time."""
    return ArrivedItem(
        sent.workload,
        sent.key or sent.place,
        sent.payload,
        now,
        sent.occurred_at or now,
        sent.consumer,
        sent.entity,
        sent.urgent,
        sent.lane,
        sent.due_at or by,
    )


if TYPE_CHECKING:
    from lanes.routing.turnaround import Turnarounds

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
    """An item that would get another route."""

    key: str
    before: Place
    after: Place
    explanation: str


@dataclass
class Trial:
    """The results of a trial so far; `due` counts the items that arrived before their due time."""

    in_force: Version
    changed: Version
    items: int = 0
    due: int = 0
    before: TrialSide = field(default_factory=TrialSide)
    after: TrialSide = field(default_factory=TrialSide)
    routes: Counter[tuple[Place, Place]] = field(default_factory=Counter)
    examples: list[MovedItem] = field(default_factory=list)

    @property
    def moved_items(self) -> int:
        """Return the number of items that would be on the other lane."""
        return sum(
            number for (before, after), number in self.routes.items() if before[0] is not after[0]
        )


class TrialRun:
    """A trial in progress; items of one minute share prospects, and both versions are priced with the present sharing of calls.

    Each item is routed twice as of its receipt: by the version in force and by the changed version. Everything else is today's
    and equal for both: the split, the prices, and the known batches. So all differences come from the change. Budgets and the
    load of real time are left out, because their values belonged to that time.
    """

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
        """Route the item by both versions, and record both routes.

        Raises:
            LookupError: No price is known for one of their models.
        """
        received_at, trial = item.received_at, self.trial
        minute = received_at.replace(second=0, microsecond=0)
        if minute != self._minute:
            self._prospects, self._minute = Prospects(self._turnarounds, minute), minute
        before = self._decide(item, trial.in_force, trial.before)
        after = self._decide(item, trial.changed, trial.after)
        trial.items += 1
        trial.due += item.due_at is not None and item.due_at > received_at
        was, would_be = (before.lane, before.reason), (after.lane, after.reason)
        trial.routes[was, would_be] += 1
        if was[0] is not would_be[0] and len(trial.examples) < MOST_EXAMPLES:
            trial.examples.append(MovedItem(item.key, was, would_be, after.explanation))

    def _decide(self, item: ArrivedItem, version: Version, side: TrialSide) -> Route:
        received_at = item.received_at
        route = decide(
            item,
            version,
            self._splits,
            now=received_at,
            estimates=self._estimates,
            prospects=self._prospects,
        )
        side.usd += estimate_routed_usd(route, passes=self._sharing.passes_of(version))
        if route.lane is Lane.BATCH and item.due_at is not None and item.due_at > received_at:
            side.late += 1 - self._prospects.of(version).chance(item.due_at).probability
        if faults := rule_faults(item, version, now=received_at):
            side.faults += 1
            side.first_fault = side.first_fault or f"{item.key}: {faults[0]}"
        return route

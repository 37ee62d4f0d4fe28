"""A forecast for a file of items, before one of them is sent: where they would go, and what they would cost."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from lanes.doors.filedoor import BadLine, FileLine
from lanes.doors.item import Submission
from lanes.ids import VersionId
from lanes.money.budget import BudgetStatus
from lanes.money.estimates import Estimate, Estimates, Sharing
from lanes.routing.load import Load
from lanes.routing.prospect import Prospects
from lanes.routing.room import Guards, Room
from lanes.routing.route import ArrivedItem, Route, decide
from lanes.routing.split import Splits
from lanes.units import usd
from lanes.words import Lane, Reason
from lanes.workload.version import Version

MOST_EXAMPLES = 20


@dataclass(frozen=True)
class LaneConditions:
    """What routing weighs besides the item and its version: splits, times of batches, budgets, load, and shared calls.

    Without a load, real time has room; without prospects, batches take as long as the version says.
    """

    splits: Splits
    prospects: Prospects | None = None
    budgets: Sequence[BudgetStatus] = ()
    load: Load | None = None
    sharing: Sharing = field(default_factory=Sharing)


@dataclass(frozen=True)
class FilePlan:
    """All items on one lane, `pack` of them in a call; costs are estimates in US dollars.

    `takes_s` are the seconds until real time has answered them behind the waiting work; None for a batch, and where the load is
    not known. `probability` is that of a batch being back by the time asked for, `back_at` when it is back with the confidence
    of its version.
    """

    lane: Lane
    pack: int
    calls: int
    usd: Decimal
    takes_s: float | None = None
    probability: float | None = None
    back_at: datetime | None = None


class FilePlans:
    """The plans of one file, summed item by item; `alone` is the version that packs nothing."""

    def __init__(self, version: Version, sharing: Sharing) -> None:
        self._version, self._sharing = version, sharing
        # It has an id of its own, because estimates are cached by version.
        self.alone = replace(
            version,
            id=VersionId(-version.id),
            spec=version.spec.model_copy(update={"realtime_pack": 1, "batch_pack": 1}),
        )
        self.items = 0
        self._usd = {(lane, packed): Decimal(0) for lane in Lane for packed in (False, True)}

    def add(self, *, alone: Estimate, packed: Estimate) -> None:
        """Add an item, with its cost by the version that packs nothing and by the one that packs."""
        self.items += 1
        for costs, is_packed in ((alone, False), (packed, True)):
            self._usd[Lane.REALTIME, is_packed] += costs.realtime
            self._usd[Lane.BATCH, is_packed] += costs.batch

    def found(
        self, prospects: Prospects, load: Load | None, *, by: datetime | None
    ) -> list[FilePlan]:
        """Return the plans for all items, for each lane first with every item alone; none without an item."""
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
        prospect = prospects.of_size(version, calls)
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

    `as_routed_usd` follows the routes, with the authoritative pass where one is owed. `plans` are the ways to have all items
    answered alike. Items without a due time are due `by`.
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
    bad: list[BadLine] = field(default_factory=list)

    def add(self, place: str, route: Route, *, passes: float) -> None:
        """Add an item, of whose kind a share of `passes` gets an authoritative pass after real time."""
        self.items += 1
        self.all_realtime_usd += route.realtime_usd
        self.all_batch_usd += route.batch_usd
        self.as_routed_usd += as_routed_usd(route, passes=passes)
        self.routes[route.lane, route.reason] += 1
        if len(self.examples) < MOST_EXAMPLES:
            self.examples.append(
                ForecastExample(place, route.lane, route.reason, route.explanation)
            )


def as_routed_usd(route: Route, *, passes: float) -> Decimal:
    """Return an item's cost on the lane of its route, with its share of authoritative passes after real time."""
    if route.lane is Lane.BATCH:
        return route.batch_usd
    return route.realtime_usd + route.batch_usd * Decimal(passes)


def forecast(
    lines: Iterable[FileLine | BadLine],
    version: Version,
    lanes: LaneConditions,
    *,
    now: datetime,
    by: datetime | None = None,
) -> Forecast:
    """Forecast the well-formed lines as if they arrived now, with calls as they share at present.

    Lines without a due time are due `by`, where that is given. Budgets beyond their soft limits and the load of real
    time count.
    """
    found = Forecast(version.workload, version.number, by)
    plans = FilePlans(version, lanes.sharing)
    prospects = lanes.prospects or Prospects.assumed(now)
    estimates = Estimates(now, lanes.sharing.like(version, plans.alone))
    room = None if lanes.load is None else Room(lanes.load, lanes.sharing)
    guards = Guards(lanes.budgets, room)
    for line in lines:
        if isinstance(line, BadLine):
            found.bad.append(line)
            continue
        item = arrived(line.submission, now, by)._replace(earlier=line.earlier)
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
        found.add(line.submission.place, route, passes=lanes.sharing.passes_of(version))
        size, told = item.characters, item.history_chars(version)
        plans.add(
            alone=estimates.of(plans.alone, size, told), packed=estimates.of(version, size, told)
        )
    found.plans = plans.found(prospects, lanes.load, by=by)
    found.notes = [*_beyond(lanes.budgets, found.as_routed_usd)]
    return found


def _beyond(budgets: Iterable[BudgetStatus], routed_usd: Decimal) -> Iterable[str]:
    """Name the budgets for all consumers that these items would exceed."""
    for each in budgets:
        soft, hard, after = each.budget.soft_usd, each.budget.hard_usd, each.used_usd + routed_usd
        if each.budget.consumer is not None:
            continue
        if hard is not None and after > hard:
            yield f"{each.said}; these items would bring it to {usd(after)}: some of them would wait for the next period"
        elif soft is not None and after > soft:
            yield f"{each.said}; these items would bring it to {usd(after)}"


def arrived(sent: Submission, now: datetime, by: datetime | None = None) -> ArrivedItem:
    """Return the item as routing would know it if it arrived now, due `by` unless it says otherwise."""
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

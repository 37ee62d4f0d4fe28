"""What a file of items would cost and where they would go, before one of them is sent."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from lanes.doors.filedoor import BadLine, Line
from lanes.doors.item import Submission
from lanes.ids import VersionId
from lanes.money.budget import BudgetStatus
from lanes.money.estimates import Estimate, Estimates, Sharing
from lanes.routing.load import Load
from lanes.routing.prospect import Prospects
from lanes.routing.room import Room
from lanes.routing.route import ArrivedItem, Route, decide
from lanes.routing.split import Splits
from lanes.units import usd
from lanes.words import Lane, Mode, Reason
from lanes.workload.version import Version

MOST_EXAMPLES = 20


@dataclass(frozen=True)
class FilePlan:
    """All items on one lane, `pack` of them in a call; an estimate in US dollars.

    `takes_s`: seconds until real time has answered them, behind what waits there; None of a batch, and where its load is not
    known. `probability`: that a batch is back by the time that was asked for; `back_at`: when it is, with the
    confidence of its version.
    """

    lane: Lane
    pack: int
    calls: int
    usd: Decimal
    takes_s: float | None = None
    probability: float | None = None
    back_at: datetime | None = None


class FilePlans:
    """Those of one file, item by item; packs are as large as `sharing` has them. `alone` is the version that packs none."""

    def __init__(self, version: Version, sharing: Sharing | None = None) -> None:
        self._version, self._sharing = version, sharing or Sharing()
        # Under an id of its own: who knows estimates by version would take it for the other.
        self.alone = replace(
            version,
            id=VersionId(-version.id),
            spec=version.spec.model_copy(update={"realtime_pack": 1, "batch_pack": 1}),
        )
        self.items = 0
        self._usd = {(lane, packed): Decimal(0) for lane in Lane for packed in (False, True)}

    def add(self, *, alone: Estimate, packed: Estimate) -> None:
        """One item more, and what it costs with the version that packs none, and with the one that does."""
        self.items += 1
        for costs, is_packed in ((alone, False), (packed, True)):
            self._usd[Lane.REALTIME, is_packed] += costs.realtime
            self._usd[Lane.BATCH, is_packed] += costs.batch

    def found(
        self, prospects: Prospects, load: Load | None, *, by: datetime | None
    ) -> list[FilePlan]:
        """The plans for all of them, the first of each lane with each item alone; none without an item."""
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
    """One item and the route that it would get."""

    place: str
    lane: Lane
    reason: Reason
    explanation: str


@dataclass
class Forecast:
    """Estimates in US dollars. `as_routed_usd` follows the routes, with the authoritative pass where one is owed; `plans` are
    the ways to have all items answered alike; `by` is when they are due that do not say so themselves."""

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

    def add(self, place: str, route: Route, *, corrects: bool) -> None:
        """One more item; `corrects` when its real-time answer owes an authoritative pass."""
        self.items += 1
        self.all_realtime_usd += route.realtime_usd
        self.all_batch_usd += route.batch_usd
        self.as_routed_usd += as_routed_usd(route, corrects=corrects)
        self.routes[route.lane, route.reason] += 1
        if len(self.examples) < MOST_EXAMPLES:
            self.examples.append(
                ForecastExample(place, route.lane, route.reason, route.explanation)
            )


def as_routed_usd(route: Route, *, corrects: bool) -> Decimal:
    """What an item costs on the lane of its route, with the authoritative pass where its real-time answer owes one."""
    if route.lane is Lane.BATCH:
        return route.batch_usd
    return route.realtime_usd + (route.batch_usd if corrects else 0)


def forecast(
    lines: Iterable[Line | BadLine],
    version: Version,
    splits: Splits,
    *,
    now: datetime,
    prospects: Prospects | None = None,
    budgets: Sequence[BudgetStatus] = (),
    load: Load | None = None,
    by: datetime | None = None,
    sharing: Sharing | None = None,
) -> Forecast:
    """Where the well-formed lines would go if they arrived now, and what that would cost, as calls are `sharing` at present.

    Those that do not say when they are due are due `by` then, where that is given; budgets beyond their soft limits, and the
    load of real time, are heeded.
    """
    sharing = sharing or Sharing()
    found, plans = Forecast(version.workload, version.number, by), FilePlans(version, sharing)
    prospects, estimates = (
        prospects or Prospects.assumed(now),
        Estimates(now, sharing.like(version, plans.alone)),
    )
    room = None if load is None else Room(load, sharing)
    for line in lines:
        if isinstance(line, BadLine):
            found.bad.append(line)
            continue
        item = replace(arrived(line.submission, now, by), earlier=line.earlier)
        route = decide(
            item,
            version,
            splits,
            now=now,
            estimates=estimates,
            prospects=prospects,
            budgets=budgets,
            room=room,
        )
        if room is not None and route.lane is Lane.REALTIME:
            room.add(version)
        found.add(line.submission.place, route, corrects=version.spec.mode is Mode.LAMBDA)
        size, told = item.characters, item.history_chars(version)
        plans.add(
            alone=estimates.of(plans.alone, size, told), packed=estimates.of(version, size, told)
        )
    found.plans = plans.found(prospects, load, by=by)
    found.notes = [*_beyond(budgets, found.as_routed_usd)]
    return found


def _beyond(budgets: Iterable[BudgetStatus], routed_usd: Decimal) -> Iterable[str]:
    """The budgets of all consumers that these items would exceed."""
    for each in budgets:
        soft, hard, after = each.budget.soft_usd, each.budget.hard_usd, each.used_usd + routed_usd
        if each.budget.consumer is not None:
            continue
        if hard is not None and after > hard:
            yield f"{each.said}; these items would bring it to {usd(after)}: some of them would wait for the next period"
        elif soft is not None and after > soft:
            yield f"{each.said}; these items would bring it to {usd(after)}"


def arrived(sent: Submission, now: datetime, by: datetime | None = None) -> ArrivedItem:
    """The item as routing would know it, if it arrived now, and were due `by` then where it does not say so itself."""
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

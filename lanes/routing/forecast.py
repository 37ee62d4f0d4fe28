"""What a file of items would cost and where they would go, before one of them is sent."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from lanes.doors.filedoor import BadLine, Line
from lanes.doors.item import Submission
from lanes.routing.prospect import Prospects
from lanes.routing.route import Arrived, Route, decide
from lanes.routing.split import Splits
from lanes.words import Lane, Mode, Reason
from lanes.workload.version import Version

MOST_EXAMPLES = 20


@dataclass(frozen=True)
class Example:
    """One item and the route that it would get."""

    place: str
    lane: Lane
    reason: Reason
    explanation: str


@dataclass
class Forecast:
    """Estimates in US dollars. `as_routed_usd` follows the routes, with the authoritative pass where one is owed."""

    workload: str
    version: int
    items: int = 0
    all_realtime_usd: Decimal = Decimal(0)
    all_batch_usd: Decimal = Decimal(0)
    as_routed_usd: Decimal = Decimal(0)
    routes: Counter[tuple[Lane, Reason]] = field(default_factory=Counter)
    examples: list[Example] = field(default_factory=list)
    bad: list[BadLine] = field(default_factory=list)

    def add(self, place: str, route: Route, *, corrects: bool) -> None:
        """One more item; `corrects` when its real-time answer owes an authoritative pass."""
        self.items += 1
        self.all_realtime_usd += route.realtime_usd
        self.all_batch_usd += route.batch_usd
        real = route.lane is Lane.REALTIME
        self.as_routed_usd += route.realtime_usd if real else route.batch_usd
        self.as_routed_usd += route.batch_usd if real and corrects else 0
        self.routes[route.lane, route.reason] += 1
        if len(self.examples) < MOST_EXAMPLES:
            self.examples.append(Example(place, route.lane, route.reason, route.explanation))


def forecast(
    lines: Iterable[Line | BadLine], version: Version, splits: Splits, *, now: datetime, prospects: Prospects | None = None
) -> Forecast:
    """Where the well-formed lines would go if they arrived now, and what that would cost."""
    prospects = prospects or Prospects.assumed(now)
    found = Forecast(version.workload, version.number)
    for line in lines:
        if isinstance(line, BadLine):
            found.bad.append(line)
            continue
        route = decide(arrived(line.submission, now), version, splits, now=now, prospects=prospects)
        found.add(line.submission.place, route, corrects=version.spec.mode is Mode.LAMBDA)
    return found


def arrived(sent: Submission, now: datetime) -> Arrived:
    """The item as routing would know it, if it arrived now."""
    return Arrived(
        sent.workload, sent.key or sent.place, sent.payload, now, sent.occurred_at or now, sent.consumer, sent.entity,
        sent.urgent, sent.lane, sent.due_at,
    )  # fmt: skip

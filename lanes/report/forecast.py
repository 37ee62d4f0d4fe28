"""A forecast for a terminal: what a file costs on each lane, and where its items would go."""

from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from rich.console import Group, RenderableType
from rich.text import Text

from lanes.report.summary import lane_name, reason_name
from lanes.report.table import Table, figure, in_terminal, label, phrase
from lanes.routing.forecast import FilePlan, Forecast
from lanes.routing.prospect import percent
from lanes.text import plain
from lanes.units import MISSING, count, counted, seconds, share, usd
from lanes.words import Lane

ANSWERED = "real time after what already waits; a batch with the workload's `confidence`"
BY = "real time after what already waits; a batch with this probability"


def costs(found: Forecast, zone: ZoneInfo) -> RenderableType:
    """Show each way to answer all items, and how they would be routed: calls, cost, and when they are done."""
    done, meaning = "Answered", ANSWERED
    if found.by is not None:
        done, meaning = f"By {_moment(found.by, zone)}", BY
    # None: as routed now
    table = Table[FilePlan | None](
        f"{_items(found)}: estimates in USD",
        [*found.plans, None],
        label("", lambda plan: "As routed now" if plan is None else _name(plan)),
        figure("Calls", "to the provider", lambda plan: count(plan.calls) if plan else ""),
        figure("Cost", "at the current pack sizes and cache hits", lambda of: usd(_usd(of, found))),
        figure("Per 1,000", "items", lambda plan: _each(_usd(plan, found), found)),
        phrase(done, meaning, lambda plan: _done(plan, zone) if plan else ""),
    )
    legend = f"{table.legend} As routed now: with the authoritative pass where one is due."
    notes = (Text(each, "yellow") for each in found.notes)
    return Group(in_terminal(table, below=legend), *notes)


def routes(found: Forecast, zone: ZoneInfo) -> RenderableType:
    """Show where the items would go if they arrived now, with each reason, its share and an example."""
    ways = found.routes

    def example(way: tuple[Lane, str]) -> str:
        one = next((each for each in found.examples if (each.lane, each.reason) == way), None)
        return f"{one.place}: {one.explanation}" if one else MISSING

    table = Table(
        f"{_items(found)}, if they arrived now",
        sorted(ways, key=lambda way: -ways[way]),
        label("Lane", lambda way: lane_name(way[0])),
        label("Reason", lambda way: reason_name(way[1])),
        figure("Items", "that would go there", lambda way: count(ways[way])),
        figure("Share", "of the items of the file", lambda way: share(ways[way] / found.items)),
        label("For example", example),
    )
    return in_terminal(table, below=table.legend)


def _items(found: Forecast) -> str:
    return f"{counted(found.items, 'item')} of {plain(found.workload)}, version {found.version}"


def _usd(plan: FilePlan | None, found: Forecast) -> Decimal:
    return found.as_routed_usd if plan is None else plan.usd


def _name(plan: FilePlan) -> str:
    name = "All real-time" if plan.lane is Lane.REALTIME else "All batch"
    return f"{name}, each alone" if plan.pack == 1 else f"{name}, {plan.pack} a call"


def _each(amount: Decimal, found: Forecast) -> str:
    return usd(amount / found.items * 1000) if found.items else MISSING


def _done(plan: FilePlan, zone: ZoneInfo) -> str:
    """Return when the items of a plan are answered, or with which probability by the due time."""
    if plan.lane is Lane.REALTIME:
        return MISSING if plan.takes_s is None else f"takes about {seconds(plan.takes_s)}"
    if plan.probability is not None:
        return f"{percent(plan.probability)} chance"
    return MISSING if plan.back_at is None else f"back by {_moment(plan.back_at, zone)}"


def _moment(at: datetime, zone: ZoneInfo) -> str:
    local = at.astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M} {local.tzname()}"

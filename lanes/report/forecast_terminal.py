"""A forecast for a terminal: what a file costs on each lane, and where its items would go."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lanes.report.section import Legend, explained
from lanes.report.summary import lane_name, reason_name
from lanes.report.titled import titled
from lanes.routing.forecast import FilePlan, Forecast
from lanes.routing.prospect import percent
from lanes.text import plain
from lanes.units import MISSING, count, counted, seconds, share, usd
from lanes.words import Lane

NUMBERS = ("Calls", "Cost", "Per 1,000", "Items", "Share")
COSTS: Legend = {
    "Calls": "to the provider",
    "Cost": "at the pack sizes and cache hits in force",
    "Per 1,000": "items",
    "As routed now": "with the authoritative pass where one is owed",
}
ANSWERED = "real time behind what waits there; a batch as surely as `confidence` asks for"
BY = "real time behind what waits there; a batch with that probability"
ROUTES: Legend = {
    "Items": "that would go there",
    "Share": "of the items of the file",
}


def costs(found: Forecast, zone: ZoneInfo) -> RenderableType:
    """Each way to have all items answered, and as they would be routed: calls, cost, and when or how surely they are done."""
    title = f"{counted(found.items, 'item')} of {plain(found.workload)}, version {found.version}: estimates in USD"
    done, meaning = (
        ("Answered", ANSWERED) if found.by is None else (f"By {_moment(found.by, zone)}", BY)
    )
    table = _table(title, ["", "Calls", "Cost", "Per 1,000", done])
    for each in found.plans:
        table.add_row(
            _name(each),
            count(each.calls),
            usd(each.usd),
            _each(each.usd, found),
            _done(each, found, zone),
        )
    table.add_row(
        "As routed now", "", usd(found.as_routed_usd), _each(found.as_routed_usd, found), ""
    )
    legend = Text(explained({**COSTS, done: meaning}), "dim")
    return Group(*titled(table), legend, *(Text(each, "yellow") for each in found.notes))


def routes(found: Forecast, zone: ZoneInfo) -> RenderableType:
    """Where the items would go if they arrived now, each way with its reason, share and an example."""
    title = f"{counted(found.items, 'item')} of {plain(found.workload)}, version {found.version}, if they arrived now"
    table = _table(title, ["Lane", "Reason", "Items", "Share", "For example"])
    for (lane, reason), number in sorted(found.routes.items(), key=lambda each: -each[1]):
        example = next(
            (each for each in found.examples if (each.lane, each.reason) == (lane, reason)), None
        )
        said = f"{example.place}: {example.explanation}" if example else MISSING
        part = share(number / found.items)
        table.add_row(
            lane_name(lane), reason_name(reason), count(number), part, Text(plain(said, most=200))
        )
    return Group(*titled(table), Text(explained(ROUTES), "dim"))


def _name(plan: FilePlan) -> str:
    name = "All real-time" if plan.lane is Lane.REALTIME else "All batch"
    return f"{name}, each alone" if plan.pack == 1 else f"{name}, {plan.pack} a call"


def _each(amount: Decimal, found: Forecast) -> str:
    return usd(amount / found.items * 1000) if found.items else MISSING


def _done(plan: FilePlan, found: Forecast, zone: ZoneInfo) -> str:
    """When, or how surely, the items of a plan are answered."""
    if plan.lane is Lane.REALTIME:
        return MISSING if plan.takes_s is None else f"takes about {seconds(plan.takes_s)}"
    if plan.probability is not None:
        return f"back with {percent(plan.probability)}"
    return MISSING if plan.back_at is None else f"back by {_moment(plan.back_at, zone)}"


def _moment(at: datetime, zone: ZoneInfo) -> str:
    local = at.astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M} {local.tzname()}"


def _table(title: str, headings: Sequence[str]) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    for heading in headings:
        table.add_column(heading, justify="right" if heading in NUMBERS else "left")
    return table

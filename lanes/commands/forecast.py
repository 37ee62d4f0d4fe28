"""`lanes quote` and `lanes dry-run`: a file's cost and routes, before one of its items is sent."""

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text
from sqlalchemy import Engine

from lanes.commands.guarded import on_database
from lanes.commands.output import AsJson, print_json
from lanes.doors.filedoor import Layout, read_lines
from lanes.errors import UnknownWorkload
from lanes.escaping import plain
from lanes.report.summary import lane_name, reason_name
from lanes.routing.forecast import Forecast, forecast
from lanes.store import asking
from lanes.store.database import clock
from lanes.store.money import overheads_in_force
from lanes.store.routing import turnarounds
from lanes.store.workload import workloads
from lanes.units import count, counted, share, usd

TextField = Annotated[str | None, Parameter(name="--field", help="Column or field that holds the text.")]
Key = Annotated[str | None, Parameter(name="--key", help="Column that names the item.")]
OccurredAt = Annotated[str | None, Parameter(name="--occurred-at", help="Column with the event time, ISO 8601.")]
Consumer = Annotated[str | None, Parameter(help="Who would read the results.")]
Show = Callable[[Forecast], RenderableType]


def quote(
    file: Path, *, workload: str, field: TextField = None, key: Key = None, occurred_at: OccurredAt = None,
    consumer: Consumer = None, as_json: AsJson = False,
) -> int:  # fmt: skip
    """Estimate what a file would cost: all in real time, all in batches, and as its items would be routed now.

    Nothing is sent. Exit code 1 when some lines are no items, 2 when the file cannot be read at all.
    """
    return _look(file, workload, Layout(field, None, key, occurred_at, None, consumer), _costs, as_json)


def dry_run(
    file: Path, *, workload: str, field: TextField = None, key: Key = None, occurred_at: OccurredAt = None,
    consumer: Consumer = None, as_json: AsJson = False,
) -> int:  # fmt: skip
    """Show where the items of a file would go if they arrived now, and why. Nothing is sent.

    Exit code 1 when some lines are no items, 2 when the file cannot be read at all.
    """
    return _look(file, workload, Layout(field, None, key, occurred_at, None, consumer), _routes, as_json)


def _look(file: Path, workload: str, layout: Layout, show: Show, as_json: bool) -> int:
    if not file.is_file():
        print(f'there is no file "{file}"', file=sys.stderr)
        return 2

    def look(pool: Engine) -> int:
        with pool.begin() as connection:
            version, splits = workloads.in_force(connection).get(workload), workloads.splits(connection)
            now = clock(connection)
            prospects = turnarounds.prospects(connection, now=now)
            kept = overheads_in_force.of_each(asking.through(connection), [workload], now=now)[workload]
        if version is None:
            raise UnknownWorkload(f'workload "{workload}" has no published version')
        try:
            found = forecast(read_lines(file, workload, layout, now=now), version, splits, now=now, prospects=prospects)
        except ValueError as error:
            print(str(error), file=sys.stderr)
            return 2
        if as_json:
            print_json({**_data(found), "overheads": asdict(kept)})
        else:
            console = Console(width=None if sys.stdout.isatty() else 110, highlight=False)
            console.print(show(found))
            if show is _costs:
                console.print(f"K{kept.said[1:]}.")
            for each in found.bad[:20]:
                print(f"{each.place}: {each.reason}: {each.detail}", file=sys.stderr)
        return 1 if found.bad else 0

    return on_database(look)


def _costs(found: Forecast) -> Table:
    title = f"{counted(found.items, 'item')} of {plain(found.workload)}, version {found.version}: estimates in USD"
    table = _table(title, ["", "Cost", "Per 1,000"])
    amounts = (found.all_realtime_usd, found.all_batch_usd, found.as_routed_usd)
    for name, amount in zip(("All real-time", "All batch", "As routed now"), amounts, strict=True):
        table.add_row(name, usd(amount), usd(amount / found.items * 1000) if found.items else "-")
    return table


def _routes(found: Forecast) -> Table:
    title = f"{counted(found.items, 'item')} of {plain(found.workload)}, version {found.version}, if they arrived now"
    table = _table(title, ["Lane", "Reason", "Items", "Share", "For example"])
    for (lane, reason), number in sorted(found.routes.items(), key=lambda each: -each[1]):
        example = next((each for each in found.examples if (each.lane, each.reason) == (lane, reason)), None)
        said = f"{example.place}: {example.explanation}" if example else "-"
        part = share(number / found.items)
        table.add_row(lane_name(lane), reason_name(reason), count(number), part, Text(plain(said, most=200)))
    return table


def _table(title: str, headings: list[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right" if heading in ("Cost", "Per 1,000", "Items", "Share") else "left")
    return table


def _data(found: Forecast) -> dict[str, Any]:
    routes = [{"lane": lane, "reason": reason, "items": number} for (lane, reason), number in sorted(found.routes.items())]
    return {**asdict(found), "routes": routes}

"""`lanes quote` and `lanes dry-run`: a file's cost and routes, before one of its items is sent."""

import sys
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from cyclopts import Parameter
from rich.console import RenderableType
from sqlalchemy import Engine

from lanes.commands.options import AsJson, Columns
from lanes.commands.options import by as moment
from lanes.commands.running import WrongUsage, check_file, command, database, print_json, screen
from lanes.commands.trial import MOST, SINCE, try_definition
from lanes.doors.filedoor import BadLine, FileLine, Layout, read_lines
from lanes.errors import SetupError, UnknownWorkload
from lanes.json_data import characters
from lanes.report import forecast as report
from lanes.routing.forecast import Forecast, LaneConditions, forecast
from lanes.store import asking
from lanes.store.database import clock
from lanes.store.doors import history
from lanes.store.money import budgets, overheads, sharing
from lanes.store.realtime import limits
from lanes.store.realtime import load as lane_load
from lanes.store.routing import turnarounds
from lanes.store.workload import workloads
from lanes.units import counted
from lanes.workload.version import Version
from lanes.workload.window import zone_of

Show = Callable[[Forecast, ZoneInfo], RenderableType]
SHOWN = 20  # bad lines
AT_ONCE = 500  # lines whose history is looked for by one statement


@Parameter(name="*")
@dataclass(frozen=True)
class Due:
    """When the items of a file are due that do not say so.

    Attributes:
        by: When items are due that do not say so: a time of day such as 06:00, a span such as 8h, or a moment.
        zone: Time zone of --by, as Europe/Berlin; by default the workload's.
    """

    by: str | None = None
    zone: str | None = None


@command
def quote(
    file: Path,
    *,
    workload: str,
    due: Due = Due(),
    columns: Columns = Columns(),  # noqa: B008
    as_json: AsJson = False,
) -> int:
    """Estimate what a file would cost on each lane, alone and packed, how surely a batch is back, and what it costs as routed.

    Nothing is sent. With --by the items are routed as if they were due then, and each batch says with which probability it is
    back by then; without it, when it is back as surely as the workload asks for. Budgets beyond their soft limits and the load
    of real time are heeded as they are now.

    Exit code 1 when some lines are no items, 2 when there are none at all, or the file, the time or the zone cannot be read.

    Example: lanes quote tickets.jsonl --workload tickets --by 06:00
    """
    return _look(file, workload, columns, report.costs, as_json, due)


@command
def dry_run(
    file: Path | None = None,
    *,
    workload: str | None = None,
    with_: Path | None = None,
    since: Annotated[
        str | None,
        Parameter(
            help=f"With --with: from when on, a span such as {SINCE} (the default), or an ISO 8601 moment."
        ),
    ] = None,
    most: Annotated[
        int | None,
        Parameter(
            help=f"With --with: the largest number of items, the newest first; {MOST:,} by default."
        ),
    ] = None,
    columns: Columns = Columns(),  # noqa: B008
    as_json: AsJson = False,
) -> int:
    """Show where items would go, and why: those of a file if they arrived now, or those that came, by a changed definition.

    Nothing is sent, published or written. With --with the definition of a YAML file is tried on the traffic of its workload:
    what would move between lanes and reasons, what both cost, and how many are expected late, before it is published.

    Exit code 1 when some lines are no items or the definition cannot be published, 2 when there is nothing to look at.

    Examples:
    `lanes dry-run tickets.jsonl --workload tickets`

    `lanes dry-run --since 7d --with tickets.yaml`

    Args:
        with_: A changed definition (YAML), tried on the items that came since --since.
    """
    of_lines = _given({f"--{n.replace('_', '-')}": v for n, v in asdict(columns).items()})
    of_traffic = _given({"--since": since, "--most": most})
    if with_ is not None and file is None:
        if of_lines:
            raise WrongUsage(
                f"{of_lines}: that is about the lines of a file, and --with looks at what came"
            )
        try_definition(
            with_,
            workload,
            since=SINCE if since is None else since,
            most=MOST if most is None else most,
            as_json=as_json,
        )
        return 0
    if file is None or workload is None or with_ is not None:
        wanted = "FILE with --workload W, for a file; or --with DEFINITION, for what came"
        raise WrongUsage(f"say what to look at: {wanted}")
    if of_traffic:
        raise WrongUsage(f"{of_traffic}: that is about what came, and belongs to --with")
    return _look(file, workload, columns, report.routes, as_json, Due())


def _given(options: Mapping[str, object]) -> str:
    """Return the names of the options that were given."""
    return ", ".join(name for name, value in options.items() if value is not None)


def _look(file: Path, workload: str, layout: Layout, show: Show, as_json: bool, due: Due) -> int:
    check_file(file)
    with database() as pool:
        with pool.begin() as connection:
            now = clock(connection)
            version = workloads.in_force(connection).get(workload)
            lanes = LaneConditions(
                workloads.splits(connection),
                turnarounds.prospects(connection, now=now),
                budgets.statuses(connection, [workload], now=now),
                lane_load.snapshot(  # by the limits of the account that asked last
                    connection, account=limits.newest_account(connection) or "", now=now
                ),
                sharing.known(connection, now=now),
            )
            kept = overheads.of_each(asking.through(connection), [workload], now=now)[workload]
        if version is None:
            raise UnknownWorkload(f'workload "{workload}" has no published version')
        try:
            zone = zone_of(due.zone or version.spec.timezone)
            due_at = None if due.by is None else moment(due.by, now, zone)
            read = read_lines(file, workload, layout, now=now)
            lines = _with_history(pool, read, version, now)
            found = forecast(lines, version, lanes, now=now, by=due_at)
        except ValueError as error:
            raise WrongUsage(error) from error
        except LookupError as error:
            raise SetupError(f'workload "{workload}" cannot be priced: {error}') from error
    if as_json:
        print_json({**_data(found), "overheads": asdict(kept)})
    else:
        if found.items:
            console = screen(110, highlight=False)
            console.print(show(found, zone))
            if show is report.costs:
                console.print(f"K{kept.said[1:]}.")
        for each in found.bad[:SHOWN]:
            print(f"{each.place}: {each.reason}: {each.detail}", file=sys.stderr)
        if len(found.bad) > SHOWN:
            print(f"and {counted(len(found.bad) - SHOWN, 'line')} more", file=sys.stderr)
    if not found.items and not found.bad:
        raise WrongUsage(f'"{file}" has no items')
    return 1 if found.bad else 0


def _with_history(
    pool: Engine, lines: Iterable[FileLine | BadLine], version: Version, now: datetime
) -> Iterator[FileLine | BadLine]:
    """Yield the lines, with how long the earlier items of their entities are: those that are stored, and those of lines before.

    A batch reads them, which costs.
    """
    most, reading = version.spec.history_items, iter(lines)
    told = dict[str, list[tuple[datetime, int]]]()
    while most and (part := list(islice(reading, AT_ONCE))):
        asking = {
            place: (entity, each.submission.occurred_at or now)
            for place, each in enumerate(part)
            if isinstance(each, FileLine) and (entity := each.submission.entity) is not None
        }
        with pool.begin() as connection:
            stored = history.lengths_before(
                connection, version.workload, list(asking.values()), most
            )
        for (place, (entity, at)), found in zip(asking.items(), stored, strict=True):
            line, of_file = part[place], told.setdefault(entity, [])
            assert isinstance(line, FileLine)
            earlier = [*found, *of_file[: bisect_left(of_file, at, key=itemgetter(0))]]
            newest = sorted(earlier, key=itemgetter(0), reverse=True)[:most]
            part[place] = replace(line, earlier=[length for _, length in newest])
            insort(of_file, (at, characters(line.submission.payload)), key=itemgetter(0))
        yield from part
    yield from reading


def _data(found: Forecast) -> dict[str, Any]:
    routes = [
        {"lane": lane, "reason": reason, "items": number}
        for (lane, reason), number in sorted(found.routes.items())
    ]
    return {**asdict(found), "routes": routes}

"""`lanes figures`: the figures of a period are made anew from the facts."""

import sys
from dataclasses import asdict
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.progress import Progress
from sqlalchemy import Engine

from lanes.commands.options import AsJson
from lanes.commands.options import since as moment
from lanes.commands.running import on_database, print_json
from lanes.stand.console import Console
from lanes.store.database import clock
from lanes.store.figures import folding
from lanes.store.figures.folding import Rebuilt
from lanes.units import counted


def figures(
    what: Annotated[Literal["rebuild"], Parameter(help="What is done with them.")],
    /,
    *,
    since: Annotated[
        str | None,
        Parameter(help="A span such as 2h or 7d, or a moment; else from the first fact on."),
    ] = None,
    until: Annotated[str | None, Parameter(help="As --since; else until now.")] = None,
    as_json: AsJson = False,
) -> int:
    """Make the figures of a period anew from the facts, whole days of UTC at a time; nothing else is changed.

    The lanes go on meanwhile, and readers see each day as it was or as it is. Reads that were deleted by age are no longer
    counted afterwards. Exit code 1 while another process rebuilds, 2 when a moment cannot be read.
    """

    def rebuild(pool: Engine) -> int:
        with pool.begin() as connection:
            now = clock(connection)
        try:
            first = None if since is None else moment(since, now)
            last = now if until is None else moment(until, now)
        except ValueError as error:
            print(str(error), file=sys.stderr)
            return 2
        with Progress(console=Console(stderr=True), transient=True) as shown:
            task = shown.add_task("rebuilding", total=None)

            def told(done: Rebuilt, whole: int) -> None:
                shown.update(task, description=f"{done.day:%Y-%m-%d}", total=whole, advance=1)

            days = folding.rebuild(pool, since=first, until=last, told=told)
        return _say(days, as_json)

    return on_database(rebuild)


def _say(days: list[Rebuilt], as_json: bool) -> int:
    facts = sum(each.facts for each in days)
    if as_json:
        print_json({"days": [asdict(each) for each in days], "facts": facts})
    elif days:
        period = f"{days[0].day:%Y-%m-%d} to {days[-1].day:%Y-%m-%d}"
        print(f"{counted(len(days), 'day')} rebuilt from {counted(facts, 'fact')}: {period}")
    else:
        print("there are no facts in that period")
    return 0

"""`lanes figures`: the figures of a period are made anew from the facts."""

from dataclasses import asdict
from typing import Literal

from rich.progress import Progress

from lanes.commands.options import AsJson
from lanes.commands.options import since as moment
from lanes.commands.running import command, database, tell
from lanes.stand.progress import Console
from lanes.store.database import clock
from lanes.store.figures import folding
from lanes.store.figures.folding import Rebuilt
from lanes.units import counted


@command
def figures(
    what: Literal["rebuild"],
    /,
    *,
    since: str | None = None,
    until: str | None = None,
    as_json: AsJson = False,
) -> None:
    """Make the figures of a period anew from the facts, whole days of UTC at a time; nothing else is changed.

    The lanes go on meanwhile, and readers see each day as it was or as it is. Reads that were deleted by age are no longer
    counted afterwards. Exit code 1 while another process rebuilds, 2 when a moment cannot be read.

    Args:
        what: What is done with them.
        since: A span such as 2h or 7d, or a moment; else from the first fact on.
        until: As --since; else until now.
    """
    with database(direct=True) as pool:
        with pool.begin() as connection:
            now = clock(connection)
        first = None if since is None else moment(since, now)
        last = now if until is None else moment(until, now)
        with Progress(console=Console(stderr=True), transient=True) as shown:
            task = shown.add_task("rebuilding", total=None)

            def told(done: Rebuilt, whole: int) -> None:
                shown.update(task, description=f"{done.day:%Y-%m-%d}", total=whole, advance=1)

            days = folding.rebuild(pool, since=first, until=last, told=told)
    facts = sum(each.facts for each in days)
    said = "there are no facts in that period"
    if days:
        period = f"{days[0].day:%Y-%m-%d} to {days[-1].day:%Y-%m-%d}"
        said = f"{counted(len(days), 'day')} rebuilt from {counted(facts, 'fact')}: {period}"
    tell(said, {"days": [asdict(each) for each in days], "facts": facts}, as_json=as_json)

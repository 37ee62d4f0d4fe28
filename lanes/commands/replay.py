"""The commands for replays: begin one, compare its results, promote, demote and drop it."""

import getpass
import sys
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from cyclopts import Parameter, validators
from rich.markdown import Markdown
from rich.progress import Progress
from sqlalchemy import Engine

from lanes.commands.actions import Demote, Drop, Promote
from lanes.commands.options import NONE_GIVEN, AsJson, Why
from lanes.commands.options import parse_since as moment
from lanes.commands.running import command, database, perform, print_json, tell, transaction
from lanes.errors import StandError
from lanes.report import replay as report
from lanes.rollouts.replays import Generation, Only, Selection
from lanes.stand import reaching
from lanes.stand.progress import Console
from lanes.standing import runs
from lanes.store.database import clock
from lanes.store.replays import promotions, replays
from lanes.words import Lane, ReplayState, Signature

DECIDED = (ReplayState.RUNNING, ReplayState.COMPLETE, ReplayState.PROMOTED, ReplayState.DEMOTED)


@Parameter(name="*")
@dataclass(frozen=True)
class StreamPart:
    """The part of a workload's stream that a replay reads, and which of its items it answers again.

    Attributes:
        first: First position of the stream.
        last: Last position of the stream. The default: the newest.
        since: Only items received since: a span such as 2h or 7d, or a moment.
        until: Only items received before, as --since.
        key: Only this item; may be repeated.
        where: Only items for which this CEL expression was true on arrival, over the same variables as in rules.
        only: Only labeled items, items with differing answers, or failed items.
        answered_by: Only items whose current answer is of the version with this number.
        force: Also answer items whose request would be the same as before.
        lane: The lane that answers: batch, or realtime, which uses only the capacity that live work leaves.
        shadow: The share, 0 to 1, of later items that it answers too, for comparison, until it is promoted.
    """

    first: Annotated[int | None, Parameter(name="--from")] = None
    last: Annotated[int | None, Parameter(name="--to")] = None
    since: str | None = None
    until: str | None = None
    key: tuple[str, ...] = ()
    where: str = ""
    only: Only | None = None
    answered_by: int | None = None
    force: Annotated[bool, Parameter(negative="")] = False
    lane: Literal["realtime", "batch"] = "batch"
    shadow: Annotated[float, Parameter(validator=validators.Number(gte=0, lte=1))] = 0.0

    def selection(self, now: datetime) -> Selection:
        """Return the conditions on items.

        Raises:
            WrongUsage: a moment cannot be read.
        """
        conditions: dict[str, Any] = {name: getattr(self, name) for name in Selection.model_fields}
        for name in ("since", "until"):
            if conditions[name] is not None:
                conditions[name] = moment(conditions[name], now, f"--{name} ")
        return Selection(**conditions)


@command
def replay(
    workload: str,
    *,
    version: int | None = None,
    part: StreamPart = StreamPart(),
    why: Why = NONE_GIVEN,
    preview: bool = False,
    depart: Annotated[bool, Parameter(negative="")] = False,
    as_json: AsJson = False,
) -> None:
    """Process a workload's stream again with a chosen version; the current results stay in force.

    An item whose request would be exactly the same as before keeps its answer, unless forced. Repeating the command, or running
    it without conditions, continues a replay that was interrupted. Exit code 1 when it is refused: unknown version, another
    replay open, nothing to read.

    Args:
        version: Number of the version that answers. The default: the version in force.
        preview: Only show how many items are answered or left out, the cost, and the end time on each lane.
        depart: Send its batches at once instead of in the off-peak window.
    """
    conditions: dict[str, Any] = {"version_no": version, "first": part.first, "last": part.last}
    with database() as pool:
        with pool.begin() as connection:
            now = clock(connection)
            conditions["selection"] = part.selection(now)
            if preview:
                estimate = replays.preview(connection, workload, **conditions, now=now)
                tell(report.describe_preview(estimate), asdict(estimate), as_json=as_json)
                return
            who = getpass.getuser()
            new_replay = replays.begin(
                connection, workload, **conditions, by=Signature(who, why, now)
            )
        generation = _read_whole(pool, new_replay)
    asked = depart and _ask_to_depart(workload)
    message = f"{generation.name}: {report.progress(generation)}"
    if generation.lane is Lane.REALTIME:
        message += " in real time, as live work leaves room"
    else:
        message += (
            "; its batches leave now" if asked else "; its batches leave off-peak (`--depart`: now)"
        )
    tell(message, {**_build_data(generation), "departure_asked": asked}, as_json=as_json)


@command
def diff(workload: str, *, generation: int | None = None, as_json: AsJson = False) -> None:
    """Show what a replay would change: share of items, by field, with examples and agreement with labels.

    Args:
        generation: Number of the replay. The default: the one that awaits a decision.
    """
    with transaction() as (connection, now):
        replays.finish(connection, now=now)
        target = promotions.choose(connection, workload, generation, preferred=DECIDED)
        comparison = promotions.compare(connection, target)
    if as_json:
        print_json({**_build_data(target), "share": comparison.share, "diff": asdict(comparison)})
    else:
        Console().print(Markdown(report.render(target, comparison)))


@command
def promote(
    workload: str, *, generation: int | None = None, why: Why = NONE_GIVEN, as_json: AsJson = False
) -> int:
    """Make a complete replay's results the current ones; the results that they replace are recorded.

    Only settled items change: an item that is open or was amended since keeps its live result.

    Args:
        generation: Number of the replay. The default: the one that awaits a decision.
    """
    return perform(Promote, workload, why, as_json, generation=generation)


@command
def demote(
    workload: str, *, generation: int | None = None, why: Why = NONE_GIVEN, as_json: AsJson = False
) -> int:
    """Reverse a promotion: the results from before it are current again.

    Args:
        generation: Number of the replay. The default: the one that awaits a decision.
    """
    return perform(Demote, workload, why, as_json, generation=generation)


@command
def drop(
    workload: str, *, generation: int | None = None, why: Why = NONE_GIVEN, as_json: AsJson = False
) -> int:
    """Drop a replay: its open work is canceled; work that is already in a batch is billed, and its answers are never shown.

    Args:
        generation: Number of the replay. The default: the one that awaits a decision.
    """
    return perform(Drop, workload, why, as_json, generation=generation)


def _build_data(generation: Generation) -> dict[str, Any]:
    selection = generation.selection.model_dump(mode="json", exclude_defaults=True)
    return {**asdict(generation), "selection": selection}


def _read_whole(pool: Engine, generation: Generation) -> Generation:
    with Progress(console=Console(stderr=True), transient=True) as bars:
        bar, latest = (
            bars.add_task("reading", total=generation.to_position - generation.from_position + 1),
            generation,
        )
        while True:
            was = latest.cursor_position
            with pool.begin() as connection:
                latest = replays.read_some(connection, generation.id, now=clock(connection))
            bars.update(bar, completed=latest.cursor_position - latest.from_position + 1)
            if latest.read_whole or latest.cursor_position == was:
                return latest


def _ask_to_depart(workload: str) -> bool:
    """Return whether Prefect accepted the request for a run of `depart`; the work waits in both cases."""
    try:
        reaching.ask_for(runs.depart(workload))
    except StandError as error:
        print(str(error), file=sys.stderr)
        return False
    return True

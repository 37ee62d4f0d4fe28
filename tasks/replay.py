"""The tasks of a replay: begin it, give its items work in chunks, and write a report of the changes it would make."""

from prefect.artifacts import acreate_markdown_artifact
from prefect.logging import get_run_logger

from lanes.report import replay as report
from lanes.rollouts.replays import EVERYTHING, Diff, Generation, Selection
from lanes.standing import runs
from lanes.store.database import Database
from lanes.store.replays import promotions, replays
from lanes.words import Signature
from tasks.runs import ask_for_run, plain_task

# no caller waits for this request; without it, the work would wait for the off-peak window
ASK_S = 30.0


@plain_task("begin replay")
async def begin_replay(
    db: Database,
    workload: str,
    *,
    version_no: int | None,
    reads: tuple[int | None, int | None],
    selection: Selection = EVERYTHING,
    who: str,
    why: str,
) -> Generation:
    """Return the workload's open replay: a new one, or an identical one whose reading was interrupted.

    `reads` are its first and last position.

    Raises:
        ActionRefused: another replay is open, or the version or range does not exist.
    """
    first, last = reads
    async with db.transaction() as run:
        by = Signature(who, why, run.now)
        request = {"version_no": version_no, "first": first, "last": last, "selection": selection}
        generation = await run(replays.begin, workload, **request, by=by)
    positions = generation.cursor_position + 1, generation.to_position
    get_run_logger().info("%s reads positions %d to %d", generation.name, *positions)
    return generation


@plain_task("read the stream again")
async def read_stream(db: Database, of: Generation) -> Generation:
    """Give all items in the replay's range work; a committed chunk is never read twice."""
    generation = of
    while not generation.read_whole:
        position = generation.cursor_position
        async with db.transaction() as run:
            generation = await run(replays.read_some, of.id, now=run.now)
        if generation.cursor_position == position:  # the replay was dropped or paused
            break
    get_run_logger().info("%s: %s", generation.name, report.progress(generation))
    return generation


async def ask_to_depart(workload: str) -> None:
    """Request a run of `depart` for the workload."""
    await ask_for_run(runs.depart(workload), limit_s=ASK_S)


@plain_task("write replay diff")
async def write_diff(db: Database, of: Generation) -> Diff:
    """Write the replay's changes as the newest version of artifact `lanes-replay-<workload>`, and return them."""
    diff = await db.run(promotions.compare, of)
    page, summary = report.render(of, diff), report.headline(of, diff)
    await acreate_markdown_artifact(page, key=report.artifact_key(of), description=summary)
    return diff

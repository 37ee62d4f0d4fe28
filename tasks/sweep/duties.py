"""What `collect` does at its ticks for work that nothing else moves on: a function for each duty of the sweep."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial

from prefect.logging import get_run_logger
from sqlalchemy import Connection

from lanes.money.pack_size import PackDecision
from lanes.settling.jobs import JobStatus
from lanes.standing import runs
from lanes.store.batch import doubts
from lanes.store.batch.ready_work import pressing
from lanes.store.database import Database
from lanes.store.doors import items
from lanes.store.figures import folding, quality
from lanes.store.money import budgets, sharing
from lanes.store.promises import slack_notes
from lanes.store.realtime import outages
from lanes.store.replays import promotions, replays
from lanes.store.settling import jobs, late_context, refusals, second_passes
from lanes.store.signals import Role, RoleLock
from lanes.store.workload import golden, workloads
from lanes.units import counted
from lanes.words import Lane
from tasks.asking import ask_for_run
from tasks.connections import Connections
from tasks.pages import JobPages
from tasks.reconcile import reconcile_unresolved
from tasks.replay import write_diff
from tasks.saving import end_lost_claims, save
from tasks.sweep.sweeper import BackgroundRequests, Duty, Sweeper

PREFECT_S = 10.0  # the longest that Prefect is waited for; `lanes diff` works without it
PROVIDER_S = 60.0  # the provider's list is read page by page
SHOWN_JOBS = 30  # the newest, which are kept up to date while they are open
MOST_ROUNDS = 10  # of one turn of folding; readers add what is left


def duties(at: Connections, background: BackgroundRequests) -> list[Duty]:
    """Return the duties of a sweep, in the order of their turns."""
    db, pages = at.db, JobPages()
    return [
        Duty("lost claims", partial(end_lost_claims, db)),
        Duty("give up", partial(give_up, db), every=timedelta(minutes=5)),  # reads all that waits
        Duty("unwanted batches", partial(cancel_unwanted, db), every=timedelta(minutes=1)),
        Duty("versions that the provider refuses", partial(move_refused, db)),
        Duty("late data", partial(amend_arrived, db)),
        Duty("late context", partial(correct_late, db), every=timedelta(minutes=1)),
        Duty("batches without an answer", partial(look_for_batches, at, background)),
        Duty("replays", partial(finish_replays, db, background)),
        Duty("jobs", partial(finish_jobs, db, background, pages), every=timedelta(seconds=5)),
        Duty("pages", partial(show_jobs, db, background, pages), every=timedelta(seconds=15)),
        Duty("golden sets", partial(judge_candidates, db)),
        Duty("deadlines", partial(depart_early, db, background)),
        Duty("pack sizes", partial(decide_pack_sizes, db), every=timedelta(seconds=30)),
        Duty("figures", partial(fold, db)),
        Duty("quality of answers", partial(watch_quality, db), every=timedelta(seconds=10)),
        Duty("second passes", partial(sample_passes, db), every=timedelta(seconds=30)),
    ]


@asynccontextmanager
async def sweeping(at: Connections) -> AsyncIterator[Sweeper]:
    """Provide a sweeper, and leave nothing running at the end."""
    background = BackgroundRequests()
    try:
        yield Sweeper(at.db, duties(at, background), background)
    finally:
        await background.close()


async def give_up(db: Database, now: datetime) -> None:
    """Give up what could not be answered for its workload's `give_up_after_h`, on either lane."""
    for lane in Lane:
        await save(db, await db.run(outages.hopeless, lane, now=now))


async def cancel_unwanted(db: Database, now: datetime) -> None:
    """Mark batches of which no item needs an answer any more; `collect` cancels them when it polls them next."""
    for each in await db.run(doubts.recall, now=now):
        said = "batch %d is cancelled: none of its items needs an answer any more"
        get_run_logger().info(said, each)


async def move_refused(db: Database, now: datetime) -> None:
    """Move the work of versions that the provider refuses to the version in force, and end stops that are over."""
    if moved := await db.run(refusals.go_on, now=now):
        what = counted(moved, "piece of work")
        get_run_logger().info("%s of refused versions goes on with the version in force", what)


async def amend_arrived(db: Database, now: datetime) -> None:
    """Apply amendments that came before their items to those that have arrived since."""
    await db.run(items.apply_waiting, now=now)


async def correct_late(db: Database, now: datetime) -> None:
    """Owe one more pass for settled items whose context has changed, in the windows of their workloads."""
    for sentence in await db.run(late_context.owe, now=now):
        get_run_logger().info("%s", sentence)


async def look_for_batches(at: Connections, background: BackgroundRequests, _: datetime) -> None:
    """Look for batches whose create brought no answer and whose submitter is gone, in the provider's list."""

    async def reconcile() -> None:
        async with RoleLock(at.db.direct_url, Role.SUBMITTER) as role:
            if await role.try_take():  # else the submitter at work does it
                await reconcile_unresolved(at)

    background.send("the provider's list of batches", reconcile, within_s=PROVIDER_S)


async def finish_replays(db: Database, background: BackgroundRequests, now: datetime) -> None:
    """Complete the replays whose work has ended, and write their reports; shadow what arrives, and hold what is paused."""
    await db.run(replays.shadow, now=now)
    await db.run(promotions.hold, now=now)
    for complete in await db.run(replays.finish, now=now):
        name = f"the report of {complete.name}"
        background.send(name, partial(write_diff, db, complete), within_s=PREFECT_S)


async def finish_jobs(
    db: Database, background: BackgroundRequests, pages: JobPages, now: datetime
) -> None:
    """Tell of the jobs that are done: by an event, in Slack, and on a page."""
    await db.run(jobs.fold)
    async with db.transaction() as run:
        done = await run(jobs.finish, now=now)
        for each in done:
            await run(slack_notes.tell_job, each, now=now)
    _show(done, background, pages, now)


async def show_jobs(
    db: Database, background: BackgroundRequests, pages: JobPages, now: datetime
) -> None:
    """Show the newest open jobs again: on their pages, and in Slack."""
    async with db.transaction() as run:
        open_ones = await run(jobs.unfinished, most=SHOWN_JOBS, now=now)
        for each in open_ones:
            await run(slack_notes.tell_job, each, now=now)
    _show(open_ones, background, pages, now)


def _show(
    of: Iterable[JobStatus], background: BackgroundRequests, pages: JobPages, now: datetime
) -> None:
    for each in of:
        name = f"the page of job {each.job_id}, {each.state}"
        background.send(name, partial(pages.write, each, now), within_s=PREFECT_S)


async def judge_candidates(db: Database, now: datetime) -> None:
    """Put candidates in force whose golden sets are answered, unless they are surely worse."""
    for run in await db.run(golden.decide, now=now):
        get_run_logger().info("workload %s: %s", run.workload, run.sentence)


async def depart_early(db: Database, background: BackgroundRequests, now: datetime) -> None:
    """Ask for a run of `depart` where a deadline presses, or an earlier run was put off: once a minute for a workload."""
    for workload in await db.run(pressing, now=now):
        wanted = runs.depart(workload).once_a_minute(f"deadline {workload}", now)
        name = f"an early departure of {workload}"
        background.send(name, partial(ask_for_run, wanted), within_s=PREFECT_S)


async def decide_pack_sizes(db: Database, now: datetime) -> None:
    """Let fewer items share a call where that hurts their answers, and more again where it does not."""
    for each in await db.run(_pack_sizes, now=now):
        get_run_logger().info("packs of %d of %d allowed: %s", each.size, each.allowed, each.why)


def _pack_sizes(connection: Connection, *, now: datetime) -> list[PackDecision]:
    return sharing.decide_all(connection, workloads.in_force(connection).values(), now=now)


async def fold(db: Database, _: datetime) -> None:
    """Move what transactions added to the figures and to spent budgets into their sums, up to a bound.

    Without it figures and budgets are slower to read, never wrong.
    """
    for move, most in ((budgets.fold, budgets.MOST), (folding.fold, folding.MOST)):
        for _round in range(MOST_ROUNDS):
            if await db.run(move) < most:
                break


async def watch_quality(db: Database, now: datetime) -> None:
    """Take what was answered since into the figures of the answers' quality; `watch` tells of those that drift."""
    await db.run(quality.fold, now=now)


async def sample_passes(db: Database, now: datetime) -> None:
    """Decide of which classes of early answers only a sample gets its second pass."""
    await db.run(second_passes.fold, now=now)

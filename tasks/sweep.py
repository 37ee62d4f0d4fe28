"""The sweeps of `collect`, which advance work that nothing else does, and the waker, which runs in the background.

Each duty runs alone and within a time limit; slow requests run in the background. The waker checks every half second for work,
items or stored events that no drain serves, and requests a drain, so that a dropped trigger costs only a second. If no drain is
kept warm, it also listens for arrivals in the event stream, which come up to a second before Prefect has stored them.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from prefect.logging import get_run_logger
from sqlalchemy import Connection

from lanes.money.pack_size import PackDecision
from lanes.realtime.drains import LOOK_EVERY_S, READ_EVERY, TRIGGER_S, Calls, Unserved
from lanes.settings import Settings
from lanes.settling.listing import JobStatus
from lanes.standing import runs
from lanes.store.batch import doubts
from lanes.store.batch.ready_work import list_pressing
from lanes.store.database import Database
from lanes.store.doors import items, unrouted
from lanes.store.figures import folding, quality
from lanes.store.money import budgets, sharing
from lanes.store.promises import slack_outbox
from lanes.store.realtime import load, outages
from lanes.store.realtime.load import call_for_drain
from lanes.store.replays import promotions, replays
from lanes.store.settling import comparisons, jobs, late_context, refusals
from lanes.store.signals import Role, RoleLock, holder_exists
from lanes.store.workload import golden, workloads
from lanes.units import pluralize
from lanes.words import Lane
from tasks.arrivals import came_late, has_arrived, subscribe, unread_since
from tasks.background import BackgroundTasks, closing
from tasks.connections import Connections
from tasks.pages import JobPages
from tasks.reconcile import reconcile_unresolved
from tasks.replay import write_diff
from tasks.runs import Troubles, ask_for_run, ask_unless_coming, summarize_error
from tasks.saving import end_lost_claims, save

Act = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Duty:
    """One duty of a sweep, for work that nothing else advances; the run's log names it if it fails."""

    name: str
    act: Callable[[datetime], Awaitable[object]]
    every: timedelta = timedelta(0)  # shortest time between two turns; zero: at every tick
    within_s: float = 10.0  # a turn that takes longer is cancelled

    def is_due(self, before: datetime | None, now: datetime) -> bool:
        """Return whether a turn is due; `before` is the start of the last turn."""
        return before is None or now - before >= self.every


class BackgroundRequests:
    """Requests to the provider and to Prefect that run in the background, one of each name at a time."""

    def __init__(self) -> None:
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._troubles = Troubles()

    async def alone(self, name: str, act: Act, *, within_s: float) -> None:
        """Run `act` within a time limit. An error is logged once until it changes or ends."""
        try:
            async with asyncio.timeout(within_s):
                await act()
            self._troubles.clear(name)
        except Exception as error:
            self._troubles.report(
                name, f"{name}: tried again at the next sweep ({summarize_error(error)})"
            )

    def send(self, name: str, act: Act, *, within_s: float) -> None:
        """Start `act` in the background, unless an earlier request of that name is still running."""
        if (earlier := self._under_way.get(name)) is None or earlier.done():
            self._under_way[name] = asyncio.create_task(self.alone(name, act, within_s=within_s))

    async def wait(self) -> None:
        """Wait until all requests have ended."""
        await asyncio.gather(*self._under_way.values())

    async def close(self) -> None:
        """Cancel all requests under way."""
        for each in self._under_way.values():
            each.cancel()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)


class Sweeper:
    """The turns of all duties; a duty that fails is logged, a duty that hangs is cancelled, and the others follow."""

    def __init__(
        self, db: Database, duties: Sequence[Duty], background: BackgroundRequests
    ) -> None:
        self._db, self._duties, self._background = db, duties, background
        self._began: dict[str, datetime] = {}

    async def sweep(self) -> None:
        """Run every duty that is due."""
        now = await self._db.now()
        for duty in self._duties:
            if duty.is_due(self._began.get(duty.name), now):
                self._began[duty.name] = now
                act = partial(duty.act, now)
                await self._background.alone(duty.name, act, within_s=duty.within_s)


WAKER_PREFECT_S = 5.0  # longest wait for Prefect, for each request of a check


class Waker:
    """The request for a drain if work is unserved and no drain is coming; an event replaces it if Prefect does not answer.

    `called` is called once that event waits to be published.
    """

    def __init__(self, db: Database, *, called: Callable[[], None] = lambda: None) -> None:
        self._db, self._called = db, called
        self._calls = Calls()
        self._looked_for_late: datetime | None = None
        self._is_served = True  # until a check finds no drain
        self.heard = asyncio.Event()
        self._newest: datetime | None = None  # newest event received since a drain was last seen
        self._troubles = Troubles()

    async def look(self) -> None:
        """Run `turn` half a second after the last check, or soon after an arrival was received."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY_S):
                await self.heard.wait()
                await asyncio.sleep(TRIGGER_S)
        self.heard.clear()
        await self.turn(await self._db.now())

    async def listen(self) -> None:
        """Receive arrivals from the event stream until a drain reads it; do nothing if a drain is to be kept warm.

        In that case, the absence of a drain is reason enough to request one.
        """
        if self._is_served or Settings.read().keep_warm:
            return
        async with subscribe() as events:
            async for event in events:
                if self._is_served:
                    return
                self.hear(event.occurred)

    def hear(self, occurred: datetime) -> None:
        """Record the arrival of an event, and check soon whether it is unread."""
        self._newest = max(occurred, self._newest or occurred)
        self.heard.set()

    async def turn(self, now: datetime) -> None:
        """Request a drain if work needs one, and none is running or coming."""
        self._is_served = await self._db.run(holder_exists, Role.ROUTER)
        if self._is_served:
            self._calls.record_drain()
            self._newest = None
            return
        if not self._calls.is_due(now):
            return
        unserved = await self._find_unserved(now)
        if not unserved.needs_a_drain:
            return
        run = replace(runs.answer(), key=f"waiting work {now:%Y-%m-%dT%H:%M:%S}")
        try:
            asked = await ask_unless_coming(run, now, limit_s=WAKER_PREFECT_S)
            self._troubles.clear("runs")
            if not asked:
                self._calls.record_coming_drain(now)
                return
        except Exception as error:
            self._troubles.report(
                "runs", f"Prefect was not asked for a drain: {summarize_error(error)}"
            )
            waiting = {"ready": unserved.ready, "received": int(unserved.received)}
            await self._db.run(call_for_drain, **waiting, now=now)
            self._called()
        self._calls.call(now)

    async def _find_unserved(self, now: datetime) -> Unserved:
        ready = (await self._db.run(load.backlog, Lane.REALTIME, now=now)).ready
        received = await self._db.run(unrouted.has_received)
        unserved = Unserved(ready, received, keep_warm=Settings.read().keep_warm > 0)
        if unserved.needs_a_drain:
            return unserved
        return Unserved(0, False, keep_warm=False, unread=await self._unread(now))

    async def _unread(self, now: datetime) -> bool:
        """Return whether events were received or stored that no drain has read; after an error, the next check tries again."""
        if self._newest is not None and self._newest >= await unread_since(self._db, now):
            return True
        try:
            async with asyncio.timeout(WAKER_PREFECT_S):
                if await has_arrived(self._db, now):
                    return True
                if self._looked_for_late is not None and now - self._looked_for_late < READ_EVERY:
                    return False
                is_unread = await came_late(self._db, now)
            self._looked_for_late = None if is_unread else now
            self._troubles.clear("stored events")
        except Exception as error:
            message = f"stored events could not be looked at: {summarize_error(error)}"
            self._troubles.report("stored events", message)
            return False
        return is_unread


@asynccontextmanager
async def waking(db: Database, called: Callable[[], None]) -> AsyncIterator[None]:
    """Run a waker until the end of the block; `called` is called after every event that calls for a drain."""
    waker = Waker(db, called=called)
    async with closing(BackgroundTasks()) as background:
        background.keep("silent drains", waker.look, every_s=0)
        background.keep("the event stream", waker.listen, every_s=LOOK_EVERY_S)
        yield


PREFECT_S = 10.0  # longest wait for Prefect; `lanes diff` works without it
PROVIDER_S = 60.0  # the provider's list is read page by page
SHOWN_JOBS = 30  # the newest open jobs, whose pages and messages are updated
MOST_ROUNDS = 10  # of one turn of folding; readers add the rest


def duties(at: Connections, background: BackgroundRequests) -> list[Duty]:
    """Return the duties of a sweep, in the order of their turns."""
    db, pages = at.db, JobPages()
    return [
        Duty("lost claims", partial(end_lost_claims, db), every=timedelta(seconds=5)),
        Duty("give up", partial(give_up, db), every=timedelta(minutes=5)),  # reads all waiting work
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
        Duty("figures", partial(fold, db), every=timedelta(seconds=5)),
        Duty("quality of answers", partial(watch_quality, db), every=timedelta(seconds=10)),
        Duty("second passes", partial(sample_passes, db), every=timedelta(seconds=30)),
    ]


@asynccontextmanager
async def sweeping(at: Connections) -> AsyncIterator[Sweeper]:
    """Yield a sweeper, and cancel its background requests at the end of the block."""
    async with closing(BackgroundRequests()) as background:
        yield Sweeper(at.db, duties(at, background), background)


async def give_up(db: Database, now: datetime) -> None:
    """Give up work that could not be answered for `give_up_after_h` hours of its workload, on either lane."""
    for lane in Lane:
        await save(db, await db.run(outages.claim_hopeless, lane, now=now))


async def cancel_unwanted(db: Database, now: datetime) -> None:
    """Mark batches whose items no longer need an answer; `collect` cancels them at the next poll."""
    for batch_id in await db.run(doubts.recall, now=now):
        message = "batch %d is cancelled: none of its items needs an answer"
        get_run_logger().info(message, batch_id)


async def move_refused(db: Database, now: datetime) -> None:
    """Move the work of versions that the provider refuses to the version in force, and end stops that no longer apply."""
    if moved := await db.run(refusals.go_on, now=now):
        what = pluralize(moved, "piece of work")
        get_run_logger().info("%s of refused versions continue with the version in force", what)


async def amend_arrived(db: Database, now: datetime) -> None:
    """Apply amendments that came before their items, once these items have arrived."""
    await db.run(items.apply_waiting, now=now)


async def correct_late(db: Database, now: datetime) -> None:
    """Add another pass for settled items whose context has changed, within the off-peak windows of their workloads."""
    for sentence in await db.run(late_context.owe, now=now):
        get_run_logger().info("%s", sentence)


async def look_for_batches(at: Connections, background: BackgroundRequests, _: datetime) -> None:
    """Search the provider's list for batches whose create got no response and whose submitter has ended."""

    async def reconcile() -> None:
        async with RoleLock(at.db.direct_url, Role.SUBMITTER) as role:
            if await role.try_take():  # otherwise the active submitter does it
                await reconcile_unresolved(at)

    background.send("the provider's list of batches", reconcile, within_s=PROVIDER_S)


async def finish_replays(db: Database, background: BackgroundRequests, now: datetime) -> None:
    """Complete replays whose work has ended and write their reports; shadow new items, and hold the work of paused replays."""
    await db.run(replays.shadow, now=now)
    await db.run(promotions.hold, now=now)
    for complete in await db.run(replays.finish, now=now):
        name = f"the report of {complete.name}"
        background.send(name, partial(write_diff, db, complete), within_s=PREFECT_S)


async def finish_jobs(
    db: Database, background: BackgroundRequests, pages: JobPages, now: datetime
) -> None:
    """Report finished jobs: by an event, in Slack and on a page."""
    await db.run(jobs.fold)
    async with db.transaction() as run:
        done = await run(jobs.finish, now=now)
        for job in done:
            await run(slack_outbox.tell_job, job, now=now)
    _show(done, background, pages, now)


async def show_jobs(
    db: Database, background: BackgroundRequests, pages: JobPages, now: datetime
) -> None:
    """Update the newest open jobs on their pages and in Slack."""
    async with db.transaction() as run:
        open_ones = await run(jobs.list_unfinished, most=SHOWN_JOBS, now=now)
        for job in open_ones:
            await run(slack_outbox.tell_job, job, now=now)
    _show(open_ones, background, pages, now)


def _show(
    shown_jobs: Iterable[JobStatus], background: BackgroundRequests, pages: JobPages, now: datetime
) -> None:
    for job in shown_jobs:
        name = f"the page of job {job.job_id}, {job.state}"
        background.send(name, partial(pages.write, job, now), within_s=PREFECT_S)


async def judge_candidates(db: Database, now: datetime) -> None:
    """Put candidates in force whose golden sets are answered, unless they are certainly worse."""
    for run in await db.run(golden.decide, now=now):
        get_run_logger().info("workload %s: %s", run.workload, run.sentence)


async def depart_early(db: Database, background: BackgroundRequests, now: datetime) -> None:
    """Request a run of `depart` where a deadline is near or an earlier run was postponed, once a minute for a workload."""
    for workload in await db.run(list_pressing, now=now):
        wanted = runs.depart(workload).once_a_minute(f"deadline {workload}", now)
        name = f"an early departure of {workload}"
        background.send(name, partial(ask_for_run, wanted), within_s=PREFECT_S)


async def decide_pack_sizes(db: Database, now: datetime) -> None:
    """Reduce the pack size where sharing a call hurts the answers, and raise it again where it does not."""
    for each in await db.run(_pack_sizes, now=now):
        get_run_logger().info("packs of %d of %d allowed: %s", each.size, each.allowed, each.why)


def _pack_sizes(connection: Connection, *, now: datetime) -> list[PackDecision]:
    return sharing.decide_all(connection, workloads.read_versions(connection).values(), now=now)


async def fold(db: Database, _: datetime) -> None:
    """Fold the deltas of figures and budgets that transactions added into their sums, up to a limit.

    Without this, figures and budgets are slower to read, but never wrong.
    """
    for move, most in ((budgets.fold, budgets.MOST), (folding.fold, folding.MOST)):
        for _round in range(MOST_ROUNDS):
            if await db.run(move) < most:
                break


async def watch_quality(db: Database, now: datetime) -> None:
    """Add new answers to the figures of answer quality; `watch` reports figures that drift."""
    await db.run(quality.fold, now=now)


async def sample_passes(db: Database, now: datetime) -> None:
    """Decide for which classes of early answers only a sample gets its second pass."""
    await db.run(comparisons.fold_passes, now=now)

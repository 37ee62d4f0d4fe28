"""A sweep: a tick of `collect` for work that nothing else moves on, and the waker beside it.

Each duty has its turn, alone and within a limit; slow requests go on beside the ticks. The waker looks every half second for
work, items or stored events that no drain serves, and asks for a drain, so that a dropped trigger costs a second. Where no
drain is kept warm, it also hears arrivals in the event stream, up to a second before Prefect has stored them.
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
from lanes.store.batch.ready_work import pressing
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
    """Something that a sweep does, because nothing else moves that work on; the run's log names it when it fails."""

    name: str
    act: Callable[[datetime], Awaitable[object]]
    every: timedelta = timedelta(0)  # from one turn to the next at least; zero: at every tick
    within_s: float = 10.0  # a turn that takes longer is ended

    def is_due(self, before: datetime | None, now: datetime) -> bool:
        """Return whether it is time for a turn; `before` is when the last one began."""
        return before is None or now - before >= self.every


class BackgroundRequests:
    """Requests to the provider and to Prefect that go on beside the ticks, one of each name at a time."""

    def __init__(self) -> None:
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._troubles = Troubles()

    async def alone(self, name: str, act: Act, *, within_s: float) -> None:
        """Run `act` within a time limit. An error is logged once, until it changes or is over."""
        try:
            async with asyncio.timeout(within_s):
                await act()
            self._troubles.clear(name)
        except Exception as error:
            self._troubles.report(
                name, f"{name}: tried again at the next sweep ({summarize_error(error)})"
            )

    def send(self, name: str, act: Act, *, within_s: float) -> None:
        """Start `act` in the background, unless the last one of that name still runs."""
        if (before := self._under_way.get(name)) is None or before.done():
            self._under_way[name] = asyncio.create_task(self.alone(name, act, within_s=within_s))

    async def wait(self) -> None:
        """Wait until everything under way has ended."""
        await asyncio.gather(*self._under_way.values())

    async def close(self) -> None:
        """Cancel everything that is under way."""
        for each in self._under_way.values():
            each.cancel()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)


class Sweeper:
    """Gives each duty its turn: one that fails is logged, one that hangs is ended, and the others follow."""

    def __init__(
        self, db: Database, duties: Sequence[Duty], background: BackgroundRequests
    ) -> None:
        self._db, self._duties, self._background = db, duties, background
        self._began: dict[str, datetime] = {}

    async def sweep(self) -> None:
        """Run every duty that is due."""
        now = await self._db.now()
        for each in self._duties:
            if each.is_due(self._began.get(each.name), now):
                self._began[each.name] = now
                act = partial(each.act, now)
                await self._background.alone(each.name, act, within_s=each.within_s)


WAKER_PREFECT_S = 5.0  # what one look waits for Prefect, each time that it asks


class Waker:
    """Asks Prefect for a drain, unless one is on its way; where Prefect does not answer, it calls for one by an event.

    `called` learns that the event waits to be published.
    """

    def __init__(
        self,
        db: Database,
        *,
        called: Callable[[], None] = lambda: None,
        limit_s: float = WAKER_PREFECT_S,
    ) -> None:
        self._db, self._called, self._limit_s = db, called, limit_s
        self._calls = Calls()
        self._looked_for_late: datetime | None = None
        self._is_served = True  # until a look finds no drain
        self.heard = asyncio.Event()
        self._newest: datetime | None = None  # event that was heard since a drain was last seen
        self._troubles = Troubles()

    async def look(self) -> None:
        """Run `turn` half a second after the last look, or soon after an arrival was heard."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY_S):
                await self.heard.wait()
                await asyncio.sleep(TRIGGER_S)
        self.heard.clear()
        await self.turn(await self._db.now())

    async def listen(self) -> None:
        """Hear arrivals in the event stream until a drain reads it; where one is kept warm, its absence is enough."""
        if self._is_served or Settings.read().keep_warm:
            return
        async with subscribe() as events:
            async for event in events:
                if self._is_served:
                    return
                self.hear(event.occurred)

    def hear(self, occurred: datetime) -> None:
        """Look soon for whether the event that occurred then is unread."""
        self._newest = max(occurred, self._newest or occurred)
        self.heard.set()

    async def turn(self, now: datetime) -> None:
        """Ask for a drain where something needs one that neither runs nor is on its way."""
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
            asked = await ask_unless_coming(run, now, limit_s=self._limit_s)
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
        received = await self._db.run(unrouted.any_received)
        seen = Unserved(ready, received, keep_warm=Settings.read().keep_warm > 0)
        if seen.needs_a_drain:
            return seen
        return Unserved(0, False, keep_warm=False, unread=await self._unread(now))

    async def _unread(self, now: datetime) -> bool:
        """Return whether events were heard or stored that no drain has read; an error is tried again at the next look."""
        if self._newest is not None and self._newest >= await unread_since(self._db, now):
            return True
        try:
            async with asyncio.timeout(self._limit_s):
                if await has_arrived(self._db, now):
                    return True
                if self._looked_for_late is not None and now - self._looked_for_late < READ_EVERY:
                    return False
                found = await came_late(self._db, now)
            self._looked_for_late = None if found else now
            self._troubles.clear("stored events")
        except Exception as error:
            said = f"stored events could not be looked at: {summarize_error(error)}"
            self._troubles.report("stored events", said)
            return False
        return found


@asynccontextmanager
async def waking(db: Database, called: Callable[[], None]) -> AsyncIterator[None]:
    """Run a waker until the end of the block; `called` learns of every call."""
    waker = Waker(db, called=called)
    async with closing(BackgroundTasks()) as beside:
        beside.keep("silent drains", waker.look, every_s=0)
        beside.keep("the event stream", waker.listen, every_s=LOOK_EVERY_S)
        yield


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
    async with closing(BackgroundRequests()) as background:
        yield Sweeper(at.db, duties(at, background), background)


async def give_up(db: Database, now: datetime) -> None:
    """Give up what could not be answered for its workload's `give_up_after_h`, on either lane."""
    for lane in Lane:
        await save(db, await db.run(outages.claim_hopeless, lane, now=now))


async def cancel_unwanted(db: Database, now: datetime) -> None:
    """Mark batches of which no item needs an answer any more; `collect` cancels them when it polls them next."""
    for each in await db.run(doubts.recall, now=now):
        said = "batch %d is cancelled: none of its items needs an answer any more"
        get_run_logger().info(said, each)


async def move_refused(db: Database, now: datetime) -> None:
    """Move the work of versions that the provider refuses to the version in force, and end stops that are over."""
    if moved := await db.run(refusals.go_on, now=now):
        what = pluralize(moved, "piece of work")
        get_run_logger().info("%s of refused versions continue with the version in force", what)


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
            await run(slack_outbox.tell_job, each, now=now)
    _show(done, background, pages, now)


async def show_jobs(
    db: Database, background: BackgroundRequests, pages: JobPages, now: datetime
) -> None:
    """Show the newest open jobs again: on their pages, and in Slack."""
    async with db.transaction() as run:
        open_ones = await run(jobs.list_unfinished, most=SHOWN_JOBS, now=now)
        for each in open_ones:
            await run(slack_outbox.tell_job, each, now=now)
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
    await db.run(comparisons.fold_passes, now=now)

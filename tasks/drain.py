"""A running `answer`: an I/O shell around one state for each account, which performs effects and reports events.

`lanes.realtime.state` makes the decisions. In the role of router, a drain also admits and routes arrived items.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime

from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from lanes.money.pack_size import PackSizes
from lanes.realtime.drains import needs_more
from lanes.realtime.health import Standstills
from lanes.settings import Settings
from lanes.store.database import Database
from lanes.store.money.sharing import read_pack_sizes
from lanes.store.realtime import load
from lanes.store.realtime.load import call_for_drain
from lanes.store.signals import Role, holder_exists, holders, list_held_roles, listening
from lanes.store.workload.accounts import LaneAccount
from lanes.words import Lane
from tasks.account_drain import FIRST_ANSWERS_S, AccountDrain, DrainPace
from tasks.background import BackgroundTasks, Wakes, take_signal
from tasks.connections import Connections
from tasks.outgoing import Publisher
from tasks.pages import Notice
from tasks.publish import VersionsToPrefect, publish
from tasks.router import Rooms, Router
from tasks.runs import stop_signals
from tasks.saving import end_lost_claims
from tasks.standing import DrainLimit, Guard, Roles, Staying, ask_for_successor, roles

ROUTE_EVERY_S = 1.0  # longest sleep, and so the longest delay after a lost notification
CHORES_EVERY_S = 5.0

SUMMARY_EVERY_S = 60.0
PREFECT_S = 10.0  # longest wait of a background task for Prefect


class Chores:
    """A drain's background tasks: routing, housekeeping, events out. Neither a backlog nor Prefect delays an answer.

    The tasks start at once and run independently until they are closed.
    """

    def __init__(
        self,
        db: Database,
        router: Router,
        accounts: Sequence[AccountDrain],
        wakes: Wakes,
        limit: DrainLimit,
    ) -> None:
        self._db, self._router, self._accounts, self._wakes = db, router, accounts, wakes
        self._limit = limit
        self._guard, self._publisher = Guard(db), Publisher(db, wake=wakes.telling)
        self._told, self._said = VersionsToPrefect(), set[str]()
        self._summed_up = 0
        self._beside = BackgroundTasks()
        keep, late = self._beside.keep, FIRST_ANSWERS_S
        keep("routing", self._route, every_s=0)
        keep("standing roles", self._guard.run, after_s=late)
        keep("events out", self._publisher.run)
        keep("lost claims", self._rescue, every_s=0)
        keep("workload blocks", self._publish_blocks, every_s=CHORES_EVERY_S, after_s=late)
        keep("more drains", self._call_for_more, every_s=CHORES_EVERY_S, after_s=late)
        keep("summary", self._sum_up, every_s=SUMMARY_EVERY_S)

    async def close(self) -> None:
        """End all background tasks, and stop reading the event stream."""
        await self._beside.close()
        await self._router.close()
        await self._guard.close()

    async def tell_the_rest(self) -> None:
        """Publish the last events, in one short try."""
        await self._publisher.try_once()

    async def _route(self) -> None:
        """As the router, route received items after each commit that may have brought some, and at least every second."""
        within_s = min(ROUTE_EVERY_S, self._router.rest_s() or ROUTE_EVERY_S)
        await take_signal(self._wakes.routing, within_s=within_s)
        await self._router.turn()

    async def _rescue(self) -> None:
        """As the router, end lost claims, first when the drain takes the role; then look for work that was not announced."""
        await take_signal(self._wakes.rescue, within_s=CHORES_EVERY_S)
        if self._router.holds:
            await end_lost_claims(self._db, await self._db.now())
        self._wakes.record_ready_work()

    async def _publish_blocks(self) -> None:
        """As the router, publish changed workload blocks as versions, and write the versions to Prefect."""
        if not self._router.holds:
            return
        async with asyncio.timeout(PREFECT_S):
            published = await publish(self._db, self._told)
        for problem in [*map(str, published.problems), *filter(None, [published.untold])]:
            if problem not in self._said:
                self._said.add(problem)
                get_run_logger().error("%s", problem)

    async def _call_for_more(self) -> None:
        """Call for another drain if work waits too long although the provider accepts calls."""
        now = await self._db.now()
        held_back = all(each.state.is_held_back(now) for each in self._accounts)
        if not self._router.holds or held_back:
            return
        waits = await self._db.look(load.backlog, Lane.REALTIME, now=now)
        drains = await self._db.look(holders, Role.DRAIN)
        if needs_more(waits.ready_since, now, drains=drains, most=self._limit.most):
            await self._db.run(call_for_drain, ready=waits.ready, now=now)

    async def _sum_up(self) -> None:
        """Log the number of items since the last summary, if there were any."""
        answered = sum(account.state.answered for account in self._accounts)
        if (done := answered - self._summed_up) > 0:
            get_run_logger().info("%d items since the last summary, %d in all", done, answered)
        self._summed_up = answered
        for account in self._accounts:
            account.performer.failures.sum_up()


class Drain:
    """The shell around the accounts of one drain: its loop, its roles, and its background tasks.

    `main` is the account of the connections that the drain was opened with; others are added when a workload names them.
    """

    def __init__(
        self,
        at: Connections,
        held: Roles,
        heard: asyncio.Event,
        now: datetime,
        sizes: PackSizes,
        pace: DrainPace,
    ) -> None:
        self._at, self._held, self._heard, self.wakes = at, held, heard, Wakes()
        self._sizes, self._pace = sizes, pace
        self._ends_at: float | None = None  # monotonic; set once the drain was asked to stop
        self._expired, self._limit = False, DrainLimit()
        self._staying = Staying(
            at.db,
            held,
            self._limit,
            busy=lambda: any(each.busy for each in self.accounts),
            idle_since=lambda: max(each.state.idle_since for each in self.accounts),
        )
        self.main = self._build_drain(at, now)
        self.accounts = [self.main]
        self._notice = Notice(at, self._standstills, limit_s=pace.notice_limit_s)
        router = Router(
            at.db,
            held.router,
            self.wakes,
            busy=lambda: any(each.performer.busy for each in self.accounts),
            rooms=Rooms(lambda: [each.at.lane_account for each in self.accounts]),
        )
        self._chores = Chores(at.db, router, self.accounts, self.wakes, self._limit)
        self._beside = BackgroundTasks()
        keep = self._beside.keep
        keep("what others commit", self._hear, every_s=0)
        keep("the limit of drains", self._limit.read, every_s=pace.limit_s)
        keep("the run's own state", self._notice.look, every_s=pace.notice_s)
        keep("accounts", self.open_accounts, every_s=pace.accounts_s)

    def _build_drain(self, at: Connections, now: datetime) -> AccountDrain:
        outlasts = self._staying.outlasts
        return AccountDrain(at, self.wakes, now, self._sizes, self._pace, outlasts=outlasts)

    def _standstills(self) -> Mapping[LaneAccount, Standstills]:
        return {each.at.lane_account: each.state.standstills for each in self.accounts}

    async def open_accounts(self) -> None:
        """Start to serve accounts that a workload has named since the last call."""
        served = {each.at.name for each in self.accounts}
        for at in await self._at.each_account():
            if at.name not in served and self._ends_at is None:
                joined = self._build_drain(at, await at.db.now())
                with suppress(DBAPIError):
                    await joined.hear_circuits()  # before the first call
                self.accounts.append(joined)
                self.wakes.record_ready_work()

    @property
    def answered(self) -> int:
        """The number of items with an attempt by this drain."""
        return sum(each.state.answered for each in self.accounts)

    def ending(self) -> int | State[int]:
        """Return the result of the run: the number of items, or during an outage a state that reports it."""
        return self._notice.ending(self.answered)

    async def stays(self) -> bool:
        """Return whether the drain continues.

        Raises:
            DBAPIError, psycopg.Error: the database was unavailable for longer than two minutes.
        """
        for account in self.accounts:
            if account.error is not None:
                raise account.error
        return self._ends_at is None and await self._staying.goes_on()

    def stop(self) -> None:
        """Claim no more work, and end within `LANES_GRACE_S` seconds, even with calls in flight."""
        grace_s = Settings.read().grace_s
        get_run_logger().info("asked to stop: calls in flight have %g s", grace_s)
        self._ends_at = time.monotonic() + grace_s
        self.wakes.loop.set()

    async def turn(self) -> None:
        """Claim work and start its calls, then wait for an event, or for the end of a buffer window or a pause."""
        await self._at.client()  # claim no work before a client can make its calls
        self.advance()
        pause_s = min(
            (account.sleeps_until - account.performer.clock()).total_seconds()
            for account in self.accounts
        )
        if not await take_signal(self.wakes.loop, within_s=max(0.0, pause_s)):
            self._expired = True

    def advance(self) -> None:
        """Report a tick to the state of each account, and perform the resulting effects."""
        looks, expired, self._expired = self.wakes.take_look_request(), self._expired, False
        for account in self.accounts:
            account.advance(looks=looks, expired=expired)

    async def close(self) -> None:
        """Release the roles, give back claimed work without a call, and wait until calls in flight are answered and saved."""
        await self._staying.close()
        await self._chores.close()
        kept_warm = self._held.keeper.held
        await self._held.release()
        await self._beside.close()
        for account in self.accounts:
            await account.stop()
        try:
            if self._ends_at is not None and kept_warm:
                await self._call_for_successor()
        finally:
            closing = (account.close(by=self._ends_at) for account in self.accounts)
            failed = await asyncio.gather(*closing, return_exceptions=True)
            await self._notice.close()
        for error in failed:
            if isinstance(error, BaseException):
                raise error
        await self._chores.tell_the_rest()

    def close_leases(self) -> None:
        """Stop renewing claims; other drains may claim the work still held once its leases expire."""
        for each in self.accounts:
            each.leases.close()

    async def _call_for_successor(self) -> None:
        """Request the next drain to keep warm, unless another drain has that role already or can take it."""
        with suppress(DBAPIError, NoConnectionFree):
            if not await self._at.db.look(list_held_roles, (Role.DRAIN, Role.KEEPER)):
                await ask_for_successor(self._at.db, Role.KEEPER)

    async def _hear(self) -> None:
        await self._heard.wait()
        self._heard.clear()
        self.wakes.record_foreign_commit()


@asynccontextmanager
async def drain(
    at: Connections, *, standing: bool, pace: DrainPace = DrainPace()
) -> AsyncIterator[Drain]:
    """Open a drain with its roles; a standing one first waits to replace the drain that is kept warm.

    The older drain ends as soon as this one waits, so this one must be ready to make calls by then.
    """
    if standing and await at.db.look(holder_exists, Role.KEEPER):
        await at.client()
    async with (
        listening(at.db.direct_url, but=at.db.sessions, of=at.db.sender) as heard,
        roles(at.db.direct_url, standing=standing) as held,
    ):
        sizes = PackSizes(await at.db.look(read_pack_sizes))
        opened = Drain(at, held, heard, await at.db.now(), sizes, pace)
        with stop_signals(opened.stop):
            try:
                with suppress(DBAPIError):
                    await opened.main.hear_circuits()  # before the first call
                yield opened
            finally:
                try:
                    await opened.close()
                finally:
                    opened.close_leases()

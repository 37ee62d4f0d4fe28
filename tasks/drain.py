"""A running `answer`: claims real-time work and has it asked. In the role of router it also admits and routes what arrived.

The loop does nothing but claim and ask. Routing, publishing and housekeeping go on beside it, so that neither a backlog nor
Prefect delays an answer.
"""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime, timedelta

import psycopg
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from lanes.claims import Claim, Claimed
from lanes.money.cost import most_answer_tokens
from lanes.packing import packs
from lanes.realtime.buffer import Buffer
from lanes.realtime.calltime import RENEW_EVERY, lease, longest_call_s
from lanes.realtime.health import Health
from lanes.realtime.pace import Pace
from lanes.realtime.shares import Entitlement, divide
from lanes.realtime.warmth import Sight, needs_more, stays
from lanes.settings import Settings
from lanes.store import outbox, work
from lanes.store.outbox import EventOut
from lanes.store.signals import Role, RoleLock, holder_exists, holders, listening
from lanes.store.workload import workloads
from lanes.words import Lane
from lanes.workload.version import Version
from tasks import notice
from tasks.answer import Answering
from tasks.beside import Beside
from tasks.connections import Connections
from tasks.guard import Guard
from tasks.notice import Notice
from tasks.outgoing import Publisher
from tasks.publish import publish
from tasks.router import Router
from tasks.saving import give_back, passes, save
from tasks.sweep import WAITING

TICK_S = 1.0  # longest sleep: a lost notification costs no more than this
LOOK_EVERY_S = 0.5  # how often roles are looked at
CHORES_EVERY_S = 5.0
SUMMARY_EVERY_S = 60.0
AWAY_S = 120.0  # how long a database may be away before the run ends
PREFECT_S = 10.0  # what a chore may wait for Prefect
UNREADABLE_REST = timedelta(minutes=1)


class HostClock:
    """The database's time, carried on by this host between two readings."""

    def __init__(self, now: datetime) -> None:
        self._now, self._read_at = now, time.monotonic()

    def __call__(self) -> datetime:
        return self._now + timedelta(seconds=time.monotonic() - self._read_at)


class Drain:
    """The loop's parts, in the order in which `flows.answer` calls them."""

    def __init__(
        self, at: Connections, alive: RoleLock, router: RoleLock, keeper: RoleLock, heard: asyncio.Event, now: datetime
    ) -> None:
        self._at = at
        self._alive, self._keeper_role = alive, keeper
        self._heard, self._to_route = heard, asyncio.Event()
        self._pace, self._health = Pace(most=at.provider.most_calls), Health()
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._held: dict[int, Claim] = {}
        self._answering = Answering(at, self._pace, self._health, held=self._held, heard=heard)
        self._router = Router(at.db, router, heard, busy=lambda: self._answering.busy)
        self._buffer = Buffer()
        self._leaving: list[list[Claimed]] = []  # packs that wait for a place
        self._versions: dict[int, Version] = {}  # of what gathers or waits for a place
        self._longest_call_s = 0.0
        self._now = HostClock(now)
        self._idle_since = now
        self._looked_at, self._database_seen = -LOOK_EVERY_S, time.monotonic()
        self._told: set[str] = set()
        self._summed_up = 0
        self._guard = Guard(at.db)
        self._renewal, self._beside = Beside(), Beside()
        self._renewal.keep("leases", self._renew, every_s=RENEW_EVERY.total_seconds())
        self._beside.keep("routing", self._route, every_s=0)
        self._beside.keep("standing roles", self._guard.run)
        self._publisher = Publisher(at.db)
        self._beside.keep("events out", self._publisher.run)
        self._beside.keep("lost claims", self._rescue, every_s=CHORES_EVERY_S)
        self._beside.keep("workload blocks", self._publish_blocks, every_s=CHORES_EVERY_S)
        self._beside.keep("more drains", self._call_for_more, every_s=CHORES_EVERY_S)
        self._beside.keep("summary", self._sum_up, every_s=SUMMARY_EVERY_S)
        self._notice = Notice(at, self._answering.standstills)
        self._beside.keep("what the run says of itself", self._notice.look, every_s=notice.EVERY_S)

    @property
    def answered(self) -> int:
        """How many items it has brought to an attempt."""
        return self._answering.answered

    def ending(self) -> int | State[int]:
        """What its run ends with: how many items it has brought to an attempt, or that nobody answers them."""
        return self._notice.ending(self.answered)

    async def stays(self) -> bool:
        """Whether the drain goes on. It outlasts a database that is away, because it may hold answers that were paid for.

        Raises:
            DBAPIError, psycopg.Error: the database was away for longer than two minutes.
        """
        if time.monotonic() - self._looked_at < LOOK_EVERY_S:
            return True
        try:
            goes_on = await self._looks()
        except (DBAPIError, NoConnectionFree, psycopg.Error) as error:
            self._away(error)
            return True
        self._looked_at = self._database_seen = time.monotonic()
        return goes_on

    async def _looks(self) -> bool:
        await self._alive.share()
        if _keeps_warm():
            await self._keeper_role.try_take()
        sight = Sight(
            keeps=self._keeper_role.held,
            wanted_by_successor=self._keeper_role.held and await self._keeper_role.wanted_by_another(),
            keeper_exists=await self._at.db.run(holder_exists, Role.KEEPER),
            idle_since=self._idle_since,
            busy=self._answering.busy or bool(self._held),
            drains=await self._at.db.run(holders, Role.DRAIN),
        )
        return stays(sight, await self._at.db.now())

    def _away(self, error: Exception) -> None:
        if time.monotonic() - self._database_seen > AWAY_S:
            raise error
        get_run_logger().warning("the database is away (%s); calls under way go on", type(error).__name__)

    async def claim(self) -> None:
        """As much of the most urgent work is ours as there are places, and windows that gather, for it."""
        try:
            await self._claim()
        except (DBAPIError, NoConnectionFree) as error:
            if not passes(error):
                raise
            self._away(error)

    async def _claim(self) -> None:
        async with self._at.db.transaction() as run:
            now = run.now
            waiting = await run(work.waiting, Lane.REALTIME, now=now)
            self._meet(waiting.values())
            most = self._wanted(waiting, now)
            claimed = await run(
                work.claim, Lane.REALTIME, most, worker=self._name, session=self._alive.session, lease=self._lease(),
                now=now,
            )  # fmt: skip
            if claimed:
                self._versions = await run(workloads.versions, {each.version_id for each in claimed} | self._carried())
        self._now = HostClock(now)
        if not claimed:
            return
        self._idle_since = now
        self._held |= {each.claim.work_id: each.claim for each in claimed}
        self._meet(self._versions.values())
        await self._put_aside([each for each in claimed if each.version_id not in self._versions], now)
        at_once = self._buffer.add([each for each in claimed if each.version_id in self._versions], self._versions, now)
        self._leaving += self._packed(at_once)

    async def ask(self) -> None:
        """What need not gather any longer is being asked, as far as places are free; the rest waits for one."""
        now = self._now()
        self._leaving += self._packed(self._buffer.take(self._versions, now))
        if not self._leaving:
            return
        self._leaving.sort(key=lambda pack: min(each.rank_at for each in pack))
        of = {pack[0].workload: self._versions[pack[0].version_id] for pack in self._leaving}
        places = self._divided({name: Entitlement.of(version) for name, version in of.items()}, of, now)
        waiting: list[list[Claimed]] = []
        for pack in self._leaving:
            name = pack[0].workload
            if places.get(name, 0) > 0:
                places[name] -= 1
                self._answering.begin(self._versions[pack[0].version_id], pack, now=now)
            else:
                waiting.append(pack)
        self._leaving = waiting

    async def wait(self) -> None:
        """Something was committed, a call ended, a window or a rest is over, or a second passed."""
        now = self._now()
        moments = [self._buffer.next_leave(self._versions), self._health.next_try(now), self._pace.rests_until]
        pause = min([TICK_S, *((each - now).total_seconds() for each in moments if each is not None and each > now)])
        with suppress(TimeoutError):
            await asyncio.wait_for(self._heard.wait(), pause)
        self._heard.clear()
        self._to_route.set()
        self._publisher.wake.set()

    async def close(self) -> None:
        """What was not asked is given back, and calls under way were answered and saved."""
        await self._beside.close()
        await self._router.close()
        await self._guard.close()
        try:
            await self._give_back_unasked()
        finally:
            await self._answering.close()
            await self._renewal.close()
            await self._notice.close()
        await self._publisher.try_once()

    async def _give_back_unasked(self) -> None:
        unasked = [each.claim for pack in (*self._leaving, self._buffer.drain()) for each in pack]
        await give_back(self._at.db, unasked, ready_at=self._now())
        for claim in unasked:
            self._held.pop(claim.work_id, None)

    def _wanted(self, waiting: Mapping[str, Version], now: datetime) -> dict[str, int]:
        """How many items of each workload to claim: for its free places, or for the window it gathers in."""
        direct = {name: Entitlement.of(version) for name, version in waiting.items() if version.spec.buffer_s == 0}
        places = self._divided(direct, waiting, now)
        most = {name: number * waiting[name].spec.pack_of(Lane.REALTIME) for name, number in places.items()}
        for name in waiting.keys() - direct.keys():
            if self._room(waiting[name], now) != 0:
                whole = self._pace.all_places * waiting[name].spec.pack_of(Lane.REALTIME)
                most[name] = max(0, whole - self._buffer.of(name) - sum(len(p) for p in self._leaving if p[0].workload == name))
        return {name: number for name, number in most.items() if number > 0}

    def _divided(self, entitled: Mapping[str, Entitlement], of: Mapping[str, Version], now: datetime) -> dict[str, int]:
        rooms = {name: room for name in entitled if (room := self._room(of[name], now)) is not None}
        return divide(
            self._pace.places(now), entitled, in_flight=self._pace.in_flight, places=self._pace.all_places, rooms=rooms
        )

    def _room(self, version: Version, now: datetime) -> int | None:
        """How many calls of a workload may begin for all that its model and its settings say; None when nothing is said."""
        if self._pace.is_resting(now) or version.workload in self._pace.resting(now):
            return 0
        model = version.spec.realtime_model
        return self._health.room(model, self._pace.of_model(model), now=now)

    def _packed(self, claimed: Iterable[Claimed]) -> list[list[Claimed]]:
        by_version: dict[int, list[Claimed]] = {}
        for each in claimed:
            by_version.setdefault(each.version_id, []).append(each)
        sizes = {id_: self._versions[id_].spec.pack_of(Lane.REALTIME) for id_ in by_version}
        return [pack for id_, theirs in by_version.items() for pack in packs(theirs, sizes[id_])]

    def _lease(self) -> timedelta:
        """Long enough for the longest call of any version that this drain has met."""
        return lease(self._longest_call_s)

    def _meet(self, versions: Iterable[Version]) -> None:
        specs = [each.spec for each in versions]
        calls = [longest_call_s(most_answer_tokens(spec, spec.pack_of(Lane.REALTIME))) for spec in specs]
        self._longest_call_s = max([self._longest_call_s, *calls])

    def _carried(self) -> set[int]:
        """The versions of what gathers or waits for a place."""
        return self._buffer.version_ids | {each.version_id for pack in self._leaving for each in pack}

    async def _put_aside(self, unreadable: list[Claimed], now: datetime) -> None:
        """Work of versions that cannot be read waits for a while; the others go on."""
        if unreadable:
            await give_back(self._at.db, [each.claim for each in unreadable], ready_at=now + UNREADABLE_REST)
            for each in unreadable:
                self._held.pop(each.claim.work_id, None)

    async def _route(self) -> None:
        """In the role of router, what was received is routed whenever something may have been committed."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._to_route.wait(), TICK_S)
        self._to_route.clear()
        await self._router.turn()

    async def _renew(self) -> None:
        claims, now = list(self._held.values()), await self._at.db.now()
        await self._at.db.run(work.renew, claims, session=self._alive.session, lease=self._lease(), now=now)

    async def _rescue(self) -> None:
        """Claims that nobody answers for any more are attempts without an answer, and ready again."""
        await save(self._at.db, await self._at.db.run(work.abandoned, now=await self._at.db.now()))

    async def _publish_blocks(self) -> None:
        """A changed workload block is in force as a version, and has its schedule, where this drain is the router."""
        if not self._router.holds:
            return
        async with asyncio.timeout(PREFECT_S):
            published = await publish(self._at.db)
        for problem in [*map(str, published.problems), *filter(None, [published.unscheduled])]:
            if problem not in self._told:
                self._told.add(problem)
                get_run_logger().error("%s", problem)

    async def _sum_up(self) -> None:
        """Once a minute the run's log says what was done, where anything was."""
        if (done := self.answered - self._summed_up) > 0:
            get_run_logger().info("%d items since the last summary, %d in all", done, self.answered)
        self._summed_up = self.answered
        self._answering.sum_up()

    async def _call_for_more(self) -> None:
        """Another drain is called for when work waits too long, though the provider takes what is asked."""
        now = await self._at.db.now()
        if not self._router.holds or self._pace.is_resting(now) or self._health.next_try(now) is not None:
            return
        backlog = await self._at.db.run(work.backlog, Lane.REALTIME, now=now)
        if needs_more(backlog.ready_since, now):
            waiting = {"ready": backlog.ready}
            await self._at.db.run(outbox.add, [EventOut(WAITING, "lanes.lane.realtime", waiting)], now=now)


def _keeps_warm() -> bool:
    """Whether one drain stays when there is nothing to do; else the last one leaves, and an event wakes the next."""
    return Settings.read().keep_warm > 0


@asynccontextmanager
async def drain(at: Connections, *, standing: bool) -> AsyncIterator[Drain]:
    """A drain with its roles; a standing one waits up to a minute to take the place of the one that is kept warm."""
    async with AsyncExitStack() as stack:
        heard = await stack.enter_async_context(listening(at.db.url))
        alive = await stack.enter_async_context(RoleLock(at.db.url, Role.DRAIN))
        await alive.share()
        router = await stack.enter_async_context(RoleLock(at.db.url, Role.ROUTER))
        keeper = await stack.enter_async_context(RoleLock(at.db.url, Role.KEEPER))
        if standing and _keeps_warm():
            await keeper.take_over(within_s=60)
        opened = Drain(at, alive, router, keeper, heard, await at.db.now())
        try:
            yield opened
        finally:
            await opened.close()

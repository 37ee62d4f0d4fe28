"""A running `answer`: claims real-time work and has it asked. In the role of router it also admits and routes what arrived.

The loop does nothing but claim and ask; everything else goes on beside it.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime

from prefect.client.schemas.objects import State
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from lanes.money.pack_size import PackSizes
from lanes.realtime.buffer import ServiceTimes
from lanes.realtime.call_limits import CallLimits
from lanes.realtime.health import Health
from lanes.realtime.pace import UNTOLD, Pace
from lanes.realtime.turns import STEPS_BACK, Turns
from lanes.store.money import sharing
from lanes.store.signals import listening
from tasks import circuits, notice
from tasks.answer import Answering
from tasks.background import BackgroundTasks
from tasks.caching import EVERY_S as CACHING_EVERY_S
from tasks.caching import Caching
from tasks.chores import FIRST_ANSWERS_S, Chores
from tasks.circuits import Circuits
from tasks.connections import Connections, HostClock
from tasks.holding import Holding
from tasks.limits import LEARN_EVERY_S, SHARE_EVERY_S, SIZES_EVERY_S, Limits
from tasks.notice import Notice
from tasks.route import Rooms
from tasks.router import Router
from tasks.saving import passes
from tasks.staying import Roles, Staying, roles
from tasks.wakes import Wakes

TICK_S = 1.0  # longest sleep: a lost notification costs no more than this


class Drain:
    """The loop's parts, in the order in which `flows.answer` calls them."""

    def __init__(
        self, at: Connections, held: Roles, heard: asyncio.Event, now: datetime, sizes: PackSizes
    ) -> None:
        self._at, self._heard, self._wakes = at, heard, Wakes()
        self._now, self._idle_since, self._left = HostClock(now), now, False
        self._claimed_at, self._closing = -TICK_S, False
        bound, health = at.provider.most_calls or None, Health()
        self._health = health
        self._pace, self._of_calls = pace, of_calls = (
            Pace(most=bound or UNTOLD, bounded=bound is not None),
            CallLimits(),
        )
        times = ServiceTimes()
        self._turns = Turns(pace, health, of_calls, sizes, times)
        self._circuits = Circuits(at, health)
        self._holding = Holding(at.db, self._turns, self._circuits.probe)
        self._caching = Caching(at.db, lambda: of_calls.needs.met)
        self._answering = Answering(
            at,
            pace,
            health,
            held=self._holding.claims,
            wakes=self._wakes,
            clock=lambda: self._now(),
            follow=self._ask_next,
            limits=of_calls,
            circuits=self._circuits,
            marks=self._caching.marks,
            times=times,
            renewed=self._holding.leases.last,
        )
        self._staying = Staying(
            at.db,
            held,
            busy=lambda: self._answering.busy or bool(self._holding.claims),
            idle_since=lambda: self._idle_since,
        )
        self._notice = Notice(at, self._answering.standstills)
        rooms = Rooms(at.provider.account, at.provider.most_calls)
        router = Router(
            at.db, held.router, self._wakes, busy=lambda: self._answering.busy, rooms=rooms
        )
        self._chores = Chores(at.db, router, self._turns, self._answering, self._wakes)
        self._to_the_last, self._beside = BackgroundTasks(), BackgroundTasks()
        self._limits = limits = Limits(at, of_calls, pace, sizes)
        self._beside.keep("the provider's limits", limits.share, every_s=SHARE_EVERY_S)
        self._beside.keep("circuits", self._share_circuits, every_s=circuits.SHARE_EVERY_S)
        self._beside.keep(
            "what calls take", limits.learn, every_s=LEARN_EVERY_S, after_s=FIRST_ANSWERS_S
        )
        self._beside.keep("pack sizes", limits.learn_sizes, every_s=SIZES_EVERY_S)
        self._beside.keep(
            "what calls share", self._caching.look, every_s=CACHING_EVERY_S, after_s=FIRST_ANSWERS_S
        )
        self._to_the_last.keep("leases", self._holding.leases.live, every_s=1.0)
        self._beside.keep("what others commit", self._hear, every_s=0)
        self._beside.keep("what the run says of itself", self._notice.look, every_s=notice.EVERY_S)

    async def look_round(self) -> None:
        """Read the shared circuits before the first call, so that no model in an outage is asked; skip it if the read fails."""
        with suppress(DBAPIError):
            await self._share_circuits()

    @property
    def answered(self) -> int:
        """The number of items that it has brought to an attempt."""
        return self._answering.answered

    def ending(self) -> int | State[int]:
        """Return the result of the run: the number of items with an attempt, or the state that no model answers them."""
        return self._notice.ending(self.answered)

    async def stays(self) -> bool:
        """Whether the drain goes on.

        Raises:
            DBAPIError, psycopg.Error: the database was away for longer than two minutes.
        """
        return await self._staying.goes_on()

    async def claim(self) -> None:
        """Claim the most urgent work, as much as there are places and open windows for it.

        Claim only once the provider's client is open, so that the work can be asked. Skip the query if the last one left
        nothing and no signal of new work has come. If every place is taken and enough was claimed ahead, query a moment later.
        Give back work that was claimed ahead when a rest begins.
        """
        await self._at.client()
        if measuring := self._turns.give_up_measuring():
            self._answering.give_back(measuring, self._now() + STEPS_BACK)
        if time.monotonic() - self._claimed_at < TICK_S and self._turns.is_supplied(self._now()):
            return
        if stranded := self._turns.give_up_ahead(self._now()):
            self._answering.give_back(stranded, self._now())
        if not self._wakes.looks() and not self._left:
            return
        self._claimed_at = time.monotonic()
        try:
            self._left = True  # for all we know, until it is told
            taken = await self._holding.claim(self._answering.give_back)
            self._now, self._left = HostClock(taken.now), not taken.all
            if taken.claimed or (
                self._left and self._health.circuits.any_open(taken.now)
            ):  # what waits is its to do
                self._idle_since = taken.now
            if taken.claimed:
                await self._holding.take_in(taken)
        except (DBAPIError, NoConnectionFree) as error:
            if not passes(error):
                raise
            self._staying.outlasts(error)

    async def ask(self) -> None:
        """What need not gather any longer is being asked, as far as places are free; the rest waits for one."""
        self._ask_next()

    async def wait(self) -> None:
        """Something was committed, a call ended, a window or a rest is over, or a second passed."""
        now = self._now()
        moment = self._turns.next_moment(now)
        pause = TICK_S if moment is None else min(TICK_S, (moment - now).total_seconds())
        pause = min(pause, self._holding.rest_s() or TICK_S)
        try:
            async with asyncio.timeout(pause):
                await self._wakes.loop.wait()
        except TimeoutError:
            self._wakes.work_is_ready()  # or may be: its rest is over, or no signal reached us
        self._wakes.loop.clear()

    async def close(self) -> None:
        """What was not asked is given back, and calls under way were answered and saved."""
        self._closing = True
        await self._beside.close()
        await self._staying.close()
        await self._chores.close()
        try:
            await self._holding.give_back_unasked(self._now())
        finally:
            await self._answering.close()
            await self._circuits.close()
            await self._to_the_last.close()
            await self._notice.close()
        await self._chores.tell_the_rest()

    def let_go(self) -> None:
        """Renew nothing any more: what is held still is another drain's once its lease ends."""
        self._holding.leases.close()

    def _ask_next(self) -> None:
        now = self._now()
        for version, pack in () if self._closing else self._turns.next_packs(now):
            self._answering.begin(version, pack, now=now)

    async def _share_circuits(self) -> None:
        """What others found out of a model that did not answer is known here, and asked of it what waits."""
        for model in await self._circuits.share(held=self._turns.held_models):
            self._answering.standstills.over(model)
            self._wakes.work_is_ready()

    async def _hear(self) -> None:
        await self._heard.wait()
        self._heard.clear()
        self._wakes.others_committed()


@asynccontextmanager
async def drain(at: Connections, *, standing: bool) -> AsyncIterator[Drain]:
    """A drain with its roles; a standing one first waits to take the place of the one that is kept warm."""
    async with (
        listening(at.db.url, but=at.db.sessions) as heard,
        roles(at.db.url, standing=standing) as held,
    ):
        sizes = PackSizes(await at.db.look(sharing.in_force))
        opened = Drain(at, held, heard, await at.db.now(), sizes)
        try:
            await opened.look_round()
            yield opened
        finally:
            try:
                await opened.close()
            finally:
                opened.let_go()

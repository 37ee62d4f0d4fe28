"""A running `answer`: a shell that performs the effects of a drain's state, and reports events to it.

`lanes.realtime.state` makes the decisions. In the role of router, a drain also admits and routes what arrived.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from lanes.money.caching import PROBED_EVERY_S
from lanes.money.pack_size import PackSizes
from lanes.realtime import events
from lanes.realtime.state import DrainState
from lanes.settings import Settings
from lanes.store.money.sharing import in_force
from lanes.store.signals import Role, holder_exists, listening
from tasks import claiming, notice, sharing
from tasks.background import BackgroundTasks
from tasks.chores import FIRST_ANSWERS_S, Chores
from tasks.claiming import Leases, QueueReader
from tasks.connections import Connections, HostClock
from tasks.effects import Performer
from tasks.notice import Notice
from tasks.router import Rooms, Router
from tasks.runs import stop_signals
from tasks.saving import passes
from tasks.sharing import CacheMarks, LimitSharing
from tasks.standing import ask_for_successor
from tasks.staying import DrainLimit, Roles, Staying, roles
from tasks.wakes import Wakes


@dataclass(frozen=True)
class DrainPace:
    """How often a drain does what goes on beside its loop."""

    renew_s: float = claiming.EVERY_S
    share_s: float = 1.0  # limits and circuits, with the other drains
    learn_s: float = 60.0  # what calls need
    sizes_s: float = 15.0  # of packs
    caching_s: float = 15.0
    trial_s: float = PROBED_EVERY_S  # between the marked calls of a version on trial
    limit_s: float = 60.0  # the number of drains that the work pool admits
    notice_s: float = 5.0
    notice_limit_s: float = notice.LIMIT_S  # how long Prefect may take to accept a notice
    first_answers_s: float = FIRST_ANSWERS_S


class Drain:
    """The shell around one drain's state: its loop, and its background tasks."""

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
        self._ends_at: float | None = None  # by the steady clock, once it was asked to stop
        self.state = state = DrainState(now, most_calls=at.provider.most_calls, sizes=sizes)
        self.leases = Leases(at.db, state.claims, every_s=pace.renew_s)
        self.marks = CacheMarks(at.db, state, trial_s=pace.trial_s)
        self._limits = LimitSharing(at, state)
        renewed, marks = self.leases.last, self.marks.marks
        self.performer = performer = Performer(
            at, state, HostClock(now), self.wakes, renewed=renewed, marks=marks
        )
        self._looking: asyncio.Task[None] | None = None
        self._error: Exception | None = None  # of a look, which ends the drain
        self._sleeps_until, self._expired = now, False
        self._limit = DrainLimit()
        self._staying = Staying(
            at.db,
            held,
            self._limit,
            busy=lambda: performer.busy or bool(state.claims),
            idle_since=lambda: state.idle_since,
        )
        self._notice = Notice(at, state.standstills, limit_s=pace.notice_limit_s)
        rooms = Rooms(at.provider.account, at.provider.most_calls)
        router = Router(at.db, held.router, self.wakes, busy=lambda: performer.busy, rooms=rooms)
        self._chores = Chores(at.db, router, performer, self.wakes, self._limit)
        self._to_the_last, self._beside = BackgroundTasks(), BackgroundTasks()
        self._to_the_last.keep("leases", self.leases.live, every_s=1.0)
        self._keep_beside(pace)

    def _keep_beside(self, pace: DrainPace) -> None:
        keep, late = self._beside.keep, pace.first_answers_s
        keep("the provider's limits", self.share_limits, every_s=pace.share_s)
        keep("circuits", self.hear_circuits, every_s=pace.share_s)
        keep("what calls need", self.learn_needs, every_s=pace.learn_s, after_s=late)
        keep("pack sizes", self._learn_sizes, every_s=pace.sizes_s)
        keep("cache marks", self.marks.look, every_s=pace.caching_s, after_s=late)
        keep("what others commit", self._hear, every_s=0)
        keep("the limit of drains", self._limit.read, every_s=pace.limit_s)
        keep("the run's own state", self._notice.look, every_s=pace.notice_s)

    async def share_limits(self) -> None:
        """Exchange the provider's limits with the other drains."""
        self.performer.tell(await self._limits.exchange())

    async def hear_circuits(self) -> None:
        """Learn which models are in an outage."""
        self.performer.tell(await sharing.hear_circuits(self._at))
        self.wakes.loop.set()

    async def learn_needs(self) -> None:
        """Learn what calls took of late."""
        self.performer.tell(await sharing.learn_needs(self._at, self.state))

    async def _learn_sizes(self) -> None:
        self.performer.tell(await sharing.learn_sizes(self._at))

    @property
    def answered(self) -> int:
        """How many items it has brought to an attempt."""
        return self.state.answered

    def ending(self) -> int | State[int]:
        """Return the result of its run: the number of items, or the state that the provider does not answer."""
        return self._notice.ending(self.answered)

    async def stays(self) -> bool:
        """Return whether the drain goes on.

        Raises:
            DBAPIError, psycopg.Error: the database was away for longer than two minutes.
        """
        if self._error is not None:
            raise self._error
        return self._ends_at is None and await self._staying.goes_on()

    def stop(self) -> None:
        """Claim no more, and end within `LANES_GRACE_S` seconds, whatever calls are in flight."""
        grace_s = Settings.read().grace_s
        get_run_logger().info("asked to stop: calls in flight have %g s", grace_s)
        self._ends_at = time.monotonic() + grace_s
        self.wakes.loop.set()

    async def turn(self) -> None:
        """Claim and ask what may be now, then wait for something to happen: an event, or the end of a window or a rest."""
        await self._at.client()  # work is claimed once it can be asked
        self.advance()
        pause_s = (self._sleeps_until - self.performer.clock()).total_seconds()
        try:
            async with asyncio.timeout(max(0.0, pause_s)):
                await self.wakes.loop.wait()
        except TimeoutError:
            self._expired = True
        self.wakes.loop.clear()

    def advance(self) -> None:
        """Tell the state of the time, and perform what follows."""
        if self.wakes.looks():
            self.performer.tell(events.WorkMayBeReady())
        expired, self._expired = self._expired, False
        for effect in self.performer.tell(events.Tick(expired)):
            match effect:
                case events.LookAtQueue():
                    self._looking = asyncio.create_task(self._look(effect))
                case events.Sleep(until):
                    self._sleeps_until = until
                case _:
                    raise TypeError(f"a tick has no effect {effect}")

    async def close(self) -> None:
        """Release the roles and give back what was not asked; wait until calls in flight are answered and saved."""
        await self._staying.close()
        await self._chores.close()
        kept_warm = self._held.keeper.held
        await self._held.release()
        await self._beside.close()
        if self._looking is not None:
            await self._looking
        self.performer.tell(events.Stop())
        try:
            if self._ends_at is not None and kept_warm:
                await self._call_for_successor()
            await self.performer.close(by=self._ends_at)
        finally:
            await self._to_the_last.close()
            await self._notice.close()
        await self._chores.tell_the_rest()

    async def _call_for_successor(self) -> None:
        """Ask for the drain that is kept warm next, unless one that lives takes that role."""
        with suppress(DBAPIError, NoConnectionFree):
            if not await self._at.db.look(holder_exists, Role.DRAIN):
                await ask_for_successor(self._at.db, Role.KEEPER)

    async def _look(self, look: events.LookAtQueue) -> None:
        """Look at the queue and claim, step by step on one connection."""
        reader: QueueReader | None = None
        try:
            async with self._at.db.statements() as run:
                self.performer.clock.read(run.now)
                reader = QueueReader(self._at.db, run, self.leases)
                steps = deque[events.LookAtQueue | events.TakeProbes | events.ClaimWork]([look])
                while steps:
                    for event in await reader.perform(steps.popleft()):
                        steps.extend(self.performer.tell(event))  # pyright: ignore[reportArgumentType]
        except Exception as error:
            claims = [each.claim for each in reader.claimed] if reader else []
            self.performer.tell(events.LookFailed(claims))
            is_away = isinstance(error, DBAPIError | NoConnectionFree) and passes(error)
            if not is_away or not self._staying.outlasts(error):
                self._error = error
        self.wakes.loop.set()

    async def _hear(self) -> None:
        await self._heard.wait()
        self._heard.clear()
        self.wakes.others_committed()


@asynccontextmanager
async def drain(
    at: Connections, *, standing: bool, pace: DrainPace = DrainPace()
) -> AsyncIterator[Drain]:
    """Open a drain with its roles; a standing one first waits to take the place of the drain that is kept warm."""
    async with (
        listening(at.db.direct_url, but=at.db.sessions) as heard,
        roles(at.db.direct_url, standing=standing) as held,
    ):
        sizes = PackSizes(await at.db.look(in_force))
        opened = Drain(at, held, heard, await at.db.now(), sizes, pace)
        with stop_signals(opened.stop):
            try:
                with suppress(DBAPIError):
                    await opened.hear_circuits()  # before anything is asked
                yield opened
            finally:
                try:
                    await opened.close()
                finally:
                    opened.leases.close()  # what is held still is another drain's once its lease ends

"""The part of a drain that serves one account: its state, its claims and its calls.

A drain has one for each account, so that the limits, circuits and refusals of one account hold up no work of another.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from lanes.money.caching import PROBED_EVERY_S
from lanes.money.pack_size import PackSizes
from lanes.realtime import events
from lanes.realtime.state import DrainState
from tasks import claiming, notice, sharing
from tasks.background import BackgroundTasks, Wakes
from tasks.claiming import Leases, QueueReader
from tasks.connections import Connections, HostClock
from tasks.effects import Performer
from tasks.saving import passes
from tasks.sharing import CacheMarks, LimitSharing

FIRST_ANSWERS_S = 2.0  # a drain that begins has them first: what woke it has waited for its process


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
    accounts_s: float = 5.0  # which accounts the workloads name
    notice_s: float = 5.0
    notice_limit_s: float = notice.LIMIT_S  # how long Prefect may take to accept a notice
    first_answers_s: float = FIRST_ANSWERS_S


class AccountDrain:
    """The shell around the state of one account. `outlasts` says whether the drain goes on after an error of the database."""

    def __init__(
        self,
        at: Connections,
        wakes: Wakes,
        now: datetime,
        sizes: PackSizes,
        pace: DrainPace,
        *,
        outlasts: Callable[[Exception], bool],
    ) -> None:
        self.at, self._wakes, self._outlasts = at, wakes, outlasts
        self.state = state = DrainState(now, most_calls=at.provider.most_calls, sizes=sizes)
        self.leases = Leases(at.db, state.claims, every_s=pace.renew_s)
        self.marks = CacheMarks(at.db, state, trial_s=pace.trial_s)
        self._limits = LimitSharing(at, state)
        renewed, marks = self.leases.last, self.marks.marks
        self.performer = Performer(at, state, HostClock(now), wakes, renewed=renewed, marks=marks)
        self.sleeps_until = now
        self.error: Exception | None = None  # of a look, which ends the drain
        self._looking: asyncio.Task[None] | None = None
        self._to_the_last, self._beside = BackgroundTasks(), BackgroundTasks()
        self._to_the_last.keep("leases", self.leases.live, every_s=1.0)
        keep, late = self._beside.keep, pace.first_answers_s
        keep("the provider's limits", self.share_limits, every_s=pace.share_s)
        keep("circuits", self.hear_circuits, every_s=pace.share_s)
        keep("what calls need", self.learn_needs, every_s=pace.learn_s, after_s=late)
        keep("pack sizes", self._learn_sizes, every_s=pace.sizes_s)
        keep("cache marks", self.marks.look, every_s=pace.caching_s, after_s=late)

    @property
    def busy(self) -> bool:
        """Whether calls are in flight, claims are held, or something is not written yet."""
        return self.performer.busy or bool(self.state.claims)

    async def share_limits(self) -> None:
        """Exchange the provider's limits with the other drains."""
        self.performer.tell(await self._limits.exchange())

    async def hear_circuits(self) -> None:
        """Learn which models are in an outage."""
        self.performer.tell(await sharing.hear_circuits(self.at))
        self._wakes.loop.set()

    async def learn_needs(self) -> None:
        """Learn what calls took recently."""
        self.performer.tell(await sharing.learn_needs(self.at, self.state))

    async def _learn_sizes(self) -> None:
        self.performer.tell(await sharing.learn_sizes(self.at))

    def advance(self, *, looks: bool, expired: bool) -> None:
        """Tell the state of the time, and of work that may be ready if the drain `looks`; perform what follows."""
        if looks:
            self.performer.tell(events.WorkMayBeReady())
        for effect in self.performer.tell(events.Tick(expired)):
            match effect:
                case events.LookAtQueue():
                    self._looking = asyncio.create_task(self._look(effect))
                case events.Sleep(until):
                    self.sleeps_until = until
                case _:
                    raise TypeError(f"a tick has no effect {effect}")

    async def stop(self) -> None:
        """End what goes on beside the calls, and give back what was not asked."""
        await self._beside.close()
        if self._looking is not None:
            await self._looking
        self.performer.tell(events.Stop())

    async def close(self, *, by: float | None) -> None:
        """Wait until calls in flight are answered and saved, at most until `by` of the steady clock."""
        try:
            await self.performer.close(by=by)
        finally:
            await self._to_the_last.close()

    async def _look(self, look: events.LookAtQueue) -> None:
        """Look at the queue and claim, step by step on one connection."""
        reader: QueueReader | None = None
        try:
            async with self.at.db.statements() as run:
                self.performer.clock.read(run.now)
                reader = QueueReader(self.at, run, self.leases)
                steps = deque[events.LookAtQueue | events.TakeProbes | events.ClaimWork]([look])
                while steps:
                    for event in await reader.perform(steps.popleft()):
                        steps.extend(self.performer.tell(event))  # pyright: ignore[reportArgumentType]
        except Exception as error:
            claims = [each.claim for each in reader.claimed] if reader else []
            self.performer.tell(events.LookFailed(claims))
            is_away = isinstance(error, DBAPIError | NoConnectionFree) and passes(error)
            if not is_away or not self._outlasts(error):
                self.error = error
        self._wakes.loop.set()

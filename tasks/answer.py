"""The real-time lane's calls: packs are asked concurrently, and their answers are saved as they come in.

No pack waits for another, and no answer waits for another session's open transaction. Every call ends in attempts, even a
failed one. Attempts that cannot be saved yet are kept, their leases are renewed, and they are saved later.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from prefect.logging import get_run_logger
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from lanes.ids import WorkId
from lanes.packing import Claim, ClaimedWork
from lanes.promises.assessment import Assessment
from lanes.provider.client import CallResult, answer
from lanes.provider.errors import unforeseen
from lanes.provider.requests import Writers
from lanes.realtime.buffer import ServiceTimes
from lanes.realtime.call_limits import CallLimits
from lanes.realtime.health import Health, Standstills
from lanes.realtime.pace import FREEZE, Pace
from lanes.settling.outcome import Attempt
from lanes.store import incidents
from lanes.words import Lane, Outcome
from lanes.workload.prices import Usage
from lanes.workload.version import Version
from tasks.circuits import Circuits
from tasks.connections import Connections
from tasks.saving import give_back, passes, save
from tasks.wakes import Wakes
from tasks.weighing import FailureLog, Weighing, work_of

MOST = 500  # calls whose items are saved in one transaction
BESIDE_S = (
    0.5  # how long a save may keep the next one waiting; after that they go on beside each other
)
MANY = 16  # from this many calls in flight on, answers that end close together are saved together
APART_S = 0.05  # between the starts of two such saves
AGAIN_S = 1.0  # between two tries to save what others hold
CLOSING_S = 120.0  # how long a closing drain waits for those others
T = TypeVar("T")


class Answering:
    """The packs under way.

    `held` are the claims that this process answers for; `wakes` hears of free places and of what is saved, and `follow`
    is called where a call was answered; `clock` carries the database's time on. `marks` says whether the next call
    marks what it shares; `times` learns how long calls take. A call begins only for claims that were `renewed` lately.
    """

    def __init__(
        self,
        at: Connections,
        pace: Pace,
        health: Health,
        *,
        held: dict[WorkId, Claim],
        wakes: Wakes,
        clock: Callable[[], datetime],
        follow: Callable[[], None] = lambda: None,
        limits: CallLimits | None = None,
        circuits: Circuits | None = None,
        marks: Callable[[Version], bool] = lambda _: False,
        times: ServiceTimes | None = None,
        renewed: Callable[[Iterable[Claim]], bool] = lambda _: True,
    ) -> None:
        self._at, self._pace, self._health = at, pace, health
        self._held, self._wakes, self._clock, self._follow = held, wakes, clock, follow
        self._limits, self._circuits, self._marks = (
            limits or CallLimits(),
            circuits or Circuits(at, health),
            marks,
        )
        self._calls: set[asyncio.Task[None]] = set()
        self._saves: set[asyncio.Task[None]] = set()
        self._ended: asyncio.Queue[tuple[Version, CallResult]] = asyncio.Queue()
        self._saver = asyncio.create_task(self._save_what_ends())
        self._renewed = renewed
        self._writers, self._failure_log = Writers(Lane.REALTIME), FailureLog()
        self.standstills, self.answered = Standstills(), 0
        self._weighing = Weighing(
            pace,
            health,
            self.standstills,
            times=times or ServiceTimes(),
            account=at.provider.account,
            flow_run_id=at.flow_run_id,
        )

    @property
    def busy(self) -> bool:
        """Whether calls are under way, or answers are not saved yet."""
        return bool(self._calls or self._saves) or not self._ended.empty()

    def begin(self, version: Version, pack: Sequence[ClaimedWork], *, now: datetime) -> None:
        """The pack is being asked."""
        self._pace.began(version.workload, version.spec.realtime_model, measures=pack[0].measures)
        self._limits.begun(version, pack, now)
        self._health.circuits.began(version.spec.realtime_model, work_of(pack))
        self._run(self._ask(version, pack), self._calls)

    def give_back(self, unasked: Sequence[ClaimedWork], at: datetime) -> None:
        """They are being made ready again, to be asked from then on."""
        self._run(self._given_back([each.claim for each in unasked], at), self._saves)

    def sum_up(self) -> None:
        """What goes on failing stands in the run's log."""
        self._failure_log.sum_up()

    async def idle(self) -> None:
        """Every call has ended, and what it brought is saved."""
        while self.busy:
            if under_way := {*self._calls, *self._saves}:
                await asyncio.wait(under_way, timeout=BESIDE_S)
            await asyncio.sleep(0)

    async def close(self) -> None:
        """Calls under way were answered and saved, but for what others hold to the last."""
        try:
            await asyncio.gather(*self._calls)
            async with asyncio.timeout(CLOSING_S):
                await self.idle()
        except TimeoutError:
            get_run_logger().error(
                "%d items are in open transactions of others: what they cost is in the ledger, and they will be asked again",
                len(self._held),
            )
        finally:
            for task in (self._saver, *self._saves):
                task.cancel()
            await asyncio.gather(self._saver, *self._saves, return_exceptions=True)
            self.sum_up()

    async def _ask(self, version: Version, pack: Sequence[ClaimedWork]) -> None:
        left, used, requests, well, maybe_billed = (
            {each.claim: each for each in pack},
            list[Usage](),
            0,
            False,
            False,
        )

        def hear(headers: Mapping[str, str]) -> None:
            self._limits.heard(version, pack, headers, self._clock())

        async def begin(part: Sequence[ClaimedWork]) -> Sequence[ClaimedWork]:
            if self._renewed(each.claim for each in part):
                return part
            self.give_back(part, self._clock())
            for each in part:
                left.pop(each.claim, None)
            return []

        try:
            if kept := await begin(pack):
                client, writer, marked = (
                    await self._at.client(),
                    self._writers.of(version),
                    self._marks(version),
                )
                patience = self._health.patience(
                    version.spec.realtime_model, max(each.failures for each in kept)
                )
                async for called in answer(
                    client, writer, kept, patience=patience, hear=hear, marked=marked, begin=begin
                ):
                    requests += 1
                    used += [called.response.usage] if called.response is not None else []
                    maybe_billed = maybe_billed or (
                        called.failure is not None and called.failure.maybe_billed
                    )
                    for each in (*called.pack, *called.untried):
                        left.pop(each.claim, None)
                    self._ended.put_nowait((version, called))
                    well = called.response is not None
            if not requests:
                self._health.circuits.not_asked(version.spec.realtime_model, work_of(pack))
        except Exception as error:  # an unforeseen error: its items get their attempts all the same
            get_run_logger().error("a pack of %s broke", version.workload, exc_info=error)
            self._ended.put_nowait(
                (
                    version,
                    CallResult([*left.values()], 0, time.monotonic(), failure=unforeseen(error)),
                )
            )
            maybe_billed = True
        finally:  # its place is free first of all: nothing that goes wrong with what follows keeps it
            self._pace.ended(
                version.workload, version.spec.realtime_model, measures=pack[0].measures
            )
            self._wakes.place_is_free()
            self._limits.ended(
                pack, used, self._clock(), requests=requests, maybe_billed=maybe_billed
            )
            if well:  # what a failure means for the next calls is weighed first
                self._follow()

    async def _save_what_ends(self) -> None:
        """Save packs that have ended together in one transaction; a save that waits for a lock delays no other save."""
        while True:
            ended, began = [await self._ended.get()], time.monotonic()
            while not self._ended.empty() and len(ended) < MOST:
                ended.append(self._ended.get_nowait())
            await asyncio.wait({self._run(self._save(ended), self._saves)}, timeout=BESIDE_S)
            if len(self._calls) >= MANY:
                await asyncio.sleep(began + APART_S - time.monotonic())

    async def _save(self, ended: Sequence[tuple[Version, CallResult]]) -> None:
        """Everything that these calls led to is in the database; tried until it is."""
        then = self._weighing.of(ended, self._clock())
        self._failure_log.met(then.failures)
        await asyncio.gather(
            self._all_saved(then.attempts),
            *(self._given_back(claims, ready_at) for ready_at, claims in then.untried.items()),
            *(
                self._outlasting(lambda breach=breach: self._open(breach))
                for breach in then.breaches.values()
            ),
            *map(self._outlasting, self._circuits.to_tell(then)),
        )
        self._wakes.saved(
            again=bool(then.untried)
            or any(each.judged.outcome is not Outcome.VALID for each in then.attempts)
        )

    async def _all_saved(self, some: Sequence[Attempt]) -> None:
        """Save the attempts. What cannot be saved at all is held no longer: its lease ends, and it is booked as lost."""
        try:
            while some:
                some = await self._saved(some)
                if some:
                    await asyncio.sleep(AGAIN_S)
        except Exception:
            for each in some:
                self._let_go(each.claim)
            raise

    async def _saved(self, some: Sequence[Attempt]) -> Sequence[Attempt]:
        """Save the attempts and return those that others hold still. The lease of one that the database refuses ends."""
        done = await self._outlasting(
            lambda: save(self._at.db, some, flow_run_id=self._at.flow_run_id)
        )
        for name in done.stopped:
            self._pace.rest_workload(name, self._clock() + FREEZE)
        waiting = {each.claim for each in done.passed_over}
        for each in some:
            if each.claim not in waiting:
                self._let_go(each.claim)
        self.answered += len(some) - len(waiting) - len(done.refused)
        return done.passed_over

    async def _given_back(self, claims: Sequence[Claim], ready_at: datetime) -> None:
        left = claims
        while True:
            left = await self._outlasting(
                lambda left=left: give_back(self._at.db, left, ready_at=ready_at)
            )
            if not left:
                break
            await asyncio.sleep(AGAIN_S)
        for claim in claims:
            self._let_go(claim)

    def _let_go(self, claim: Claim) -> None:
        """Answer for the claim no longer; a newer claim of the same work stays held."""
        if self._held.get(claim.work_id) == claim:
            del self._held[claim.work_id]

    async def _open(self, breach: Assessment) -> None:
        await self._at.db.run(incidents.open, breach, now=await self._at.db.now())

    async def _outlasting(self, act: Callable[[], Awaitable[T]]) -> T:
        """What `act` returns, however long the database is away: what was paid for is kept until it can be saved."""
        while True:
            try:
                return await act()
            except (DBAPIError, NoConnectionFree) as error:
                if not passes(error):
                    raise
                await asyncio.sleep(AGAIN_S)

    def _run(
        self, what: Coroutine[Any, Any, None], among: set[asyncio.Task[None]]
    ) -> asyncio.Task[None]:
        task = asyncio.create_task(what)
        among.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            among.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                get_run_logger().error("%s broke", task.get_name(), exc_info=error)

        task.add_done_callback(ended)
        return task

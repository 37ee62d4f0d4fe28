"""The effects of a drain's state: calls for packs, and writes of their results.

Packs are called concurrently. No pack waits for another, and no answer waits for an open transaction of another session: a
result that cannot be saved yet is kept, its claim is renewed, and it is saved later.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from prefect.logging import get_run_logger
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from lanes.packing import Claim, ClaimedWork
from lanes.promises.breaches import frozen, unknown_model
from lanes.provider.client import CallResult, answer
from lanes.provider.errors import Action, CallFailed, unforeseen
from lanes.provider.requests import Writers
from lanes.realtime import events
from lanes.realtime.health import Blame
from lanes.realtime.state import DrainState
from lanes.routing.capacity import Need
from lanes.settling.outcome import Attempt
from lanes.store import incidents
from lanes.words import Lane, Outcome
from lanes.workload.prices import Usage
from lanes.workload.version import Version
from tasks.background import Wakes
from tasks.connections import Connections, HostClock
from tasks.saving import give_back, is_transient, save
from tasks.sharing import publish_circuit
from tasks.weighing import FailureLog, call_ended, list_attempts

MOST = 500  # calls whose items are saved in one transaction
BESIDE_S = 0.5  # how long a write may delay the next one; after that, both run concurrently
URGENT_BESIDE_S = 0.1  # the same, if an urgent answer waits
MANY = 16  # with this many calls in flight, answers are collected and saved together:
APART_S = 0.05  # time between the starts of two writes
ASIDE_S = 0.5  # answers that no sender waits for are collected this long, so that few of their writes delay live ones
AGAIN_S = 1.0  # between two tries to write rows that others hold
CLOSING_S = 120.0  # how long an ending drain waits for others' locks
SAVING_S = 5.0  # reserved for saving, out of the grace period of a stopping drain
T = TypeVar("T")


@dataclass
class WriteBatch:
    """Effects that are written together."""

    saves: list[events.Save] = field(default_factory=list[events.Save])
    claims: dict[tuple[datetime, bool], list[Claim]] = field(default_factory=dict)  # given back
    freezes: dict[str, events.ReportFreeze] = field(default_factory=dict[str, events.ReportFreeze])
    circuits: dict[str, events.CircuitNews] = field(default_factory=dict[str, events.CircuitNews])

    def add(self, effect: events.Effect) -> None:
        """Add an effect. Of several for one incident the last is written, and those for one circuit are merged."""
        match effect:
            case events.Save():
                self.saves.append(effect)
            case events.GiveBack(claims, ready_at, again):
                self.claims.setdefault((ready_at, again), []).extend(claims)
            case events.ReportFreeze():
                self.freezes[effect.workload if effect.model else ""] = effect
            case events.CircuitNews():
                earlier = self.circuits.get(effect.model)
                self.circuits[effect.model] = effect if earlier is None else earlier.join(effect)
            case _:
                raise TypeError(f"{type(effect).__name__} is not written")


class Performer:
    """The execution of a drain's effects; their results are reported to its state.

    `renewed` returns whether claims were renewed recently enough for a call to start, `marks` whether a call marks its shared
    prefix for the provider's cache.
    """

    def __init__(
        self,
        at: Connections,
        state: DrainState,
        clock: HostClock,
        wakes: Wakes,
        *,
        renewed: Callable[[Iterable[Claim]], bool] = lambda _: True,
        marks: Callable[[Version], bool] = lambda _: False,
    ) -> None:
        self.state, self.clock, self.failures = state, clock, FailureLog()
        self.many, self.apart_s = MANY, APART_S
        self._at, self._wakes, self._renewed, self._marks = at, wakes, renewed, marks
        self._calls, self._writes = set[asyncio.Task[None]](), set[asyncio.Task[None]]()
        self._queue, self._aside = asyncio.Queue[events.Effect](), asyncio.Queue[events.Effect]()
        self._writers, self._ends_soon = Writers(Lane.REALTIME), False
        self._urgent_waits = False  # whether an urgent answer waits for its write
        self._writing = asyncio.create_task(self._write_on())
        self._writing_aside = asyncio.create_task(self._write_aside())

    @property
    def busy(self) -> bool:
        """Whether calls are in flight, or an effect is not written yet."""
        waits = not self._queue.empty() or not self._aside.empty()
        return bool(self._calls or self._writes) or waits

    def tell(self, event: events.Event) -> list[events.Effect]:
        """Report an event to the state, perform the effects, and return those that only the drain's loop performs.

        If the state fails on an ended call, the call's attempts and cost are saved nevertheless.
        """
        try:
            effects = self.state.on(event, self.clock())
        except Exception as error:
            if not isinstance(event, events.CallEnded):
                raise
            name = event.pack.workload
            get_run_logger().error("nothing is learned from a call of %s", name, exc_info=error)
            untried = [each.claim for each in event.untried]
            effects = [events.Save(event), events.GiveBack(untried, self.clock(), again=True)]
        return self.perform(effects)

    def perform(self, effects: Iterable[events.Effect]) -> list[events.Effect]:
        """Begin calls and writes; return the other effects."""
        loop_effects: list[events.Effect] = []
        for effect in effects:
            match effect:
                case events.AskPack():
                    self._run(self._ask(effect), self._calls)
                case events.Save(call) if call.pack.measures:
                    self._aside.put_nowait(effect)
                case (
                    events.Save() | events.GiveBack() | events.ReportFreeze() | events.CircuitNews()
                ):
                    if isinstance(effect, events.Save):
                        self._urgent_waits |= any(each.urgent for each in effect.call.items)
                    self._queue.put_nowait(effect)
                case _:
                    loop_effects.append(effect)
        return loop_effects

    async def close(self, *, by: float | None = None) -> None:
        """Wait until calls in flight have ended and everything is written, except rows that others keep locked.

        With `by`, a time of the monotonic clock, calls that last too long are cancelled and their attempts are `unknown`.
        """
        self._ends_soon = by is not None
        try:
            if self._calls:
                left_s = None if by is None else max(0.0, by - SAVING_S - time.monotonic())
                _, late_calls = await asyncio.wait(self._calls, timeout=left_s)
                for call in late_calls:
                    call.cancel()
            async with asyncio.timeout(CLOSING_S if by is None else by - time.monotonic()):
                while self.busy:
                    if under_way := {*self._calls, *self._writes}:
                        await asyncio.wait(under_way, timeout=BESIDE_S)
                    await asyncio.sleep(0)
        except TimeoutError:
            get_run_logger().error(
                "%d items are locked by open transactions of others: their cost is in the ledger, and they will be asked again",
                len(self.state.claims),
            )
        finally:
            tasks = self._writing, self._writing_aside, *self._writes
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.failures.sum_up()

    async def _ask(self, ask: events.AskPack) -> None:
        """Call the provider for a pack; report each call and the end to the state, even after an error."""
        pack, remaining = ask.pack, {each.claim: each for each in ask.pack.items}
        not_asked, usages = list[ClaimedWork](), list[Usage]()
        requests, is_known = 0, True

        def hear(headers: Mapping[str, str]) -> None:
            self.tell(events.HeadersHeard(pack, headers))

        async def begin(part: Sequence[ClaimedWork]) -> Sequence[ClaimedWork]:
            if not self._ends_soon and self._renewed(each.claim for each in part):
                return part
            not_asked.extend(part)
            for each in part:
                remaining.pop(each.claim, None)
            return []

        try:
            if startable := await begin(pack.items):
                client, writer = await self._at.client(), self._writers.of(pack.version)
                marked = self._marks(pack.version)
                async for called in answer(
                    client,
                    writer,
                    startable,
                    patience=ask.patience,
                    hear=hear,
                    marked=marked,
                    begin=begin,
                ):
                    requests += 1
                    usages += [] if called.response is None else [called.response.usage]
                    is_known = is_known and not (called.failure and called.failure.maybe_billed)
                    for each in (*called.pack, *called.untried):
                        remaining.pop(each.claim, None)
                    self.tell(call_ended(pack, called, self.clock()))
        except asyncio.CancelledError:  # the drain has to end: the state learns nothing from it
            failure = CallFailed(
                Action.RETRY, "cut, because the drain had to stop", maybe_billed=True
            )
            ended = CallResult([*remaining.values()], 0, time.monotonic(), failure=failure)
            self.perform([events.Save(call_ended(pack, ended, self.clock()), Blame.PROVIDER)])
            requests, is_known = requests + 1, False
        except Exception as error:  # unforeseen: the items get attempts nevertheless
            get_run_logger().error("a pack of %s broke", pack.workload, exc_info=error)
            broken = CallResult(
                [*remaining.values()], 0, time.monotonic(), failure=unforeseen(error)
            )
            self.tell(call_ended(pack, broken, self.clock()))
            requests, is_known = requests + 1, False
        finally:
            counted = sum(each.input + each.cache_write for each in usages)
            need = Need(counted, sum(each.output for each in usages), requests)
            self.tell(events.PackEnded(pack, need if is_known else None, not_asked))
            self._wakes.record_free_place()

    async def _write_on(self) -> None:
        """Write queued effects in batches; a write that waits for locks does not delay later ones for long."""
        while True:
            first, began = await self._queue.get(), time.monotonic()
            self._urgent_waits = False
            writing = self._write_from(self._queue, first)
            while not writing.done() and time.monotonic() < began + BESIDE_S:
                await asyncio.wait({writing}, timeout=URGENT_BESIDE_S)
                if self._urgent_waits:
                    break
            if sum(self.state.places.owed_calls.values()) >= self.many:
                await asyncio.sleep(began + self.apart_s - time.monotonic())

    async def _write_aside(self) -> None:
        """Write answers that no sender waits for, one write at a time, concurrently with live ones."""
        while True:
            await asyncio.sleep(ASIDE_S)
            await asyncio.wait({self._write_from(self._aside, await self._aside.get())})

    def _write_from(
        self, queue: asyncio.Queue[events.Effect], first: events.Effect
    ) -> asyncio.Task[None]:
        """Start a write of the effect and those queued behind it."""
        batch = WriteBatch()
        batch.add(first)
        while not queue.empty() and len(batch.saves) < MOST:
            batch.add(queue.get_nowait())
        return self._run(self._write(batch), self._writes)

    async def _write(self, batch: WriteBatch) -> None:
        """Write the batch, with retries until everything is written."""
        attempts: list[Attempt] = []
        for each in batch.saves:
            made, failures = list_attempts(each)
            attempts += made
            self.failures.report(failures)
        await asyncio.gather(
            self._save(attempts),
            *(self._give_back(*how, claims) for how, claims in batch.claims.items()),
            *(self._retry(lambda it=it: self._report(it)) for it in batch.freezes.values()),
            *(self._retry(lambda it=it: self._publish(it)) for it in batch.circuits.values()),
        )
        self._wakes.record_save()

    async def _save(self, some: Sequence[Attempt]) -> None:
        """Save the attempts. If this fails for good, release the claims: their leases expire, and they are recorded as lost."""
        again = any(each.judged.outcome is not Outcome.VALID for each in some)
        try:
            while some:
                result = await self._retry(
                    lambda some=some: save(self._at.db, some, flow_run_id=self._at.flow_run_id)
                )
                locked_claims = {each.claim for each in result.passed_over}
                claims = [each.claim for each in some if each.claim not in locked_claims]
                count = len(claims) - len(result.refused)
                self.tell(events.AttemptsSaved(claims, count, again, [*result.stopped]))
                if some := result.passed_over:
                    await asyncio.sleep(AGAIN_S)
        except Exception:
            self.tell(events.AttemptsSaved([each.claim for each in some]))
            raise

    async def _give_back(self, ready_at: datetime, again: bool, claims: Sequence[Claim]) -> None:
        left = claims
        while left:
            left = await self._retry(
                lambda left=left: give_back(self._at.db, left, ready_at=ready_at)
            )
            if left:
                await asyncio.sleep(AGAIN_S)
        self.tell(events.ClaimsReturned(claims, again))

    async def _report(self, freeze: events.ReportFreeze) -> None:
        run_id, items, why = self._at.flow_run_id, freeze.items, freeze.why
        if freeze.model is None:
            breach = frozen(self._at.provider.account, items, why, flow_run_id=run_id)
        else:
            breach = unknown_model(freeze.workload, freeze.model, items, why, flow_run_id=run_id)
        await self._at.db.run(incidents.open, breach, now=await self._at.db.now())

    async def _publish(self, news: events.CircuitNews) -> None:
        for event in await publish_circuit(self._at, self.state, news):
            self.tell(event)

    async def _retry(self, act: Callable[[], Awaitable[T]]) -> T:
        """Return the result of `act`; retry while the database is unavailable, so that no paid answer is lost."""
        while True:
            try:
                return await act()
            except (DBAPIError, NoConnectionFree) as error:
                if not is_transient(error):
                    raise
                await asyncio.sleep(AGAIN_S)

    def _run(
        self, work: Coroutine[Any, Any, None], among: set[asyncio.Task[None]]
    ) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        among.add(task)

        def finish(task: asyncio.Task[None]) -> None:
            among.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                get_run_logger().error("%s broke", task.get_name(), exc_info=error)

        task.add_done_callback(finish)
        return task

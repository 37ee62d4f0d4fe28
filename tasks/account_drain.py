"""The part of a drain that serves one account: its state, its claims and its calls.

A drain has one for each account, so that the limits, circuits and refusals of one account do not delay another's work.
"""

import asyncio
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from lanes.ids import VersionId, WorkId
from lanes.json_data import weight
from lanes.money.caching import PROBED_EVERY_S
from lanes.money.pack_size import PackSizes
from lanes.packing import AFTER_LIVE_WORK, Claim, ClaimedWork
from lanes.realtime import events
from lanes.realtime.pace import LEASE, RENEW_EVERY, RENEWED_WITHIN_S
from lanes.realtime.state import DrainState
from lanes.store import work
from lanes.store.database import Database, Run, engine
from lanes.store.money import budgets
from lanes.store.realtime import circuits, paid_claims
from lanes.store.realtime.paid_claims import PaidClaims
from lanes.store.workload import workloads
from lanes.words import Lane
from tasks import pages, sharing
from tasks.background import BackgroundTasks, Wakes
from tasks.connections import Connections, HostClock
from tasks.effects import Performer
from tasks.saving import is_transient
from tasks.sharing import CacheMarks, LimitSharing, take_probes

EVERY_S = RENEW_EVERY.total_seconds()
LOOP_S = 60.0  # the loop counts as dead after this silence; no call or save takes as long
AGAIN_S = 1.0  # pause after a failed renewal
CLOSING_S = 2.0  # longest wait for a renewal under way


class Leases:
    """The leases of `held`, the claims of one drain. Times are seconds of the host's monotonic clock.

    A thread with its own database session renews them. So a busy loop delays no renewal, and a lost session is replaced without
    losing a claim. Other drains know only from the lease that its holder is alive. If the loop has been stuck for a minute, it
    counts as dead, and its claims are not renewed.
    """

    def __init__(
        self, db: Database, held: Mapping[WorkId, Claim], *, every_s: float = EVERY_S
    ) -> None:
        self._db, self._held, self._every_s, self.loop_s = db, held, every_s, LOOP_S
        # start of the statement that last claimed or renewed each claim
        self._renewed_at: dict[Claim, float] = {}
        self._engine = engine(db.url, most=2, part="claims")
        self._alive_at = time.monotonic()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
        self._thread.start()

    def record_claims(self, claims: Iterable[Claim], *, at: float) -> None:
        """Record claims made by a statement that began at `at`."""
        self._renewed_at |= dict.fromkeys(claims, at)

    def last(self, claims: Iterable[Claim]) -> bool:
        """Return whether all of these claims were renewed recently enough for a call to begin."""
        oldest = time.monotonic() - RENEWED_WITHIN_S
        return all(self._renewed_at.get(each, oldest) > oldest for each in claims)

    async def live(self) -> None:
        """Record that the loop of the drain is running."""
        self._alive_at = time.monotonic()

    def close(self) -> None:
        """Stop renewing."""
        self._closed.set()
        self._thread.join(CLOSING_S)

    def renew(self) -> None:
        """Extend the leases of all held claims, with one statement on this thread's session.

        Raises:
            DBAPIError: the database was unavailable; the claims last until their current leases end.
        """
        claims, began = list(self._held.values()), time.monotonic()
        if began - self._alive_at > self.loop_s:
            return
        with self._engine.begin() as connection:
            renewed_ids = work.renew(
                connection, claims, lease=LEASE, now=self._db.clock(connection)
            )
        self._renewed_at |= {each: began for each in claims if each.work_id in renewed_ids}
        for each in [each for each in list(self._renewed_at) if self._is_over(each)]:
            self._renewed_at.pop(each, None)

    def _is_over(self, claim: Claim) -> bool:
        """Return whether a claim is no longer held; a claim that was just made may not be in `held` yet."""
        return (
            self._held.get(claim.work_id) != claim
            and time.monotonic() - self._renewed_at[claim] > RENEWED_WITHIN_S
        )

    def _run(self) -> None:
        pause = self._every_s
        while not self._closed.wait(pause):
            try:
                self.renew()
                pause = self._every_s
            # any failure is retried, and no call begins until a renewal succeeds
            except Exception:
                pause = min(AGAIN_S, self._every_s)
        self._engine.dispose()


@dataclass
class QueueReader:
    """One read of the queue and its claims, on a connection that commits each statement."""

    at: Connections
    run: Run
    leases: Leases
    claimed: list[ClaimedWork] = field(default_factory=list[ClaimedWork])
    _but: Sequence[VersionId] = ()
    _before: datetime | None = None
    _limited: Set[str] = frozenset()

    async def perform(
        self, effect: events.LookAtQueue | events.TakeProbes | events.ClaimWork
    ) -> list[events.Event]:
        """Perform one step of the look and return the resulting events."""
        match effect:
            case events.LookAtQueue():
                return [await self._look(effect)]
            case events.TakeProbes():
                return await take_probes(self.run, effect, self.run.now)
            case events.ClaimWork():
                return [await self._claim_all(effect)]

    async def _look(self, look: events.LookAtQueue) -> events.Event:
        now, began, self._before = self.run.now, time.monotonic(), look.before
        scope = {"provider": self.at.name, "now": now}
        needed = await self.run(circuits.list_needed, look.needed, **scope) if look.needed else None
        if look.passed_over:
            self._but = await self.run(circuits.list_versions, look.passed_over)
        bounds = {"since": look.since, "but": self._but, "before": look.before}
        queue = await self.run(work.read_waiting, Lane.REALTIME, **bounds, **scope)
        self._limited, took_s = queue.limited, time.monotonic() - began
        live, began = now + AFTER_LIVE_WORK / 2, time.monotonic()
        turn_consumers = (
            await self.run(work.read_waiting_consumers, look.turns) if look.turns else {}
        )
        listed_s = time.monotonic() - began
        consumers = {
            name: [e for e in of_it if e.rank_at < live] for name, of_it in turn_consumers.items()
        }
        return events.QueueSeen(queue.versions, queue.since, needed, took_s, listed_s, consumers)

    async def _claim_all(self, request: events.ClaimWork) -> events.Event:
        """Claim the probes, then the rest.

        A claim is committed before its versions are read. If the read fails, `claimed` lists the work to give back.
        """
        for order in request.probes:
            hard = {each.workload for each in await self.run(budgets.list_hard)}
            await self._claim(order.most, self._bounds(order), hard)
        probes, rest = len(self.claimed), request.rest
        by_rank = {name: most for name, most in rest.most.items() if name not in rest.turns}
        results = [await self._claim(by_rank, self._bounds(rest), self._limited)]
        for name in rest.turns:
            results += await self._claim_in_turn(name, rest)
        self.claimed[probes:] = sorted(self.claimed[probes:], key=lambda each: each.rank_at)
        claimed, ids = self.claimed, {each.version_id for each in self.claimed}
        versions = await self.run(workloads.versions, ids) if ids else {}
        most_bytes = work.MOST_BYTES // max(1, len(request.rest.most)) // 2
        is_full = sum(weight(each.payload) for each in claimed) >= most_bytes
        held_back = {name for each in results for name in each.held_back}
        stopped = {name for each in results for name in each.stopped}
        return events.WorkClaimed(claimed, versions, probes, held_back, stopped, is_full=is_full)

    async def _claim_in_turn(self, name: str, order: events.ClaimOrder) -> list[PaidClaims]:
        """Claim urgent and due work of one workload first, then each consumer's turns, then the rest by rank.

        The last step claims work only if a consumer has less work than turns; other consumers then use these turns.
        """
        turn, start_count, results = order.turns[name], len(self.claimed), list[PaidClaims]()
        base = self._bounds(order)
        base = replace(base, most_bytes=base.most_bytes // (3 * len(order.most)))
        latest = (
            turn.pressing_before if base.before is None else min(turn.pressing_before, base.before)
        )
        pressing = replace(base, since={}, before=latest, pressing=True)
        in_turns = replace(base, turns=turn.places(1), since=order.turns_since.get(name, {}))
        for step in (pressing, in_turns, base):
            remaining = order.most[name] - (len(self.claimed) - start_count)
            if remaining > 0:
                bounds = replace(step, turns=turn.places(remaining)) if step.turns else step
                results.append(await self._claim({name: remaining}, bounds, self._limited))
        return results

    async def _claim(
        self, most: Mapping[str, int], within: work.ClaimBounds, limited: Set[str]
    ) -> PaidClaims:
        """Claim work; for workloads with a hard budget, in a separate transaction that also reserves the money."""
        unlimited = {name: number for name, number in most.items() if name not in limited}
        worker = f"{socket.gethostname()}:{os.getpid()}"
        options: dict[str, Any] = {"worker": worker, "lease": LEASE, "within": within}
        if unlimited:
            began, now = time.monotonic(), self.run.now
            self._take(
                await self.run(work.claim, Lane.REALTIME, unlimited, now=now, **options), began
            )
        if len(unlimited) == len(most):
            return PaidClaims()
        began = time.monotonic()
        async with self.at.db.transaction() as run:
            limited_counts = {name: number for name, number in most.items() if name in limited}
            result = await run(paid_claims.claim, limited_counts, now=run.now, **options)
        self._take(result.claimed, began)
        return result

    def _take(self, claimed: Sequence[ClaimedWork], began: float) -> None:
        self.leases.record_claims((each.claim for each in claimed), at=began)
        self.claimed += claimed

    def _bounds(self, order: events.ClaimOrder) -> work.ClaimBounds:
        return work.ClaimBounds(order.since, self._but, order.only, self._before)


# a new drain delays its other tasks by this much: the items that started it go first
FIRST_ANSWERS_S = 2.0


@dataclass(frozen=True)
class DrainPace:
    """The intervals of a drain's background tasks."""

    renew_s: float = EVERY_S
    share_s: float = 1.0  # sharing of limits and circuits with the other drains
    learn_s: float = 60.0  # estimates of a call's needs
    sizes_s: float = 15.0  # pack sizes
    caching_s: float = 15.0
    trial_s: float = PROBED_EVERY_S  # between two marked calls of a version on trial
    limit_s: float = 60.0  # the number of drains that the work pool admits
    accounts_s: float = 5.0  # accounts that workloads name
    notice_s: float = 5.0
    notice_limit_s: float = pages.LIMIT_S  # longest wait for Prefect to accept a notice
    first_answers_s: float = FIRST_ANSWERS_S


class AccountDrain:
    """The I/O shell around the state of one account; `outlasts` returns whether the drain continues after a database error."""

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
        self.error: Exception | None = None  # of a look; it ends the drain
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
        """Whether calls are in flight, claims are held, or a result is not written yet."""
        return self.performer.busy or bool(self.state.claims)

    async def share_limits(self) -> None:
        """Exchange the provider's limits with the other drains."""
        self.performer.tell(await self._limits.exchange())

    async def hear_circuits(self) -> None:
        """Read the circuits, which show the models that are in an outage."""
        self.performer.tell(await sharing.hear_circuits(self.at))
        self._wakes.loop.set()

    async def learn_needs(self) -> None:
        """Update the estimates of what a call needs from recent calls."""
        self.performer.tell(await sharing.learn_needs(self.at, self.state))

    async def _learn_sizes(self) -> None:
        self.performer.tell(await sharing.learn_sizes(self.at))

    def advance(self, *, looks: bool, expired: bool) -> None:
        """Report a tick to the state, after possibly ready work if the drain `looks`; perform the resulting effects."""
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
        """End the background tasks, and give back claimed work that no call was made for."""
        await self._beside.close()
        if self._looking is not None:
            await self._looking
        self.performer.tell(events.Stop())

    async def close(self, *, by: float | None) -> None:
        """Wait until calls in flight are answered and saved, at most until `by` on the monotonic clock."""
        try:
            await self.performer.close(by=by)
        finally:
            await self._to_the_last.close()

    async def _look(self, look: events.LookAtQueue) -> None:
        """Read the queue and claim work, step by step on one connection."""
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
            is_away = isinstance(error, DBAPIError | NoConnectionFree) and is_transient(error)
            if not is_away or not self._outlasts(error):
                self.error = error
        self._wakes.loop.set()

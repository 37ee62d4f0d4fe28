"""Publishing events to Prefect in the background, so that a slow Prefect delays no other task and holds no lock.

An event is dropped only after Prefect accepted it or refused it for good. An event that is published twice, because a response
was lost, shows only once, because its id is stable.
"""

import asyncio
import math
import os
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from uuid import UUID, uuid4

import httpx
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.events import Event, Resource
from prefect.logging import get_run_logger

from lanes.backoff import Backoff
from lanes.errors import LanesError
from lanes.realtime.turns import QueueCursor
from lanes.store import outbox
from lanes.store.database import Database
from lanes.store.outbox import OutboxTurn, Outgoing
from tasks.background import take_signal
from tasks.runs import Troubles, summarize_error

MOST = 50  # events in one request; the pace delays an urgent event by at most one request
MOST_BYTES = 2_000_000  # of one request with several events
LARGEST = 1_500_000  # bytes of one event; Prefect accepts a larger one and loses it
POST_S = 5.0  # longest duration of one request
LAST_S = 5.0  # last try of an ending publisher, and the only one of a short-lived process
LEASE = timedelta(seconds=15)  # of a turn; renewed with every request
EVERY_S = 1.0
APART_S = 0.2  # shortest time between two rounds, so that events are sent together
LONGEST_PAUSE_S = 30.0  # while Prefect is unavailable
LONGEST_REST_S = 5.0  # of answers on an overloaded machine
ANSWERS = "answers"  # frequent, and no sender waits, so a look begins after the published ones (`QueueCursor`)
# status codes that, for a single event, blame its content; all others are faults of Prefect
REFUSED = (400, 413, 422)


Packed = tuple[Outgoing, bytes]  # an event and its JSON


class NothingTaken(LanesError):
    """Prefect refused every waiting event; the events are at fault only if it accepts others."""


@dataclass
class Offered:
    """Prefect's response to some events."""

    taken: list[Outgoing] = field(default_factory=list)
    refused: list[Outgoing] = field(default_factory=list)

    def __add__(self, other: "Offered") -> "Offered":
        return Offered(self.taken + other.taken, self.refused + other.refused)


class Publisher:
    """Publishing while its task runs; of all publishers, only one has the turn. Set `wake` when there are new events."""

    def __init__(
        self,
        db: Database,
        *,
        wake: asyncio.Event | None = None,
        post_s: float = POST_S,
        every_s: float = EVERY_S,
        most: int = MOST,
        per_s: float = outbox.PER_S,
    ) -> None:
        self.wake = wake or asyncio.Event()
        self._db, self._post_s, self._every_s, self._most = db, post_s, every_s, most
        self._name = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        self._per_s = per_s
        self._next = partial(outbox.take, publisher=self._name, lease=LEASE, per_s=per_s)
        self._troubles = Troubles()
        self.heads = QueueCursor[UUID]()
        # When answers may go out again, on the monotonic clock.
        self._answers_at = float("-inf")
        self._kept: AsyncExitStack | None = None  # keeps a run's client open between requests
        self._client: PrefectClient | None = None

    async def run(self) -> None:
        """Publish until cancelled: soon after a wake-up, every second, and with a back-off while Prefect is unavailable."""
        try:
            async with AsyncExitStack() as self._kept:
                await self._publish_on()
        finally:
            self._kept = self._client = None

    async def _publish_on(self) -> None:
        failures = 0
        while True:
            try:
                await self.publish()
            # Prefect or the database is unavailable: the events wait in the outbox
            except Exception as error:
                self._troubles.report(
                    "events", f"events wait in the outbox: {summarize_error(error)}"
                )
                failures += 1
                backoff = Backoff.from_seconds(self._every_s, LONGEST_PAUSE_S)
                await asyncio.sleep(backoff.seconds_after(failures))
                continue
            self._troubles.clear("events")
            failures = 0
            await asyncio.sleep(APART_S)
            await take_signal(self.wake, within_s=self._every_s)

    async def publish(self, *, within_s: float = math.inf) -> int:
        """Publish every waiting event, except those that another publisher handles; return the number we published.

        All publishers share one pace. If the pace does not allow the next event within `within_s` seconds, the rest stays.
        Answers that no sender waits for go out more slowly on an overloaded machine, and other events meanwhile: Prefect needs
        a quarter of a processor for 200 events a second.

        Raises:
            TimeoutError, httpx.HTTPError, PrefectException, NothingTaken: Prefect accepts no events now; the rest waits.
        """
        total, refused, until = 0, list[Outgoing](), time.monotonic() + within_s
        has_turn, turns = True, 0
        try:
            while True:
                wait_s = max(0.0, self._answers_at - time.monotonic())
                turn = await self._take(refused, answers=not wait_s)
                if not turn.events:
                    pause_s = turn.after.total_seconds() or min(wait_s, APART_S)
                    if not pause_s:
                        has_turn = turns > 0
                        break
                    if time.monotonic() + pause_s > until:
                        break
                    await asyncio.sleep(pause_s)
                    continue
                turns += 1
                fitting, too_large = pack_events(turn.events)
                await self._give_up(too_large, f"it is larger than {LARGEST:,} bytes")
                response = await self._offer_all(fitting)
                if turn.events[-1].precedence == outbox.LAST:
                    rest_s = overload() * len(turn.events) / self._per_s
                    self._answers_at = time.monotonic() + min(rest_s, LONGEST_REST_S)
                await self._db.run(outbox.drop, response.taken)
                # otherwise the next look begins with the events that were not accepted
                if len(response.taken) == len(fitting):
                    last = [each.id for each in turn.events if each.precedence == outbox.LAST]
                    self.heads.take({ANSWERS: last[-1]} if last else {})
                total += len(response.taken)
                refused += response.refused
                if total:
                    await self._give_up(refused, "Prefect refuses it, and takes others")
                    refused.clear()
                if (
                    len(turn.events) < self._most
                    and len(response.taken) == len(fitting)
                    and not wait_s
                ):
                    break  # the queue was empty; newer events have set `wake`
        finally:
            if has_turn:
                await self._leave()
        if refused:
            first = _describe(refused[0])
            raise NothingTaken(f"Prefect refuses every one of {len(refused)}, such as {first}")
        return total

    async def try_once(self, *, within_s: float = LAST_S) -> int:
        """Publish for a few seconds without raising; the rest waits for the next publisher."""
        try:
            async with asyncio.timeout(within_s):
                return await self.publish(within_s=within_s)
        except Exception as outage:
            get_run_logger().warning("events wait in the outbox: %s", summarize_error(outage))
            return 0

    async def _take(self, refused: Sequence[Outgoing], *, answers: bool) -> OutboxTurn:
        behind = {each.precedence: each.id for each in refused}
        if not answers:
            behind[outbox.LAST] = outbox.NEWEST
        async with self._db.transaction() as run:
            began = time.monotonic()
            look = self.heads.look(began)
            if answers and ANSWERS in look.since:
                last = look.since[ANSWERS]
                behind[outbox.LAST] = max(last, behind.get(outbox.LAST, last))
            turn = await run(self._next, self._most, behind=behind, now=run.now)
            ended = time.monotonic()
        if answers:
            self.heads.record_look(look, {}, took_s=ended - began, at=ended)
        return turn

    async def _leave(self) -> None:
        with suppress(Exception):  # the lease ends by itself
            async with asyncio.timeout(self._post_s), self._db.statements() as run:
                await run(outbox.leave, publisher=self._name, now=run.now)

    async def _offer_all(self, events: Sequence[Packed]) -> Offered:
        """Offer every event; if an outage interrupts this, return the events accepted before it."""
        offered = Offered()
        for request in divide_requests(events):
            try:
                offered += await self._offer(request)
            except Exception:
                if not offered.taken:
                    raise
                return offered
        return offered

    async def _offer(self, request: Sequence[Packed]) -> Offered:
        """Offer the events in one request; halve a refused request until the faulty event is alone."""
        try:
            await self._post(request)
        except httpx.HTTPStatusError as error:
            if error.response.status_code not in REFUSED:
                raise
            if len(request) == 1:
                return Offered(refused=[request[0][0]])
            half = len(request) // 2
            return await self._offer(request[:half]) + await self._offer(request[half:])
        return Offered(taken=[each for each, _ in request])

    async def _post(self, request: Sequence[Packed]) -> None:
        body = b"[" + b",".join(body for _, body in request) + b"]"
        headers = {"Content-Type": "application/json"}
        async with asyncio.timeout(self._post_s), self._prefect() as client:
            answer = await client.request("POST", "/events", content=body, headers=headers)
            answer.raise_for_status()

    @asynccontextmanager
    async def _prefect(self) -> AsyncIterator[PrefectClient]:
        """Yield a Prefect client; a run keeps one open, because opening takes longer than a request."""
        if self._kept is None:
            async with get_client() as client:
                yield client
        else:
            self._client = self._client or await self._kept.enter_async_context(get_client())
            yield self._client

    async def _give_up(self, events: Sequence[Outgoing], why: str) -> None:
        """Drop the events and log the reason; the facts that they report stay in the database."""
        if events:
            await self._db.run(outbox.drop, events)
        for each in events:
            get_run_logger().error("%s is not published: %s", _describe(each), why)


def overload() -> float:
    """Return the load above the number of processors, relative to that number: 0 up to a full load, 1 at twice that."""
    return max(0.0, os.getloadavg()[0] / (os.cpu_count() or 1) - 1)


@asynccontextmanager
async def publishing(db: Database) -> AsyncIterator[Publisher]:
    """Run a publisher, and let it try once more at the end."""
    publisher = Publisher(db)
    running = asyncio.create_task(publisher.run())
    try:
        yield publisher
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await publisher.try_once()


async def publish_events(db: Database) -> int:
    """Offer the waiting events to Prefect once, for a few seconds, and return the number it accepted."""
    return await Publisher(db).try_once()


def pack_events(waiting: Sequence[Outgoing]) -> tuple[list[Packed], list[Outgoing]]:
    """Return the events that can be posted, and those that are too large."""
    bodies = [(each, _event(each).model_dump_json().encode()) for each in waiting]
    large = [each for each, body in bodies if len(body) > LARGEST]
    return [each for each in bodies if len(each[1]) <= LARGEST], large


def divide_requests(events: Sequence[Packed]) -> list[list[Packed]]:
    """Split the events, in order, into requests of up to `MOST_BYTES`; a larger event has a request of its own."""
    requests: list[list[Packed]] = []
    size = MOST_BYTES
    for each, body in events:
        size += len(body)
        if size > MOST_BYTES:
            requests.append([])
            size = len(body)
        requests[-1].append((each, body))
    return requests


def _event(outgoing: Outgoing) -> Event:
    name = outgoing.resource.removeprefix("lanes.workload.")
    about = {"prefect.resource.id": outgoing.resource, "prefect.resource.name": name}
    event = {"id": outgoing.id, "event": outgoing.event, "occurred": outgoing.occurred_at}
    resource = Resource.model_validate(about)
    return Event.model_validate({**event, "resource": resource, "payload": outgoing.payload})


def _describe(outgoing: Outgoing) -> str:
    return f"event {outgoing.event} of {outgoing.resource} ({outgoing.id})"

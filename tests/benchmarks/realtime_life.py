"""An item's life in Lanes without a provider: the client's door, the router, claims, judging, the ledger, results, events.

Nothing is cut short: the rule and the split decide routes, and every answer is judged against the schema. Items are admitted,
claimed and saved 500 at a time; all waiting items are routed, up to the router's limit. All steps run concurrently, as in
production: a sender does not wait for the router, the router does not wait for answers, and the next items are claimed and
judged while the last ones are saved.
"""

import asyncio
import gc
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from prefect.logging import disable_run_logger

from lanes import client
from lanes.money.estimates import Estimates
from lanes.packing import ClaimedWork
from lanes.realtime.turns import QueueCursor
from lanes.settling.attempts import CallTimes, build_answered
from lanes.settling.outcome import Attempt, Response, SaveResult
from lanes.store import work
from lanes.store.database import Database
from lanes.store.doors.unrouted import RoutedUpTo
from lanes.store.signals import listening
from lanes.store.workload.accounts import LaneAccount
from lanes.words import Lane
from lanes.workload.prices import Usage
from lanes.workload.version import Version
from tasks.background import bounded_tasks
from tasks.router import Rooms, route_received
from tasks.saving import save
from tests.benchmarks.letters import ANSWER_TEXT, WORKLOAD, payloads, realtime

CHUNK = 500  # items claimed and saved in one transaction; the door has the same size
SAVES = 1  # concurrent saves, during which the next chunk is claimed and judged
LEASE = timedelta(minutes=5)
TOKENS = Usage(input=120, output=30, cache_read=0, cache_write_5m=0, cache_write_1h=0)


class RealtimeLife:
    """The whole life of items in the database at `url`; it can be repeated with more items."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._led = 0
        # The cursors live as long as those of a drain.
        self._received, self._ranked = (
            QueueCursor[RoutedUpTo](),
            QueueCursor[datetime](),
        )
        self._rooms = Rooms(lambda: [LaneAccount("acme")])

    def lead(self, items: int) -> float:
        """Send and answer `items` more items, and return the seconds."""
        os.environ["LANES_DATABASE_URL"] = self._url
        took = asyncio.run(self._lead(items))
        self._led += items
        return took

    async def _lead(self, items: int) -> float:
        inputs = [
            {"key": str(self._led + number), "payload": payload}
            for number, payload in enumerate(payloads(items))
        ]
        async with Database(self._url) as db:
            now = await db.now()
            version = await db.run(lambda connection: realtime(connection, now=now))
            as_a_drain_begins(version, now)
            began = time.perf_counter()
            with disable_run_logger():
                async with (
                    listening(self._url, but=db.sessions) as admitted,
                    asyncio.TaskGroup() as together,
                ):
                    ready = asyncio.Event()
                    together.create_task(client.asubmit_many(WORKLOAD, inputs))
                    together.create_task(self._route(db, items, admitted, ready))
                    completing = together.create_task(self._complete(db, version, items, ready))
            took = time.perf_counter() - began
        done = completing.result()
        assert done == items, f"{done} of {items} were answered"
        return took

    async def _route(
        self, db: Database, items: int, admitted: asyncio.Event, ready: asyncio.Event
    ) -> None:
        """Route `items` of the `admitted` items as the router does, and set `ready` when there is work."""
        left = items
        while left > 0:
            if routed := await route_received(db, heads=self._received, rooms=self._rooms):
                left -= routed
                ready.set()
            else:
                await _heard(admitted)

    async def _complete(
        self, db: Database, version: Version, items: int, ready: asyncio.Event
    ) -> int:
        """Answer `items` items, claimed as a drain claims them, and return how many were answered."""
        done, left = list[SaveResult](), items

        async def saved(attempts: Sequence[Attempt]) -> None:
            done.append(await save(db, attempts))

        async with bounded_tasks(SAVES) as saving:
            while left > 0:
                claimed, now = await self._claim(db)
                if claimed:
                    left -= len(claimed)
                    await saving.begin(saved, _judged(version, claimed, now))
                else:
                    await _heard(ready)
        return sum(each.answered for each in done)

    async def _claim(self, db: Database) -> tuple[Sequence[ClaimedWork], datetime]:
        """Claim the most urgent work; return it with the time."""
        async with db.statements() as run:
            now, began = run.now, time.monotonic()
            look = self._ranked.look(began)
            waiting = await run(work.read_waiting, Lane.REALTIME, since=look.since, now=now)
            known = time.monotonic()
            most = dict.fromkeys(waiting.versions, CHUNK)
            claimed = await run(
                work.claim,
                Lane.REALTIME,
                most,
                worker="bench",
                lease=LEASE,
                within=work.ClaimBounds(waiting.since),
                now=now,
            )
        last = {each.workload: each.rank_at for each in claimed}
        self._ranked.record_look(look, last, took_s=known - began, at=time.monotonic())
        return claimed, now


async def _heard(event: asyncio.Event) -> None:
    """Wait until the event is set, or for a second, as a drain does."""
    with suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            await event.wait()
    event.clear()


def as_a_drain_begins(version: Version, now: datetime) -> None:
    """Read the prices, and freeze the objects that live as long as the process, as a drain does."""
    Estimates(now).of(version, 0)
    gc.set_threshold(20_000, 20, 100)  # as `collect_garbage_seldom`
    gc.freeze()  # as tasks/connections.py


def _judged(version: Version, claimed: Sequence[ClaimedWork], now: datetime) -> list[Attempt]:
    """Return an answer for each claim, made on the spot and judged like any other."""
    times = CallTimes(now - timedelta(milliseconds=1), now)
    return [
        made
        for each in claimed
        for made in build_answered(version, [each], _response(each), times, ids=["1"])
    ]


def _response(claimed: ClaimedWork) -> Response:
    return Response(
        f"msg_{claimed.claim.work_id}_{claimed.claim.number}",
        "claude-haiku-5-5",
        ANSWER_TEXT,
        "end_turn",
        TOKENS,
    )

"""An item's life in Lanes without a provider: the client's door, the router, claims, judging, the ledger, results, events.

No shortcut: routes are decided by the rule and the split, every answer is judged against the schema, and 500 items at a time
are admitted, routed, claimed and saved.
"""

import asyncio
import gc
import os
import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from prefect.logging import disable_run_logger

from lanes import client
from lanes.claims import Claimed
from lanes.money.cost import estimate
from lanes.realtime.heads import Heads
from lanes.settling.attempts import Times, answered
from lanes.settling.outcome import Attempt, Response
from lanes.store import work
from lanes.store.database import Database
from lanes.store.doors.items import Taken
from lanes.words import Lane
from lanes.workload.prices import Usage
from lanes.workload.version import Version
from tasks.route import route_received
from tasks.saving import save
from tests.benchmarks.letters import ANSWER_TEXT, WORKLOAD, payloads, realtime

CHUNK = 500  # items claimed and saved in one transaction; the door and the router have the same
LEASE = timedelta(minutes=5)
TOKENS = Usage(input=120, output=30, cache_read=0, cache_write_5m=0, cache_write_1h=0)


class RealtimeLife:
    """Items are led through their whole life in the database of that address, as often as one likes."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._led = 0
        self._received, self._ranked = Heads[Taken](), Heads[datetime]()  # as long as those of a drain

    def lead(self, items: int) -> float:
        """So many more items were sent and answered; the seconds that took."""
        os.environ["LANES_DATABASE_URL"] = self._url
        took = asyncio.run(self._lead(items))
        self._led += items
        return took

    async def _lead(self, items: int) -> float:
        inputs = [{"key": str(self._led + number), "payload": payload} for number, payload in enumerate(payloads(items))]
        async with Database(self._url) as db:
            now = await db.now()
            version = await db.run(lambda connection: realtime(connection, now=now))
            _as_a_drain_begins(version, now)
            began = time.perf_counter()
            with disable_run_logger():
                await client.asubmit_many(WORKLOAD, inputs)
                while await route_received(db, heads=self._received):
                    pass
                done = await _complete(db, version, items, self._ranked)
            took = time.perf_counter() - began
        assert done == items, f"{done} of {items} were answered"
        return took


def _as_a_drain_begins(version: Version, now: datetime) -> None:
    """The prices are read, and the collector leaves alone what a process keeps for as long as it lives."""
    estimate(version, 0, at=now)
    gc.set_threshold(20_000, 20, 100)  # as flows/__main__.py
    gc.freeze()  # as tasks/connections.py


async def _complete(db: Database, version: Version, items: int, heads: Heads[datetime]) -> int:
    """So much of what waits is answered, claimed as a drain does; how much that was."""
    done = 0
    while done < items:
        async with db.transaction() as run:
            now, began = run.now, time.monotonic()
            look = heads.look(began)
            waiting = await run(work.waiting, Lane.REALTIME, since=look.since, now=now)
            known = time.monotonic()
            most = dict.fromkeys(waiting.versions, CHUNK)
            claimed = await run(work.claim, Lane.REALTIME, most, worker="bench", lease=LEASE, since=waiting.since, now=now)
        last = {each.workload: each.rank_at for each in claimed}
        heads.looked(look, last, took_s=known - began, at=time.monotonic())
        if not claimed and look.whole:
            return done
        saved = await save(db, _judged(version, claimed, now))
        done += saved.answered
    return done


def _judged(version: Version, claimed: Sequence[Claimed], now: datetime) -> list[Attempt]:
    """An answer for each, made on the spot, and judged as any other."""
    times = Times(now - timedelta(milliseconds=1), now)
    return [made for each in claimed for made in answered(version, [each], _response(each), times, ids=["1"])]


def _response(claimed: Claimed) -> Response:
    return Response(f"msg_{claimed.claim.work_id}_{claimed.claim.number}", "claude-haiku-5-5", ANSWER_TEXT, "end_turn", TOKENS)

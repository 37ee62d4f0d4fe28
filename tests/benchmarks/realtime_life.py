"""An item's life in Lanes without a provider: the client's door, the router, claims, judging, the ledger, results, events.

No shortcut: routes are decided by the rule and the split, every answer is judged against the schema, and 500 items at a time
are admitted, routed, claimed and saved.
"""

import asyncio
import os
import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from prefect.logging import disable_run_logger

from lanes import client
from lanes.claims import Claimed
from lanes.settling.attempts import Times, answered
from lanes.settling.outcome import Attempt, Response
from lanes.store import work
from lanes.store.database import Database
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
            began = time.perf_counter()
            with disable_run_logger():
                await client.asubmit_many(WORKLOAD, inputs)
                while await route_received(db):
                    pass
                done = await _complete(db, version)
            took = time.perf_counter() - began
        assert done == items, f"{done} of {items} were answered"
        return took


async def _complete(db: Database, version: Version) -> int:
    """What waits is answered; how much that was."""
    done = 0
    while True:
        now = await db.now()
        most = {WORKLOAD: CHUNK}
        claimed = await db.run(work.claim, Lane.REALTIME, most, worker="bench", lease=LEASE, now=now)
        if not claimed:
            return done
        saved = await save(db, _judged(version, claimed, now))
        done += saved.answered


def _judged(version: Version, claimed: Sequence[Claimed], now: datetime) -> list[Attempt]:
    """An answer for each, made on the spot, and judged as any other."""
    times = Times(now - timedelta(milliseconds=1), now)
    return [made for each in claimed for made in answered(version, [each], _response(each), times, ids=["1"])]


def _response(claimed: Claimed) -> Response:
    return Response(f"msg_{claimed.claim.work_id}_{claimed.claim.number}", "claude-haiku-5-5", ANSWER_TEXT, "end_turn", TOKENS)

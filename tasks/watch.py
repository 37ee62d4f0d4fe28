"""The watch over the promises: measure, evaluate and record them, notify Slack, and ping the heartbeat URL."""

import asyncio
import time
from dataclasses import replace

import httpx2
from prefect.logging import get_run_logger

from lanes.promises.incident import IncidentChanges
from lanes.promises.judge import assess
from lanes.settings import Settings
from lanes.store import incidents
from lanes.store.batch import affording
from lanes.store.database import Database
from lanes.store.figures import measurements
from lanes.store.promises import recording
from lanes.store.realtime import outages
from lanes.store.routing import turnarounds
from lanes.store.workload import workloads
from tasks.deliver import deliver_posts
from tasks.runs import Troubles, summarize_error

EVERY_S = 5.0
EVERY_S_NEARBY = 1.0
PING_TIMEOUT_S = 3.0
LAST_S = 10.0  # longest time that posting delays the end of a watch
REST_PER_WORK = 19  # pause after an evaluation, in multiples of its duration, which limits the load on the database


def pause_s() -> float:
    """Return the seconds between two evaluations of `watch`; fewer if the provider is on this machine."""
    return EVERY_S_NEARBY if Settings.read().provider_is_local else EVERY_S


async def evaluate(db: Database) -> IncidentChanges:
    """Evaluate every promise as of now: open incidents for breaches, and resolve those that have ended.

    The evaluation is committed first, so it stays recorded even if the checks for a recovered provider fail.
    """
    async with db.transaction() as run:
        now, open_before = run.now, await run(recording.list_open)
        versions, figures = (
            await run(workloads.read_versions),
            await run(measurements.measure, now=now),
        )
        assessments = assess(versions, figures, now)
        recorded = await run(incidents.record, assessments, now=now)
        gone = await run(recording.end_gone, assessments, open_before, now=now)
        await run(measurements.count, figures)
    await db.run(turnarounds.expect, now=now)
    ended = [
        *gone,
        *await db.run(recording.thaw, now=now),
        *await db.run(outages.end, now=now),
        *await db.run(affording.dear_items_are_gone, now=now),
    ]
    return replace(recorded, resolved=recorded.resolved + ended)


class Watcher:
    """The evaluation of the promises at each tick; posts are sent in the background, so that a slow Slack delays no tick."""

    def __init__(self, db: Database, *, rest_per_work: float = REST_PER_WORK) -> None:
        self._db, self._share = db, rest_per_work
        self._telling: asyncio.Task[None] | None = None
        self._troubles = Troubles()
        self._rests_until = 0.0
        self.opened = 0

    async def tick(self) -> None:
        """Evaluate the promises unless the pause after the last evaluation lasts, and start to post changes."""
        began = time.monotonic()
        if began >= self._rests_until:
            await self._evaluate()
            self._rests_until = time.monotonic() + self._share * (time.monotonic() - began)
            await self._ping()
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell())

    async def _evaluate(self) -> None:
        recorded = await evaluate(self._db)
        self.opened += len(recorded.opened)
        for id_ in recorded.opened:
            get_run_logger().warning("incident %d opened; see `lanes alerts`", id_)
        for id_ in recorded.resolved:
            get_run_logger().info("incident %d resolved", id_)
        if recorded.refused:
            self._troubles.report("incidents", "; ".join(recorded.refused))
        else:
            self._troubles.clear("incidents")

    async def close(self) -> None:
        """Continue posting for a few seconds; the rest stays in the outbox."""
        if self._telling is not None:
            await asyncio.wait({self._telling}, timeout=LAST_S)
            self._telling.cancel()
            await asyncio.gather(self._telling, return_exceptions=True)

    async def _tell(self) -> None:
        try:
            await deliver_posts(self._db)
            self._troubles.clear("slack")
        except Exception as error:  # alerting never fails the watch: the posts wait in the outbox
            self._troubles.report("slack", f"Slack could not be told: {summarize_error(error)}")

    async def _ping(self) -> None:
        url = Settings.read().heartbeat_url
        if url is None:
            return
        try:
            async with httpx2.AsyncClient(timeout=PING_TIMEOUT_S) as client:
                answer = await client.get(url)
            status = answer.status_code
            problem = f"the heartbeat was answered with {status}" if status >= 400 else None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            problem = f"the heartbeat could not be sent: {type(error).__name__}"
        if problem is None:
            self._troubles.clear("heartbeat")
        else:
            self._troubles.report("heartbeat", f"{problem}; check LANES_HEARTBEAT_URL")

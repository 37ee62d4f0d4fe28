"""The notice of a drain's run in Prefect while the provider does not answer: its state and an artifact, once an outage.

Beside the answers, and within a limit: Prefect delays none of them.
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import State, StateType
from prefect.logging import get_run_logger

from lanes.realtime.health import Standstill, Standstills
from lanes.report import outage
from lanes.store.promises import briefings
from lanes.store.realtime import outages
from lanes.words import Lane
from tasks.connections import Connections
from tasks.pages import write_artifact

DOWN = "Provider down"  # name of the state of a run that goes on, and is answered nothing
UNANSWERED = "Unanswered"  # and of one that ended so; Prefect's event is called after it, and no automation replaces it
AGAIN_S = 300.0  # how often the artifact is written anew while it lasts
LIMIT_S = 10.0
CLOSING_S = 3.0


class Notice:
    """The notice of one drain. `close` it before its run ends, so that nothing follows the run's last state."""

    def __init__(
        self, at: Connections, standstills: Standstills, *, limit_s: float = LIMIT_S
    ) -> None:
        self._at, self._standstills, self._limit_s = at, standstills, limit_s
        self._told: tuple[str, ...] = ()
        self._logged: tuple[str, ...] = ()
        self._written = 0.0
        self._waited = False
        self._standing: Sequence[Standstill] = ()
        self._telling: asyncio.Task[None] | None = None

    async def look(self) -> None:
        """Publish the outage, or its end, in the run's state if that is news. Raises the errors of Prefect and the database."""
        whom = tuple(each.whom for each in self._standstills.all)
        lasts = bool(whom) and time.monotonic() - self._written > AGAIN_S
        if whom != self._told or lasts:
            self._telling = asyncio.create_task(self._tell(whom))
            await asyncio.shield(self._telling)  # a request that has begun is heard to its end

    async def close(self) -> None:
        """End what is under way within a few seconds, because the next drain waits for it."""
        if self._telling is not None:
            await asyncio.wait({self._telling}, timeout=CLOSING_S)
            self._telling.cancel()
            await asyncio.gather(self._telling, return_exceptions=True)

    def ending(self, answered: int) -> int | State[int]:
        """Return what the run ends with: in an outage it is red where nothing else was answered, and says so in any case."""
        if not self._standstills.all:
            return answered
        standing = self._standing or self._standstills.all
        said = f"{outage.message(standing, now=standing[0].since)}; {answered:,} items were answered by this run"
        type_ = StateType.FAILED if self._standstills.full else StateType.COMPLETED
        return State(type=type_, name=UNANSWERED, message=said)

    async def _tell(self, whom: tuple[str, ...]) -> None:
        async with self._at.db.transaction() as run:
            now, account = run.now, self._at.provider.account
            standing = await run(outages.as_told, account, self._standstills.all)
        if not all(each.bad for each in standing) and not self._waited:
            # an incident is about to be written: the next look tells what it says
            self._waited = True
            return
        self._waited, self._standing = False, standing
        if whom != self._logged:
            self._logged = whom
            get_run_logger().warning("%s", outage.message(standing, now=now))
        if self._at.flow_run_id is None:
            return
        async with asyncio.timeout(self._limit_s), get_client() as client:
            if whom != self._told:
                await self._say(client, standing, now)
            await self._write(client, standing, now)
        self._told, self._written = whom, time.monotonic()

    async def _say(
        self, client: PrefectClient, standing: Sequence[Standstill], now: datetime
    ) -> None:
        name, said = DOWN if standing else "Running", outage.message(standing, now=now)
        state = State(type=StateType.RUNNING, name=name, message=said)
        assert self._at.flow_run_id is not None
        await client.set_flow_run_state(self._at.flow_run_id, state)

    async def _write(
        self, client: PrefectClient, standing: Sequence[Standstill], now: datetime
    ) -> None:
        stake = await self._at.db.run(briefings.on_lane, Lane.REALTIME, now=now)
        page, said = outage.render(standing, stake, now=now), outage.headline(standing)
        run_id = self._at.flow_run_id
        await write_artifact(client, outage.KEY, page, said, flow_run_id=run_id)

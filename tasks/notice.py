"""The notice of a drain's run in Prefect while the provider does not answer: its state and an artifact, once an outage.

Beside the answers, and within a limit: Prefect delays none of them.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import State, StateType
from prefect.logging import get_run_logger

from lanes.realtime.health import Standstill, Standstills
from lanes.report import outage
from lanes.store.promises import briefings
from lanes.store.realtime import outages
from lanes.store.workload.accounts import LaneAccount
from lanes.words import Lane
from tasks.connections import Connections
from tasks.pages import write_artifact

DOWN = "Provider down"  # name of the state of a run that goes on, and is answered nothing
UNANSWERED = "Unanswered"  # and of one that ended so; Prefect's event is called after it, and no automation replaces it
AGAIN_S = 300.0  # how often the artifact is written again while it lasts
LIMIT_S = 10.0
CLOSING_S = 3.0


class Notice:
    """The notice of one drain, whose `standstills` are by account.

    `close` it before its run ends, so that nothing follows the run's last state.
    """

    def __init__(
        self,
        at: Connections,
        standstills: Callable[[], Mapping[LaneAccount, Standstills]],
        *,
        limit_s: float = LIMIT_S,
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
        whom = tuple(each.whom for each in _of_all(self._open()))
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
        standing = self._standing or _of_all(self._open())
        if not any(self._open().values()):
            return answered
        said = f"{outage.message(standing, now=standing[0].since)}; {answered:,} items were answered by this run"
        since = standing[0].since
        none = all(each.none_answered_since(since) for each in self._standstills().values())
        type_ = StateType.FAILED if none else StateType.COMPLETED
        return State(type=type_, name=UNANSWERED, message=said)

    def _open(self) -> Mapping[LaneAccount, Sequence[Standstill]]:
        return {account: each.all for account, each in self._standstills().items()}

    async def _tell(self, whom: tuple[str, ...]) -> None:
        async with self._at.db.transaction() as run:
            now = run.now
            told = {
                account: await run(outages.as_told, account.name, each)
                for account, each in self._open().items()
            }
        standing = _of_all(told)
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


def _of_all(standing: Mapping[LaneAccount, Sequence[Standstill]]) -> list[Standstill]:
    """Return the standstills of all accounts, the oldest first; each names its account where there are several."""
    found = [
        each if len(standing) == 1 else replace(each, whom=f"{each.whom} of account {account.name}")
        for account, of_it in standing.items()
        for each in of_it
    ]
    return sorted(found, key=lambda each: (each.since, each.whom))

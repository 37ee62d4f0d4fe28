"""Both lanes in this process: a database, a stand-in of the provider, and one simulated clock for all of them."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from prefect.logging import disable_run_logger
from pydantic import SecretStr

from anthropic_standin.testing import Endpoint, Host
from blocks.provider import Provider
from lanes.store.batch import batches, ready_work
from lanes.store.database import Database
from tasks.collect import bring_home, poll
from tasks.connections import Connections, opening
from tasks.send_batch import Blocked, send_batch
from tests.flows.conftest import asked_at
from tests.passing_time import PassingTime
from tests.prefect_standin import PrefectStandIn


@dataclass
class Ground:
    """The database, the stand-in and the clock that both lanes share."""

    at: Connections
    endpoint: Endpoint
    time: PassingTime

    async def batched(self) -> int:
        """Send all work that waits for a batch, collect every batch, and return how many items the batches carried."""
        sent, waits = 0, True
        while waits:
            waits = False
            for kind in await self.at.db.run(
                ready_work.list_waiting_kinds, None, now=await self.at.db.now()
            ):
                try:
                    while more := await send_batch(self.at, kind):
                        sent += more
                except Blocked:  # until its primer has been collected
                    waits = True
            out = await self.at.db.run(batches.open_batches)
            assert out or not waits
            for each in out:
                assert each.provider_batch_id is not None
                self.endpoint.ended(each.provider_batch_id)
                assert await poll(self.at, each)
                await bring_home(self.at, each)
        return sent


@asynccontextmanager
async def standing(url: str, **settings: float) -> AsyncIterator[Ground]:
    """Open both lanes on the database at `url` and a new stand-in with these settings; its echo engine answers at once."""
    time, host, prefect = PassingTime(), Host(), PrefectStandIn()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="lanes-bench-", ignore_cleanup_errors=True) as home,
            host.standin(Path(home) / "endpoint", machine=time.of_host) as endpoint,
            asked_at(prefect.api_url),
            disable_run_logger(),
        ):
            endpoint.reset(**settings)
            provider = Provider(
                api_key=SecretStr("x"), base_url=endpoint.url, poll_s=0.2, listing_grace_s=5
            )
            async with Database(url, clock=time.of_database) as db, opening(provider) as client:
                yield Ground(Connections(db, client, provider), endpoint, time)
    finally:
        host.stop()
        prefect.stop()

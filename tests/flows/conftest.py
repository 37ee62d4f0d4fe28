"""Both lanes without Prefect's server: tasks are called as functions, against a real Postgres and a real endpoint."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
import pytest_asyncio
from prefect.logging import disable_run_logger
from prefect.settings import PREFECT_API_URL, temporary_settings
from pydantic import SecretStr
from sqlalchemy import Connection, text

from blocks.provider import Provider
from lanes.store.database import Database
from lanes.words import Lane
from tasks import departure
from tasks.connections import Connections, opening
from tests.examples import admit, publish, route
from tests.prefect_standin import PrefectStandIn
from tests.standin.hosted import Host
from tests.standin.process import Endpoint

RUN = UUID(int=4711)  # the flow run that everything in a test is part of


@pytest.fixture(scope="session")
def host() -> Iterator[Host]:
    """Where the stand-ins of all tests answer."""
    running = Host()
    yield running
    running.stop()


@pytest.fixture
def endpoint(host: Host, tmp_path: Path) -> Iterator[Endpoint]:
    """A stand-in of the test's own: nobody else's batches are in its list."""
    with host.standin(tmp_path / "endpoint") as running:
        yield running


@pytest_asyncio.fixture
async def db(db: Database) -> AsyncIterator[Database]:
    """A fresh database, as a run has it."""
    with disable_run_logger():
        yield db


@pytest_asyncio.fixture
async def at(db: Database, endpoint: Endpoint) -> AsyncIterator[Connections]:
    """A fresh database and the endpoint, as a run has them."""
    provider = Provider(api_key=SecretStr("x"), base_url=endpoint.url, poll_s=0.2, listing_grace_s=5, create_within_s=10)
    async with opening(provider) as client:
        at = Connections(db, client, provider, RUN)
        await at.client()  # the first test waits for the SDK here, whatever it measures
        yield at


@pytest.fixture
def prefect() -> Iterator[PrefectStandIn]:
    """A Prefect server of the test's own, which everything in the test takes for its server."""
    running = PrefectStandIn()
    with temporary_settings({PREFECT_API_URL: running.api_url}), disable_run_logger():
        yield running
    running.stop()


class Sender:
    """Puts items into the lanes and looks at what became of them."""

    def __init__(self, at: Connections) -> None:
        self.at = at

    async def items(self, *keys: str, lane: Lane, workload: str = "letters", **spec: object) -> None:
        """Items of a workload are routed to a lane."""
        now = await self.at.db.now()

        def put(connection: Connection) -> None:
            publish(connection, workload, now=now, **spec)
            admit(connection, *keys, now=now, workload=workload, lane=lane)
            route(connection, now=now)

        await self.at.db.run(put)

    async def rows(self, query: str, **values: object) -> list[tuple[object, ...]]:
        """What the database says."""
        return await self.at.db.run(lambda c: [tuple(row) for row in c.execute(text(query), values)])

    async def moments_pass(self, seconds: float) -> None:
        """Every batch without an answer was intended, and its create ended, so much longer ago."""
        longer = "update lanes.batch set intended_at = intended_at - :s, create_ended_at = create_ended_at - :s"
        given = {"s": timedelta(seconds=seconds)}
        await self.at.db.run(lambda c: c.execute(text(f"{longer} where state in ('intended', 'held')"), given))

    async def states(self) -> dict[str, str]:
        """Each item's state by key."""
        return {str(k): str(s) for k, s in await self.rows("select key, state from lanes.item_status order by key")}


@pytest.fixture
def sender(at: Connections) -> Sender:
    return Sender(at)


class Log:
    """Keeps the warnings of a run."""

    def __init__(self, said: list[str]) -> None:
        self._said = said

    def warning(self, form: str, *values: object) -> None:
        self._said.append(form % values)

    def info(self, *_: object) -> None:
        return

    error = exception = info


class Nap:
    """Sleeps without sleeping, and remembers how long."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def nap(monkeypatch: pytest.MonkeyPatch) -> Nap:
    monkeypatch.setattr(departure, "submit_batch", departure.submit_batch.fn)
    return Nap()


async def until(told: Callable[[], object]) -> None:
    """It is true of the world, within ten seconds."""
    async with asyncio.timeout(10):
        while True:
            if told():
                return
            await asyncio.sleep(0.02)

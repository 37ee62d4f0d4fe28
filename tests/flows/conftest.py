"""Fixtures for both lanes without a Prefect server: tasks run as functions, on a real Postgres and a real endpoint."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from uuid import UUID

import pytest
import pytest_asyncio
from _pytest.mark import ParameterSet
from prefect.context import SettingsContext, get_settings_context
from prefect.logging import disable_run_logger
from pydantic import SecretStr
from sqlalchemy import Engine, text

from anthropic_standin.testing import Endpoint, Host
from blocks.provider import Provider
from lanes.store.database import Database
from lanes.words import Lane
from tasks import departure
from tasks.connections import Connections, opening
from tests.examples import admit, publish, route
from tests.passing_time import PassingTime
from tests.prefect_standin import PrefectStandIn
from tests.slack_standin import SlackStandIn

RUN = UUID(int=4711)  # the flow run of every test


def running_host() -> Iterator[Host]:
    """Yield a host, which runs one stand-in at a time."""
    running = Host()
    yield running
    running.stop()


# The stand-ins of all tests run on this host.
host = pytest.fixture(running_host, scope="session", name="host")


@pytest.fixture
def endpoint(host: Host, tmp_path: Path, passing_time: PassingTime) -> Iterator[Endpoint]:
    """Yield the test's own stand-in: it lists no other test's batches and uses the test's clock."""
    with host.standin(tmp_path / "endpoint", machine=passing_time.of_host) as running:
        yield running


@pytest.fixture
def db(db: Database) -> Iterator[Database]:
    """Yield a fresh database, with the run logger disabled."""
    with disable_run_logger():
        yield db


@pytest_asyncio.fixture
async def at(db: Database, endpoint: Endpoint) -> AsyncIterator[Connections]:
    """Yield connections to a fresh database and the endpoint, as a flow run has them."""
    provider = Provider(
        api_key=SecretStr("x"),
        base_url=endpoint.url,
        poll_s=0.2,
        listing_grace_s=5,
        create_within_s=10,
    )
    async with opening(provider) as client:
        at = Connections(db, client, provider, RUN)
        # Wait for the SDK here, so that no measurement of a test includes its import.
        await at.client()
        yield at


@contextmanager
def asked_at(api_url: str) -> Iterator[None]:
    """Point Prefect at `api_url`; Prefect's own `temporary_settings` validates every setting again, which takes 30 ms."""
    context = get_settings_context()
    api = context.settings.api.model_copy(update={"url": api_url})
    settings = context.settings.model_copy(
        update={"api": api, "ui_url": api_url.removesuffix("/api")}
    )
    with SettingsContext(profile=context.profile, settings=settings):
        yield


@pytest.fixture
def prefect(prefect: PrefectStandIn) -> Iterator[PrefectStandIn]:
    """Yield the test's own Prefect server, which all code under test uses."""
    with asked_at(prefect.api_url), disable_run_logger():
        yield prefect


@pytest.fixture
def standin() -> Iterator[SlackStandIn]:
    """Yield the test's own Slack."""
    running = SlackStandIn()
    yield running
    running.stop()


class Sender:
    """An upstream system that puts items into the lanes, in its own transactions, and reads their state."""

    def __init__(self, at: Connections, time: PassingTime, pool: Engine) -> None:
        self.at, self.time, self._pool = at, time, pool

    async def items(
        self,
        *keys: str,
        lane: Lane | None,
        workload: str = "letters",
        payload: dict[str, str] | None = None,
        due_at: datetime | None = None,
        consumer: str | None = None,
        **spec: object,
    ) -> None:
        """Publish a workload, admit items of it and route them to `lane`."""
        now = await self.at.db.now()
        more = {"due_at": due_at, "consumer": consumer} | ({"payload": payload} if payload else {})

        with self._pool.begin() as connection:
            publish(connection, workload, now=now, **spec)
            admit(connection, *keys, now=now, workload=workload, lane=lane, **more)
            route(connection, now=now)

    async def rows(self, query: str, **values: object) -> list[tuple[object, ...]]:
        """Return the rows of a query."""
        return await self.at.db.run(
            lambda c: [tuple(row) for row in c.execute(text(query), values)]
        )

    async def work_rests(self) -> None:
        """Advance the clock until all work in back-off is ready, if there is any."""
        ((until,),) = await self.rows("select max(ready_at) from lanes.work where state = 'ready'")
        if until is None:
            return
        assert isinstance(until, datetime)
        self.time.passes(seconds=max(0.0, (until - await self.at.db.now()).total_seconds()))

    async def states(self) -> dict[str, str]:
        """Return each item's state by key."""
        return {
            str(k): str(s)
            for k, s in await self.rows("select key, state from lanes.item_status order by key")
        }


@pytest.fixture
def sender(at: Connections, passing_time: PassingTime, pool: Engine) -> Sender:
    return Sender(at, passing_time, pool)


def quick(cases: Iterable[str], kept: Collection[str]) -> list[ParameterSet]:
    """Return the cases of a table; cases that are not in `kept` repeat a rule and run with the slow tests."""
    return [pytest.param(each, marks=() if each in kept else pytest.mark.slow) for each in cases]


class RunLog:
    """A run logger that keeps only warnings."""

    def __init__(self, said: list[str]) -> None:
        self._said = said

    def warning(self, form: str, *values: object) -> None:
        self._said.append(form % values)

    def info(self, *_: object) -> None:
        return

    error = exception = info


class Nap:
    """A sleep that returns at once and records its length."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def nap(monkeypatch: pytest.MonkeyPatch) -> Nap:
    monkeypatch.setattr(departure, "try_batch", departure.try_batch.fn)
    return Nap()


async def until(told: Callable[[], object]) -> None:
    """Wait until `told` returns a true value, for at most ten seconds."""
    async with asyncio.timeout(10):
        while True:
            if told():
                return
            await asyncio.sleep(0.02)

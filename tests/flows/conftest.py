"""Both lanes without Prefect's server: tasks are called as functions, against a real Postgres and a real endpoint."""

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

RUN = UUID(int=4711)  # the flow run that everything in a test is part of


def running_host() -> Iterator[Host]:
    """Provide a host, which has one stand-in at a time."""
    running = Host()
    yield running
    running.stop()


host = pytest.fixture(
    running_host, scope="session", name="host"
)  # the stand-ins of all tests answer here


@pytest.fixture
def endpoint(host: Host, tmp_path: Path, passing_time: PassingTime) -> Iterator[Endpoint]:
    """A stand-in of the test's own: nobody else's batches are in its list, and its time is the test's."""
    with host.standin(tmp_path / "endpoint", machine=passing_time.of_host) as running:
        yield running


@pytest.fixture
def db(db: Database) -> Iterator[Database]:
    """A fresh database, as a run has it."""
    with disable_run_logger():
        yield db


@pytest_asyncio.fixture
async def at(db: Database, endpoint: Endpoint) -> AsyncIterator[Connections]:
    """A fresh database and the endpoint, as a run has them."""
    provider = Provider(
        api_key=SecretStr("x"),
        base_url=endpoint.url,
        poll_s=0.2,
        listing_grace_s=5,
        create_within_s=10,
    )
    async with opening(provider) as client:
        at = Connections(db, client, provider, RUN)
        await at.client()  # the first test waits for the SDK here, whatever it measures
        yield at


@contextmanager
def asked_at(api_url: str) -> Iterator[None]:
    """Prefect is asked at that address. Its own `temporary_settings` examines every setting again, which takes 30 ms."""
    context = get_settings_context()
    api = context.settings.api.model_copy(update={"url": api_url})
    settings = context.settings.model_copy(
        update={"api": api, "ui_url": api_url.removesuffix("/api")}
    )
    with SettingsContext(profile=context.profile, settings=settings):
        yield


@pytest.fixture
def prefect(prefect: PrefectStandIn) -> Iterator[PrefectStandIn]:
    """A Prefect server of the test's own, which everything in the test takes for its server."""
    with asked_at(prefect.api_url), disable_run_logger():
        yield prefect


@pytest.fixture
def standin() -> Iterator[SlackStandIn]:
    """A Slack of the test's own."""
    running = SlackStandIn()
    yield running
    running.stop()


class Sender:
    """Puts items into the lanes, as somebody else, and looks at what became of them."""

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
        """Items of a workload are routed to a lane."""
        now = await self.at.db.now()
        more = {"due_at": due_at, "consumer": consumer} | ({"payload": payload} if payload else {})

        with self._pool.begin() as connection:
            publish(connection, workload, now=now, **spec)
            admit(connection, *keys, now=now, workload=workload, lane=lane, **more)
            route(connection, now=now)

    async def rows(self, query: str, **values: object) -> list[tuple[object, ...]]:
        """What the database says."""
        return await self.at.db.run(
            lambda c: [tuple(row) for row in c.execute(text(query), values)]
        )

    async def work_rests(self) -> None:
        """Time passes until all work that rests may be tried, if there is any."""
        ((until,),) = await self.rows("select max(ready_at) from lanes.work where state = 'ready'")
        if until is None:
            return
        assert isinstance(until, datetime)
        self.time.passes(seconds=max(0.0, (until - await self.at.db.now()).total_seconds()))

    async def states(self) -> dict[str, str]:
        """Each item's state by key."""
        return {
            str(k): str(s)
            for k, s in await self.rows("select key, state from lanes.item_status order by key")
        }


@pytest.fixture
def sender(at: Connections, passing_time: PassingTime, pool: Engine) -> Sender:
    return Sender(at, passing_time, pool)


def quick(cases: Iterable[str], kept: Collection[str]) -> list[ParameterSet]:
    """Return the cases of a table; those that are not `kept` repeat a rule and run with the slow tests."""
    return [pytest.param(each, marks=() if each in kept else pytest.mark.slow) for each in cases]


class RunLog:
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
    monkeypatch.setattr(departure, "send_batch", departure.send_batch.fn)
    return Nap()


async def until(told: Callable[[], object]) -> None:
    """It is true of the world, within ten seconds."""
    async with asyncio.timeout(10):
        while True:
            if told():
                return
            await asyncio.sleep(0.02)

"""A program that follows a workload's answers receives each one on arrival and misses none."""

import asyncio
import threading
from collections.abc import AsyncIterator, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager, closing

import pytest
from psycopg import OperationalError
from sqlalchemy import Connection, Engine, text

from lanes import client
from lanes.client import AsyncLanes, Lanes, Listed, following, lookout
from lanes.client.following import Following
from lanes.errors import DatabaseAway, Refused, TransactionUnfit, UnknownWorkload
from lanes.store.settling import listing
from tests.conftest import NOON
from tests.examples import admit
from tests.store.client.ends import WITHIN_S, answer, fails
from tests.store.tries import A, rows

NEVER_S = 3_600.0
ANSWERED = ("answered", "settled", "failed")
SESSIONS = "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"


class CountedLooks:
    """The number of looks for followers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        self._changed = threading.Condition()
        self._look = Following.look
        monkeypatch.setattr(Following, "look", lambda of, connection: self.look(of, connection))

    def look(self, of: Following, connection: Connection) -> list[Listed]:
        found = self._look(of, connection)
        with self._changed:
            self.times += 1
            self._changed.notify_all()
        return found

    def until(self, times: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.times >= times, WITHIN_S)


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> CountedLooks:
    """Count the looks; after the first one, only a notification causes a look."""
    for module in (lookout, following):
        monkeypatch.setattr(module, "RELOOK_S", NEVER_S)
    return CountedLooks(monkeypatch)


@pytest.fixture(autouse=True)
def item(address: None, pool: Engine) -> None:
    with pool.begin() as connection:
        admit(connection, "k", now=NOON, urgent=True)


@pytest.fixture
def programs() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(2)


def roused() -> bool:
    """Return whether any program follows."""
    return any(each._roused for each in lookout._lookouts.values())


def first(told: Generator[Listed]) -> Listed:
    with closing(told):
        return next(told)


def test_a_follower_receives_an_answer_on_arrival_and_its_read_is_recorded(
    pool: Engine, programs: ThreadPoolExecutor, looked: CountedLooks
) -> None:
    told = client.results("letters", states=ANSWERED, follow=True, reader="dashboard")
    coming = programs.submit(first, told)
    looked.until(1)
    answer(pool)
    found = coming.result(WITHIN_S)
    assert (found.key, found.state, found.output) == ("k", "settled", A)
    assert not roused()
    with pool.begin() as connection:
        assert [each.reader for each in rows(connection, "read")] == ["dashboard"]


async def test_an_asynchronous_follower_receives_an_answer_on_arrival(
    pool: Engine, looked: CountedLooks
) -> None:
    async with aclosing(client.aresults("letters", states=ANSWERED, follow=True)) as told:
        coming = asyncio.ensure_future(anext(told))
        await asyncio.to_thread(looked.until, 1)
        await asyncio.to_thread(answer, pool)
        found = await asyncio.wait_for(coming, WITHIN_S)
        assert roused()
    assert not roused()
    assert (found.key, found.output) == ("k", A)
    with pool.begin() as connection:
        assert rows(connection, "read") == []


def test_a_follower_receives_a_failed_item(
    pool: Engine, programs: ThreadPoolExecutor, looked: CountedLooks
) -> None:
    coming = programs.submit(first, client.results("letters", states=["failed"], follow=True))
    looked.until(1)
    fails(pool)
    assert coming.result(WITHIN_S).state == "failed"


@pytest.mark.slow
@pytest.mark.usefixtures("looked")
async def test_following_ends_after_the_quiet_time() -> None:
    assert [each.key for each in client.results("letters", follow=True, quiet_s=0)] == ["k"]
    assert [each.key async for each in client.aresults("letters", follow=True, quiet_s=0.1)] == [
        "k"
    ]


@pytest.mark.usefixtures("looked")
def test_a_listing_with_a_reader_records_reads_of_answered_items(pool: Engine) -> None:
    assert len(list(client.results("letters", reader="export"))) == 1
    with pool.begin() as connection:
        assert rows(connection, "read") == []
    answer(pool)
    with pool.begin() as connection:
        admit(connection, "unanswered", now=NOON)
    assert len(list(client.results("letters", reader="export"))) == 2
    with pool.begin() as connection:
        (read,) = rows(connection, "read")
        assert (read.reader, read.result_id is None) == ("export", False)


def test_a_follower_misses_no_answer_when_all_sessions_end_at_once(
    pool: Engine,
    programs: ThreadPoolExecutor,
    looked: CountedLooks,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "AGAIN_S", 0.01)
    coming = programs.submit(first, client.results("letters", states=ANSWERED, follow=True))
    looked.until(1)
    with pool.begin() as connection:
        assert all(
            connection.execute(text(f"select pg_terminate_backend(pid, 5000) {SESSIONS}")).scalars()
        )
    pool.dispose()
    answer(pool)
    assert coming.result(WITHIN_S).key == "k"


def test_a_follower_misses_no_answer_when_the_listener_cannot_connect(
    pool: Engine,
    programs: ThreadPoolExecutor,
    looked: CountedLooks,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lookout, "AGAIN_S", 0.01)
    ends = iter([True])
    listening = lookout.listening

    @asynccontextmanager
    async def killed(url: str) -> AsyncIterator[asyncio.Event]:
        if next(ends, False):
            await asyncio.to_thread(looked.until, 1)
            answer(pool)
            raise OperationalError("the session was ended while it connected")
        async with listening(url) as heard:
            yield heard

    monkeypatch.setattr(lookout, "listening", killed)
    coming = programs.submit(first, client.results("letters", states=ANSWERED, follow=True))
    assert coming.result(WITHIN_S).key == "k"


@pytest.mark.slow
def test_an_answer_given_between_the_first_pages_is_received_once(
    pool: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "LOOKED_AT", 1)
    with pool.begin() as connection:
        admit(connection, "l", now=NOON, urgent=True)
    told = client.results("letters", follow=True, reader="dashboard", quiet_s=0)
    assert next(told).key == "k"
    answer(pool, now=None)
    assert [(each.key, each.state) for each in told] == [("l", "settled"), ("k", "settled")]
    with pool.begin() as connection:
        assert len(rows(connection, "read")) == 2


def test_a_follower_misses_no_item_when_the_database_is_lost_between_two_pages(
    pool: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "LOOKED_AT", 1)
    monkeypatch.setattr(following, "AGAIN_S", 0.01)
    with pool.begin() as connection:
        admit(connection, "l", now=NOON)
    look, outages = Following.look, iter([False, True, True, False])

    def lost(of: Following, connection: Connection) -> list[Listed]:
        found = look(of, connection)
        if next(outages, False):
            raise DatabaseAway("gone")
        return found

    monkeypatch.setattr(Following, "look", lost)
    assert [each.key for each in client.results("letters", follow=True, quiet_s=0)] == ["k", "l"]


@pytest.mark.slow
def test_the_read_of_a_locked_item_is_recorded_once_its_lock_is_released(
    pool: Engine, programs: ThreadPoolExecutor, looked: CountedLooks
) -> None:
    answer(pool)
    told = client.results("letters", states=ANSWERED, follow=True, reader="dashboard")
    with pool.begin() as somebody:
        somebody.execute(text("select from lanes.item where key = 'k' for update"))
        assert next(told).key == "k"
        with pool.begin() as connection:
            assert rows(connection, "read") == []
            admit(connection, "l", now=NOON, urgent=True)
    coming = programs.submit(first, told)
    looked.until(2)
    answer(pool)
    assert coming.result(WITHIN_S).key == "l"
    with pool.begin() as connection:
        assert len(rows(connection, "read")) == 2


async def test_a_database_that_stays_unavailable_raises_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(*_: object) -> list[Listed]:
        raise DatabaseAway("gone")

    monkeypatch.setattr(Following, "look", away)
    monkeypatch.setattr(following, "OUTAGE_S", 0.02)
    monkeypatch.setattr(following, "AGAIN_S", 0.01)
    with pytest.raises(DatabaseAway):
        list(client.results("letters", follow=True))
    with pytest.raises(DatabaseAway):
        [each async for each in client.aresults("letters", follow=True)]


async def test_an_invalid_request_to_follow_raises_an_error(pool: Engine) -> None:
    with pytest.raises(Refused, match="answered, settled, failed"):
        next(client.results("letters", states=["canceled"], follow=True))
    with pytest.raises(UnknownWorkload):
        next(client.results("ghosts", follow=True))
    with pytest.raises(Refused, match="reader"):
        next(client.results("letters", reader="\0"))
    with pool.begin() as connection, pytest.raises(TransactionUnfit, match="cannot end"):
        next(Lanes(connection).results("letters", follow=True))
    async with AsyncLanes() as lanes:
        with pytest.raises(UnknownWorkload):
            await anext(lanes.results("ghosts", follow=True))

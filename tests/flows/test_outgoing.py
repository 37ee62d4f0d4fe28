"""Events out reach a Prefect that answers over HTTP, hangs, fails or refuses, and no caller waits for Prefect."""

import asyncio
import os
import time
from typing import Any

import httpx
import pytest
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.exceptions import PrefectException
from sqlalchemy import Connection, text

from lanes.realtime.turns import QueueCursor
from lanes.store import outbox
from lanes.store.database import Database
from tasks import outgoing
from tasks.outgoing import LAST_S, POST_S, NothingTaken, Publisher, publish_events, publishing
from tests.conftest import NOON
from tests.flows.conftest import until
from tests.prefect_standin import PrefectStandIn

RESOURCE = "lanes.workload.letters"
OPEN_TRANSACTIONS = """
    select count(*) from pg_stat_activity
     where datname = current_database() and pid <> pg_backend_pid() and xact_start is not null
"""


@pytest.fixture
def db(db: Database, prefect: PrefectStandIn) -> Database:
    """Return the database, with a Prefect server of the test's own."""
    return db


async def add(db: Database, *keys: str, **payload: Any) -> None:
    """Add events about items of these keys to the outbox, in this order."""

    def put(connection: Connection) -> None:
        outbox.add(
            connection,
            [
                outbox.EventOut("lanes.item.answered", RESOURCE, {"key": key, **payload})
                for key in keys
            ],
            now=NOON,
        )

    await db.run(put)


async def left(db: Database) -> list[str]:
    """Return the keys of the events that wait."""
    query = text("select payload ->> 'key' from lanes.event_outbox order by id")
    return await db.run(lambda connection: list(connection.execute(query).scalars()))


def told(prefect: PrefectStandIn) -> list[str]:
    """Return the keys that Prefect accepted, in its order."""
    return [each["payload"]["key"] for each in prefect.events]


async def test_events_are_published_once_in_their_order_with_their_resource_and_time(
    db: Database, prefect: PrefectStandIn
) -> None:
    keys = [str(number) for number in range(8)]
    await add(db, *keys)
    assert await Publisher(db, most=3).publish() == 8
    assert await Publisher(db).publish() == 0
    assert told(prefect) == keys
    assert await left(db) == []
    first = prefect.events[0]
    assert first["resource"] == {
        "prefect.resource.id": RESOURCE,
        "prefect.resource.name": "letters",
    }
    assert (first["event"], first["occurred"][:19]) == (
        "lanes.item.answered",
        "2026-11-24T12:00:00",
    )


async def test_a_publisher_that_finds_nothing_writes_nothing(db: Database) -> None:
    turn = text("select xmin::text, lease_until from lanes.publisher")
    publisher = Publisher(db)
    await add(db, "1")
    assert await publisher.publish() == 1
    left = await db.run(lambda connection: connection.execute(turn).one())
    assert await publisher.publish() == 0
    assert await db.run(lambda connection: connection.execute(turn).one()) == left


@pytest.mark.slow
@pytest.mark.parametrize(
    "broken", [{"hangs": True}, {"status": 503}, {"status": 401}, {"status": 404}]
)
async def test_an_outage_loses_no_event_and_lasts_at_most_one_request(
    db: Database, prefect: PrefectStandIn, broken: dict[str, Any]
) -> None:
    await add(db, "a", "b")
    prefect.breaks(**broken)
    began = time.monotonic()
    with pytest.raises((TimeoutError, httpx.HTTPError, PrefectException)):
        await Publisher(db, post_s=0.5).publish()
    assert time.monotonic() - began < POST_S - 1
    assert await left(db) == ["a", "b"]
    prefect.heals()
    assert await Publisher(db).publish() == 2  # the turn was returned: no lease to wait for


async def test_while_prefect_hangs_no_transaction_is_open_and_no_row_is_locked(
    db: Database, prefect: PrefectStandIn
) -> None:
    await add(db, "a")
    prefect.hangs = True
    async with publishing(db):
        await until(lambda: prefect.requests)
        assert await db.run(lambda c: c.execute(text(OPEN_TRANSACTIONS)).scalar_one()) == 0
        await db.run(
            lambda c: c.execute(
                text("delete from lanes.event_outbox where payload ->> 'key' = 'a'")
            )
        )
        prefect.heals()


@pytest.mark.slow
async def test_a_publisher_publishes_when_it_is_woken_and_stops_at_once(
    db: Database, prefect: PrefectStandIn
) -> None:
    publisher = Publisher(db, every_s=60)
    running = asyncio.create_task(publisher.run())
    await add(db, "a")
    publisher.wake.set()
    await until(lambda: told(prefect) == ["a"])
    await add(db, "b")
    publisher.wake.set()
    await until(lambda: told(prefect) == ["a", "b"])
    prefect.hangs = True
    await add(db, "c")
    publisher.wake.set()
    began = time.monotonic()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert time.monotonic() - began < POST_S / 2


@pytest.mark.slow
async def test_a_publisher_continues_when_prefect_is_available_again(
    db: Database, prefect: PrefectStandIn
) -> None:
    prefect.status = 503
    publisher = Publisher(db, post_s=0.2, every_s=0.05)
    running = asyncio.create_task(publisher.run())
    await add(db, "a")
    await until(lambda: len(prefect.requests) >= 2)
    prefect.heals()
    await until(lambda: told(prefect) == ["a"])
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.slow
async def test_a_publisher_that_ends_tries_once_more_within_a_limit(
    db: Database, prefect: PrefectStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with publishing(db) as publisher:
        await asyncio.sleep(0)
        await add(db, "a")
    assert told(prefect) == ["a"]
    monkeypatch.setattr(Publisher.try_once, "__kwdefaults__", {"within_s": 0.5})
    prefect.hangs = True
    began = time.monotonic()
    async with publishing(db) as publisher:
        await add(db, "b")
        publisher.wake.set()
    assert time.monotonic() - began < LAST_S - 1
    assert await left(db) == ["b"]


async def test_concurrent_publishers_post_each_event_once(
    db: Database, prefect: PrefectStandIn
) -> None:
    keys = [str(number) for number in range(20)]
    await add(db, *keys)
    await asyncio.gather(*(Publisher(db).publish() for _ in range(4)))
    assert told(prefect) == keys


@pytest.mark.parametrize("poison", [["a"], ["d"], ["g"], ["a", "b", "f"]])
async def test_an_event_that_prefect_refuses_blocks_no_later_event(
    db: Database, prefect: PrefectStandIn, poison: list[str]
) -> None:
    prefect.refuses = lambda event: event["payload"]["key"] in poison
    await add(db, *"abcdefg")
    assert await publish_events(db) == 7 - len(poison)
    assert told(prefect) == [key for key in "abcdefg" if key not in poison]
    assert await left(db) == []


async def test_refused_events_that_fill_a_whole_request_block_no_later_event(
    db: Database, prefect: PrefectStandIn
) -> None:
    prefect.refuses = lambda event: event["payload"]["key"] in "abcde"
    await add(db, *"abcdefg")
    assert await Publisher(db, most=2).publish() == 2
    assert await left(db) == []


async def test_after_a_slow_read_a_publisher_starts_at_its_last_event_and_no_late_event_is_lost(
    db: Database, prefect: PrefectStandIn
) -> None:
    publisher, later = Publisher(db, most=2), Publisher(db, most=2)
    # After its first read from the head of the queue, neither publisher starts at the head again.
    for each in (publisher, later):
        each.heads = QueueCursor(slow_s=-1.0, rest_s=1e9)
    await add(db, "a", "b", "c")
    assert await publisher.publish() == 3
    await add(db, "late", "d")
    late = text(
        "update lanes.event_outbox set id = '00000000-0000-7000-8000-000000000000' where payload ->> 'key' = 'late'"
    )
    await db.run(lambda connection: connection.execute(late))
    assert await publisher.publish() == 1
    assert (told(prefect), await left(db)) == (["a", "b", "c", "d"], ["late"])
    prefect.refuses = lambda _: True
    await add(db, "e")
    with pytest.raises(NothingTaken):
        await publisher.publish()
    prefect.refuses = lambda _: False
    assert await publisher.publish() == 1
    assert await later.publish() == 1
    assert told(prefect)[4:] == ["e", "late"]


async def test_answers_rest_on_an_overloaded_machine_and_other_events_go_out_meanwhile(
    db: Database, prefect: PrefectStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, began = Publisher(db, most=2, per_s=20), list[float]()
    offer = publisher._offer_all  # pyright: ignore[reportPrivateUsage]

    async def begins(events: Any) -> Any:
        if not began:
            await add(db, "urgent", ack=True)
        began.append(time.monotonic())
        return await offer(events)

    monkeypatch.setattr(publisher, "_offer_all", begins)
    monkeypatch.setattr(outgoing, "overload", lambda: 2.0)
    await add(db, *"abc")
    assert await publisher.publish() == 4
    assert told(prefect) == ["a", "b", "urgent", "c"]
    assert began[2] - began[0] >= 2.0 * 2 / 20


@pytest.mark.parametrize(("load", "expected"), [(0.1, 0), (4, 0), (6, 0.5), (8, 1)])
def test_a_machine_is_overloaded_by_what_exceeds_its_processors(
    load: float, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 9.0, 9.0))
    assert outgoing.overload() == expected


async def test_events_refused_while_prefect_accepts_nothing_wait_until_it_accepts_one(
    db: Database, prefect: PrefectStandIn
) -> None:
    prefect.refuses = lambda _: True
    await add(db, "a", "b")
    with pytest.raises(NothingTaken, match="every one of 2"):
        await Publisher(db).publish()
    assert await left(db) == ["a", "b"]
    prefect.refuses = lambda event: event["payload"]["key"] == "a"
    await add(db, "c")
    assert await Publisher(db).publish() == 2
    assert await left(db) == []


async def test_an_event_too_large_for_prefect_is_given_up_and_blocks_no_later_event(
    db: Database, prefect: PrefectStandIn
) -> None:
    await add(db, "large", text="x" * outgoing.LARGEST)
    await add(db, "small")
    assert await Publisher(db).publish() == 1
    assert told(prefect) == ["small"]
    assert await left(db) == []


async def test_large_events_are_sent_in_several_requests(
    db: Database, prefect: PrefectStandIn
) -> None:
    await add(db, *"abcd", text="x" * (outgoing.MOST_BYTES // 3))
    assert await Publisher(db).publish() == 4
    assert told(prefect) == list("abcd")
    assert prefect.requests.count("events") == 2


async def test_a_publisher_with_little_time_leaves_events_beyond_its_rate(
    db: Database, prefect: PrefectStandIn, caplog: pytest.LogCaptureFixture
) -> None:
    await add(db, *(str(number) for number in range(60)))
    assert await Publisher(db, per_s=1).try_once(within_s=20) == outgoing.MOST
    assert len(await left(db)) == 60 - outgoing.MOST
    assert caplog.text == ""


@pytest.mark.slow
async def test_a_running_publisher_opens_one_client_however_often_it_posts(
    db: Database, prefect: PrefectStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = list[PrefectClient]()

    def opening() -> PrefectClient:
        opened.append(get_client())
        return opened[-1]

    monkeypatch.setattr(outgoing, "get_client", opening)
    async with publishing(db) as publisher:
        for number in range(5):
            await add(db, str(number))
            publisher.wake.set()
            await until(lambda number=number: len(prefect.events) == number + 1)
        assert len(opened) == 1

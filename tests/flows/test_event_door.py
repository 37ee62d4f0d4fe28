"""The event door while callers keep transactions open: neighbours are admitted, and locked keys are admitted once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from prefect.events import Event, Resource
from prefect.events.filters import EventFilter, EventOccurredFilter
from sqlalchemy import Engine

from lanes.doors.item import Amendment
from lanes.doors.stream import Stream, span_start
from lanes.store.database import Database
from lanes.store.doors import items
from tasks import arrivals
from tasks.arrivals import ArrivalReader, DoorLimits, LookBack
from tests.conftest import NOON
from tests.examples import admit, publish
from tests.store.tries import rows


@pytest.fixture
def db(db: Database, pool: Engine) -> Database:
    with pool.begin() as setup:
        publish(setup, now=NOON)
    return db


@pytest.fixture
def reader(db: Database) -> ArrivalReader:
    return ArrivalReader(db, lambda: None)


def event(
    key: str, text: str = "hello", *, name: str = arrivals.ARRIVED, ago: timedelta = timedelta(0)
) -> Event:
    resource = Resource.model_validate({"prefect.resource.id": "lanes.workload.letters"})
    occurred = Event.model_fields["occurred"].get_default(call_default_factory=True) - ago
    payload = {"key": key, "payload": {"text": text}}
    return Event.model_validate(
        {"event": name, "resource": resource, "payload": payload, "occurred": occurred}
    )


def texts(pool: Engine) -> dict[str, str]:
    with pool.begin() as connection:
        return {each.key: each.payload["text"] for each in rows(connection, "item")}


@pytest.mark.slow
async def test_a_key_in_an_open_transaction_of_a_caller_blocks_no_other_event_of_its_chunk(
    db: Database, pool: Engine, reader: ArrivalReader
) -> None:
    chunk = [event(f"k{n}") for n in range(64)]
    with pool.connect() as caller:
        admit(caller, "k40", now=NOON)
        await reader.admit(chunk)
        assert set(texts(pool)) == {f"k{n}" for n in range(64)} - {"k40"}
        await reader.retry()
        await reader.admit(chunk)  # a stored copy of each event
        caller.rollback()
    await reader.retry()
    await reader.admit(chunk)
    assert len(texts(pool)) == 64
    with pool.begin() as connection:
        assert rows(connection, "rejected_log") == []


async def test_many_locked_keys_cost_a_bounded_number_of_waits(
    db: Database, pool: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = DoorLimits(waits=5)
    tried: list[int] = []
    admit_some = items.admit

    def counted(connection: object, inputs: Sequence[object], **more: object) -> object:
        tried.append(len(inputs))
        return admit_some(connection, inputs, **more)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(items, "admit", counted)
    with pool.connect() as caller:
        caller_keys = [f"k{n}" for n in range(100)]
        items.admit(caller, [], door="client", now=NOON)
        admit(caller, *caller_keys, now=NOON)
        tried.clear()
        events = [event(key) for key in caller_keys]
        left = await arrivals.admit_events(db, events, now=NOON, limits=limits)
    assert len(left) == 100
    assert len(tried) <= 5 + 7  # and once each for the parts that were left


async def test_amendments_of_an_item_in_an_open_transaction_are_applied_afterwards_in_their_order(
    db: Database, pool: Engine, reader: ArrivalReader
) -> None:
    await reader.admit([event("held"), event("free")])
    with pool.connect() as caller:
        late = Amendment("letters", "held", {"text": "the caller's"})
        items.amend(caller, late, door="client", now=NOON)
        await reader.admit(
            [
                event("held", "one", name=arrivals.AMENDED),
                event("free", "one", name=arrivals.AMENDED),
                event("held", "two", name=arrivals.AMENDED),
            ]
        )
        await reader.admit([event("held", "three", name=arrivals.AMENDED)])
        assert texts(pool) == {"held": "hello", "free": "one"}
        caller.commit()
    for text in ("one", "two", "three"):
        await reader.retry()
        assert texts(pool)["held"] == text
    with pool.begin() as connection:
        (held,) = [each for each in rows(connection, "item") if each.key == "held"]
        assert held.revision == 4


async def test_the_watermark_does_not_pass_an_event_that_met_a_lock(
    db: Database, pool: Engine, reader: ArrivalReader
) -> None:
    stuck = event("held", ago=timedelta(minutes=3))
    with pool.connect() as caller:
        admit(caller, "held", now=NOON)
        await reader.admit([stuck, event("free")])
        began = await db.now()
        await reader.has_read(began)
        assert await db.run(items.read_watermark, items.ARRIVALS) == stuck.occurred
        caller.rollback()
    await reader.retry()
    await reader.has_read(began)
    assert await db.run(items.read_watermark, items.ARRIVALS) == began


class Store:
    """Prefect's stored events in pages of two; `since` is the start of the last read, `read` the events it returned."""

    def __init__(self, *events: Event) -> None:
        self.events = list(events)
        self.since: object = None
        self.read: list[Event] = []

    async def read_events(self, wanted: EventFilter, *, limit: int) -> "EventPage":
        self.since = wanted.occurred.since
        return EventPage(
            self, [each for each in self.events if wanted.occurred.includes(each)]
        ).page()

    async def request(self, method: str, path: str, *, json: dict[str, Any]) -> "Store":
        assert (method, path, json["time_unit"], json["time_interval"]) == (
            "POST",
            "/events/count-by/time",
            "minute",
            5.0,
        )
        occurred = EventOccurredFilter.model_validate(json["filter"]["occurred"])
        self._counted = Counter(
            span_start(each.occurred) for each in self.events if occurred.includes(each)
        )
        return self

    def json(self) -> list[dict[str, Any]]:
        return [
            {"start_time": start.isoformat(), "count": events}
            for start, events in self._counted.items()
        ]


class EventPage:
    def __init__(self, store: Store, left: list[Event]) -> None:
        self._store, self._left = store, left
        self.events: list[Event] = []

    def page(self) -> "EventPage":
        self.events, self._left = self._left[:2], self._left[2:]
        self._store.read += self.events
        return self

    async def get_next_page(self, client: object) -> "EventPage | None":
        return self.page() if self._left else None


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> Store:
    """Return the stored events of the server."""
    store = Store()

    @asynccontextmanager
    async def client() -> AsyncIterator[Store]:
        yield store

    monkeypatch.setattr(arrivals, "get_client", client)
    return store


async def test_an_event_that_prefect_stores_just_after_a_drain_began_is_read_soon(
    db: Database, stored: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "SOON_S", (0.0,))
    admitted = asyncio.Event()

    class LateStore(ArrivalReader):
        async def read_stored(self) -> None:
            await super().read_stored()
            stored.events = [event("woke the drain")]

    sweeping = asyncio.create_task(LateStore(db, admitted.set)._sweep())
    async with asyncio.timeout(5):
        await admitted.wait()
    sweeping.cancel()


@pytest.mark.parametrize("ago", [timedelta(minutes=2), timedelta(minutes=20), timedelta(hours=23)])
async def test_an_event_from_a_slow_clock_is_found_for_a_day_and_read_once(
    db: Database, pool: Engine, reader: ArrivalReader, stored: Store, ago: timedelta
) -> None:
    stored.events = [event("before", ago=ago)]
    await reader.read_stored()  # the sweep continues from here
    looking = LookBack(db, Stream[Event](), reader.admit)
    assert await looking.look() == 1
    assert await looking.look() == 0
    stored.events += [event("late", ago=ago)]
    await reader.read_stored()
    assert set(texts(pool)) == {"before"}
    assert await looking.look() == 1
    assert set(texts(pool)) == {"before", "late"}
    assert await LookBack(db, Stream[Event](), reader.admit).look() == 0  # for the next router


async def test_an_event_from_more_than_a_day_ago_is_not_read(
    db: Database, reader: ArrivalReader, stored: Store
) -> None:
    stored.events = [event("old", ago=timedelta(hours=24, minutes=10))]
    assert await LookBack(db, Stream[Event](), reader.admit).look() == 0


async def test_a_look_reads_a_bounded_number_of_pages_and_the_next_look_continues(
    db: Database, pool: Engine, reader: ArrivalReader, stored: Store
) -> None:
    stored.events = [
        event(f"{hours}-{n}", ago=timedelta(hours=hours)) for hours in (1, 2, 3) for n in range(4)
    ]
    looking = LookBack(db, Stream[Event](), reader.admit, most_pages=3)
    assert [await looking.look() for _ in range(3)] == [4, 2, 0]
    assert [each.payload["key"][0] for each in stored.read] == ["1"] * 4 + ["2"] * 4 + ["3"] * 4
    assert len(texts(pool)) == 12


async def test_a_span_is_not_complete_while_one_of_its_events_meets_a_lock(
    db: Database, pool: Engine, stored: Store
) -> None:
    reader = ArrivalReader(db, lambda: None)
    stored.events = [event("held", ago=timedelta(hours=2))]
    with pool.connect() as caller:
        admit(caller, "held", now=NOON)
        assert await reader.looking.look() == 1
        assert await reader.looking.look() == 1  # again: the next reader must find it too
        caller.rollback()
    await reader.retry()
    assert await reader.looking.look() == 1
    assert await reader.looking.look() == 0
    assert set(texts(pool)) == {"held"}


async def test_events_that_the_server_deleted_hide_no_later_events(
    db: Database, pool: Engine, reader: ArrivalReader, stored: Store
) -> None:
    looking = LookBack(db, Stream[Event](), reader.admit)
    stored.events = [event("one", ago=timedelta(hours=2)), event("two", ago=timedelta(hours=2))]
    await looking.look()
    stored.events = []
    assert await looking.look() == 0
    stored.events = [event("three", ago=timedelta(hours=2))]
    assert await looking.look() == 1
    assert set(texts(pool)) == {"one", "two", "three"}


@pytest.mark.parametrize("limit", [{"queued": 2}, {"queued_bytes": 100}], ids=str)
async def test_streamed_events_beyond_the_queue_are_read_from_the_store_and_none_is_lost(
    db: Database, pool: Engine, stored: Store, limit: dict[str, int]
) -> None:
    reader = ArrivalReader(db, lambda: None, **limit)
    burst = [event(f"k{n}") for n in range(5)]
    for each in burst:
        reader.take(each)
    await reader.admit_next()
    assert set(texts(pool)) == {"k0", "k1"}
    await reader.read_stored()  # the server stores them seconds later
    stored.events = burst
    await reader.read_stored()
    assert set(texts(pool)) == {f"k{n}" for n in range(5)}
    assert stored.since <= burst[2].occurred  # pyright: ignore[reportOperatorIssue]
    assert (await db.run(items.read_watermark, items.ARRIVALS) or NOON) <= burst[2].occurred


async def test_an_event_with_an_unstorable_resource_is_rejected_and_harms_no_other_of_its_chunk(
    db: Database, pool: Engine, reader: ArrivalReader
) -> None:
    def odd(resource: str, name: str = arrivals.ARRIVED) -> Event:
        return event("odd", name=name).model_copy(
            update={"resource": Resource.model_validate({"prefect.resource.id": resource})}
        )

    hostile = (
        "lanes.workload.\x00",
        "\x00",
        "lanes.workload.\ud800",
        "lanes.workload." + "x" * 6_000,
        "lanes.workload.",
    )
    await reader.admit(
        [
            event("a"),
            *map(odd, hostile),
            *(odd(each, arrivals.AMENDED) for each in hostile),
            event("b"),
        ]
    )
    assert set(texts(pool)) == {"a", "b"}
    with pool.begin() as connection:
        kept = rows(connection, "rejected_log")
    assert len(kept) == 2 * len(hostile)
    assert {each.key for each in kept} == {"odd"}
    assert {each.workload for each in kept} >= {"\ufffd", "x" * 512}


async def test_the_queue_has_room_again_once_its_events_are_admitted(
    db: Database, pool: Engine
) -> None:
    reader = ArrivalReader(db, lambda: None, queued_bytes=1_500)
    for number in range(5):
        reader.take(event(f"k{number}", "x" * 1_000))
        await reader.admit_next()
    assert len(texts(pool)) == 5


async def test_one_transaction_admits_fewer_events_if_they_are_large(
    db: Database, pool: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    admit_some = items.admit

    def counted(connection: object, inputs: Sequence[object], **more: object) -> object:
        asked.append(len(inputs))
        return admit_some(connection, inputs, **more)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(items, "admit", counted)
    limits = DoorLimits(events=8, bytes=50_000)
    large = [event(f"l{n}", "x" * 20_000) for n in range(7)]
    small = [event(f"s{n:02d}") for n in range(20)]
    await arrivals.admit_events(db, [*large, *small], now=NOON, limits=limits)
    assert asked == [3, 3, 8, 8, 5]
    assert len(texts(pool)) == 27

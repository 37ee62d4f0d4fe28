"""The history of an entity, as the authoritative pass sees it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from lanes.batch.batch import BatchKind
from lanes.doors.item import Amendment
from lanes.ids import ItemId
from lanes.json_data import characters
from lanes.money.estimates import Estimates
from lanes.packing import history_chars
from lanes.routing.shedding import Shed
from lanes.store.doors import full_data, items
from lanes.store.routing import second_look
from lanes.words import Lane
from lanes.workload.context import Context, ContextPart, EntityHistory
from lanes.workload.version import Version
from tests.conftest import NOON, later
from tests.examples import admit, publish, route, submission
from tests.store.tries import lock_for_batch, row, rows


def put(
    connection: Connection,
    key: str,
    *,
    entity: str | None = "ann",
    hours: float = 0,
    workload: str = "letters",
    consumer: str | None = None,
) -> None:
    when = NOON + timedelta(hours=hours)
    sent = submission(
        key, workload, entity=entity, occurred_at=when, lane=Lane.BATCH, consumer=consumer
    )
    items.admit(connection, [sent], door="client", now=NOON)


def seen(connection: Connection, letters: Version, most: int = 5) -> dict[str, list[str]]:
    """Return the texts that each item's pass would see, by key."""
    route(connection, now=NOON)
    waiting = lock_for_batch(connection, BatchKind("letters", letters.id), limit=100, now=NOON)
    found = full_data.earlier_of_work(
        connection, [each.claim.work_id for each in waiting], limited(letters, most)
    )
    sizes = full_data.read_lengths(
        connection, dict.fromkeys(ids(connection).values(), limited(letters, most))
    )
    for each in waiting:  # the measured lengths are those of the texts read
        payloads = said(found.get(each.claim.work_id, ()))
        assert sizes.get(ids(connection)[each.key], ()) == tuple(
            characters(payload) for payload in reversed(payloads)
        )
    return {
        each.key: [payload["text"] for payload in said(found.get(each.claim.work_id, ()))]
        for each in waiting
    }


def ids(connection: Connection) -> dict[str, ItemId]:
    return {each.key: each.id for each in rows(connection, "item", workload="letters")}


def limited(letters: Version, most: int) -> Version:
    context = Context(entity=EntityHistory(items=most))
    return replace(letters, spec=letters.spec.model_copy(update={"context": context}))


def said(parts: Sequence[ContextPart]) -> list[Any]:
    return [each.content for each in parts]


def test_earlier_items_of_the_entity_are_seen_oldest_first(connection: Connection) -> None:
    letters = publish(connection, now=NOON)
    for key, hours in (("b", 2), ("a", 1), ("c", 3)):
        put(connection, key, hours=hours)
    put(connection, "other", entity="bob", hours=0)
    put(connection, "nobody", entity=None, hours=4)
    assert seen(connection, letters) == {
        "a": [],
        "b": ["letter a"],
        "c": ["letter a", "letter b"],
        "other": [],
        "nobody": [],
    }


def test_an_item_sees_no_history_of_another_consumer_if_its_workload_separates_them(
    connection: Connection,
) -> None:
    consumers = (("a", "crm"), ("b", "shop"), ("c", None), ("d", "crm"), ("e", "shop"), ("f", None))
    apart = publish(connection, now=NOON, pack_scope="consumer")
    for hours, (key, consumer) in enumerate(consumers):
        put(connection, key, hours=hours, consumer=consumer)
    assert seen(connection, apart) == {
        "a": [],
        "b": [],
        "c": [],
        "d": ["letter a"],
        "e": ["letter b"],
        "f": ["letter c"],
    }
    at = later(days=1)
    (told,) = full_data.earlier_of_entity(
        connection, limited(apart, 1), "ann", before=at, consumer="crm"
    )
    assert told.content == {"text": "letter d"}
    together = limited(publish(connection, now=NOON), 9)
    assert (
        len(full_data.earlier_of_entity(connection, together, "ann", before=at, consumer="crm"))
        == 6
    )


def test_only_the_nearest_earlier_items_of_the_workload_are_seen_and_no_canceled_ones(
    connection: Connection,
) -> None:
    letters = publish(connection, now=NOON)
    publish(connection, "notes", now=NOON)
    for number in range(6):
        put(connection, f"e{number}", hours=number)
    put(connection, "same", hours=6)
    put(connection, "foreign", hours=5, workload="notes")
    put(connection, "last", hours=6)
    items.cancel(connection, "letters", "e4")
    found = seen(connection, letters, most=3)
    assert found["last"] == found["same"] == ["letter e2", "letter e3", "letter e5"]
    assert seen(connection, letters, most=0)["last"] == []


def test_an_earlier_item_is_seen_in_its_amended_form(connection: Connection) -> None:
    letters = publish(connection, now=NOON)
    put(connection, "a", hours=1)
    put(connection, "b", hours=2)
    items.amend(connection, Amendment("letters", "a", {"text": "amended"}), door="client", now=NOON)
    assert seen(connection, letters)["b"] == ["amended"]


def test_the_history_of_unsent_items_is_measured_by_entity_and_time(
    connection: Connection,
) -> None:
    letters = publish(connection, now=NOON)
    for key, hours in (("a", 1), ("bb", 2), ("ccc", 3)):
        put(connection, key, hours=hours)
    asked = [
        ("ann", NOON + timedelta(hours=9)),
        ("bob", NOON),
        ("ann", NOON + timedelta(hours=2)),
        ("ann", NOON),
    ]
    found = full_data.lengths_before(connection, limited(letters, 2), asked)
    assert [[length - len('{"text": "letter "}') for _, length in each] for each in found] == [
        [3, 2],
        [],
        [1],
        [],
    ]
    assert full_data.lengths_before(connection, letters, asked) == [[], [], [], []]


def test_the_batch_cost_of_a_route_includes_the_history(connection: Connection) -> None:
    letters = publish(connection, now=NOON, history_items=2)
    for number in range(4):
        put(connection, f"k{number}", hours=number)
    put(connection, "other", entity=None, hours=5)
    route(connection, now=NOON)
    own = len('{"text": "letter k0"}')
    for key, reads in (("k0", 0), ("k1", 1), ("k3", 2)):
        expected = Estimates(NOON).of(letters, own, history_chars([own] * reads))
        logged = row(connection, "route_log", key=key)
        assert (logged.realtime_usd, logged.batch_usd) == (expected.realtime, expected.batch)
    assert (
        row(connection, "route_log", key="k0").batch_usd
        < row(connection, "route_log", key="k3").batch_usd
    )


def test_the_batch_cost_of_a_shed_route_includes_the_history(connection: Connection) -> None:
    letters = publish(connection, now=NOON, split_percent=100, history_items=3)
    for n in range(2):
        admit(connection, f"k{n}", now=NOON, entity="ann", occurred_at=later(hours=n - 3))
    route(connection, now=NOON)
    leaving = second_look.queue_tail(connection, ["letters"], now=NOON).waiting
    assert (
        second_look.shed(
            connection, {each.id: Shed("no model answers") for each in leaving}, now=NOON
        )
        == 2
    )
    own = len('{"text": "letter k0"}')
    expected = [
        Estimates(NOON).of(letters, own, history_chars([own] * reads)).batch for reads in (0, 1)
    ]
    assert [
        each.batch_usd for each in rows(connection, "route_log", "key", reason="shed")
    ] == expected

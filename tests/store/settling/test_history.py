"""The history of an entity, as the authoritative pass sees it."""

from datetime import timedelta

from sqlalchemy import Connection

from lanes.batch.batch import Kind
from lanes.doors.item import Amendment
from lanes.store.batch import ready_work
from lanes.store.doors import amendments, items
from lanes.store.settling import history
from lanes.words import Lane
from lanes.workload.version import Version
from tests.conftest import NOON
from tests.examples import publish, route, submission


def put(connection: Connection, key: str, *, entity: str | None = "ann", hours: float = 0, workload: str = "letters") -> None:
    sent = submission(key, workload, entity=entity, occurred_at=NOON + timedelta(hours=hours), lane=Lane.BATCH)
    items.admit(connection, [sent], door="client", now=NOON)


def seen(connection: Connection, letters: Version, most: int = 5) -> dict[str, list[str]]:
    """What each item's pass would see, by key."""
    route(connection, now=NOON)
    waiting = ready_work.lock_for_batch(connection, Kind("letters", letters.id), limit=100, now=NOON)
    found = history.load(connection, waiting, most)
    return {each.key: [payload["text"] for payload in found.get(each.claim.work_id, ())] for each in waiting}


def test_earlier_items_of_the_entity_are_seen_oldest_first(connection: Connection) -> None:
    letters = publish(connection, now=NOON)
    for key, hours in (("b", 2), ("a", 1), ("c", 3)):
        put(connection, key, hours=hours)
    put(connection, "other", entity="bob", hours=0)
    put(connection, "nobody", entity=None, hours=4)
    assert seen(connection, letters) == {
        "a": [], "b": ["letter a"], "c": ["letter a", "letter b"], "other": [], "nobody": [],
    }  # fmt: skip


def test_only_the_nearest_are_seen_and_none_of_the_same_moment_another_workload_or_canceled(
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


def test_an_earlier_item_is_seen_as_it_was_amended(connection: Connection) -> None:
    letters = publish(connection, now=NOON)
    put(connection, "a", hours=1)
    put(connection, "b", hours=2)
    amendments.amend(connection, Amendment("letters", "a", {"text": "amended"}), door="client", now=NOON)
    assert seen(connection, letters)["b"] == ["amended"]

"""The items of a workload with their current answers, a page at a time."""

from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import chain

import pytest
from sqlalchemy import Connection, Engine, text

from lanes.doors.item import Amendment
from lanes.errors import UnknownWorkload
from lanes.ids import ItemId, JobId
from lanes.settling.listing import BEGIN, END, Listed, ListingPage, ListingPlace, ListingQuery
from lanes.store.doors import emptying, items
from lanes.store.replays import promotions, replays
from lanes.store.settling import listing
from lanes.store.settling.listing import (
    NEWEST_FIRST,
    OLDEST_FIRST,
    ListingOrder,
    among,
    page,
    schemas,
)
from lanes.words import ItemState, Lane, Outcome
from lanes.workload.version import Version
from tests.conftest import NOON, later
from tests.examples import admit, begin_replay, publish, route
from tests.store.tries import A, B, claim, claimed_item, rows, save, submit, tried

LETTERS = ListingQuery("letters")


def looked(
    connection: Connection, wanted: ListingQuery, begin: ListingPlace, order: ListingOrder
) -> Iterator[list[Listed]]:
    onwards: ListingPlace | None = begin
    while onwards is not None:
        seen = page(connection, wanted, onwards=onwards, order=order)
        yield seen.items
        onwards = seen.onwards


def listed(connection: Connection, wanted: ListingQuery = LETTERS) -> list[Listed]:
    return list(chain.from_iterable(looked(connection, wanted, BEGIN, OLDEST_FIRST)))


def one(connection: Connection, wanted: ListingQuery = LETTERS) -> Listed:
    (only,) = listed(connection, wanted)
    return only


def keys(connection: Connection, wanted: ListingQuery = LETTERS) -> list[str]:
    return [each.key for each in listed(connection, wanted)]


def backwards(connection: Connection, wanted: ListingQuery = LETTERS) -> list[str]:
    pages = looked(connection, wanted, END, NEWEST_FIRST)
    return [each.key for each in chain.from_iterable(pages)]


@pytest.fixture
def letters(connection: Connection) -> Version:
    return publish(connection, now=NOON, mode="lambda", max_failures=1)


@pytest.fixture
def fates(connection: Connection, letters: Version) -> None:
    """Create an item in every state, in this order."""
    for number, (key, outcome) in enumerate(
        {"settled": Outcome.VALID, "failed": Outcome.POISON}.items(), 1
    ):
        work = claimed_item(connection, key)
        save(connection, tried(work, outcome, A), now=later(minutes=number))
    batch_id, (owed,) = submit(connection, letters, now=later(minutes=3))
    save(connection, tried(owed, output=B), batch_id=batch_id, now=later(minutes=4))
    save(connection, tried(claimed_item(connection, "answered")), now=later(minutes=5))
    claimed_item(connection, "working")
    admit(connection, "canceled", "routed", now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    items.cancel(connection, "letters", "canceled")
    admit(connection, "received", now=later(minutes=7))


# -- fields of an item


def test_an_item_that_only_waits_has_no_answer(connection: Connection, letters: Version) -> None:
    admit(connection, "k", now=NOON, consumer="desk", entity="ada", lane=Lane.BATCH)
    route(connection, now=NOON)
    found = one(connection)
    assert (found.key, found.state, found.lane, found.consumer, found.entity) == (
        "k",
        "routed",
        "batch",
        "desk",
        "ada",
    )
    assert (found.output, found.standing, found.generation, found.version, found.answered_at) == (
        None,
    ) * 5
    assert (found.received_at, found.changed_at, found.attempts) == (NOON, NOON, 0)


def test_an_item_shows_its_current_answer_and_the_time_of_its_last_change(
    connection: Connection, letters: Version
) -> None:
    save(connection, tried(claimed_item(connection), output=A), now=later(minutes=1))
    found = one(connection)
    assert (found.state, found.lane, found.standing, found.output) == (
        "answered",
        "realtime",
        "provisional",
        A,
    )
    assert (found.generation, found.version, found.revision, found.attempts) == (0, 1, 0, 1)
    assert (found.answered_at, found.settled_at, found.changed_at) == (
        later(minutes=1),
        None,
        later(minutes=1),
    )
    assert found.cost_usd > 0
    batch_id, (owed,) = submit(connection, letters, now=later(minutes=1))
    save(connection, tried(owed, output=B), batch_id=batch_id, now=later(minutes=2))
    found = one(connection)
    assert (found.state, found.lane, found.standing, found.output) == (
        "settled",
        "batch",
        "authoritative",
        B,
    )
    assert (found.answered_at, found.settled_at, found.changed_at) == (
        later(minutes=1),
        *[later(minutes=2)] * 2,
    )
    assert found.attempts == 2


def test_a_failed_item_shows_its_reason_and_the_time_of_its_failure(
    connection: Connection, letters: Version
) -> None:
    save(
        connection,
        tried(claimed_item(connection), Outcome.POISON, error="too long"),
        now=later(minutes=1),
    )
    found = one(connection)
    assert (found.state, found.output, found.changed_at) == ("failed", None, later(minutes=1))
    assert "too long" in (found.failure or "")


def test_an_amended_item_shows_the_answer_to_its_older_revision(
    connection: Connection, letters: Version
) -> None:
    save(connection, tried(claimed_item(connection), output=A), now=later(minutes=1))
    items.amend(
        connection, Amendment("letters", "k", {"text": "new"}), door="client", now=later(minutes=2)
    )
    found = one(connection)
    assert (found.state, found.output, found.revision) == ("answered", A, 0)


@pytest.mark.slow
def test_a_replay_is_shown_only_while_it_is_promoted(connection: Connection) -> None:
    version = publish(connection, now=NOON)
    save(connection, tried(claimed_item(connection), output=A), now=later(minutes=1))
    again = begin_replay(connection)
    replays.read_some(connection, again.id, now=NOON)
    batch_id, (work,) = submit(connection, version)
    save(connection, tried(work, output=B), batch_id=batch_id, now=later(minutes=2))
    replays.finish(connection, now=later(minutes=2))
    assert (one(connection).output, one(connection).changed_at) == (A, later(minutes=1))
    promotions.promote(connection, "letters", now=later(minutes=3))
    assert (one(connection).output, one(connection).generation, one(connection).changed_at) == (
        B,
        1,
        later(minutes=3),
    )
    promotions.demote(connection, "letters", now=later(minutes=4))
    assert (one(connection).output, one(connection).generation, one(connection).changed_at) == (
        A,
        0,
        later(minutes=4),
    )


def test_a_forgotten_item_shows_no_answer(connection: Connection, letters: Version) -> None:
    save(connection, tried(claimed_item(connection), output=A))
    emptying.forget(connection, "letters", "k", now=NOON)
    assert (one(connection).state, one(connection).output) == ("canceled", None)


# -- selection of items


@pytest.mark.usefixtures("fates")
@pytest.mark.parametrize(("looked_at", "passed_over"), [(2_000, 100_000), (1, 100_000), (1, 2)])
def test_items_are_selected_by_the_states_of_the_item_status_view(
    connection: Connection, looked_at: int, passed_over: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "LOOKED_AT", looked_at)
    monkeypatch.setattr(listing, "PASSED_OVER", passed_over)
    assert keys(connection) == [
        "settled",
        "failed",
        "answered",
        "working",
        "canceled",
        "routed",
        "received",
    ]
    for state in ItemState:
        assert keys(connection, ListingQuery("letters", [state])) == [str(state)]
        assert backwards(connection, ListingQuery("letters", [state])) == [str(state)]
    assert keys(connection, ListingQuery("letters", [ItemState.FAILED, ItemState.SETTLED])) == [
        "settled",
        "failed",
    ]
    assert [(each.key, str(each.state)) for each in listed(connection)] == [
        (each.key, each.state) for each in rows(connection, "item_status", "item_id")
    ]


@pytest.mark.usefixtures("fates")
@pytest.mark.parametrize("looked_at", [listing.LOOKED_AT, 1])
@pytest.mark.parametrize(
    ("since", "found"),
    [
        (later(minutes=2), ["settled", "failed", "answered", "received"]),
        (later(minutes=2, seconds=1), ["settled", "answered", "received"]),
        (later(minutes=4), ["settled", "answered", "received"]),
        (later(minutes=4, seconds=1), ["answered", "received"]),
        (later(minutes=8), []),
    ],
)
def test_only_items_that_changed_since_the_given_time_are_listed(
    connection: Connection,
    since: datetime,
    found: list[str],
    looked_at: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listing, "LOOKED_AT", looked_at)
    changed = ListingQuery("letters", since=since)
    # A cancellation is timed by the clock of the database.
    assert [key for key in keys(connection, changed) if key != "canceled"] == found
    back = [key for key in backwards(connection, changed) if key != "canceled"]
    assert back == found[::-1]


def test_pages_skip_unchanged_items(
    connection: Connection, letters: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "LOOKED_AT", 1)
    for number in range(20):
        admit(connection, f"{number}", now=later(minutes=number), lane=Lane.REALTIME)
    route(connection, now=later(hours=1))
    (asked,) = [each for each in claim(connection, now=later(hours=1)) if each.key == "10"]
    save(connection, tried(asked), now=later(hours=2))
    changed = ListingQuery("letters", since=later(hours=2))
    for order, begin in ((OLDEST_FIRST, BEGIN), (NEWEST_FIRST, END)):
        looks = list(looked(connection, changed, begin, order))
        assert [[each.key for each in items] for items in looks] == [["10"], []]


def test_a_listing_contains_only_items_of_its_workload(
    connection: Connection, letters: Version
) -> None:
    publish(connection, "invoices", now=NOON)
    admit(connection, "a", now=NOON, workload="invoices")
    admit(connection, "b", now=NOON)
    assert keys(connection) == ["b"]
    assert keys(connection, ListingQuery("invoices")) == ["a"]
    assert keys(connection, ListingQuery("ghosts")) == []


@pytest.mark.usefixtures("fates")
def test_given_items_are_filtered_by_the_states_of_the_query(connection: Connection) -> None:
    ids = {each.key: each.item_id for each in listed(connection)}
    wanted = ListingQuery("letters", [ItemState.SETTLED, ItemState.FAILED])
    found = among(connection, wanted, [ids["routed"], ids["failed"], ids["settled"], ItemId(99)])
    assert [each.key for each in found] == ["settled", "failed"]
    assert among(connection, wanted, []) == []


# -- pages

Limit = Callable[[pytest.MonkeyPatch], None]


def few_looked_at(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(listing, "LOOKED_AT", 3)


def few_bytes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(listing, "FETCHED", 2)
    patch.setattr(listing, "MOST_BYTES", 1)


@pytest.mark.parametrize("limit", [few_looked_at, few_bytes])
def test_pages_together_contain_every_item_once_in_both_directions(
    connection: Connection, letters: Version, monkeypatch: pytest.MonkeyPatch, limit: Limit
) -> None:
    publish(connection, "invoices", now=NOON)
    for number in range(10):
        admit(connection, f"other {number}", now=NOON, workload="invoices", lane=Lane.REALTIME)
        admit(connection, f"{number}", now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    save(connection, *(tried(each) for each in claim(connection)))
    limit(monkeypatch)
    assert keys(connection) == [str(number) for number in range(10)]
    assert backwards(connection) == [str(number) for number in reversed(range(10))]
    assert max(map(len, looked(connection, LETTERS, END, NEWEST_FIRST))) <= 3


def test_pages_of_a_job_contain_every_item_once_in_order_of_admission(
    connection: Connection, letters: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, minutes in (("late", 2), ("early", 0), ("between", 1)):
        admit(connection, key, now=later(minutes=minutes), lane=Lane.REALTIME, job="mine")
    route(connection, now=later(minutes=3))
    save(connection, *(tried(each) for each in claim(connection, now=later(minutes=3))))
    monkeypatch.setattr(listing, "FETCHED", 1)
    monkeypatch.setattr(listing, "MOST_BYTES", 1)
    job_id = connection.execute(text("select id from lanes.job")).scalar_one()
    of_job = ListingQuery("letters", job_id=JobId(job_id))
    assert keys(connection, of_job) == ["late", "early", "between"]
    assert keys(connection) == ["early", "between", "late"]


def test_a_workload_without_items_has_an_empty_page(
    connection: Connection, letters: Version
) -> None:
    assert page(connection, LETTERS, onwards=BEGIN) == ListingPage()
    assert page(connection, LETTERS, onwards=END, order=NEWEST_FIRST) == ListingPage()


def test_a_single_page_shows_that_no_item_has_the_given_states(
    connection: Connection, letters: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "PASSED_OVER", 1)
    admit(connection, "a", "b", "c", now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    none = [each for each in ItemState if each is not ItemState.ROUTED]
    for states in (none, *([each] for each in none)):
        query = ListingQuery("letters", states)
        assert list(looked(connection, query, BEGIN, OLDEST_FIRST)) == [[]]
    working = ListingQuery("letters", [ItemState.WORKING])
    claim(connection, now=later(minutes=1))
    assert sorted(keys(connection, working)) == ["a", "b", "c"]


def test_no_snapshot_is_held_between_two_pages(pool: Engine) -> None:
    with pool.begin() as connection:
        publish(connection, now=NOON)
        admit(connection, "a", "b", now=NOON)
    with pool.begin() as connection:
        page(connection, LETTERS, onwards=BEGIN)
    with pool.begin() as connection:
        open_ = "select count(*) from pg_stat_activity where datname = current_database() and backend_xmin is not null"
        assert connection.execute(text(f"{open_} and pid <> pg_backend_pid()")).scalar_one() == 0


# -- schemas


def test_the_schema_in_force_comes_first_then_the_newest(connection: Connection) -> None:
    def schema(field: str) -> dict[str, object]:
        return {"type": "object", "properties": {field: {"type": "string"}}, "required": [field]}

    for field in ("one", "two", "three", "two"):
        publish(connection, now=NOON, output_schema=schema(field))
    assert [list(each["properties"]) for each in schemas(connection, "letters")] == [
        ["two"],
        ["three"],
        ["one"],
    ]


def test_a_request_for_the_schemas_of_an_unpublished_workload_is_an_error(
    connection: Connection,
) -> None:
    with pytest.raises(UnknownWorkload, match='there is no workload "ghosts"'):
        schemas(connection, "ghosts")

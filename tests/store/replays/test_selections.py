"""Selections of a replay: the items that it asks, the unchanged ones that it skips, and those that it leaves out."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, text

from lanes.batch.batch import BatchKind
from lanes.doors.item import Amendment
from lanes.errors import ActionRefused
from lanes.rollouts.replays import Generation, Preview, Selection
from lanes.store.batch import ready_work
from lanes.store.doors import emptying, items
from lanes.store.replays import promotions, replays
from lanes.store.workload import workloads
from lanes.words import Lane, Outcome, Signature
from lanes.workload.version import Version
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import A, B, claim, row, rows, save, submit, tried

AT = later(days=1)
OTHER = "Sort the letter with care."


@pytest.fixture(autouse=True)
def letters(connection: Connection) -> Version:
    return publish(connection, now=NOON)


def settle(connection: Connection, *keys: str, minutes: int = 0, **fields: Any) -> None:
    """Admit items at that minute and answer them in real time."""
    at = later(minutes=minutes)
    admit(connection, *keys, now=at, **{"lane": Lane.REALTIME, **fields})
    route(connection, now=at)
    save(connection, *(tried(each, output=A, at=at) for each in claim(connection, now=at)), now=at)


def begin(connection: Connection, selection: Selection, **asked: Any) -> Generation:
    wanted: dict[str, Any] = {"version_no": None, "first": None, "last": None, **asked}
    return replays.begin(
        connection, "letters", selection=selection, by=Signature("ada", "", AT), **wanted
    )


def look(connection: Connection, selection: Selection, **asked: Any) -> Preview:
    wanted: dict[str, Any] = {"version_no": None, "first": None, "last": None, **asked}
    return replays.preview(connection, "letters", selection=selection, now=AT, **wanted)


def read(connection: Connection, of: Generation, limit: int = 2) -> Generation:
    while not of.read_whole:
        of = replays.read_some(connection, of.id, limit=limit, now=AT)
    return of


def asked(connection: Connection, selection: Selection, **wanted: Any) -> list[str]:
    """Return the keys that the replay asks, and check that its preview counts the same."""
    foreseen = look(connection, selection, **wanted)
    of = read(connection, begin(connection, selection, **wanted))
    counts = foreseen.items, foreseen.skipped, foreseen.erased
    assert counts == (of.items, of.skipped, of.erased)
    found = connection.execute(
        text(
            "select i.key from lanes.work w join lanes.item i on i.id = w.item_id where w.generation = :number order by i.id"
        ),
        {"number": of.number},
    )
    keys = [*found.scalars()]
    assert foreseen.examples == keys[:3]
    promotions.drop(connection, "letters", now=AT)
    return keys


def forced(**conditions: Any) -> Selection:
    return Selection(force=True, **conditions)


def test_a_replay_selects_by_time_keys_and_a_condition(connection: Connection) -> None:
    settle(connection, "a")
    settle(connection, "b", minutes=10, payload={"n": 2})
    settle(connection, "c", minutes=20, payload={"n": 3})
    assert asked(connection, forced(since=later(minutes=10))) == ["b", "c"]
    assert asked(connection, forced(until=later(minutes=10))) == ["a"]
    assert asked(connection, forced(key=("c", "a", "ghost"))) == ["a", "c"]
    assert asked(connection, forced(where="has(payload.n) && payload.n > 2")) == ["c"]
    assert asked(connection, forced(since=later(minutes=5), where="age_s < 1.0", key=("b",))) == [
        "b"
    ]


def test_an_item_without_a_field_of_the_condition_is_left_out_and_reported(
    connection: Connection,
) -> None:
    settle(connection, "a")
    settle(connection, "b", payload={"n": 2})
    seen = look(connection, forced(where="payload.n > 1"))
    assert (seen.items, seen.unmet) == (1, 1)
    assert "a: `payload.n > 1` reads 'n', which this item lacks" in seen.unmet_because


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"where": "payload.n >"}, r"where, line 1.*column 12"),
        ({"where": "price > 1"}, "where: `price > 1` reads price; rules have payload"),
        ({"since": AT, "until": NOON}, "since .* is not before until .*: nothing to replay"),
    ],
)
def test_an_invalid_selection_is_refused_with_the_error_and_its_place(
    connection: Connection, wrong: dict[str, Any], why: str
) -> None:
    settle(connection, "a")
    for of in (look, begin):
        with pytest.raises(ActionRefused, match=why):
            of(connection, Selection(**wrong))
    assert rows(connection, "generation") == []


def test_a_replay_selects_labeled_differing_or_failed_items_or_those_a_version_answered(
    connection: Connection,
) -> None:
    settle(connection, "labeled", "reviewed", "plain")
    items.label(connection, "letters", {"labeled": {"category": "a"}}, source="ada")
    items.label(connection, "letters", {"reviewed": {"category": "a"}}, source="eve")
    connection.execute(text("update lanes.label set basis = 'review' where source = 'eve'"))
    admit(connection, "failed", now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    save(connection, *(tried(each, Outcome.POISON) for each in claim(connection)))
    publish(connection, now=NOON, mode="lambda", instructions=OTHER)
    settle(connection, "corrected")
    _, waiting = submit(
        connection, publish(connection, now=NOON, mode="lambda", instructions=OTHER)
    )
    save(connection, *(tried(each, output=B) for each in waiting))
    assert asked(connection, forced(only="labeled")) == ["labeled"]
    assert asked(connection, forced(only="failed")) == ["failed"]
    assert asked(connection, forced(only="differing")) == ["corrected"]
    assert asked(connection, forced(answered_by=2)) == ["corrected"]
    assert asked(connection, forced(answered_by=1)) == ["labeled", "reviewed", "plain"]


def test_a_selection_is_stored_and_an_equal_replay_resumes_the_open_one(
    connection: Connection,
) -> None:
    settle(connection, "a", "b", "c", "d")
    chosen = forced(key=("a", "c", "d"), since=NOON)
    of = replays.read_some(connection, begin(connection, chosen).id, limit=1, now=AT)
    assert (of.items, of.cursor_position) == (1, 1)
    with pytest.raises(ActionRefused, match=r"since .*, key .*; promote or drop it"):
        begin(connection, forced(key=("a",)))
    again = begin(connection, forced(since=NOON, key=("a", "c", "d")))
    assert (again.id, again.selection) == (of.id, chosen)
    assert begin(connection, Selection()).id == of.id, "a span such as 7d cannot be repeated"
    assert read(connection, again).items == 3
    work = rows(connection, "work", generation=1)
    assert len({each.item_id for each in work}) == len(work) == 3
    assert row(connection, "replay_log").selection["key"] == ["a", "c", "d"]


def test_a_replay_of_an_empty_selection_is_refused(connection: Connection) -> None:
    settle(connection, "a")
    with pytest.raises(ActionRefused, match=r"no items at positions 1 to 1 with key .*: nothing"):
        begin(connection, Selection(key=("ghost",)))


def test_erased_items_of_a_selection_are_left_out_and_counted(connection: Connection) -> None:
    settle(connection, "a", "b", "c")
    emptying.forget(connection, "letters", "b", now=AT)
    emptying.empty_some(connection, {"letters": later(minutes=1)}, after=0, most=9, now=AT)
    settle(connection, "d", minutes=60)
    seen = look(connection, forced(since=NOON))
    assert (seen.items, seen.erased) == (1, 3)
    assert asked(connection, forced(since=NOON)) == ["d"]
    with pytest.raises(ActionRefused, match=r"2 items .* were emptied or archived by"):
        begin(connection, forced())


def test_an_item_is_asked_again_only_if_its_request_changed(connection: Connection) -> None:
    settle(connection, "a", "b")
    assert asked(connection, Selection()) == []
    publish(connection, now=NOON, buffer_s=2, description="No part of a prompt.")
    assert asked(connection, Selection()) == []
    publish(connection, now=NOON, instructions=OTHER)
    assert asked(connection, Selection()) == ["a", "b"]
    assert asked(connection, Selection(), version_no=1) == []
    assert asked(connection, forced(), version_no=1) == ["a", "b"]
    publish(connection, now=NOON, batch_model="claude-opus-5-5")
    assert asked(connection, Selection()) == ["a", "b"]
    publish(connection, now=NOON, batch_pack=5)
    assert asked(connection, Selection()) == ["a", "b"]


def test_an_amended_item_and_an_item_without_an_answer_are_asked(connection: Connection) -> None:
    settle(connection, "a", "b")
    admit(connection, "open", now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    items.amend(connection, Amendment("letters", "a", {"text": "late"}), door="client", now=NOON)
    assert asked(connection, Selection()) == ["a", "open"]


def test_an_unchanged_item_is_asked_again_if_its_authoritative_pass_failed(
    connection: Connection,
) -> None:
    settle(connection, "a", "b")
    connection.execute(text("update lanes.item set failure = 'expired' where key = 'b'"))
    assert asked(connection, Selection(only="failed")) == ["b"]


def answer_in_batch(connection: Connection, version: Version, *keys: str) -> None:
    """Answer items of one entity, which occurred a minute apart, in a batch."""
    for minute, key in enumerate(keys):
        admit(
            connection,
            key,
            now=NOON,
            lane=Lane.BATCH,
            entity="ann",
            occurred_at=NOON - timedelta(hours=1) + timedelta(minutes=minute),
        )
        route(connection, now=NOON)
    batch_id, waiting = submit(connection, version)
    save(connection, *(tried(each, output=A) for each in waiting), batch_id=batch_id)


def test_an_item_is_asked_again_if_it_reads_another_history(connection: Connection) -> None:
    told = publish(connection, now=NOON, history_items=2)
    answer_in_batch(connection, told, "a", "b", "c", "d")
    assert asked(connection, Selection()) == []
    assert asked(connection, Selection(), version_no=1) == ["b", "c", "d"]
    publish(connection, now=NOON, history_items=3)
    assert asked(connection, Selection()) == ["d"]
    publish(connection, now=NOON, history_items=1)
    assert asked(connection, Selection()) == ["c", "d"]


@pytest.mark.parametrize("change", ["amend", "cancel", "forget", "arrive"])
def test_an_item_is_asked_again_if_its_history_has_changed(
    connection: Connection, change: str
) -> None:
    told = publish(connection, now=NOON, history_items=1)
    answer_in_batch(connection, told, "a", "b", "c")
    match change:
        case "amend":
            items.amend(connection, Amendment("letters", "b", {"text": "n"}), door="client", now=AT)
            assert asked(connection, Selection(key=("a", "c"))) == ["c"]
        case "cancel":
            connection.execute(
                text("update lanes.item set canceled_at = :now where key = 'b'"), {"now": AT}
            )
            assert asked(connection, Selection()) == ["c"]
        case "forget":
            emptying.forget(connection, "letters", "b", now=AT)
            assert asked(connection, Selection()) == ["a", "c"], "whose history b was is erased"
        case _:
            before = NOON - timedelta(minutes=59, seconds=30)
            settle(connection, "late", entity="ann", occurred_at=before)
            assert asked(connection, Selection(key=("a", "b", "c"))) == ["b"]


def test_a_skipped_item_keeps_its_live_answer_when_the_rest_is_promoted(
    connection: Connection,
) -> None:
    told = publish(connection, now=NOON, history_items=1)
    answer_in_batch(connection, told, "a", "b")
    plain = publish(connection, now=NOON)
    of = read(connection, begin(connection, Selection()))
    assert (of.items, of.skipped) == (1, 1)
    _, waiting = submit(connection, plain, now=AT)
    save(connection, *(tried(each, output=B) for each in waiting), now=AT)
    replays.finish(connection, now=AT)
    assert promotions.compare(connection, of).items == 1
    assert promotions.promote(connection, "letters", now=AT)[1] == 1
    shown = rows(connection, "current_results", "key")
    assert [(each.key, each.output["category"]) for each in shown] == [("a", "a"), ("b", "b")]


def test_a_paused_workload_pauses_its_replay(connection: Connection, letters: Version) -> None:
    settle(connection, "a", "b")
    read(connection, begin(connection, forced()))
    kind = BatchKind("letters", letters.id)
    workloads.pause(connection, "letters", since=NOON)
    assert ready_work.list_waiting_kinds(connection, None, now=later(days=9)) == []
    connection.execute(text("update lanes.workload set paused_at = null"))
    assert ready_work.list_waiting_kinds(connection, None, now=later(days=9)) == [kind]


@pytest.mark.slow
def test_a_definition_that_changes_5_percent_of_1000_items_asks_at_most_55(
    connection: Connection,
) -> None:
    """Give 50 of the items an earlier item of their entity, which the new definition reads."""
    keys = [f"k{number:04}" for number in range(1_000)]
    for number, key in enumerate(keys):
        entity = f"e{number // 2 if number < 100 else number}"
        occurred = NOON - timedelta(hours=1) + timedelta(seconds=number)
        admit(connection, key, now=NOON, lane=Lane.BATCH, entity=entity, occurred_at=occurred)
    route(connection, now=NOON)
    version = publish(connection, now=NOON)
    batch_id, waiting = submit(connection, version)
    save(connection, *(tried(each) for each in waiting), batch_id=batch_id)
    publish(connection, now=NOON, history_items=3)
    seen = look(connection, Selection())
    assert seen.items + seen.skipped == 1_000
    assert 50 <= seen.items <= 55
    of = read(connection, begin(connection, Selection()), limit=300)
    assert (of.items, of.skipped) == (seen.items, seen.skipped)

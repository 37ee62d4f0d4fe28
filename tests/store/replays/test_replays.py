"""Replays on a real database: read in chunks, compared, promoted, demoted, dropped; one file because it is one life."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine

from lanes.doors.item import Amendment
from lanes.errors import ActionRefused, StillLocked, UnknownWorkload
from lanes.rollouts.replays import Generation
from lanes.store.doors import items
from lanes.store.replays import promotions, replays
from lanes.store.settling import results
from lanes.words import OPEN_REPLAY, Lane, Outcome, ReplayState, Signature
from lanes.workload.version import Version
from tests.conftest import NOON, later
from tests.examples import FORCED, admit, publish, route
from tests.store.tries import (
    A,
    B,
    backend,
    claim,
    events,
    row,
    rows,
    save,
    submit,
    tried,
    until_blocked,
)

KEYS = ("a", "b", "c", "d")
AT = later(hours=1)


@pytest.fixture(autouse=True)
def letters(connection: Connection) -> Version:
    return publish(connection, now=NOON)


def settle(connection: Connection, *keys: str, output: dict[str, Any] = A) -> None:
    """Admit items and answer them in real time."""
    admit(connection, *keys, now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    save(connection, *(tried(each, output=output) for each in claim(connection)))


def begin(connection: Connection, **asked: Any) -> Generation:
    wanted: dict[str, Any] = {
        "version_no": None,
        "first": None,
        "last": None,
        "by": Signature("ada", "", AT),
        "selection": FORCED,
        **asked,
    }
    return replays.begin(connection, "letters", **wanted)


def read(connection: Connection, of: Generation, limit: int = 2) -> Generation:
    while not of.read_whole:
        of = replays.read_some(connection, of.id, limit=limit, now=AT)
    return of


def replayed(
    connection: Connection,
    version: Version,
    outputs: dict[str, dict[str, Any]] | None = None,
    **asked: Any,
) -> Generation:
    """Run a replay to completion; items answer `B` unless `outputs` says otherwise."""
    of = read(connection, begin(connection, **asked))
    _, waiting = submit(connection, version, now=AT)
    save(
        connection,
        *(tried(each, output=(outputs or {}).get(each.key, B)) for each in waiting),
        now=AT,
    )
    (complete,) = replays.finish(connection, now=AT)
    assert complete.id == of.id
    return complete


def shown(connection: Connection) -> list[tuple[Any, ...]]:
    """Return everything that readers and operators see of the items."""
    current = rows(connection, "current_results", "key")
    states = rows(connection, "item_status", "key")
    return [tuple(each) for each in current] + [
        (each.key, each.state, each.answered_at, each.settled_at, each.failure) for each in states
    ]


def test_a_replay_reads_its_range_in_stream_order_and_moves_its_cursor_with_each_chunk(
    connection: Connection,
) -> None:
    settle(connection, *KEYS)
    of = begin(connection, first=2)
    assert (of.number, of.from_position, of.to_position, of.cursor_position, of.version) == (
        1,
        2,
        4,
        1,
        1,
    )
    of = replays.read_some(connection, of.id, limit=2, now=AT)
    assert (of.cursor_position, of.items, of.read_whole) == (3, 2, False)
    of = replays.read_some(connection, of.id, limit=2, now=AT)
    assert (of.cursor_position, of.items, of.read_whole) == (4, 3, True)
    work = rows(connection, "work", "id", purpose="replay")
    assert {(each.lane, each.generation, each.state, each.revision) for each in work} == {
        ("batch", 1, "ready", 0)
    }


def test_a_replay_resumes_after_a_killed_reader_and_reads_nothing_twice(
    connection: Connection,
) -> None:
    settle(connection, *KEYS)
    first = begin(connection)
    replays.read_some(connection, first.id, limit=3, now=AT)
    again = begin(connection)
    assert (again.id, again.cursor_position) == (first.id, 3)
    assert read(connection, again).items == 4
    assert replays.read_some(connection, first.id, now=AT).items == 4
    assert len(rows(connection, "work", purpose="replay")) == 4


@pytest.mark.slow
def test_a_replay_leaves_out_items_that_arrive_later_and_canceled_ones(
    connection: Connection,
) -> None:
    settle(connection, "a", "b")
    admit(connection, "gone", now=NOON)
    route(connection, now=NOON)
    items.cancel(connection, "letters", "gone")
    of = begin(connection)
    settle(connection, "new")
    assert read(connection, of).items == 2
    assert (of.to_position, len(rows(connection, "work", generation=1))) == (3, 2)


def test_a_replay_of_an_unknown_workload_version_or_range_is_refused(
    connection: Connection,
) -> None:
    with pytest.raises(
        ActionRefused, match="no items from position 1 on, it has none: nothing to replay"
    ):
        begin(connection)
    settle(connection, "a")
    with pytest.raises(ActionRefused, match="no version 7; its versions are 1 to 1"):
        begin(connection, version_no=7)
    with pytest.raises(
        ActionRefused,
        match="no items from position 5 on, its newest is at position 1: nothing to replay",
    ):
        begin(connection, first=5)
    with pytest.raises(ActionRefused, match="position 3 is after position 2"):
        begin(connection, first=3, last=2)
    with pytest.raises(UnknownWorkload, match="ghosts"):
        replays.preview(connection, "ghosts", version_no=None, first=None, last=None, now=NOON)


def test_a_second_replay_is_refused_until_the_open_one_is_dropped(
    connection: Connection, letters: Version
) -> None:
    settle(connection, *KEYS)
    of = begin(connection)
    with pytest.raises(ActionRefused, match="running"):
        begin(connection, first=3)
    read(connection, of)
    with pytest.raises(ActionRefused, match="promote or drop it before another replay"):
        begin(connection)
    promotions.drop(connection, "letters", now=AT)
    assert begin(connection).number == 2


def test_a_preview_counts_and_estimates_and_writes_nothing(connection: Connection) -> None:
    settle(connection, *KEYS)
    seen = replays.preview(
        connection, "letters", version_no=None, first=2, last=None, selection=FORCED, now=AT
    )
    assert (seen.items, seen.version, seen.from_position, seen.to_position) == (3, 1, 2, 4)
    assert seen.batch_usd > 0
    assert rows(connection, "generation") == []


def test_a_preview_prices_the_history_that_a_version_with_full_data_reads(
    connection: Connection,
) -> None:
    full = publish(connection, now=NOON, history_items=2)
    for hour, key in enumerate(KEYS):
        admit(connection, key, now=NOON, entity="ann", occurred_at=later(hours=hour))
    route(connection, now=NOON)
    asked = {"first": None, "last": None, "now": AT}
    plain = replays.preview(connection, "letters", version_no=1, **asked)
    assert (
        replays.preview(connection, "letters", version_no=full.number, **asked).batch_usd
        > plain.batch_usd
    )


def test_replay_answers_form_an_overlay_and_change_no_item(
    connection: Connection, letters: Version
) -> None:
    settle(connection, *KEYS)
    before, told = shown(connection), len(events(connection, "lanes.item.answered"))
    replayed(connection, letters)
    assert shown(connection) == before
    overlay = rows(connection, "result", generation=1)
    assert {(each.standing, each.output["category"]) for each in overlay} == {
        ("authoritative", "b")
    }
    assert len(events(connection, "lanes.item.answered")) == told
    assert {each.purpose for each in rows(connection, "spend")} == {"answer", "replay"}
    said = row(connection, "replay_log")
    assert (said.state, said.items, said.answered, said.open, said.failed) == (
        "complete",
        4,
        4,
        0,
        0,
    )
    assert said.cost_usd > 0


@pytest.mark.slow
def test_a_replay_completes_with_its_last_work_and_a_failed_item_harms_no_neighbour(
    connection: Connection, letters: Version
) -> None:
    settle(connection, *KEYS)
    read(connection, begin(connection))
    _, waiting = submit(connection, letters, now=AT)
    save(
        connection,
        tried(waiting[0], Outcome.POISON, error="no"),
        *(tried(each, output=B) for each in waiting[1:3]),
        now=AT,
    )
    assert replays.finish(connection, now=AT) == []
    save(connection, tried(waiting[3], output=B), now=AT)
    (complete,) = replays.finish(connection, now=AT)
    assert complete.state is ReplayState.COMPLETE
    assert replays.finish(connection, now=AT) == []
    assert {each.state for each in rows(connection, "item_status")} == {"settled"}
    assert promotions.promote(connection, "letters", now=AT)[1] == 3


@pytest.mark.slow
def test_promoting_makes_the_results_current_and_demoting_restores_the_exact_state_before(
    connection: Connection, letters: Version
) -> None:
    settle(connection, *KEYS)
    before = shown(connection)
    of = replayed(connection, letters, {"c": A})
    promoted, changed = promotions.promote(connection, "letters", now=AT)
    assert (promoted.id, promoted.state, changed) == (of.id, ReplayState.PROMOTED, 4)
    current = rows(connection, "current_results", "key")
    assert [(each.key, each.output["category"], each.generation) for each in current] == [
        ("a", "b", 1),
        ("b", "b", 1),
        ("c", "a", 1),
        ("d", "b", 1),
    ]
    assert {each.state for each in rows(connection, "item_status")} == {"settled"}
    demoted, restored = promotions.demote(connection, "letters", now=later(hours=2))
    assert (demoted.state, restored) == (ReplayState.DEMOTED, 4)
    assert shown(connection) == before
    assert rows(connection, "promoted") == []


@pytest.mark.slow
def test_a_decision_about_a_replay_waits_only_up_to_a_limit_for_an_open_transaction(
    connection: Connection, letters: Version, pool: Engine
) -> None:
    settle(connection, *KEYS)
    replayed(connection, letters)
    connection.commit()
    with pool.connect() as caller, pool.begin() as operator:
        items.amend(caller, Amendment("letters", "a", {"text": "late"}), door="client", now=AT)
        with pytest.raises(StillLocked, match="another transaction"):
            promotions.promote(operator, "letters", now=AT)
        caller.rollback()
        assert promotions.promote(operator, "letters", now=AT)[1] == 4


@pytest.mark.slow
def test_readers_of_replaced_answers_are_notified_of_a_promotion_and_of_its_demotion(
    connection: Connection, letters: Version
) -> None:
    settle(connection, *KEYS)
    results.read(connection, "letters", "a", reader="desk")
    results.read(connection, "letters", "b", reader="crm")
    of = replayed(connection, letters, {"b": A})
    assert results.to_correct(connection, "desk") == []
    promotions.promote(connection, "letters", now=AT)
    (found,) = results.to_correct(connection, "desk")
    assert (found.key, found.taken, found.output, found.corrected_at) == ("a", A, B, AT)
    assert found.changed_fields == ["category"]
    assert results.to_correct(connection, "crm") == []  # the same answer
    results.read(connection, "letters", "a", reader="desk")
    assert results.to_correct(connection, "desk") == []
    promotions.demote(connection, "letters", now=AT)
    (back,) = results.to_correct(connection, "desk")
    assert (back.taken, back.output) == (B, A)
    told = [each for each in rows(connection, "event_outbox") if ".replay." in each.event]
    says = {"generation": of.number, "version": 1, "items": len(KEYS)}
    assert [(each.event, each.payload) for each in told] == [
        ("lanes.replay.promoted", {**says, "readers": ["crm", "desk"]}),
        ("lanes.replay.demoted", {**says, "readers": ["desk"]}),
    ]


@pytest.mark.slow
def test_a_reader_of_an_early_answer_has_to_correct_it_to_the_promoted_answer(
    connection: Connection,
) -> None:
    early, confirmed, again = ({**A, "category": each} for each in "abc")
    notes = publish(connection, "notes", now=NOON, mode="lambda")
    admit(connection, "n", now=NOON, workload="notes", lane=Lane.REALTIME)
    route(connection, now=NOON)
    save(connection, *(tried(each, output=early) for each in claim(connection)))
    results.read(connection, "notes", "n", reader="desk")
    _, owed = submit(connection, notes, now=NOON)
    save(connection, *(tried(each, output=confirmed) for each in owed), now=NOON)
    (found,) = results.to_correct(connection, "desk")
    assert (found.output, found.corrected_at) == (confirmed, NOON)
    by = Signature("ada", "", AT)
    asked = {"version_no": None, "first": None, "last": None, "selection": FORCED}
    read(connection, replays.begin(connection, "notes", **asked, by=by))
    _, waiting = submit(connection, notes, now=AT)
    save(connection, *(tried(each, output=again) for each in waiting), now=AT)
    promotions.promote(connection, "notes", now=AT)
    (found,) = results.to_correct(connection, "desk")
    assert (found.taken, found.output, found.corrected_at) == (early, again, AT)


def test_a_demoted_replay_may_be_promoted_again_or_dropped(
    connection: Connection, letters: Version
) -> None:
    settle(connection, *KEYS)
    replayed(connection, letters)
    promotions.promote(connection, "letters", now=AT)
    promotions.demote(connection, "letters", now=AT)
    assert promotions.promote(connection, "letters", now=later(hours=3))[1] == 4
    with pytest.raises(ActionRefused, match="demote it before you drop it"):
        promotions.drop(connection, "letters", 1, now=AT)
    promotions.demote(connection, "letters", now=AT)
    assert promotions.drop(connection, "letters", now=AT)[0].state is ReplayState.DROPPED


def test_decisions_in_the_wrong_state_are_refused_with_the_reason(
    connection: Connection, letters: Version
) -> None:
    with pytest.raises(ActionRefused, match="was never replayed"):
        promotions.promote(connection, "letters", now=AT)
    settle(connection, *KEYS)
    of = begin(connection)
    with pytest.raises(ActionRefused, match="has not read its whole range"):
        promotions.promote(connection, "letters", now=AT)
    read(connection, of)
    with pytest.raises(ActionRefused, match=r"has open work \(4 items\)"):
        promotions.promote(connection, "letters", now=AT)
    with pytest.raises(ActionRefused, match="is running; only a promoted replay can be demoted"):
        promotions.demote(connection, "letters", now=AT)
    promotions.drop(connection, "letters", now=AT)
    for decision in (promotions.promote, promotions.drop):
        with pytest.raises(ActionRefused, match="dropped"):
            decision(connection, "letters", now=AT)
    with pytest.raises(ActionRefused, match="no generation 9"):
        promotions.drop(connection, "letters", 9, now=AT)


def test_a_dropped_replay_cancels_its_work_and_bills_but_never_shows_answers_in_flight(
    connection: Connection, letters: Version
) -> None:
    settle(connection, *KEYS)
    before = shown(connection)
    read(connection, begin(connection))
    batch_id, waiting = submit(connection, letters, now=AT)
    assert promotions.drop(connection, "letters", now=AT)[1] == 4
    saved = save(
        connection, *(tried(each, output=B) for each in waiting), now=AT, batch_id=batch_id
    )
    assert saved.late == 4
    assert rows(connection, "result", generation=1) == []
    assert len(rows(connection, "spend", purpose="replay")) == 4
    assert [each[:5] for each in shown(connection)[:4]] == [each[:5] for each in before[:4]]


def test_a_reader_reads_no_items_of_a_dropped_replay(connection: Connection) -> None:
    settle(connection, *KEYS)
    of = begin(connection)
    promotions.drop(connection, "letters", now=AT)
    assert replays.read_some(connection, of.id, now=AT).items == 0


@pytest.mark.slow
def test_items_amended_after_the_replay_and_items_still_open_keep_their_live_result(
    connection: Connection, letters: Version
) -> None:
    settle(connection, *KEYS)
    admit(connection, "open", now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    replayed(connection, letters)
    items.amend(connection, Amendment("letters", "b", {"text": "late"}), door="client", now=AT)
    assert promotions.promote(connection, "letters", now=AT)[1] == 3
    generations = {each.key: each.generation for each in rows(connection, "current_results")}
    assert generations == {"a": 1, "b": 0, "c": 1, "d": 1}


def test_an_item_amended_during_a_replay_is_replayed_in_its_newest_revision(
    connection: Connection, letters: Version
) -> None:
    settle(connection, "a")
    read(connection, begin(connection))
    items.amend(connection, Amendment("letters", "a", {"text": "late"}), door="client", now=AT)
    work = [
        (each.revision, each.state) for each in rows(connection, "work", "id", purpose="replay")
    ]
    assert work == [(0, "canceled"), (1, "ready")]
    _, waiting = submit(connection, letters, now=AT)
    assert [each.payload for each in waiting] == [{"text": "late"}] * 2
    save(connection, *(tried(each, output=B) for each in waiting), now=AT)
    assert promotions.promote(connection, "letters", now=AT)[1] == 1
    assert (
        row(connection, "current_results").revision,
        row(connection, "current_results").generation,
    ) == (1, 1)


def test_an_amended_promoted_item_is_corrected_and_a_demotion_keeps_its_newer_result(
    connection: Connection, letters: Version
) -> None:
    settle(connection, "a", "b")
    replayed(connection, letters)
    promotions.promote(connection, "letters", now=AT)
    items.amend(connection, Amendment("letters", "a", {"text": "late"}), door="client", now=AT)
    assert {each.generation for each in rows(connection, "current_results")} == {1}
    _, (owed,) = submit(connection, letters, now=AT)
    save(connection, tried(owed, output=A), now=AT)
    assert row(connection, "correction_log").provisional_output == B
    assert promotions.demote(connection, "letters", now=AT)[1] == 1
    assert {
        (each.key, each.generation, each.revision) for each in rows(connection, "current_results")
    } == {("a", 0, 1), ("b", 0, 0)}


@pytest.mark.slow
def test_promotions_are_demoted_in_reverse_order(connection: Connection, letters: Version) -> None:
    settle(connection, *KEYS)
    replayed(connection, letters)
    promotions.promote(connection, "letters", now=later(hours=1))
    replayed(connection, letters, {key: {"category": "a", "note": "2"} for key in KEYS})
    promotions.promote(connection, "letters", now=later(hours=2))
    with pytest.raises(ActionRefused, match="generation 2 was promoted after"):
        promotions.demote(connection, "letters", 1, now=AT)
    promotions.demote(connection, "letters", now=AT)
    assert {each.generation for each in rows(connection, "current_results")} == {1}
    promotions.demote(connection, "letters", now=AT)
    assert {each.generation for each in rows(connection, "current_results")} == {0}


def test_a_diff_counts_by_field_with_examples_and_labels_and_is_the_same_after_promotion(
    connection: Connection, letters: Version
) -> None:
    settle(connection, *KEYS)
    items.label(
        connection,
        "letters",
        {"a": {"category": "b"}, "b": {"category": "a"}, "c": {"category": "b"}},
        source="ada",
    )
    of = replayed(connection, letters, {"d": A, "c": {"category": "b", "note": "n"}})
    found = promotions.compare(connection, of)
    assert (found.items, found.differing, found.share) == (4, 3, 0.75)
    assert found.fields == {"category": 3, "note": 1}
    assert [
        (of.field_name, of.change, [each.key for each in of.examples]) for of in found.kinds
    ] == [("category", "a → b", ["a", "b", "c"]), ("note", "", ["c"])]
    agreement = found.agreement["category"]
    assert (agreement.labels, agreement.current_right, agreement.replayed_right) == (3, 1, 2)
    promoted, _ = promotions.promote(connection, "letters", now=AT)
    assert promotions.compare(connection, promoted) == found


@pytest.mark.slow
def test_a_replay_can_use_another_version_than_the_one_in_force(
    connection: Connection, letters: Version
) -> None:
    settle(connection, *KEYS)
    second = publish(connection, now=NOON, instructions="Sort it better.")
    publish(connection, now=NOON)
    of = replayed(connection, second, version_no=2)
    assert (of.version, of.version_id) == (2, second.id)
    promotions.promote(connection, "letters", now=AT)
    assert {each.version for each in rows(connection, "current_results")} == {2}


@pytest.mark.slow
def test_a_replay_waits_for_an_amendment_in_progress_and_reads_the_new_revision(
    pool: Engine,
) -> None:
    with pool.begin() as connection:
        notes = publish(connection, "notes", now=NOON)
        admit(connection, "k", now=NOON, workload="notes")
        route(connection, now=NOON)
        asked = {"version_no": None, "first": None, "last": None, "selection": FORCED}
        by = Signature("ada", "", AT)
        of = replays.begin(connection, notes.workload, **asked, by=by)
    with ThreadPoolExecutor(1) as beside, pool.connect() as amending, pool.connect() as reading:
        items.amend(amending, Amendment("notes", "k", {"text": "late"}), door="client", now=AT)
        backend_id = backend(reading)
        waiting = beside.submit(replays.read_some, reading, of.id, now=AT)
        until_blocked(pool, backend_id)
        amending.commit()
        assert waiting.result(timeout=20).items == 1
        assert [each.revision for each in rows(reading, "work", purpose="replay")] == [1]


OPERATIONS = st.lists(
    st.sampled_from(["read", "batch", "amend", "live", "cancel", "drop", "arrive"]), max_size=8
)


@pytest.mark.slow
@given(OPERATIONS)
def test_an_unpromoted_replay_is_never_shown_after_any_sequence_of_operations(
    connection: Connection, letters: Version, operations: list[str]
) -> None:
    with connection.begin_nested() as everything:
        settle(connection, *KEYS)
        of, at = begin(connection), AT
        for number, operation in enumerate(operations):
            at += timedelta(minutes=1)
            _step(connection, letters, of, operation, number, at)
            current = rows(connection, "current_results")
            assert {each.generation for each in current} == {0}
            assert len(current) >= len(KEYS)
        everything.rollback()


def _step(
    connection: Connection, letters: Version, of: Generation, operation: str, number: int, at: Any
) -> None:
    match operation:
        case "read":
            replays.read_some(connection, of.id, limit=2, now=at)
        case "batch":
            if any(
                each.lane == "batch" and each.state == "ready" for each in rows(connection, "work")
            ):
                _, waiting = submit(connection, letters, now=at)
                save(connection, *(tried(each, output=B) for each in waiting), now=at)
        case "live":
            save(connection, *(tried(each, output=B) for each in claim(connection, now=at)), now=at)
        case "amend":
            asked = Amendment("letters", KEYS[number % 4], {"text": f"late {number}"})
            items.amend(connection, asked, door="client", now=at)
        case "cancel":
            items.cancel(connection, "letters", f"new {number - 1}")
        case "drop":
            if replays.find(connection, "letters", states=OPEN_REPLAY) is not None:
                promotions.drop(connection, "letters", now=at)
        case _:
            admit(connection, f"new {number}", now=at)
            route(connection, now=at)

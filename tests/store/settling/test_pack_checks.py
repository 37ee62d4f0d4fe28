"""Pack checks: a sample of packed items answered alone, owed once, ranked last, compared, and never shown to the item."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, text

from lanes.packing import ClaimedWork
from lanes.settling.story import happenings
from lanes.store import work as work_store
from lanes.store.doors import emptying
from lanes.store.realtime.load import backlog
from lanes.store.settling import story
from lanes.words import Lane, Outcome, Purpose
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import A, B, claim, row, rows, said, save, submit, tried

KEYS = [f"k{number}" for number in range(40)]
SHARE = 0.2


def answered_in_packs(
    connection: Connection, *keys: str, size: int = 10, lane: Lane = Lane.REALTIME
) -> None:
    """Answer the items in calls of `size` items."""
    admit(connection, *keys, now=NOON, lane=lane)
    route(connection, now=NOON)
    taken = claim(connection)
    for start in range(0, len(taken), size):
        response = said()
        save(connection, *(tried(each, response=response) for each in taken[start : start + size]))


def checks(connection: Connection) -> list[Any]:
    return rows(connection, "pack_check", "id")


def shadows(connection: Connection, *, minute: int = 0) -> list[ClaimedWork]:
    taken = claim(connection, now=later(minutes=minute))
    assert {each.purpose for each in taken} <= {Purpose.SHADOW}
    return taken


def say(
    connection: Connection, of: Sequence[ClaimedWork], output: dict[str, Any], *, minute: int = 1
) -> None:
    for each in of:
        save(connection, tried(each, output=output), now=later(minutes=minute))


def test_the_configured_share_of_packed_items_owes_one_shadow_each(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, realtime_pack=10, pack_check_share=SHARE)
    answered_in_packs(connection, *KEYS)
    owed = rows(connection, "work", "id", purpose="shadow")
    assert 3 <= len(owed) <= 14
    assert [each.item_id for each in owed] == [each.item_id for each in checks(connection)]
    assert {(each.lane, each.state, each.rank_at) for each in owed} == {
        ("realtime", "ready", later(days=1))
    }
    assert {each.pack for each in checks(connection)} == {10}


@pytest.mark.slow
@pytest.mark.parametrize(("size", "share"), [(1, SHARE), (10, 0.0)])
def test_items_of_single_calls_and_of_workloads_without_checks_owe_no_shadow(
    connection: Connection, size: int, share: float
) -> None:
    publish(connection, now=NOON, realtime_pack=10, pack_check_share=share)
    answered_in_packs(connection, *KEYS, size=size)
    assert checks(connection) == rows(connection, "work", purpose="shadow") == []


def test_a_shadow_ranks_behind_other_work_has_no_due_time_and_counts_in_no_backlog(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, realtime_pack=10, pack_check_share=SHARE)
    admit(connection, *KEYS, now=NOON, lane=Lane.REALTIME, urgent=True, due_at=later(hours=1))
    route(connection, now=NOON)
    response = said()
    save(connection, *(tried(each, response=response) for each in claim(connection)))
    assert backlog(connection, Lane.REALTIME, now=NOON).ready == 0
    admit(connection, "new", now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    first, *others = work_store.claim(
        connection, Lane.REALTIME, {"letters": 50}, worker="w", lease=timedelta(minutes=2), now=NOON
    )
    assert (first.key, first.purpose) == ("new", Purpose.ANSWER)
    assert {(each.purpose, each.due_at, each.urgent, each.travels_alone) for each in others} == {
        (Purpose.SHADOW, None, False, True)
    }


@pytest.mark.slow
def test_an_equal_answer_alone_agrees_and_leaves_the_item_unchanged(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, realtime_pack=10, pack_check_share=SHARE)
    answered_in_packs(connection, *KEYS)
    before = (
        rows(connection, "item", "id"),
        rows(connection, "result", "id"),
        rows(connection, "route", "id"),
    )
    say(connection, shadows(connection), A)
    assert {(each.agrees, each.compared_at) for each in checks(connection)} == {
        (True, later(minutes=1))
    }
    assert (
        rows(connection, "item", "id"),
        rows(connection, "result", "id"),
        rows(connection, "route", "id"),
    ) == before
    billed = rows(connection, "spend", purpose="shadow")
    assert len(billed) == len(checks(connection))


@pytest.mark.slow
def test_a_different_answer_alone_disagrees_only_over_compared_fields(
    connection: Connection,
) -> None:
    publish(
        connection, now=NOON, realtime_pack=10, pack_check_share=SHARE, compare_fields=["category"]
    )
    answered_in_packs(connection, *KEYS)
    first, *others = shadows(connection)
    say(connection, [first], B)
    say(connection, others, {**A, "note": "says more"})
    assert [each.agrees for each in checks(connection)] == [False, *[True] * len(others)]


@pytest.mark.slow
def test_some_checks_are_repeated_and_compared_with_their_first_answer_alone(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, realtime_pack=10, pack_check_share=SHARE)
    answered_in_packs(connection, *KEYS)
    say(connection, shadows(connection), B)
    twice = [each for each in checks(connection) if each.twice]
    assert 0 < len(twice) < len(checks(connection))
    assert [each.alone for each in checks(connection) if each.alone is not None] == [B] * len(twice)
    again = shadows(connection, minute=1)
    assert len(again) == len(twice)
    say(connection, again, B, minute=2)
    assert {
        (each.agrees, each.repeats, each.repeated_at, each.alone)
        for each in checks(connection)
        if each.twice
    } == {(False, True, later(minutes=2), None)}
    assert shadows(connection, minute=9) == []


def test_packs_on_the_batch_lane_are_checked(connection: Connection) -> None:
    letters = publish(connection, now=NOON, batch_pack=10, pack_check_share=SHARE)
    admit(connection, *KEYS, now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    batch_id, taken = submit(connection, letters, pack=10)
    response = said()
    save(connection, *(tried(each, response=response) for each in taken[:10]), batch_id=batch_id)
    assert {(each.lane, each.pack) for each in checks(connection)} == {(Lane.BATCH, 10)}
    _, again = submit(connection, letters, now=later(hours=1))
    assert len(again) == len(checks(connection))
    say(connection, again, A)
    assert {each.agrees for each in checks(connection)} == {True}


@pytest.mark.slow
def test_in_lambda_mode_each_lane_of_an_item_is_checked_separately(connection: Connection) -> None:
    letters = publish(
        connection, now=NOON, mode="lambda", realtime_pack=10, batch_pack=10, pack_check_share=SHARE
    )
    answered_in_packs(connection, *KEYS)
    batch_id, taken = submit(connection, letters, pack=10)
    for start in range(0, len(taken), 10):
        response = said()
        save(
            connection,
            *(tried(each, output=B, response=response) for each in taken[start : start + 10]),
            batch_id=batch_id,
        )
    _, alone = submit(connection, letters, now=later(hours=1))
    say(connection, alone, B)
    assert len(alone) > 0
    assert {(each.lane, each.agrees) for each in checks(connection)} == {
        (Lane.REALTIME, None),
        (Lane.BATCH, True),
    }


def test_a_repeated_save_adds_no_second_check(connection: Connection) -> None:
    publish(connection, now=NOON, realtime_pack=40, pack_check_share=SHARE)
    admit(connection, *KEYS, now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    response = said()
    attempts = [tried(each, response=response) for each in claim(connection)]
    save(connection, *attempts)
    before = checks(connection)
    save(connection, *attempts)
    assert checks(connection) == before


def test_a_failed_or_outdated_shadow_is_not_compared(connection: Connection) -> None:
    publish(connection, now=NOON, realtime_pack=10, pack_check_share=SHARE, max_failures=1)
    answered_in_packs(connection, *KEYS)
    first, second, *others = shadows(connection)
    save(connection, tried(first, Outcome.POISON))
    connection.execute(
        text("select lanes.amend('letters', :key, '{\"text\": \"another\"}')"), {"key": second.key}
    )
    say(connection, [second], A)
    assert [each.agrees for each in checks(connection)[:2]] == [None, None]
    assert row(connection, "item_status", key=first.key).state == "settled"
    connection.execute(
        text("select lanes.amend('letters', :key, '{\"text\": \"another\"}')"),
        {"key": others[0].key},
    )
    assert rows(connection, "work", purpose="shadow", state="ready") == []


@pytest.mark.slow
def test_the_stored_answer_of_a_check_is_emptied_with_its_item(connection: Connection) -> None:
    publish(connection, now=NOON, realtime_pack=10, pack_check_share=SHARE)
    answered_in_packs(connection, *KEYS)
    say(connection, shadows(connection), B)
    kept = next(each for each in checks(connection) if each.alone is not None)
    connection.execute(text("update lanes.work set state = 'canceled' where state = 'ready'"))
    emptying.empty_some(connection, {"letters": later(hours=1)}, after=0, now=later(hours=2))
    assert row(connection, "pack_check", id=kept.id).alone is None


@pytest.mark.slow
def test_the_story_of_an_item_reports_its_check(connection: Connection) -> None:
    publish(connection, now=NOON, realtime_pack=10, pack_check_share=SHARE)
    answered_in_packs(connection, *KEYS)
    taken = shadows(connection)
    say(connection, taken, B)
    told = [
        each.detail
        for each in happenings(
            story.records(connection, "letters", taken[0].key, now=later(hours=1))
        )
        if each.what in ("compared", "tried")
    ]
    assert "by claude-haiku-5-5 in a call of 10: valid" in told[0]
    assert "alone, to check packing: billed, never shown" in told[1]
    assert (
        told[-1]
        == "asked alone, to check packing, it answers something else than in its call of 10 items"
    )

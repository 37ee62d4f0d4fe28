"""Rescues: items that real time takes over from the batch lane, each once, and items that it does not take over."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from lanes.packing import Claim
from lanes.routing.lane_rules import EXPECTED_CALL, LONG_OVERDUE
from lanes.settling.outcome import PackShare
from lanes.settling.story import happenings, next_step
from lanes.store.asking import through
from lanes.store.batch import collection, creates, doubts
from lanes.store.report import facts
from lanes.store.routing import second_look
from lanes.store.settling import story
from lanes.store.tables import work
from lanes.store.workload import workloads
from lanes.words import BatchState, Lane
from tests.conftest import NOON, later
from tests.examples import publish
from tests.store.late import (
    DUE,
    LATE,
    amended,
    by_lane,
    canceled,
    crowd,
    doubted,
    in_batch,
    of_batch,
    rescue,
    waiting,
)
from tests.store.tries import B, claim, intend, row, rows, said, save, tried


def test_rescuing_an_item_in_a_late_batch_adds_real_time_work_and_keeps_the_batch_work(
    connection: Connection,
) -> None:
    batch_id = in_batch(connection, "k")
    before = by_lane(connection)["batch"]
    assert rescue(connection) == 1
    found = by_lane(connection)
    kept, taken = found["batch"], found["realtime"]
    assert (kept.state, kept.claim_no, kept.batch_id, kept.rescued) == (
        "submitted",
        before.claim_no,
        batch_id,
        True,
    )
    assert (taken.state, taken.purpose, taken.binds, taken.rescued) == (
        "ready",
        "answer",
        "realtime",
        True,
    )
    assert (taken.due_at, taken.rank_at) == (DUE, DUE - timedelta(seconds=2))
    assert row(connection, "batch_member").claim_no == before.claim_no
    assert row(connection, "item_status").lane == "realtime"


def test_a_rescue_writes_a_binding_route_with_its_probability_both_costs_and_a_sentence(
    connection: Connection,
) -> None:
    batch_id = in_batch(connection, "k")
    rescue(connection)
    first, second = rows(connection, "route", "id")
    assert (second.lane, second.reason, second.binds, second.decided_at) == (
        "realtime",
        "rescue",
        "realtime",
        LATE,
    )
    assert second.probability < 0.95
    assert (second.realtime_usd, second.batch_usd) == (first.realtime_usd, first.batch_usd)
    assert f" chance that batch {batch_id}, out for 7.5 h, is back by " in second.explanation


def test_rescuing_unsubmitted_work_changes_the_lane_of_its_row_under_a_new_claim_number(
    connection: Connection,
) -> None:
    waiting(connection, "k")
    before = row(connection, "work")
    assert before.lane == "batch"
    assert rescue(connection, now=LATE) == 1
    moved = row(connection, "work")
    assert (moved.id, moved.lane, moved.state, moved.claim_no) == (
        before.id,
        "realtime",
        "ready",
        before.claim_no + 1,
    )
    assert (moved.binds, moved.rank_at) == ("realtime", DUE - timedelta(seconds=2))
    assert (moved.ready_at, moved.waits_since) == (LATE, LATE)
    assert [each.key for each in claim(connection, now=LATE)] == ["k"]


@pytest.mark.parametrize("state", [BatchState.INTENDED, BatchState.HELD, BatchState.ENDED])
def test_a_late_item_is_rescued_from_an_intended_held_or_ended_batch(
    connection: Connection, state: BatchState
) -> None:
    letters = waiting(connection, "k")
    batch_id, _ = intend(connection, letters)
    if state is BatchState.HELD:
        doubts.hold(connection, batch_id, note="several fit", now=NOON)
    if state is BatchState.ENDED:
        creates.mark_submitted(
            connection, batch_id, "msgbatch_1", expected_end_at=later(hours=1), now=NOON
        )
        collection.mark_ended(connection, batch_id, at=LATE, now=LATE)
    assert rescue(connection) == 1
    assert by_lane(connection)["batch"].state == "submitted"


def test_a_rescue_is_priced_anew_and_ranked_by_the_rule_of_routing(
    connection: Connection,
) -> None:
    in_batch(connection, "k")
    seen, first = doubted(connection), row(connection, "route")
    connection.execute(text("update lanes.route set realtime_usd = 9, batch_usd = 9"))
    connection.execute(text("update lanes.item set due_at = '1960-01-01 00:00Z'"))
    assert second_look.rescue(connection, seen, now=LATE) == 1
    _, second = rows(connection, "route", "id")
    assert (second.realtime_usd, second.batch_usd) == (first.realtime_usd, first.batch_usd)
    assert by_lane(connection)["realtime"].rank_at == LONG_OVERDUE - EXPECTED_CALL


def test_an_item_is_rescued_only_once(connection: Connection) -> None:
    in_batch(connection, "k")
    seen = doubted(connection)
    assert second_look.rescue(connection, seen, now=LATE) == 1
    assert second_look.rescue(connection, seen, now=LATE) == 0
    assert doubted(connection) == []
    assert len(rows(connection, "work")) == 2


def test_an_item_with_an_earlier_rescue_route_is_not_rescued_again(connection: Connection) -> None:
    in_batch(connection, "k")
    seen = doubted(connection)
    connection.execute(text("update lanes.route set reason = 'rescue'"))
    assert second_look.rescue(connection, seen, now=LATE) == 0


def answered(connection: Connection) -> None:
    (theirs,) = rows(connection, "work")
    save(connection, tried(Claim(theirs.id, theirs.claim_no), at=LATE), now=LATE)


def paused(connection: Connection) -> None:
    workloads.pause(connection, "letters", since=LATE)


def bound(connection: Connection) -> None:
    connection.execute(work.update().values(binds=Lane.BATCH))


@pytest.mark.parametrize("change", [canceled, amended, answered, paused, bound])
def test_an_item_that_changed_since_it_was_read_is_not_rescued(
    connection: Connection, change: Any
) -> None:
    in_batch(connection, "k")
    seen = doubted(connection)
    change(connection)
    assert second_look.rescue(connection, seen, now=LATE) == 0
    assert len(rows(connection, "route")) == 1


def test_locked_items_are_skipped_without_waiting(pool: Engine) -> None:
    with pool.begin() as setup:
        in_batch(setup, "a", "b")
    with pool.begin() as holder, pool.begin() as looker:
        holder.execute(text("select 1 from lanes.item where key = 'a' for update"))
        assert rescue(looker) == 1
    with pool.begin() as after:
        assert [each.key for each in claim(after, now=LATE)] == ["b"]


@pytest.mark.parametrize("change", [canceled, answered, paused])
def test_canceled_answered_and_paused_items_are_not_considered_for_a_rescue(
    connection: Connection, change: Any
) -> None:
    in_batch(connection, "k")
    change(connection)
    assert second_look.due_items(connection, until=DUE, now=LATE) == []


def many_are_bound(connection: Connection) -> None:
    crowd(connection, publish(connection, now=NOON, split_percent=0), binds=Lane.BATCH)


def many_are_withdrawn(connection: Connection) -> None:
    crowd(connection, publish(connection, now=NOON, split_percent=0), withdrawn=True)


def many_are_paused(connection: Connection) -> None:
    crowd(connection, publish(connection, "bills", now=NOON))
    workloads.pause(connection, "bills", since=NOON)


def many_are_another_workload_s(connection: Connection) -> None:
    crowd(connection, publish(connection, "bills", now=NOON))


@pytest.mark.slow
@pytest.mark.parametrize(
    "many", [many_are_bound, many_are_withdrawn, many_are_paused, many_are_another_workload_s]
)
def test_other_items_that_are_due_earlier_do_not_hide_a_rescuable_item(
    connection: Connection, many: Any
) -> None:
    batch_id = in_batch(connection, "k")
    many(connection)
    assert [
        each.batch.id
        for each in second_look.due_items(connection, until=DUE, now=LATE)
        if each.batch
    ] == [batch_id]


@pytest.mark.slow
def test_items_beyond_the_limit_of_a_look_are_sampled_one_per_thousand_and_all_are_counted(
    connection: Connection,
) -> None:
    letters, bills = (
        publish(connection, name, now=NOON, split_percent=0) for name in ("letters", "bills")
    )
    crowd(connection, letters, items=second_look.MOST + 2_500)
    crowd(connection, letters, binds=Lane.BATCH, items=3)
    crowd(connection, bills, items=second_look.MOST)
    found = second_look.due_items(connection, until=DUE, now=LATE)
    of = {
        each.workload: [late.items for late in found if late.version == each]
        for each in (letters, bills)
    }
    assert of == {
        "letters": [1] * second_look.MOST + [1_000, 1_000, 500],
        "bills": [1] * second_look.MOST,
    }
    assert len({each.work_id for each in found}) == len(found)
    assert second_look.due_numbers(connection, until=DUE, now=LATE) == {
        "letters": second_look.MOST + 2_500,
        "bills": second_look.MOST,
    }
    assert second_look.due_numbers(connection, until=DUE - timedelta(minutes=2), now=LATE) == {}
    workloads.pause(connection, "letters", since=NOON)
    assert second_look.due_numbers(connection, until=DUE, now=LATE).keys() == {"bills"}


def test_items_bound_to_batch_are_grouped_by_batch_and_due_time(
    connection: Connection,
) -> None:
    batch_id = in_batch(connection, "a", "b", "c")
    bound(connection)
    canceled(connection, "c")
    (seen,) = second_look.due_bound_items(connection, until=DUE, now=LATE)
    assert seen.batch is not None
    assert (seen.items, seen.batch.id, seen.due_at, seen.binds) == (2, batch_id, DUE, Lane.BATCH)
    assert second_look.due_items(connection, until=DUE, now=LATE) == []


def test_free_items_and_items_due_after_the_look_are_not_listed_as_bound(
    connection: Connection,
) -> None:
    in_batch(connection, "k")
    assert second_look.due_bound_items(connection, until=DUE, now=LATE) == []
    bound(connection)
    assert second_look.due_bound_items(connection, until=DUE - timedelta(seconds=1), now=LATE) == []


def test_a_second_look_at_an_amended_item_reads_the_work_of_its_newest_revision(
    connection: Connection,
) -> None:
    in_batch(connection, "k")
    amended(connection)
    (seen,) = second_look.due_items(connection, until=DUE, now=LATE)
    assert seen.batch is None


def test_explain_reports_the_rescue_and_the_open_batch_work(connection: Connection) -> None:
    batch_id = in_batch(connection, "k")
    rescue(connection)
    (mine,) = claim(connection, now=LATE)
    save(connection, tried(mine, at=LATE), now=LATE)
    of = story.records(connection, "letters", "k", now=LATE)
    (told,) = [each for each in happenings(of) if each.what == "rescued"]
    assert told.at == LATE
    assert told.detail.startswith("to realtime, rescue: 6.3 % chance ")
    back = f" chance that batch {batch_id}, out for 7.5 h, is back by 2026-11-24T20:00:00+00:00, "
    assert back in told.detail
    then = next_step(of, LATE)
    assert then.startswith(
        f"answer work on the batch lane is in batch {batch_id}: batch {batch_id} has been at the provider"
    )
    assert then.endswith("; its answer is billed and recorded, never shown")


def test_the_report_counts_rescues_and_the_cost_of_duplicate_answers(
    connection: Connection,
) -> None:
    batch_id = in_batch(connection, "a", "b")
    rescue(connection)
    one, other = claim(connection, now=LATE)
    save(connection, tried(one, at=LATE), now=LATE)
    save(connection, tried(other, at=later(hours=8.1)), now=later(hours=8.1))
    save(
        connection,
        tried(of_batch(connection, batch_id, one.key)),
        batch_id=batch_id,
        now=later(hours=9),
    )
    (seen,) = facts.rescues(through(connection), since=NOON, now=later(hours=9))
    assert (seen.workload, seen.items, seen.met, seen.waiting) == ("letters", 2, 1, 0)
    assert 0 < seen.twice_usd < seen.usd


def test_a_batch_answer_after_a_provisional_one_is_recorded_as_the_authoritative_pass(
    connection: Connection,
) -> None:
    batch_id = in_batch(connection, "a", "b", mode="lambda")
    rescue(connection)
    first, other = claim(connection, now=LATE)
    save(connection, tried(first, at=LATE), now=LATE)
    late = [
        tried(of_batch(connection, batch_id, each.key), output=B, at=later(hours=9))
        for each in (first, other)
    ]
    save(connection, *late, batch_id=batch_id, now=later(hours=9))
    purposes = Counter((each.lane, each.purpose) for each in rows(connection, "attempt"))
    assert purposes == {
        ("realtime", "answer"): 1,
        ("batch", "authoritative"): 1,
        ("batch", "answer"): 1,
    }
    assert Counter((each.lane, each.purpose) for each in rows(connection, "response")) == purposes
    assert {(each.lane, each.purpose) for each in rows(connection, "work")} == {
        ("realtime", "answer"),
        ("batch", "answer"),
    }
    assert [each.changed_fields for each in rows(connection, "correction")] == [["category"]]


def test_in_plain_mode_a_late_batch_answer_is_recorded_as_an_answer_that_is_not_shown(
    connection: Connection,
) -> None:
    batch_id = in_batch(connection, "k")
    rescue(connection)
    save(connection, *(tried(each, at=LATE) for each in claim(connection, now=LATE)), now=LATE)
    save(
        connection,
        tried(of_batch(connection, batch_id), at=later(hours=9)),
        batch_id=batch_id,
        now=later(hours=9),
    )
    assert {(each.lane, each.purpose, each.shown) for each in rows(connection, "attempt")} == {
        ("realtime", "answer", True),
        ("batch", "answer", False),
    }


def test_a_packed_call_that_answers_one_of_its_items_first_is_billed_as_an_answer(
    connection: Connection,
) -> None:
    batch_id = in_batch(connection, "a", "b", pack=2, mode="lambda", batch_pack=2)
    rescue(connection)
    first, other = claim(connection, now=LATE)
    save(connection, tried(first, at=LATE), now=LATE)
    response, at = said(), later(hours=9)
    pack = [
        tried(of_batch(connection, batch_id, each.key), response=response, at=at)._replace(
            share=PackShare(n, 2)
        )
        for n, each in enumerate((first, other))
    ]
    save(connection, *pack, batch_id=batch_id, now=at)
    assert [
        each.purpose for each in rows(connection, "response", "lane") if each.lane == "batch"
    ] == ["answer"]
    assert sorted(each.purpose for each in rows(connection, "attempt") if each.lane == "batch") == [
        "answer",
        "authoritative",
    ]

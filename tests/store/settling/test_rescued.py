"""Effects of both answers to a rescued item, in either mode and in either order."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection

from lanes.batch.batch import CreateAnswer
from lanes.ids import BatchId
from lanes.packing import ClaimedWork
from lanes.settling.outcome import SaveResult
from lanes.store.batch import collection, creates, doubts
from lanes.store.routing import second_look
from lanes.store.settling import decisions
from lanes.words import Lane, Mode, Outcome
from lanes.workload.prices import cost
from tests.conftest import later
from tests.store.late import (
    LATE,
    amended,
    by_lane,
    canceled,
    doubted,
    in_batch,
    of_batch,
    rescue,
    waiting,
)
from tests.store.tries import A, B, claim, events, home, intend, row, rows, said, save, tried

HOME_AT = later(hours=9)
ANY_MODE = pytest.mark.parametrize("mode", list(Mode))


def taken_over(connection: Connection, mode: Mode = Mode.PLAIN) -> tuple[BatchId, ClaimedWork]:
    """Put item k into a late batch, rescue it, and return the batch and the real-time claim."""
    batch_id = in_batch(connection, "k", mode=mode)
    rescue(connection)
    (mine,) = claim(connection, now=LATE)
    return batch_id, mine


def batch_answers(
    connection: Connection,
    batch_id: BatchId,
    outcome: Outcome = Outcome.VALID,
    *,
    now: datetime = HOME_AT,
    **tried_as: Any,
) -> SaveResult:
    """Save the answer of the batch."""
    attempt = tried(of_batch(connection, batch_id), outcome, at=now, **tried_as)
    return save(connection, attempt, batch_id=batch_id, now=now)


def test_in_plain_mode_the_first_answer_settles_and_the_late_one_is_billed_but_not_shown(
    connection: Connection,
) -> None:
    batch_id, mine = taken_over(connection)
    save(connection, tried(mine, output=A, at=LATE), now=LATE)
    assert row(connection, "item_status").state == "settled"
    collection.mark_ended(connection, batch_id, at=later(hours=9), now=later(hours=9))
    saved = batch_answers(connection, batch_id, output=B)
    home(connection, batch_id, now=later(hours=9))
    assert (saved.answered, saved.corrected) == (0, 0)
    assert [each.shown for each in rows(connection, "attempt", "id")] == [True, False]
    assert row(connection, "current_results").output == A
    assert len(rows(connection, "spend")) == 2
    assert {each.state for each in rows(connection, "work")} == {"done"}
    assert row(connection, "batch_status").succeeded == 1
    assert len(events(connection, "lanes.item.answered")) == 1


def test_in_plain_mode_a_batch_answer_settles_the_item_and_cancels_the_rescue(
    connection: Connection,
) -> None:
    batch_id = in_batch(connection, "k")
    rescue(connection)
    batch_answers(connection, batch_id, output=A, now=LATE)
    assert by_lane(connection)["realtime"].state == "canceled"
    assert claim(connection, now=LATE) == []
    assert row(connection, "item_status").state == "settled"


@ANY_MODE
def test_a_real_time_answer_after_the_batch_settled_the_item_is_recorded_but_not_shown(
    connection: Connection, mode: Mode
) -> None:
    batch_id, mine = taken_over(connection, mode=mode)
    batch_answers(connection, batch_id, output=A, now=LATE)
    save(connection, tried(mine, output=B, at=LATE), now=LATE)
    assert row(connection, "current_results").output == A
    assert [each.shown for each in rows(connection, "attempt", "id")] == [True, False]
    assert {each.state for each in rows(connection, "work")} == {"done"}


def test_in_lambda_mode_the_rescued_answer_is_provisional_and_the_batch_work_is_the_owed_pass(
    connection: Connection,
) -> None:
    batch_id, mine = taken_over(connection, mode=Mode.LAMBDA)
    save(connection, tried(mine, output=A, at=LATE), now=LATE)
    assert row(connection, "item_status").state == "answered"
    assert len(rows(connection, "work")) == 2
    batch_answers(connection, batch_id, output=B)
    assert row(connection, "item_status").state == "settled"
    assert row(connection, "correction_log").authoritative_output == B
    assert [each.shown for each in rows(connection, "attempt", "id")] == [True, True]


def test_in_lambda_mode_an_item_rescued_before_submission_owes_an_authoritative_pass(
    connection: Connection,
) -> None:
    waiting(connection, "k", mode=Mode.LAMBDA)
    rescue(connection)
    (mine,) = claim(connection, now=LATE)
    save(connection, tried(mine, at=LATE), now=LATE)
    assert [
        (each.lane, each.purpose) for each in rows(connection, "work", "id", state="ready")
    ] == [("batch", "authoritative")]


@ANY_MODE
@pytest.mark.parametrize("outcome", [Outcome.POISON, Outcome.GIVEN_UP])
@pytest.mark.parametrize("first", list(Lane))
def test_a_rescued_item_fails_only_when_its_last_work_fails(
    connection: Connection, mode: Mode, outcome: Outcome, first: Lane
) -> None:
    batch_id, mine = taken_over(connection, mode=mode)
    ours, theirs = (
        tried(mine, outcome, at=LATE),
        tried(of_batch(connection, batch_id), outcome, at=LATE),
    )
    one, other = (ours, theirs) if first is Lane.REALTIME else (theirs, ours)
    save(connection, one, now=LATE)
    assert row(connection, "item_status").state == "working"
    save(connection, other, now=LATE)
    assert row(connection, "item_status").state == "failed"


@ANY_MODE
def test_an_item_whose_rescue_failed_for_good_is_answered_by_its_batch(
    connection: Connection, mode: Mode
) -> None:
    batch_id, mine = taken_over(connection, mode=mode)
    save(connection, tried(mine, Outcome.POISON, at=LATE), now=LATE)
    batch_answers(connection, batch_id, output=A)
    assert row(connection, "item_status").state == "settled"


@ANY_MODE
def test_an_expired_batch_after_a_rescue_leaves_only_the_pass_that_lambda_mode_owes(
    connection: Connection, mode: Mode
) -> None:
    batch_id, mine = taken_over(connection, mode=mode)
    save(connection, tried(mine, output=A, at=LATE), now=LATE)
    batch_answers(connection, batch_id, Outcome.EXPIRED, now=later(hours=24))
    left = by_lane(connection)["batch"].state
    assert left == (
        "done" if mode is Mode.PLAIN else "ready"
    )  # the owed pass goes into the next batch


@ANY_MODE
def test_a_rescue_call_without_an_answer_is_repeated_and_the_item_is_answered(
    connection: Connection, mode: Mode
) -> None:
    in_batch(connection, "k", mode=mode)
    rescue(connection)
    (mine,) = claim(connection, now=LATE)
    save(connection, tried(mine, Outcome.UNKNOWN, at=LATE, bound_usd=Decimal("0.01")), now=LATE)
    assert by_lane(connection)["realtime"].state == "ready"
    (again,) = claim(connection, now=later(hours=7.6))
    save(connection, tried(again, output=A), now=later(hours=7.6))
    assert row(connection, "item_status").state == ("settled" if mode is Mode.PLAIN else "answered")


def test_a_late_pack_answers_its_other_items_but_not_the_rescued_one(
    connection: Connection,
) -> None:
    batch_id = in_batch(connection, "a", "b", "c", pack=3)
    seen = doubted(connection)
    assert second_look.rescue(connection, seen[:1], now=LATE) == 1
    (mine,) = claim(connection, now=LATE)
    save(connection, tried(mine, output=A, at=LATE), now=LATE)
    claims = [of_batch(connection, batch_id, key) for key in "abc"]
    save(
        connection,
        *(tried(each, output=B) for each in claims),
        batch_id=batch_id,
        now=later(hours=9),
    )
    shown = {each.key: each.output for each in rows(connection, "current_results")}
    assert shown == {"a": B, "b": B, "c": B} | {mine.key: A}
    assert {each.state for each in rows(connection, "item_status")} == {"settled"}


@ANY_MODE
def test_an_amended_rescued_item_is_owed_anew_by_both_lanes_and_is_not_rescued_again(
    connection: Connection, mode: Mode
) -> None:
    batch_id = in_batch(connection, "k", mode=mode)
    rescue(connection)
    amended(connection)
    owed = [(each.lane, each.rescued) for each in rows(connection, "work", "lane", revision=1)]
    assert owed == [("batch", True), ("realtime", True)]
    assert doubted(connection) == []
    (mine,) = claim(connection, now=LATE)
    save(connection, tried(mine, output=A, at=LATE), now=LATE)
    batch_answers(connection, batch_id, output=B)
    assert row(connection, "current_results").output == A
    newest = rows(connection, "work", "id", revision=1, lane="batch")[-1]
    assert newest.state == ("canceled" if mode is Mode.PLAIN else "ready")


def test_a_failed_rescued_item_is_still_marked_as_rescued_after_an_amendment(
    connection: Connection,
) -> None:
    batch_id, mine = taken_over(connection)
    save(connection, tried(mine, Outcome.POISON, at=LATE), now=LATE)
    batch_answers(connection, batch_id, Outcome.POISON, now=LATE)
    assert row(connection, "item_status").state == "failed"
    amended(connection)
    owed = row(connection, "work", revision=1)
    assert (owed.lane, owed.state, owed.binds, owed.rescued) == (
        "realtime",
        "ready",
        "realtime",
        True,
    )


def test_both_answers_to_a_canceled_item_are_billed_and_neither_is_shown(
    connection: Connection,
) -> None:
    batch_id, mine = taken_over(connection)
    canceled(connection)
    save(connection, tried(mine, at=LATE), now=LATE)
    save(connection, tried(of_batch(connection, batch_id)), batch_id=batch_id, now=later(hours=9))
    assert [each.shown for each in rows(connection, "attempt")] == [False, False]
    assert len(rows(connection, "spend")) == 2
    assert row(connection, "item_status").state == "canceled"


@ANY_MODE
def test_resubmitting_a_batch_cancels_the_work_of_a_settled_item_and_keeps_an_owed_pass(
    connection: Connection, mode: Mode
) -> None:
    batch_id, mine = taken_over(connection, mode=mode)
    save(connection, tried(mine, output=A, at=LATE), now=LATE)
    decisions.resubmit(connection, batch_id, who="ada", why="lost", now=later(hours=9))
    assert by_lane(connection)["batch"].state == ("canceled" if mode is Mode.PLAIN else "ready")


@ANY_MODE
def test_giving_up_a_batch_fails_no_item_with_open_real_time_work(
    connection: Connection, mode: Mode
) -> None:
    batch_id = in_batch(connection, "k", mode=mode)
    rescue(connection)
    decisions.give_up(connection, batch_id, who="ada", why="lost", now=LATE)
    assert row(connection, "item_status").state == "routed"
    (mine,) = claim(connection, now=LATE)
    save(connection, tried(mine, output=A, at=LATE), now=LATE)
    assert row(connection, "item_status").state == ("settled" if mode is Mode.PLAIN else "answered")


def test_a_late_answer_of_a_released_batch_is_billed_on_the_batch_lane_and_never_shown(
    connection: Connection,
) -> None:
    letters = waiting(connection, "a", "b")
    batch_id, _ = intend(connection, letters)
    assert doubts.release(connection, batch_id, note="not listed", now=later(hours=1))
    assert second_look.rescue(connection, doubted(connection)[:1], now=LATE) == 1
    answer = creates.mark_submitted(
        connection, batch_id, "msgbatch_1", expected_end_at=LATE, now=LATE
    )
    assert answer is CreateAnswer.UNWANTED
    assert row(connection, "batch").cancel_at == LATE
    assert {(each.lane, each.state) for each in rows(connection, "work")} == {
        ("realtime", "ready"),
        ("batch", "ready"),
    }
    late = next(each for each in rows(connection, "work") if each.lane == "realtime")
    key = next(each.key for each in rows(connection, "item") if each.id == late.item_id)
    answers = said(tokens=1_000_000)
    save(
        connection,
        tried(of_batch(connection, batch_id, key), response=answers, at=LATE),
        batch_id=batch_id,
        now=LATE,
    )
    billed, made = row(connection, "spend"), row(connection, "attempt")
    assert (billed.lane, billed.model, billed.cost_usd) == ("batch", answers.model, made.cost_usd)
    assert billed.cost_usd == cost(answers.usage, model=billed.model, lane=Lane.BATCH, at=LATE)
    assert (made.lane, made.work_id, made.shown) == ("batch", late.id, False)

"""Effects of attempts on their items: every row of the table of cases and outcomes, in one file because it is one table."""

import json
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, text

from lanes.doors.item import Amendment
from lanes.ids import BatchId
from lanes.money.estimates import Estimates
from lanes.packing import ClaimedWork, history_chars
from lanes.settling.outcome import SaveResult
from lanes.store import work as work_store
from lanes.store.batch import doubts
from lanes.store.doors import items
from lanes.store.doors.items import amend
from lanes.store.settling import decisions, outcomes
from lanes.words import Lane, Outcome
from lanes.workload.version import Version
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import (
    LEASE,
    A,
    B,
    claim,
    claimed_item,
    events,
    home,
    intend,
    row,
    rows,
    said,
    save,
    submit,
    tried,
)

UNANSWERED = [
    Outcome.INVALID,
    Outcome.REFUSED,
    Outcome.TRUNCATED,
    Outcome.ERRORED,
    Outcome.MISSING,
    Outcome.UNKNOWN,
]


def state(connection: Connection, key: str = "k") -> str:
    return row(connection, "item_status", key=key).state


def in_batch(
    connection: Connection, version: Version, *keys: str, now: Any = NOON
) -> tuple[BatchId, list[ClaimedWork]]:
    """Route items to batch and submit their batch."""
    admit(connection, *keys, now=now, workload=version.workload, lane=Lane.BATCH)
    route(connection, now=now)
    return submit(connection, version, now=now)


def provisional(
    connection: Connection, version: Version, output: dict[str, Any] = A
) -> tuple[BatchId, ClaimedWork]:
    """Answer a Lambda item in real time and submit its authoritative pass."""
    save(connection, tried(claimed_item(connection), output=output))
    batch_id, (pass_,) = submit(connection, version, now=later(minutes=1))
    return batch_id, pass_


def test_attempts_of_a_version_with_an_unreadable_spec_are_saved_and_billed(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, mode="lambda", max_failures=1)
    answered, failed = claimed_item(connection, "answered"), claimed_item(connection, "failed")
    connection.execute(text("update lanes.version set spec = '{}'"))
    save(
        connection,
        tried(answered, response=said()),
        tried(failed, Outcome.INVALID, response=said()),
    )
    assert (state(connection, "answered"), state(connection, "failed")) == ("answered", "failed")
    assert len(rows(connection, "spend")) == 2


# -- a workload without Lambda


@pytest.mark.parametrize("lane", list(Lane))
def test_without_lambda_the_first_valid_answer_is_authoritative_and_settles(
    connection: Connection, lane: Lane
) -> None:
    letters = publish(connection, now=NOON, announces="each")
    if lane is Lane.REALTIME:
        save(connection, tried(claimed_item(connection)), now=later(seconds=2))
    else:
        batch_id, (work,) = in_batch(connection, letters, "k")
        save(connection, tried(work), now=later(seconds=2), batch_id=batch_id)
    status = row(connection, "item_status")
    assert (status.state, status.answered_at, status.settled_at) == (
        "settled",
        later(seconds=2),
        later(seconds=2),
    )
    result = row(connection, "current_results")
    assert (result.output, result.standing, result.generation, result.lane) == (
        A,
        "authoritative",
        0,
        lane,
    )
    (work,) = rows(connection, "work")
    assert (work.state, work.finished_at, work.lease_until, work.claimed_by) == (
        "done",
        later(seconds=2),
        None,
        None,
    )
    (answered,) = events(connection, "lanes.item.answered")
    assert answered.payload == {"key": "k", "lane": lane, "standing": "authoritative"}


# -- Lambda


def test_a_lambda_item_answered_in_real_time_is_provisional_and_owes_one_authoritative_pass(
    connection: Connection,
) -> None:
    letters = publish(connection, now=NOON, mode="lambda")
    save(connection, tried(claimed_item(connection)), now=later(seconds=2))
    status = row(connection, "item_status")
    assert (status.state, status.answered_at, status.settled_at) == (
        "answered",
        later(seconds=2),
        None,
    )
    assert row(connection, "current_results").standing == "provisional"
    owed = row(connection, "work", state="ready")
    assert (owed.lane, owed.purpose, owed.version_id, owed.ready_at) == (
        "batch",
        "authoritative",
        letters.id,
        later(seconds=2),
    )


def test_an_authoritative_answer_settles_the_item_and_replaces_the_provisional_one(
    connection: Connection,
) -> None:
    letters = publish(connection, now=NOON, mode="lambda")
    batch_id, work = provisional(connection, letters)
    save(connection, tried(work, output=B), now=later(hours=1), batch_id=batch_id)
    status = row(connection, "item_status")
    assert (status.state, status.answered_at, status.settled_at) == (
        "settled",
        NOON,
        later(hours=1),
    )
    assert row(connection, "current_results").output == B
    assert [each.standing for each in rows(connection, "result", "id")] == [
        "provisional",
        "authoritative",
    ]


def test_a_correction_records_the_changed_fields_and_their_distance(connection: Connection) -> None:
    letters = publish(connection, now=NOON, mode="lambda")
    batch_id, work = provisional(connection, letters, {"category": "a", "note": "same"})
    saved = save(
        connection,
        tried(work, output={"category": "b", "note": "same"}),
        now=later(hours=1),
        batch_id=batch_id,
    )
    assert saved.corrected == 1
    corrected = row(connection, "correction_log")
    assert (corrected.workload, corrected.key, corrected.generation) == ("letters", "k", 0)
    assert corrected.provisional_output == {"category": "a", "note": "same"}
    assert corrected.authoritative_output == {"category": "b", "note": "same"}
    assert (corrected.changed_fields, corrected.distance) == (["category"], 0.5)
    assert corrected.corrected_at == later(hours=1)
    (event,) = events(connection, "lanes.item.corrected")
    assert event.payload == {
        "key": "k",
        "lane": "batch",
        "changed_fields": ["category"],
        "readers": [],
        "late_context": None,
    }


@pytest.mark.parametrize(
    ("authoritative", "changed"),
    [
        ({"category": "a", "note": "other"}, None),
        ({"category": "b", "note": "other"}, ["category"]),
    ],
)
def test_only_a_difference_in_compared_fields_makes_a_correction(
    connection: Connection, authoritative: dict[str, Any], changed: list[str] | None
) -> None:
    letters = publish(connection, now=NOON, mode="lambda", compare_fields=["category"])
    batch_id, work = provisional(connection, letters, {"category": "a", "note": "one"})
    save(connection, tried(work, output=authoritative), batch_id=batch_id)
    assert row(connection, "current_results").output == authoritative
    assert [each.changed_fields for each in rows(connection, "correction_log")] == (
        [changed] if changed else []
    )


def test_a_failed_authoritative_pass_settles_on_the_provisional_result_and_stores_the_reason(
    connection: Connection,
) -> None:
    letters = publish(connection, now=NOON, mode="lambda", max_failures=1)
    batch_id, work = provisional(connection, letters)
    save(
        connection,
        tried(work, Outcome.INVALID, error="not JSON"),
        now=later(hours=1),
        batch_id=batch_id,
    )
    status = row(connection, "item_status")
    assert (status.state, status.settled_at) == ("settled", later(hours=1))
    assert status.failure == "invalid: not JSON (after 1 failed attempt)"
    assert row(connection, "current_results").standing == "provisional"
    assert events(connection, "lanes.item.failed") == []
    assert row(connection, "work", purpose="authoritative").state == "failed"


def free_item(connection: Connection, key: str = "k", **fields: Any) -> ClaimedWork:
    """Return a claimed item that only the split sent to real time."""
    return claimed_item(connection, key, lane=None, **fields)


def test_a_plain_item_that_may_wait_fails_only_once_both_lanes_spent_their_retry_budgets(
    connection: Connection,
) -> None:
    letters = publish(connection, now=NOON, max_failures=2, split_percent=100)
    save(connection, tried(free_item(connection), Outcome.ERRORED))
    for again in claim(connection, now=later(minutes=1)):
        save(connection, tried(again, Outcome.UNKNOWN, bound_usd=Decimal("0.01")))
    assert (state(connection), events(connection, "lanes.item.failed")) == ("routed", [])
    for hour, left in ((1, "routed"), (2, "failed")):
        batch_id, (work,) = submit(connection, letters, now=later(hours=hour))
        save(connection, tried(work, Outcome.INVALID), batch_id=batch_id, now=later(hours=hour))
        home(connection, batch_id, now=later(hours=hour))
        assert state(connection) == left
    assert [(each.lane, each.state, each.failures) for each in rows(connection, "work", "id")] == [
        ("realtime", "failed", 2),
        ("batch", "failed", 2),
    ]
    assert len(events(connection, "lanes.item.failed")) == 1
    assert decisions.retry(connection, "letters", None, now=later(hours=3)) == ["k"]
    batch_id, (work,) = submit(connection, letters, now=later(hours=3))
    save(connection, tried(work, output=B), batch_id=batch_id, now=later(hours=4))
    assert (state(connection), row(connection, "current_results").output) == ("settled", B)
    assert rows(connection, "correction_log") == []
    assert [each.items for each in rows(connection, "spend")] == [1, 1, 1]


def test_a_late_answer_of_a_lost_claim_settles_a_plain_item_and_cancels_its_batch_work(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, max_failures=1, split_percent=100)
    slow = free_item(connection)
    save(connection, *work_store.list_abandoned(connection, now=NOON + 2 * LEASE))
    assert row(connection, "item_status").route_reason == "fallback"
    save(connection, tried(slow, output=B), now=later(hours=1))
    assert (state(connection), row(connection, "current_results").output) == ("settled", B)
    assert [each.state for each in rows(connection, "work", "id")] == ["done", "canceled"]


@pytest.mark.parametrize("mode", ["plain", "lambda"])
def test_a_fallback_writes_a_route_with_its_reason_and_both_costs(
    connection: Connection, mode: str
) -> None:
    letters = publish(connection, now=NOON, mode=mode, max_failures=1, split_percent=100)
    payload = {"text": "x" * 400}
    save(
        connection,
        tried(free_item(connection, payload=payload), Outcome.ERRORED),
        now=later(seconds=2),
    )
    first, second = rows(connection, "route_log", "decided_at")
    assert (first.lane, first.reason) == ("realtime", "split")
    assert (second.lane, second.reason, second.decided_at) == (
        "batch",
        "fallback",
        later(seconds=2),
    )
    assert (
        second.explanation
        == "real time could not answer it: errored (after 1 failed attempt); it may wait for a batch"
    )
    expected = Estimates(NOON).of(letters, len(json.dumps(payload)))
    assert (second.realtime_usd, second.batch_usd) == (expected.realtime, expected.batch)
    status = row(connection, "item_status")
    assert (status.lane, status.route_reason) == ("batch", "fallback")


def test_the_cost_of_a_fallback_includes_the_history_that_its_batch_reads(
    connection: Connection,
) -> None:
    letters = publish(
        connection, now=NOON, mode="lambda", max_failures=1, split_percent=100, history_items=3
    )
    payload = {"text": "x" * 400}
    admit(
        connection,
        "before",
        now=NOON,
        payload=payload,
        entity="ann",
        occurred_at=later(hours=-1),
        lane=Lane.BATCH,
    )
    save(
        connection,
        tried(free_item(connection, payload=payload, entity="ann"), Outcome.INVALID),
        now=later(seconds=2),
    )
    chars = len(json.dumps(payload))
    expected = Estimates(NOON).of(letters, chars, history_chars([chars]))
    costs = [
        row(connection, "route_log", **of).batch_usd
        for of in ({"lane": "realtime"}, {"reason": "fallback"})
    ]
    assert costs == [expected.batch] * 2


def test_an_authoritative_pass_writes_no_route(connection: Connection) -> None:
    provisional(connection, publish(connection, now=NOON, mode="lambda"))
    assert [each.lane for each in rows(connection, "route_log")] == ["realtime"]


BINDING: list[dict[str, Any]] = [
    {"lane": Lane.REALTIME},
    {"lane": None, "urgent": True},
    {"lane": None, "due_at": later(minutes=5)},
    {"lane": None, "due_at": later(minutes=-1)},
]


@pytest.mark.parametrize("mode", ["plain", "lambda"])
@pytest.mark.parametrize("asked", BINDING)
def test_an_item_bound_to_real_time_spends_its_retry_budget_there_and_fails_with_an_event(
    connection: Connection, asked: dict[str, Any], mode: str
) -> None:
    publish(connection, now=NOON, mode=mode, max_failures=2, split_percent=100)
    save(connection, tried(claimed_item(connection, **asked), Outcome.INVALID))
    assert state(connection) == "routed"
    (again,) = claim(connection, now=later(seconds=1))
    save(connection, tried(again, Outcome.ERRORED, error="nonsense"))
    assert row(connection, "item_status").failure == "errored: nonsense (after 2 failed attempts)"
    assert [(each.lane, each.state) for each in rows(connection, "work")] == [
        ("realtime", "failed")
    ]
    assert [each.lane for each in rows(connection, "route_log")] == ["realtime"]
    assert len(events(connection, "lanes.item.failed")) == 1


def test_an_item_whose_due_time_is_too_close_for_a_batch_fails_without_a_fallback(
    connection: Connection,
) -> None:
    publish(
        connection,
        now=NOON,
        mode="lambda",
        max_failures=1,
        split_percent=100,
        batch_expected_minutes=60,
    )
    work = free_item(connection, due_at=later(hours=3))
    save(connection, tried(work, Outcome.INVALID), now=later(hours=1))
    assert state(connection) == "failed"


def rescued(connection: Connection, version: Version) -> tuple[BatchId, ClaimedWork, ClaimedWork]:
    """Return the batch's id, its work and the real-time claim of an item that is with both lanes."""
    batch_id, (late,) = in_batch(connection, version, "k")
    connection.execute(
        text("""
        insert into lanes.work (item_id, workload, version_id, lane, purpose, revision, state, ready_at, rank_at, waits_since)
        select item_id, workload, version_id, 'realtime', 'answer', revision, 'ready', waits_since, rank_at, waits_since
          from lanes.work
        """)
    )
    (rescue,) = claim(connection)
    return batch_id, late, rescue


def test_the_last_failure_fails_the_item_when_both_passes_fail_in_one_save(
    connection: Connection,
) -> None:
    _, late, rescue = rescued(connection, publish(connection, now=NOON, max_failures=1))
    save(connection, tried(late, Outcome.INVALID), tried(rescue, Outcome.POISON, error="too long"))
    assert row(connection, "item_status").failure == "poison: too long (after 1 failed attempt)"
    assert len(events(connection, "lanes.item.failed")) == 1


def test_open_work_of_an_older_revision_does_not_prevent_an_item_from_failing(
    connection: Connection,
) -> None:
    letters = publish(connection, now=NOON, max_failures=1)
    in_batch(connection, letters, "k")
    amend(
        connection, Amendment("letters", "k", {"text": "more"}, place=None), door="client", now=NOON
    )
    second, (work,) = submit(connection, letters, now=later(minutes=1), account="other")
    save(connection, tried(work, Outcome.INVALID), batch_id=second)
    assert state(connection) == "failed"


# -- failures


@pytest.mark.parametrize("outcome", UNANSWERED)
def test_work_that_fails_within_its_budget_is_ready_again(
    connection: Connection, outcome: Outcome
) -> None:
    publish(connection, now=NOON, max_failures=2)
    save(connection, tried(claimed_item(connection), outcome))
    work = row(connection, "work")
    assert (work.state, work.failures, work.claimed_by, work.lease_until) == (
        "ready",
        1,
        None,
        None,
    )
    assert state(connection) == "routed"
    assert rows(connection, "current_results") == []


@pytest.mark.parametrize("outcome", UNANSWERED)
def test_an_item_whose_retry_budget_is_spent_fails_with_a_reason_and_an_event(
    connection: Connection, outcome: Outcome
) -> None:
    publish(connection, now=NOON, max_failures=1)
    save(
        connection,
        tried(claimed_item(connection), outcome, error="the last straw"),
        now=later(seconds=2),
    )
    status = row(connection, "item_status")
    assert (status.state, status.answered_at) == ("failed", None)
    assert status.failure == f"{outcome}: the last straw (after 1 failed attempt)"
    assert row(connection, "item").failed_at == later(seconds=2)
    assert row(connection, "work").state == "failed"
    (failed,) = events(connection, "lanes.item.failed")
    assert failed.payload == {"key": "k", "lane": "realtime", "reason": status.failure}


def test_an_answer_after_a_failure_clears_the_failure(connection: Connection) -> None:
    publish(connection, now=NOON, max_failures=1)
    save(connection, tried(claimed_item(connection), Outcome.ERRORED))
    connection.execute(
        text("update lanes.work set state = 'ready', failures = 0")
    )  # what a retry does
    (again,) = claim(connection, now=later(hours=1))
    save(connection, tried(again), now=later(hours=1))
    status = row(connection, "item_status")
    assert (status.state, status.failure) == ("settled", None)
    assert row(connection, "item").failed_at is None


# -- late, canceled and duplicate answers


def test_a_late_answer_of_a_batch_is_billed_and_recorded_and_never_shown(
    connection: Connection,
) -> None:
    letters = publish(connection, now=NOON)
    batch_id, (work,) = in_batch(connection, letters, "k")
    save(connection, tried(work, Outcome.EXPIRED), batch_id=batch_id)
    other, (again,) = submit(connection, letters, now=later(hours=1))
    save(connection, tried(again, output=A), batch_id=other)
    late = save(connection, tried(work, output=B), batch_id=batch_id)
    assert (late.late, late.answered) == (1, 0)
    assert row(connection, "current_results").output == A
    assert [(each.outcome, each.shown) for each in rows(connection, "attempt_log", "attempt")] == [
        ("expired", False),
        ("valid", True),
        ("valid", False),
    ]
    assert [each.batch_id for each in rows(connection, "spend", "billed_at, batch_id")] == [
        batch_id,
        other,
    ]


@pytest.mark.parametrize("lane", list(Lane))
def test_the_answer_of_a_canceled_item_is_billed_and_never_shown(
    connection: Connection, lane: Lane
) -> None:
    letters = publish(connection, now=NOON)
    batch_id = None
    if lane is Lane.REALTIME:
        work = claimed_item(connection)
    else:
        batch_id, (work,) = in_batch(connection, letters, "k")
    assert items.cancel(connection, "letters", "k") == "canceled"
    save(connection, tried(work), batch_id=batch_id)
    assert state(connection) == "canceled"
    assert rows(connection, "current_results") == []
    assert len(rows(connection, "spend")) == 1
    assert row(connection, "attempt_log").shown is False
    assert events(connection, "lanes.item.answered") == []
    assert rows(connection, "work", state="ready") == []


def test_a_provisional_answer_stays_when_the_item_is_canceled_afterwards(
    connection: Connection,
) -> None:
    letters = publish(connection, now=NOON, mode="lambda")
    batch_id, work = provisional(connection, letters, A)
    items.cancel(connection, "letters", "k")
    save(connection, tried(work, output=B), batch_id=batch_id)
    assert row(connection, "current_results").output == A
    assert state(connection) == "canceled"


def test_the_first_valid_answer_wins_when_one_save_contains_two_passes_of_an_item(
    connection: Connection,
) -> None:
    letters = publish(connection, now=NOON)
    batch_id, (work,) = in_batch(connection, letters, "k")
    connection.execute(
        text("""
        insert into lanes.work (item_id, workload, version_id, lane, purpose, revision, state, ready_at, rank_at, waits_since)
        select item_id, workload, version_id, 'realtime', 'answer', revision, 'ready', :now, :now, :now from lanes.work
        """),
        {"now": NOON},
    )
    (rescue,) = claim(connection)
    save(connection, tried(rescue, output=A), tried(work, output=B), batch_id=batch_id)
    assert row(connection, "current_results").output == A
    assert state(connection) == "settled"
    assert [each.shown for each in rows(connection, "attempt_log", "attempt")] == [True, False]
    assert len(rows(connection, "spend")) == 2
    assert rows(connection, "correction_log") == []


def test_saving_no_attempts_changes_nothing(connection: Connection) -> None:
    assert save(connection) == SaveResult()


def test_a_failed_attempt_does_not_affect_other_attempts_in_its_save(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, max_failures=1)
    good, bad = claimed_item(connection, "good"), claimed_item(connection, "bad")
    saved = save(connection, tried(bad, Outcome.POISON), tried(good))
    assert (saved.answered, saved.outcomes) == (1, {Outcome.POISON: 1, Outcome.VALID: 1})
    assert (state(connection, "good"), state(connection, "bad")) == ("settled", "failed")


# -- an attempt exists once


def test_a_duplicate_line_in_one_save_is_one_attempt_and_one_result(
    connection: Connection,
) -> None:
    batch_id, (work,) = in_batch(connection, publish(connection, now=NOON), "k")
    line = tried(work, response=said("msg_1"))
    saved = save(connection, line, line, batch_id=batch_id)
    assert (saved.answered, saved.outcomes, saved.late) == (1, {Outcome.VALID: 1}, 0)
    assert row(connection, "spend").items == 1
    assert row(connection, "attempt_log").cost_usd == row(connection, "spend").cost_usd
    assert row(connection, "batch_status").succeeded == 1


@pytest.mark.parametrize("outcome", [Outcome.ERRORED, Outcome.EXPIRED, Outcome.CANCELED])
def test_a_duplicate_line_without_a_response_is_one_attempt(
    connection: Connection, outcome: Outcome
) -> None:
    batch_id, (work,) = in_batch(connection, publish(connection, now=NOON), "k")
    for _ in range(2):
        save(connection, tried(work, outcome), tried(work, outcome), batch_id=batch_id)
    assert row(connection, "attempt_log").outcome == outcome
    assert row(connection, "work").failures == (outcome is Outcome.ERRORED)


@pytest.mark.parametrize(
    "outcome", [Outcome.VALID, Outcome.ERRORED, Outcome.EXPIRED, Outcome.CANCELED, Outcome.MISSING]
)
@pytest.mark.parametrize("fate", ["superseded", "canceled", "given up"])
def test_every_line_of_a_batch_is_counted_even_if_its_work_was_released_or_canceled(
    connection: Connection, fate: str, outcome: Outcome
) -> None:
    letters = publish(connection, now=NOON)
    admit(connection, "k", now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    batch_id, (work,) = intend(connection, letters)
    if fate == "canceled":
        items.cancel(connection, "letters", "k")
    else:
        doubts.release(connection, batch_id, note="never created", now=NOON)
    if fate == "superseded":
        submit(connection, letters, now=later(hours=1))
    for _ in range(2):
        save(
            connection,
            tried(work, outcome, response=said("msg_1") if outcome is Outcome.VALID else None),
            batch_id=batch_id,
        )
    assert row(connection, "attempt_log").outcome == outcome
    kept = row(connection, "batch_status", batch_id=batch_id)
    counted = (kept.succeeded, kept.errored, kept.expired, kept.canceled, kept.missing)
    assert sum(counted) == kept.items == 1


def test_a_late_result_replaces_its_missing_outcome_in_the_batch_counts(
    connection: Connection,
) -> None:
    batch_id, (work,) = in_batch(connection, publish(connection, now=NOON), "k")
    save(connection, tried(work, Outcome.MISSING), batch_id=batch_id)
    late = save(connection, tried(work), batch_id=batch_id)
    assert (late.late, late.answered) == (1, 0)
    kept = row(connection, "batch_status")
    assert (kept.succeeded, kept.missing) == (1, 0)
    assert [each.outcome for each in rows(connection, "attempt_log", "attempt")] == [
        "missing",
        "valid",
    ]


def test_a_call_without_an_answer_for_a_canceled_item_records_its_cost_bound(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    work = claimed_item(connection)
    items.cancel(connection, "letters", "k")
    save(connection, tried(work, Outcome.UNKNOWN, bound_usd=Decimal("0.01")))
    assert row(connection, "attempt_log").bound_usd == Decimal("0.01")


def test_work_given_back_after_it_was_listed_as_abandoned_has_no_attempt(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    claimed = claimed_item(connection)
    lost = work_store.list_abandoned(connection, now=later(minutes=5))
    work_store.give_back(connection, [claimed.claim], ready_at=NOON)
    outcomes.save(connection, lost, now=later(minutes=5))
    assert rows(connection, "attempt_log") == []
    assert row(connection, "work").failures == 0


def test_an_error_with_characters_that_cannot_be_stored_is_stored_with_replacements(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, max_failures=1)
    save(
        connection, tried(claimed_item(connection), Outcome.POISON, error="bad byte \x00 in \ud800")
    )
    assert row(connection, "attempt_log").error == "bad byte \ufffd in \ufffd"
    assert row(connection, "item_status").failure.startswith("poison: bad byte \ufffd")


# -- announcements


@pytest.mark.parametrize("lane", list(Lane))
def test_a_workload_that_announces_a_summary_announces_answers_only_to_items_with_ack(
    connection: Connection, lane: Lane
) -> None:
    letters = publish(connection, now=NOON, announces="summary")
    batch_id = None
    admit(connection, "asked", now=NOON, lane=lane, ack=True)
    admit(connection, "silent", now=NOON, lane=lane)
    route(connection, now=NOON)
    if lane is Lane.REALTIME:
        work = claim(connection)
    else:
        batch_id, work = submit(connection, letters)
    save(connection, *map(tried, work), batch_id=batch_id)
    assert [each.payload["key"] for each in events(connection, "lanes.item.answered")] == ["asked"]
    assert len(work) == 2


def test_failures_and_corrections_are_announced_even_if_the_workload_announces_a_summary(
    connection: Connection,
) -> None:
    letters = publish(connection, now=NOON, mode="lambda", announces="summary", max_failures=1)
    batch_id, work = provisional(connection, letters, A)
    save(connection, tried(work, output=B), batch_id=batch_id)
    (corrected,) = events(connection, "lanes.item.corrected")
    assert corrected.payload["key"] == "k"
    save(connection, tried(claimed_item(connection, "bad"), Outcome.POISON))
    (failed,) = events(connection, "lanes.item.failed")
    assert failed.payload["key"] == "bad"
    assert events(connection, "lanes.item.answered") == []


def test_saving_a_recorded_late_answer_again_after_a_retry_changes_nothing(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    asked = claimed_item(connection)
    save(connection, tried(asked, Outcome.POISON))
    late = tried(asked)
    save(connection, late)
    assert decisions.retry(connection, "letters", None, now=NOON) == ["k"]
    before = [rows(connection, name) for name in ("attempt", "result", "item", "response")]
    save(connection, late)
    assert [rows(connection, name) for name in ("attempt", "result", "item", "response")] == before
    assert rows(connection, "result") == []


@pytest.mark.parametrize("answer_first", [True, False])
def test_an_answer_of_a_lost_claim_counts_despite_a_failure_of_the_newer_claim(
    connection: Connection, answer_first: bool
) -> None:
    publish(connection, now=NOON)
    lost = claimed_item(connection)
    save(connection, *work_store.list_abandoned(connection, now=NOON + 2 * LEASE))
    (newer,) = claim(connection, now=NOON + 3 * LEASE)
    both = [tried(lost), tried(newer, Outcome.POISON)]
    save(connection, *(both if answer_first else reversed(both)))
    (item,), (work,) = rows(connection, "item"), rows(connection, "work")
    assert (item.failed_at, item.failure, item.settled_at is None) == (None, None, False)
    assert (work.state, work.bound_usd) == ("done", None)
    assert decisions.retry(connection, "letters", None, now=NOON) == []
    told = [(each.outcome, each.shown) for each in rows(connection, "attempt")]
    assert sorted(told) == [("poison", False), ("unknown", False), ("valid", True)]

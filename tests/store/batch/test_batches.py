"""A batch's life: intended, created once, ended, collected; or released, or held; one file because it is one life."""

import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from lanes.batch.batch import BatchKind, Tally
from lanes.packing import Claim
from lanes.store.batch import batches, collection, creates, doubts, ready_work
from lanes.store.doors import items
from lanes.store.routing import turnarounds
from lanes.store.workload import workloads
from lanes.words import BatchState, Lane, Outcome
from lanes.workload.version import Version
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import (
    events,
    intend,
    intent,
    keys,
    lock_for_batch,
    row,
    rows,
    said,
    save,
    submit,
    tried,
)


@pytest.fixture
def letters(connection: Connection) -> Version:
    return publish(connection, now=NOON)


def waiting(connection: Connection, *names: str, workload: str = "letters") -> None:
    """Route these items to batch at noon."""
    admit(connection, *names, now=NOON, workload=workload, lane=Lane.BATCH)
    route(connection, now=NOON)


def test_an_intent_is_stored_before_the_paid_call_and_owns_its_work(
    connection: Connection, letters: Version
) -> None:
    waiting(connection, "a", "b", "c")
    batch_id, work = intend(connection, letters, pack=2)
    kept = row(connection, "batch_status")
    assert (kept.batch_id, kept.state, kept.requests, kept.items) == (batch_id, "intended", 2, 3)
    assert (kept.provider_batch_id, kept.submitted_at, kept.intended_at) == (None, None, NOON)
    assert [(each.state, each.batch_id, each.claim_no) for each in rows(connection, "work")] == [
        ("submitted", batch_id, 1)
    ] * 3
    assert [each.claim.number for each in work] == [1, 1, 1]
    assert row(connection, "item_status", key="a").state == "working"
    assert ready_work.list_waiting_kinds(connection, None, now=NOON) == []
    assert events(connection, "lanes.batch.submitted") == []


def test_a_batch_goes_from_intended_to_collected_and_emits_events(
    connection: Connection, letters: Version
) -> None:
    waiting(connection, "a", "b")
    batch_id, work = intend(connection, letters)
    creates.mark_submitted(
        connection, batch_id, "msgbatch_1", expected_end_at=later(hours=1), now=later(seconds=1)
    )
    collection.progress(connection, batch_id, processed=1)
    (open_,) = batches.open_batches(connection)
    assert (open_.state, open_.provider_batch_id, open_.submitted_at) == (
        BatchState.SUBMITTED,
        "msgbatch_1",
        later(seconds=1),
    )
    collection.mark_ended(
        connection,
        batch_id,
        at=later(minutes=50),
        now=later(minutes=51),
        outcomes={"succeeded": 2, "errored": 0},
    )
    save(connection, tried(work[0]), tried(work[1], Outcome.INVALID), batch_id=batch_id)
    collection.mark_collected(connection, batch_id, now=later(minutes=52))
    kept = row(connection, "batch_status")
    assert (kept.state, kept.succeeded, kept.invalid, kept.processed) == ("collected", 1, 1, 2)
    assert (kept.submitted_at, kept.expected_end_at) == (later(seconds=1), later(hours=1))
    assert (kept.ended_at, kept.collected_at) == (later(minutes=50), later(minutes=52))
    assert batches.open_batches(connection) == []
    (sent,) = events(connection, "lanes.batch.submitted")
    assert (sent.payload, sent.resource) == (
        {"batch_id": batch_id, "requests": 2, "items": 2},
        "lanes.workload.letters",
    )
    (done,) = events(connection, "lanes.batch.ended")
    assert done.payload == {
        "batch_id": batch_id,
        "requests": 2,
        "items": 2,
        "succeeded": 2,
        "errored": 0,
    }
    (home,) = events(connection, "lanes.batch.collected")
    assert home.payload == {
        "batch_id": batch_id,
        "items": 2,
        "succeeded": 1,
        "invalid": 1,
        "errored": 0,
        "canceled": 0,
        "expired": 0,
        "missing": 0,
    }


def test_the_end_of_a_batch_is_announced_once(connection: Connection, letters: Version) -> None:
    waiting(connection, "a")
    batch_id, _ = submit(connection, letters)
    for minutes in (10, 20):
        collection.mark_ended(
            connection, batch_id, at=later(minutes=minutes), now=later(minutes=minutes)
        )
    assert len(events(connection, "lanes.batch.ended")) == 1
    assert row(connection, "batch_status").ended_at == later(minutes=10)


def test_a_batch_that_was_not_submitted_cannot_end(
    connection: Connection, letters: Version
) -> None:
    waiting(connection, "a")
    batch_id, _ = intend(connection, letters)
    collection.mark_ended(connection, batch_id, at=later(minutes=1), now=later(minutes=1))
    assert row(connection, "batch_status").state == "intended"
    assert events(connection, "lanes.batch.ended") == []


def test_an_account_has_one_unresolved_intent_at_a_time(
    connection: Connection, letters: Version
) -> None:
    waiting(connection, "a", "b", "c")
    intend(connection, letters)
    (unresolved,) = [batches.find_unresolved(connection, "acme")]
    assert unresolved is not None
    assert batches.find_unresolved(connection, "other") is None
    waiting(connection, "d")
    with pytest.raises(IntegrityError, match="uq_batch_unresolved"), connection.begin_nested():
        intend(connection, letters)
    assert (
        row(connection, "work", state="ready").claim_no == 0
    )  # the refused intent changed nothing
    other, _ = intend(connection, letters, account="other")
    assert batches.find_unresolved(connection, "other") is not None
    creates.mark_submitted(connection, unresolved.id, "msgbatch_1", expected_end_at=NOON, now=NOON)
    assert batches.find_unresolved(connection, "acme") is None
    waiting(connection, "e")
    intend(connection, letters)
    assert {each.id for each in batches.open_batches(connection, account="other")} == {other}


def test_two_open_intents_of_an_account_never_share_a_request_count(
    connection: Connection, letters: Version
) -> None:
    waiting(connection, "a")
    batch_id, _ = intend(connection, letters)
    doubts.hold(connection, batch_id, note="several fit", now=NOON)
    assert batches.find_unresolved(connection, "acme") is None
    waiting(connection, "b")
    with (
        pytest.raises(IntegrityError, match="uq_batch_unresolved_requests"),
        connection.begin_nested(),
    ):
        intend(connection, letters)
    waiting(connection, "c")
    intend(connection, letters)  # two requests


def test_two_concurrent_submitters_lock_different_work(pool: Engine) -> None:
    with pool.begin() as setup:
        version = publish(setup, now=NOON)
        waiting(setup, "a", "b", "c")
    kind = BatchKind("letters", version.id)
    with pool.connect() as one, pool.connect() as two:
        first = lock_for_batch(one, kind, limit=2, now=NOON)
        second = lock_for_batch(two, kind, limit=3, now=NOON)
        assert (keys(first), keys(second)) == (["a", "b"], ["c"])


def test_work_for_a_batch_is_selected_by_workload_and_version_in_order_of_urgency(
    connection: Connection, letters: Version
) -> None:
    waiting(connection, "old")
    admit(connection, "due", now=NOON, lane=Lane.BATCH, due_at=later(seconds=30))
    route(connection, now=NOON)
    newer = publish(connection, now=NOON, instructions="Sort it better.")
    publish(connection, "invoices", now=NOON)
    waiting(connection, "new")
    waiting(connection, "other", workload="invoices")
    assert ready_work.list_waiting_kinds(connection, "letters", now=NOON) == [
        BatchKind("letters", letters.id),
        BatchKind("letters", newer.id),
    ]
    assert len(ready_work.list_waiting_kinds(connection, None, now=NOON)) == 3
    taken = lock_for_batch(connection, BatchKind("letters", letters.id), limit=10, now=NOON)
    assert keys(taken) == ["due", "old"]


def test_a_paused_workload_has_nothing_to_submit(connection: Connection, letters: Version) -> None:
    waiting(connection, "a")
    workloads.pause(connection, "letters", since=NOON)
    assert ready_work.list_waiting_kinds(connection, None, now=NOON) == []


def test_a_release_returns_the_work_to_ready_without_a_failure(
    connection: Connection, letters: Version
) -> None:
    waiting(connection, "a", "b")
    batch_id, _ = intend(connection, letters)
    doubts.release(connection, batch_id, note="never created", now=later(minutes=5))
    kept = row(connection, "batch_status")
    assert (kept.state, kept.note, kept.ended_at) == ("released", "never created", later(minutes=5))
    assert [(each.state, each.failures, each.batch_id) for each in rows(connection, "work")] == [
        ("ready", 0, None)
    ] * 2
    assert batches.open_batches(connection) == []
    again, work = intend(connection, letters, now=later(minutes=5))
    assert (again != batch_id, keys(work), [each.claim.number for each in work]) == (
        True,
        ["a", "b"],
        [2, 2],
    )


@pytest.mark.parametrize("step", ["submitted", "ended", "collected"])
def test_a_batch_that_reached_the_provider_is_neither_released_nor_held(
    connection: Connection, letters: Version, step: str
) -> None:
    waiting(connection, "a")
    batch_id, _ = submit(connection, letters)
    if step != "submitted":
        collection.mark_ended(connection, batch_id, at=NOON, now=NOON)
    if step == "collected":
        collection.mark_collected(connection, batch_id, now=NOON)
    doubts.release(connection, batch_id, note="thought lost", now=later(minutes=5))
    doubts.hold(connection, batch_id, note="thought lost", now=later(minutes=5))
    kept = row(connection, "batch_status")
    assert (kept.state, kept.note) == (step, None)
    assert row(connection, "work").state == "submitted"


def test_a_held_batch_keeps_its_work_until_it_is_found_at_the_provider(
    connection: Connection, letters: Version
) -> None:
    waiting(connection, "a", "b")
    first, _ = intend(connection, letters)
    doubts.hold(connection, first, note="several fit", now=NOON)
    assert row(connection, "batch_status").state == "held"
    assert {each.state for each in rows(connection, "work")} == {"submitted"}
    creates.mark_submitted(
        connection, first, "msgbatch_1", expected_end_at=later(hours=1), now=NOON
    )
    assert row(connection, "batch_status").state == "submitted"


def test_a_batch_is_submitted_once(connection: Connection, letters: Version) -> None:
    waiting(connection, "a")
    batch_id, _ = submit(connection, letters)
    creates.mark_submitted(
        connection, batch_id, "msgbatch_twin", expected_end_at=NOON, now=later(hours=1)
    )
    kept = row(connection, "batch_status")
    assert (kept.provider_batch_id, kept.submitted_at) == (f"msgbatch_acme_{batch_id}", NOON)
    assert len(events(connection, "lanes.batch.submitted")) == 1
    candidates = [kept.provider_batch_id, "msgbatch_twin"]
    assert batches.find_owned_ids(connection, candidates) == {kept.provider_batch_id}


def test_members_returns_the_claims_of_each_request_in_slot_order(
    connection: Connection, letters: Version
) -> None:
    waiting(connection, "a", "b", "c")
    batch_id, (a, b, c) = submit(connection, letters, pack=2)
    assert collection.members(connection, batch_id, [1, 0, 7]) == {
        0: [a.claim, b.claim],
        1: [c.claim],
    }


def test_members_finds_the_claims_of_a_released_batch_for_late_results(
    connection: Connection, letters: Version
) -> None:
    waiting(connection, "a")
    batch_id, _ = intend(connection, letters)
    doubts.release(connection, batch_id, note="never created", now=NOON)
    again, (work,) = submit(connection, letters, now=NOON)
    save(connection, tried(work), batch_id=again)
    (late,) = collection.members(connection, batch_id, [0])[0]
    saved = save(connection, tried(late), batch_id=batch_id)  # it had been created after all
    assert saved.late == 1
    assert [each.batch_id for each in rows(connection, "spend", "batch_id")] == [batch_id, again]
    assert len(rows(connection, "current_results")) == 1


def test_claims_without_an_attempt_are_outstanding_grouped_by_request(
    connection: Connection, letters: Version
) -> None:
    waiting(connection, "a", "b", "c")
    batch_id, (a, b, c) = submit(connection, letters, pack=2)
    save(connection, tried(b), batch_id=batch_id)
    assert collection.read_outstanding(connection, batch_id) == {0: [a.claim], 1: [c.claim]}
    save(connection, *(tried(each, Outcome.MISSING) for each in (a, c)), batch_id=batch_id)
    assert collection.read_outstanding(connection, batch_id) == {}
    assert row(connection, "batch_status").missing == 2
    assert [(each.state, each.failures) for each in rows(connection, "work", "item_id")] == [
        ("ready", 1),
        ("done", 0),
        ("ready", 1),
    ]


def test_a_superseded_claim_is_outstanding_until_its_outcome_is_saved(
    connection: Connection, letters: Version
) -> None:
    waiting(connection, "a")
    batch_id, (first,) = intend(connection, letters)
    doubts.release(connection, batch_id, note="never created", now=NOON)
    again, (second,) = submit(connection, letters, now=NOON)
    save(connection, tried(second), batch_id=again)
    assert collection.read_outstanding(connection, batch_id) == {0: [first.claim]}
    save(connection, tried(first, Outcome.EXPIRED), batch_id=batch_id)
    assert collection.read_outstanding(connection, batch_id) == {}


def test_consecutive_short_reads_are_counted_and_stored_with_the_batch(
    connection: Connection, letters: Version
) -> None:
    waiting(connection, "a", "b")
    batch_id, _ = submit(connection, letters)
    reads = [
        collection.short_read(connection, batch_id, {1}, now=later(minutes=minutes))
        for minutes in range(3)
    ]
    assert [(each.times, each.is_repeated) for each in reads] == [(1, False), (2, False), (3, True)]
    kept = row(connection, "batch_doubt", batch_id=batch_id)
    assert (kept.short_reads, kept.short_read_at) == (3, later(minutes=2))
    assert collection.short_read(connection, batch_id, {0}, now=later(minutes=3)).times == 1


@pytest.mark.slow
def test_the_outcome_counts_of_a_batch_add_up_to_its_items(
    connection: Connection, letters: Version
) -> None:
    ended = [
        outcome for outcome in Outcome if outcome not in (Outcome.UNKNOWN, Outcome.GIVEN_UP)
    ]  # no result line has these
    waiting(connection, *ended)
    batch_id, work = submit(connection, letters)
    for each in work:  # in several chunks, as results stream
        save(connection, tried(each, Outcome(each.key)), batch_id=batch_id)
    kept = row(connection, "batch_status")
    assert (kept.succeeded, kept.invalid, kept.errored) == (1, 3, 4)
    assert (kept.canceled, kept.expired, kept.missing) == (1, 1, 1)
    assert (
        kept.succeeded + kept.invalid + kept.errored + kept.canceled + kept.expired + kept.missing
        == kept.items
    )


def test_applying_a_chunk_of_results_twice_counts_it_once(
    connection: Connection, letters: Version
) -> None:
    waiting(connection, "a", "b")
    batch_id, (a, b) = submit(connection, letters, pack=2)
    shared = said()
    chunk = [tried(a, response=shared), tried(b, Outcome.INVALID, response=shared)]
    for _ in range(2):
        save(connection, *chunk, batch_id=batch_id)
    kept = row(connection, "batch_status")
    assert (kept.succeeded, kept.invalid) == (1, 1)


def test_marking_a_batch_collected_returns_its_tally_once(
    connection: Connection, letters: Version
) -> None:
    waiting(connection, "a", "b", "c")
    batch_id, (a, b, c) = submit(connection, letters)
    save(
        connection,
        tried(a),
        tried(b, Outcome.PACK_REFUSED),
        tried(c, Outcome.MISSING),
        batch_id=batch_id,
    )
    assert collection.mark_collected(connection, batch_id, now=NOON) is None  # it has not ended yet
    collection.mark_ended(connection, batch_id, at=NOON, now=NOON)
    assert collection.mark_collected(connection, batch_id, now=later(minutes=1)) == Tally(
        items=3, outcomes=3, missing=1
    )
    assert collection.mark_collected(connection, batch_id, now=later(minutes=2)) is None
    assert row(connection, "batch_status").collected_at == later(minutes=1)


def test_the_note_of_a_batch_gives_the_reason_for_its_delay_until_it_is_collected(
    connection: Connection, letters: Version
) -> None:
    waiting(connection, "a")
    batch_id, _ = submit(connection, letters)
    collection.write_note(connection, batch_id, "the provider said \x00")
    assert row(connection, "batch_status").note == "the provider said \ufffd"
    collection.mark_ended(connection, batch_id, at=NOON, now=NOON)
    collection.mark_collected(connection, batch_id, now=NOON)
    assert row(connection, "batch_status").note is None
    collection.write_note(connection, batch_id, "too late")
    assert row(connection, "batch_status").note is None


def test_an_item_refused_in_a_pack_spends_no_retry_and_is_sent_alone_from_then_on(
    connection: Connection, letters: Version
) -> None:
    waiting(connection, "a", "b")
    kind = BatchKind("letters", letters.id)
    batch_id, (a, b) = submit(connection, letters, pack=2)
    save(connection, tried(a, Outcome.PACK_REFUSED), tried(b, Outcome.EXPIRED), batch_id=batch_id)
    first, second = lock_for_batch(connection, kind, limit=10, now=NOON)
    assert [(each.key, each.alone, each.failures) for each in (first, second)] == [
        ("a", True, 0),
        ("b", False, 0),
    ]
    batch_id, (a, _) = submit(connection, letters)
    save(connection, tried(a, Outcome.EXPIRED), batch_id=batch_id)
    (first,) = lock_for_batch(connection, kind, limit=10, now=NOON)
    assert (first.key, first.alone) == ("a", True)


def test_an_item_canceled_while_its_batch_runs_stays_canceled_and_its_result_is_booked(
    connection: Connection, letters: Version
) -> None:
    waiting(connection, "a")
    batch_id, (work,) = submit(connection, letters)
    items.cancel(connection, "letters", "a")
    assert collection.read_outstanding(connection, batch_id) == {0: [work.claim]}
    save(connection, tried(work), batch_id=batch_id)
    assert row(connection, "work").state == "done"
    assert row(connection, "item_status").state == "canceled"


def test_a_first_batch_is_expected_after_the_expected_minutes_of_its_version(
    connection: Connection,
) -> None:
    version = publish(connection, "slow", now=NOON, batch_expected_minutes=77)
    admit(connection, "k", now=NOON, workload="slow", lane=Lane.BATCH)
    route(connection, now=NOON)
    batch_id, _ = intend(connection, version)
    ends = turnarounds.estimate_end(connection, batch_id, now=NOON)
    assert (ends - NOON).total_seconds() / 60 == pytest.approx(77, rel=0.01)


def test_two_batches_never_share_a_nonce(connection: Connection, letters: Version) -> None:
    waiting(connection, "a")
    (work,) = lock_for_batch(connection, BatchKind("letters", letters.id), limit=1, now=NOON)
    creates.intend(connection, intent(letters, nonce="cafe"), [[work.claim]], now=NOON)
    with pytest.raises(IntegrityError, match="nonce"), connection.begin_nested():
        creates.intend(
            connection,
            intent(letters, nonce="cafe", account="b"),
            [[Claim(work.claim.work_id, 2)]],
            now=NOON,
        )

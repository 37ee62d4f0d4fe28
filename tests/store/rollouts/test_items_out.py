"""Gates over items without an answer: in batches that have not returned, overdue, or amended since."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from lanes.doors.item import Amendment
from lanes.ids import BatchId
from lanes.packing import ClaimedWork
from lanes.rollouts.gates import Judgement
from lanes.rollouts.rollout import Approval, AskApproval, Hold, RollBack, Rollout, next_move
from lanes.statistics.shares import SampleShare
from lanes.store.doors.items import amend
from lanes.store.rollouts import rollout_measures, rollout_moves, rollouts
from lanes.store.workload import workloads
from lanes.words import Outcome, RolloutState, Verdict
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.rollouts import begin, judged, playbook, step
from tests.store.tries import claim, home, save, submit, tried

ERRORS: dict[str, Any] = {"measure": "error_rate", "max": 0.3, "at_least": 5}
MET: dict[str, Any] = {"measure": "deadlines_met", "min": 0.7, "at_least": 5}
P95: dict[str, Any] = {"measure": "p95_s", "max": 7_200, "at_least": 5}
Batch = tuple[BatchId, datetime, list[ClaimedWork]]


def to_batch(connection: Connection, *gates: dict[str, Any], **fields: Any) -> Rollout:
    """Begin a rollout that sends all items of `letters` to batch; a batch may take two hours."""
    publish(connection, now=NOON, split_percent=100, promises={"batch_max_minutes": 120}, **fields)
    return begin(
        connection, playbook(step(0, *(gates or (ERRORS,))), direction="realtime_to_batch")
    )


def sent(connection: Connection, *keys: str, now: datetime, **fields: Any) -> Batch:
    """Route these items and submit them as a batch."""
    admit(connection, *keys, now=now, **fields)
    route(connection, now=now)
    batch_id, works = submit(connection, workloads.read_versions(connection)["letters"], now=now)
    return batch_id, now, works


def returned(
    connection: Connection, batch: Batch, *, now: datetime, outcome: Outcome = Outcome.VALID
) -> None:
    """Collect the batch with `outcome` for each of its items."""
    batch_id, since, works = batch
    save(
        connection,
        *(tried(each, outcome, at=now)._replace(started_at=since) for each in works),
        now=now,
        batch_id=batch_id,
    )
    home(connection, batch_id, now=now)


def keys(mark: str, count: int) -> list[str]:
    return [f"{mark}{n}" for n in range(count)]


def judgements(connection: Connection, of: Rollout, *, now: datetime) -> list[Judgement]:
    return judged(of, rollout_measures.take(connection, of, now=now))


def verdicts(connection: Connection, of: Rollout, *, now: datetime) -> list[Verdict]:
    return [each.verdict for each in judgements(connection, of, now=now)]


@pytest.mark.slow
def test_a_gate_is_inconclusive_once_a_batch_is_out_longer_than_usual_and_then_fails(
    connection: Connection,
) -> None:
    begun = to_batch(connection)
    home_again = sent(connection, *keys("back", 50), now=NOON)
    sent(connection, *keys("out", 49), now=later(minutes=1))
    returned(connection, home_again, now=later(minutes=30))
    (early,) = judgements(
        connection, begun, now=later(minutes=30)
    )  # out for 29 minutes: not longer than usual
    assert (early.verdict, early.measurement.doubtful) == (Verdict.PASSED, 0)
    (doubted,) = judgements(connection, begun, now=later(minutes=32))
    assert (doubted.verdict, doubted.measurement.samples, doubted.measurement.doubtful) == (
        Verdict.INCONCLUSIVE,
        50,
        49,
    )
    assert (
        doubted.explanation
        == "0 % of 50 samples, at most 30 %; between 0 % and 13 % are on the wrong side; "
        "49 more are out for longer than most took"
    )
    (late,) = judgements(connection, begun, now=later(minutes=122))
    assert (late.verdict, late.measurement.samples, late.measurement.wrong) == (
        Verdict.FAILED,
        99,
        49,
    )


@pytest.mark.parametrize(
    ("in_realtime", "in_batch", "verdict"),
    [
        (Outcome.VALID, Outcome.VALID, Verdict.PASSED),
        (Outcome.INVALID, Outcome.INVALID, Verdict.PASSED),  # errors on both lanes fail neither
        (Outcome.INVALID, Outcome.VALID, Verdict.PASSED),
        (Outcome.VALID, Outcome.INVALID, Verdict.FAILED),
    ],
)
def test_a_gate_compares_items_that_the_split_left_on_the_other_lane_in_the_same_period(
    connection: Connection, in_realtime: Outcome, in_batch: Outcome, verdict: Verdict
) -> None:
    publish(connection, now=NOON, split_percent=100, promises={"batch_max_minutes": 120})
    gate = {"measure": "error_rate", "worse_by": 0.4, "at_least": 20}
    book = playbook(step(50, gate), step(0), direction="realtime_to_batch")
    of = begin(connection, book)
    batch = sent(connection, *keys("i", 100), now=later(minutes=1))
    asked = claim(connection, now=later(minutes=1))
    save(
        connection,
        *(tried(each, in_realtime, at=later(minutes=2)) for each in asked),
        now=later(minutes=2),
    )
    (waits,) = judgements(connection, of, now=later(minutes=3))
    assert waits.verdict is Verdict.INCONCLUSIVE
    assert f"0 here and {len(asked)} on the other lane" in waits.explanation
    returned(connection, batch, now=later(minutes=61), outcome=in_batch)
    (compared,) = judgements(connection, of, now=later(minutes=62))
    assert compared.verdict is verdict
    assert compared.measurement.samples + len(asked) == 100


def test_the_sample_ratio_counts_the_items_of_one_entity_once(connection: Connection) -> None:
    publish(connection, now=NOON, split_percent=100)
    of = begin(connection, playbook(step(50, ERRORS), direction="realtime_to_batch"))

    def moved() -> SampleShare:
        return rollout_measures.take(connection, of, now=later(hours=1)).moved

    admit(connection, *keys("early", 20), now=NOON)
    route(connection, now=later(seconds=5))  # a router may still decide by the previous split
    assert moved() == SampleShare(0, 0)
    admit(connection, *keys("i", 200), now=NOON)
    admit(connection, *keys("of", 60), now=NOON, entity="one customer")
    admit(connection, *keys("urgent", 9), now=NOON, urgent=True)
    route(connection, now=later(seconds=20))
    hits, samples = moved()
    assert samples == 201
    assert 70 < hits < 131


@pytest.mark.slow
def test_a_gate_passes_while_later_batches_are_out_no_longer_than_usual(
    connection: Connection,
) -> None:
    begun = to_batch(connection)
    first = sent(connection, *keys("a", 20), now=NOON)
    returned(connection, first, now=later(hours=1))
    sent(connection, *keys("b", 20), now=later(hours=1))
    admit(connection, *keys("c", 20), now=later(hours=1))  # waits for the next departure
    route(connection, now=later(hours=1))
    assert verdicts(connection, begun, now=later(hours=1, minutes=59)) == [Verdict.PASSED]


@pytest.mark.slow
def test_every_gate_of_a_step_is_inconclusive_while_items_are_in_doubt(
    connection: Connection,
) -> None:
    begun = to_batch(connection, ERRORS, MET, P95)
    due = {"due_at": later(hours=20)}
    first = sent(connection, *keys("back", 20), now=NOON, **due)
    sent(connection, *keys("out", 20), now=NOON, **due)
    returned(connection, first, now=later(minutes=30))
    now = later(minutes=31)
    assert verdicts(connection, begun, now=now) == [Verdict.INCONCLUSIVE] * 3
    assert [each.measurement.doubtful for each in judgements(connection, begun, now=now)] == [
        20,
        20,
        20,
    ]


@pytest.mark.parametrize(
    ("fields", "waited", "wrong"),
    [
        ({"due_at": later(hours=20)}, timedelta(minutes=119), 0),
        (
            {"due_at": later(hours=20)},
            timedelta(minutes=121),
            3,
        ),  # its batch is out for longer than promised
        ({"due_at": later(minutes=40)}, timedelta(minutes=41), 3),  # it was due
        ({}, timedelta(minutes=121), 3),
    ],
)
def test_an_item_counts_as_wrong_once_its_due_time_or_its_batch_limit_has_passed(
    connection: Connection, fields: dict[str, Any], waited: timedelta, wrong: int
) -> None:
    begun = to_batch(connection, batch_expected_minutes=1)
    sent(connection, *keys("out", 3), now=NOON, **fields)
    (errors,) = rollout_measures.take(connection, begun, now=NOON + waited).measurements
    assert (errors.samples, errors.wrong) == (wrong, wrong)


def test_an_unsubmitted_item_counts_as_wrong_after_a_day_plus_the_batch_limit(
    connection: Connection,
) -> None:
    begun = to_batch(connection)
    admit(connection, "left-behind", now=NOON)
    route(connection, now=NOON)
    waits, late = (
        rollout_measures.take(connection, begun, now=later(hours=h)).measurements[0]
        for h in (25.9, 26.1)
    )
    assert [(each.samples, each.wrong) for each in (waits, late)] == [(0, 0), (1, 1)]


def test_a_gate_passes_after_a_late_batch_has_returned(connection: Connection) -> None:
    begun = to_batch(connection)
    batch = sent(connection, *keys("slow", 20), now=NOON)
    returned(connection, batch, now=later(hours=5))
    assert verdicts(connection, begun, now=later(hours=9)) == [Verdict.PASSED]


def test_real_time_items_count_as_wrong_after_their_patience_or_at_once_when_unserved(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, patience_s=60)
    begun = begin(connection, playbook(step(100)))
    admit(connection, "refused", now=NOON)
    route(connection, now=NOON)
    save(connection, *(tried(each, Outcome.UNSERVED) for each in claim(connection)))
    admit(connection, "waits", now=NOON)
    route(connection, now=NOON)
    early, late = (
        rollout_measures.take(connection, begun, now=later(seconds=s)).measurements[0]
        for s in (59, 61)
    )
    assert [(each.samples, each.wrong) for each in (early, late)] == [(1, 1), (2, 2)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "outcome", [Outcome.CANCELED, Outcome.EXPIRED, Outcome.INVALID, Outcome.VALID]
)
def test_outcomes_of_the_older_revision_of_an_amended_item_do_not_count(
    connection: Connection, outcome: Outcome
) -> None:
    """Include `CANCELED`: a batch whose items were all amended is canceled."""
    begun = to_batch(connection, ERRORS, MET)
    first = sent(connection, *keys("k", 6), now=NOON, due_at=later(hours=6))
    amended(connection, *keys("k", 6), now=later(minutes=10))
    returned(connection, first, now=later(minutes=20), outcome=outcome)
    taken = rollout_measures.take(connection, begun, now=later(minutes=20))
    assert [(each.samples, each.wrong) for each in taken.measurements] == [(0, 0), (0, 0)]
    assert taken.answered == 0  # no answer to the revision in force
    second = sent(connection, now=later(minutes=30))
    returned(connection, second, now=later(hours=7))  # the due time belonged to the older revision
    taken = rollout_measures.take(connection, begun, now=later(hours=7))
    assert [(each.samples, each.wrong) for each in taken.measurements] == [(6, 0), (0, 0)]


@pytest.mark.slow
def test_the_time_limit_of_an_amended_item_starts_at_its_amendment(
    connection: Connection,
) -> None:
    begun = to_batch(connection, ERRORS, P95)
    sent(connection, *keys("k", 6), now=NOON)
    amended(connection, *keys("k", 6), now=later(hours=1))
    sent(connection, now=later(hours=1))
    for hours, wrong in ((2.9, 0), (3.1, 6)):
        errors, slow = rollout_measures.take(connection, begun, now=later(hours=hours)).measurements
        assert (errors.wrong, slow.wrong) == (wrong, wrong)


@pytest.mark.slow
def test_a_failure_and_an_answer_before_the_amendment_still_count(
    connection: Connection,
) -> None:
    begun = to_batch(connection)
    returned(
        connection, sent(connection, "ill", now=NOON), now=later(minutes=5), outcome=Outcome.INVALID
    )
    returned(connection, sent(connection, "well", now=later(minutes=5)), now=later(minutes=9))
    amended(connection, "ill", "well", now=later(minutes=20))
    taken = rollout_measures.take(connection, begun, now=later(minutes=21))
    assert (taken.answered, taken.measurements[0].samples, taken.measurements[0].wrong) == (2, 2, 1)


def amended(connection: Connection, *of: str, now: datetime) -> None:
    for key in of:
        amend(
            connection,
            Amendment("letters", key, {"text": f"{key} again"}, place=f"{key} {now}"),
            door="client",
            now=now,
        )


def test_an_approved_step_is_rolled_back_when_its_time_since_the_approval_has_passed(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, split_percent=3)
    begun = begin(connection, playbook(step(50, approval=True, at_most_minutes=60), step(60)))
    rollout_moves.apply(connection, begun, AskApproval("well"), [], now=later(minutes=30))
    waiting = rollouts.find(connection, begun.id)
    rollout_moves.hear(connection, waiting, Approval(True, "bob", "fine"), now=later(hours=40))
    approved = rollouts.find(connection, begun.id)
    assert approved.step_ends_at == later(hours=41)
    for now, kind in ((later(hours=40.9), Hold), (later(hours=41), RollBack)):
        figures = judgements(connection, approved, now=now)
        move = next_move(approved.situation(0), figures, approved.approval, now)
        assert isinstance(move, kind)
        assert rollout_moves.apply(
            connection, rollouts.find(connection, begun.id), move, figures, now=now
        )
    ended = rollouts.find(connection, begun.id)
    assert (ended.state, workloads.splits(connection).of("letters", None).basis_points) == (
        RolloutState.ROLLED_BACK,
        300,
    )
    assert rollouts.log(connection, begun.id)[-1].why.startswith(
        "no evidence within 60 minutes of the approval by bob: "
    )

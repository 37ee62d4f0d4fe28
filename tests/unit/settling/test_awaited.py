"""The sentence about open work: lane by lane, with the part of the system that moves it on."""

from dataclasses import replace
from datetime import timedelta

import pytest

from lanes.ids import BatchId
from lanes.settling.holds import DepartRun, FollowedBatch, Movers, OpenCounts, OpenWork, sentence
from lanes.words import BatchState, Lane, Purpose, WorkState
from tests.conftest import NOON

QUEUED = OpenWork("tickets", Lane.REALTIME, Purpose.ANSWER, WorkState.READY, 64)
ASKED = replace(QUEUED, state=WorkState.CLAIMED, items=40)
READY = OpenWork("tickets", Lane.BATCH, Purpose.AUTHORITATIVE, WorkState.READY, 208)
INSIDE = replace(READY, state=WorkState.SUBMITTED, batch_id=2)
BATCH = FollowedBatch(
    BatchId(2),
    BatchState.SUBMITTED,
    22,
    0,
    NOON - timedelta(seconds=12),
    NOON + timedelta(minutes=45),
)
NEAR = Movers(looks_every_s=1.0, usual_time=False)


def told(
    *owed: OpenWork,
    unrouted: int = 0,
    batches: tuple[FollowedBatch, ...] = (),
    movers: Movers = NEAR,
) -> str:
    return sentence(OpenCounts(unrouted, owed, batches), movers, now=NOON)


def test_the_real_time_part_says_how_many_items_are_being_asked_and_how_many_queue() -> None:
    assert (
        told(ASKED, QUEUED) == "waiting for 104 real-time answers: 40 being asked, 64 in the queue"
    )
    resting = replace(QUEUED, items=1, rests=True)
    assert told(resting) == "waiting for 1 real-time answer: 1 resting after a fault"


def test_the_batch_part_says_its_state_since_when_and_how_often_collect_polls() -> None:
    assert told(INSIDE, batches=(BATCH,)) == (
        "waiting for 208 authoritative answers: batch 2 is in progress for 12 s, `collect` looks every 1 s"
    )
    far = Movers(looks_every_s=30)
    assert told(
        replace(INSIDE, purpose=Purpose.ANSWER), batches=(replace(BATCH, processed=7),), movers=far
    ) == (
        "waiting for 208 batch answers: batch 2 is in progress for 12 s, 7 of 22 requests done, expected by 12:45 UTC, "
        "`collect` looks every 30 s"
    )


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (BatchState.INTENDED, "batch 2 is being created for 12 s"),
        (BatchState.ENDED, "batch 2 has ended, its results are being read"),
        (BatchState.HELD, "batch 2 is held: `lanes batches` says why"),
    ],
)
def test_every_batch_state_has_its_own_wording(state: BatchState, words: str) -> None:
    assert told(INSIDE, batches=(replace(BATCH, state=state),)).endswith(words)


def test_batch_work_says_why_it_has_not_departed() -> None:
    first = "they leave together once real time has answered"
    assert (
        told(READY)
        == "waiting for 208 items of tickets to leave in a batch: `depart` is asked for next"
    )
    assert told(READY, ASKED).endswith(f"208 items of tickets to leave in a batch: {first}")
    assert (
        told(READY, unrouted=3)
        == f"waiting for 3 items to be routed; 208 items of tickets to leave in a batch: {first}"
    )
    running = replace(NEAR, departing=DepartRun("tickets", "1", "RUNNING"))
    assert told(READY, movers=running).endswith("`depart` takes them, its run is running")
    other = replace(NEAR, departing=DepartRun("archive", "1", "PENDING"))
    assert told(READY, movers=other).endswith("`depart` takes them after those of archive")


def test_paused_work_names_the_resume_command_and_its_submitted_batches_stay_visible() -> None:
    paused = replace(QUEUED, paused=True)
    assert told(paused, replace(READY, paused=True)) == (
        "waiting for 272 items of tickets, which is paused: `lanes resume tickets` serves it again"
    )
    assert "batch 2 is in progress" in told(
        replace(INSIDE, paused=True), batches=(BATCH,)
    )  # a submitted batch still returns


def test_three_batches_are_named_and_the_others_are_counted() -> None:
    every = [replace(BATCH, id=number) for number in range(1, 6)]
    inside = [replace(INSIDE, batch_id=each.id, items=10) for each in every]
    text = told(*inside, batches=tuple(every))
    assert text.count("is in progress") == 3
    assert text.endswith("; 2 more batches")


def test_the_sentence_says_that_nothing_is_pending() -> None:
    assert told() == "nothing is pending"

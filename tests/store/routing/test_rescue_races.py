"""Concurrent transactions: a second look during a save, a submission, a cancellation or another second look."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, Engine

from lanes.batch.batch import BatchKind
from lanes.ids import BatchId
from lanes.store.batch import collection
from lanes.store.routing import second_look
from lanes.words import Lane, Mode
from tests.store.late import LATE, by_lane, canceled, doubted, in_batch, of_batch, rescue, waiting
from tests.store.tries import A, B, claim, lock_for_batch, row, rows, said, save, tried

Step = Callable[[Connection], Any]


def out(pool: Engine, **spec: Any) -> BatchId:
    """Put a late item into a batch."""
    with pool.begin() as setup:
        return in_batch(setup, "k", **spec)


def batch_answers(batch_id: BatchId) -> Step:
    """Return a step that saves the batch's answer, the same each time, and returns the attempts that it skipped."""
    response = said()
    return lambda c: (
        save(
            c,
            tried(of_batch(c, batch_id), output=B, response=response, at=LATE),
            batch_id=batch_id,
            now=LATE,
        ).passed_over
    )


@pytest.mark.slow
def test_a_second_look_during_a_save_by_the_collector_rescues_nothing_and_does_not_wait(
    pool: Engine,
) -> None:
    batch_id = out(pool)
    with pool.begin() as collector, pool.begin() as looker:
        seen = doubted(looker)
        assert batch_answers(batch_id)(collector) == []
        assert second_look.rescue(looker, seen, now=LATE) == 0
    with pool.begin() as after:
        assert second_look.rescue(after, seen, now=LATE) == 0
        assert row(after, "item_status").state == "settled"


@pytest.mark.slow
def test_a_collector_that_skips_a_locked_item_settles_it_later_and_cancels_the_rescue(
    pool: Engine,
) -> None:
    batch_id = out(pool)
    with pool.begin() as looker, pool.begin() as collector:
        assert rescue(looker) == 1
        assert len(batch_answers(batch_id)(collector)) == 1
    with pool.begin() as collector:
        assert batch_answers(batch_id)(collector) == []
        assert by_lane(collector)["realtime"].state == "canceled"
        assert claim(collector, now=LATE) == []


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("first", list(Lane))
def test_concurrent_saves_by_a_drain_and_the_collector_store_one_result_per_standing(
    pool: Engine, mode: Mode, first: Lane
) -> None:
    batch_id = out(pool, mode=mode)
    with pool.begin() as setup:
        rescue(setup)
        (mine,) = claim(setup, now=LATE)

    answer = tried(mine, output=A, at=LATE)

    def drain_saves(c: Connection) -> Any:
        return save(c, answer, now=LATE).passed_over

    steps = (drain_saves, batch_answers(batch_id))
    one, other = steps if first is Lane.REALTIME else reversed(steps)
    with pool.begin() as winner, pool.begin() as loser:
        assert one(winner) == []
        assert len(other(loser)) == 1
    with pool.begin() as loser:
        assert other(loser) == []
        standings = [each.standing for each in rows(loser, "result", "id")]
        corrected = mode is Mode.LAMBDA and first is Lane.REALTIME
        assert standings == (["provisional", "authoritative"] if corrected else ["authoritative"])
        assert row(loser, "item_status").state == "settled"
        assert len(rows(loser, "spend")) == 2


@pytest.mark.slow
def test_two_concurrent_second_looks_rescue_an_item_once(pool: Engine) -> None:
    out(pool)
    with pool.begin() as one, pool.begin() as other:
        seen = doubted(one)
        assert second_look.rescue(one, seen, now=LATE) == 1
        assert second_look.rescue(other, seen, now=LATE) == 0
    with pool.begin() as after:
        assert second_look.rescue(after, seen, now=LATE) == 0
        assert len(rows(after, "route", reason="rescue")) == 1


@pytest.mark.parametrize("submits_first", [True, False])
def test_waiting_batch_work_is_either_submitted_or_rescued_but_never_both(
    pool: Engine, submits_first: bool
) -> None:
    with pool.begin() as setup:
        letters = waiting(setup, "k")

    def locks(c: Connection) -> int:
        return len(lock_for_batch(c, BatchKind("letters", letters.id), limit=9, now=LATE))

    steps: tuple[Step, Step] = (locks, rescue) if submits_first else (rescue, locks)
    with pool.begin() as one, pool.begin() as other:
        assert [steps[0](one), steps[1](other)] == [1, 0]


def test_an_item_with_a_cancellation_in_progress_is_not_rescued(pool: Engine) -> None:
    batch_id = out(pool)
    with pool.begin() as owner, pool.begin() as looker:
        seen = doubted(looker)
        canceled(owner)
        assert second_look.rescue(looker, seen, now=LATE) == 0
    with pool.begin() as after:
        assert second_look.rescue(after, seen, now=LATE) == 0
        assert set(collection.read_outstanding(after, batch_id)) == {0}

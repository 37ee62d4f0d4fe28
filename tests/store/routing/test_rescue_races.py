"""Two at once on connections of their own: a second look beside one that saves, submits, cancels, or looks too."""

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
    """A late item in a batch."""
    with pool.begin() as setup:
        return in_batch(setup, "k", **spec)


def batch_answers(batch_id: BatchId) -> Step:
    """The batch's answer, one and the same, is saved; what was passed over."""
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
def test_a_look_beside_the_collector_that_saves_takes_nothing_and_waits_for_nobody(
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
def test_the_collector_beside_a_look_comes_back_and_settles_the_item_which_nobody_asks_any_more(
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
def test_a_drain_and_the_collector_that_save_at_once_show_one_answer_a_standing(
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
def test_two_looks_at_once_take_an_item_once(pool: Engine) -> None:
    out(pool)
    with pool.begin() as one, pool.begin() as other:
        seen = doubted(one)
        assert second_look.rescue(one, seen, now=LATE) == 1
        assert second_look.rescue(other, seen, now=LATE) == 0
    with pool.begin() as after:
        assert second_look.rescue(after, seen, now=LATE) == 0
        assert len(rows(after, "route", reason="rescue")) == 1


@pytest.mark.parametrize("submits_first", [True, False])
def test_work_that_did_not_depart_goes_one_way_where_a_submitter_and_a_look_want_it(
    pool: Engine, submits_first: bool
) -> None:
    with pool.begin() as setup:
        letters = waiting(setup, "k")

    def locks(c: Connection) -> int:
        return len(lock_for_batch(c, BatchKind("letters", letters.id), limit=9, now=LATE))

    steps: tuple[Step, Step] = (locks, rescue) if submits_first else (rescue, locks)
    with pool.begin() as one, pool.begin() as other:
        assert [steps[0](one), steps[1](other)] == [1, 0]


def test_an_item_that_its_owner_is_just_withdrawing_is_left_to_him(pool: Engine) -> None:
    batch_id = out(pool)
    with pool.begin() as owner, pool.begin() as looker:
        seen = doubted(looker)
        canceled(owner)
        assert second_look.rescue(looker, seen, now=LATE) == 0
    with pool.begin() as after:
        assert second_look.rescue(after, seen, now=LATE) == 0
        assert set(collection.outstanding(after, batch_id)) == {0}

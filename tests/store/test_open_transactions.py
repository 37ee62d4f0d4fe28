"""A transaction that a caller leaves open delays nobody but its own rows."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine, text

from lanes.claims import Claimed
from lanes.item import Amendment
from lanes.store import amendments, forgetting, items, outcomes, results, retries, work
from lanes.words import Lane, Outcome
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import A, claim, claimed_item, intend, row, rows, said, save, submit, tried

Holding = Callable[[Connection], object]
WAIT = timedelta(milliseconds=1)


def cancels(connection: Connection) -> None:
    assert items.cancel(connection, "letters", "held") == "canceled"


def amends(connection: Connection) -> None:
    late = Amendment("letters", "held", {"text": "late"})
    assert amendments.amend(connection, late, door="client", now=NOON).outcome == "amended"


def forgets(connection: Connection) -> None:
    forgetting.forget(connection, "letters", "held", now=NOON)


def reads(connection: Connection) -> None:
    results.read(connection, "letters", "held", reader="desk")


def labels(connection: Connection) -> None:
    items.label(connection, "letters", {"held": A}, source="ada")


def submits(connection: Connection) -> None:
    admit(connection, "new", now=NOON)


OF_ITS_ROW = [cancels, amends, forgets]  # they change the item
OF_NOTHING = [reads, labels, submits]  # they only name it


@contextmanager
def unwilling(pool: Engine) -> Iterator[Connection]:
    """A transaction that fails where it would wait for a lock, committed at the end."""
    with pool.begin() as connection:
        connection.execute(text("set local lock_timeout = '1ms'"))
        yield connection


def two_claims(pool: Engine) -> tuple[Claimed, Claimed]:
    """The claims of "held" and of its neighbour "free"."""
    with pool.begin() as setup:
        publish(setup, now=NOON)
        return claimed_item(setup, "held"), claimed_item(setup, "free")


@pytest.mark.parametrize("holding", OF_ITS_ROW)
@pytest.mark.parametrize("ending", ["commit", "rollback"])
def test_a_save_passes_an_item_that_others_hold_over_and_comes_back_for_it_once(
    pool: Engine, holding: Holding, ending: str
) -> None:
    held, free = two_claims(pool)
    with pool.connect() as caller:
        holding(caller)
        with unwilling(pool) as saver:
            saved = save(saver, tried(held, response=said("msg_held")), tried(free))
        assert [each.claim for each in saved.passed_over] == [held.claim]
        assert (saved.answered, saved.outcomes) == (1, {Outcome.VALID: 1})
        with pool.begin() as reader:
            assert row(reader, "item_status", key="free").state == "settled"
            assert [each.key for each in rows(reader, "attempt_log")] == ["free"]
            assert len(rows(reader, "spend")) == 2  # what was paid is known, whoever holds the item
        with pool.begin() as saver:
            again = outcomes.save(saver, saved.passed_over, now=NOON, wait=WAIT)
            assert len(again.passed_over) == 1
        getattr(caller, ending)()
    for _ in range(2):
        with unwilling(pool) as saver:
            outcomes.save(saver, saved.passed_over, now=NOON, wait=WAIT)
    with pool.begin() as reader:
        assert len(rows(reader, "attempt_log", key="held")) == 1
        assert len(rows(reader, "spend")) == 2
        assert len(rows(reader, "current_results", key="held")) == (1 if ending == "rollback" else 0)


@pytest.mark.parametrize("holding", OF_NOTHING)
def test_a_save_does_not_even_notice_who_only_names_the_item(pool: Engine, holding: Holding) -> None:
    held, free = two_claims(pool)
    with pool.connect() as caller:
        holding(caller)
        with unwilling(pool) as saver:
            saved = save(saver, tried(held), tried(free))
        assert (saved.answered, saved.passed_over) == (2, [])


def test_an_open_retry_holds_up_none_but_what_it_retries(pool: Engine) -> None:
    with pool.begin() as setup:
        publish(setup, now=NOON, max_failures=1)
        failed = claimed_item(setup, "failed")
        save(setup, tried(failed, Outcome.ERRORED))
        free = claimed_item(setup, "free")
    with pool.connect() as caller:
        assert retries.retry(caller, "letters", None, now=NOON) == ["failed"]
        with unwilling(pool) as saver:
            saved = save(saver, tried(failed, response=said("msg_late")), tried(free))
        assert (saved.answered, [each.claim for each in saved.passed_over]) == (1, [failed.claim])
        caller.commit()
    with unwilling(pool) as saver:
        assert outcomes.save(saver, saved.passed_over, now=NOON).late == 1
    with pool.begin() as reader:
        assert [each.outcome for each in rows(reader, "attempt_log", key="failed")] == ["errored", "valid"]


def test_an_item_of_a_pack_that_is_saved_apart_pays_its_own_part(pool: Engine) -> None:
    held, free = two_claims(pool)
    shared = said("msg_pack", tokens=1_001)
    with pool.connect() as caller:
        cancels(caller)
        with unwilling(pool) as saver:
            saved = save(saver, tried(free, response=shared), tried(held, response=shared))
    with pool.begin() as saver:
        outcomes.save(saver, saved.passed_over, now=NOON)
    with pool.begin() as reader:
        spent = row(reader, "spend")
        parts = rows(reader, "attempt_log", "key")
        assert (spent.items, [each.input_tokens for each in parts]) == (2, [501, 500])
        assert sum(each.cost_usd for each in parts) == spent.cost_usd


def test_a_wait_that_ends_in_vain_leaves_the_transaction_as_patient_as_it_was(pool: Engine) -> None:
    held, _ = two_claims(pool)
    with pool.connect() as caller, pool.begin() as saver:
        cancels(caller)
        saver.execute(text("set local lock_timeout = '7s'"))
        assert len(outcomes.save(saver, [tried(held)], now=NOON, wait=WAIT).passed_over) == 1
        assert saver.execute(text("show lock_timeout")).scalar_one() == "7s"
        caller.rollback()
        assert outcomes.save(saver, [tried(held)], now=NOON, wait=WAIT).answered == 1
        assert saver.execute(text("show lock_timeout")).scalar_one() == "7s"


@pytest.mark.parametrize("holding", OF_ITS_ROW)
def test_work_given_back_waits_for_nobody_and_its_neighbours_are_ready(pool: Engine, holding: Holding) -> None:
    held, free = two_claims(pool)
    with pool.connect() as caller:
        holding(caller)
        with unwilling(pool) as worker:
            assert work.give_back(worker, [held.claim, free.claim], ready_at=NOON) == [held.claim]
        with pool.begin() as next_one:
            assert [each.key for each in claim(next_one)] == ["free"]
    with unwilling(pool) as worker:
        assert work.give_back(worker, [held.claim], ready_at=NOON) == []
        assert row(worker, "work", id=held.claim.work_id).state == "ready"


def test_work_is_not_given_back_for_a_revision_that_is_just_being_amended(pool: Engine) -> None:
    held, _ = two_claims(pool)
    with pool.connect() as caller:
        amends(caller)
        with unwilling(pool) as worker:
            left = work.give_back(worker, [held.claim], ready_at=NOON)
        caller.commit()
    with unwilling(pool) as worker:
        work.give_back(worker, left, ready_at=NOON)
        assert row(worker, "work", id=held.claim.work_id).state == "canceled"


@pytest.mark.parametrize("holding", [*OF_ITS_ROW, *OF_NOTHING])
def test_the_rescuer_leaves_what_others_hold_to_the_next_time(pool: Engine, holding: Holding) -> None:
    held, free = two_claims(pool)
    now = later(minutes=10)
    with pool.connect() as caller:
        holding(caller)
        with unwilling(pool) as rescuer:
            save(rescuer, *work.abandoned(rescuer, now=now), now=now)
            assert row(rescuer, "work", id=free.claim.work_id).state == "ready"
    with unwilling(pool) as rescuer:
        save(rescuer, *work.abandoned(rescuer, now=now), now=now)
        assert row(rescuer, "work", id=held.claim.work_id).state == "ready"


def test_a_batch_counts_what_was_passed_over_when_it_is_saved_and_once(pool: Engine) -> None:
    with pool.begin() as setup:
        letters = publish(setup, now=NOON)
        admit(setup, "held", "free", now=NOON, lane=Lane.BATCH)
        route(setup, now=NOON)
        batch_id, (held, free) = submit(setup, letters)
    with pool.connect() as caller:
        cancels(caller)
        with unwilling(pool) as saver:
            saved = save(saver, tried(held), tried(free), batch_id=batch_id)
            assert row(saver, "batch_status").succeeded == 1
        caller.commit()
    for _ in range(2):
        with unwilling(pool) as saver:
            outcomes.save(saver, saved.passed_over, batch_id=batch_id, now=NOON)
    with pool.begin() as reader:
        assert row(reader, "batch_status").succeeded == 2


def test_a_submitter_takes_batch_work_beside_open_transactions(pool: Engine) -> None:
    with pool.begin() as setup:
        letters = publish(setup, now=NOON)
        admit(setup, "held", "free", now=NOON, lane=Lane.BATCH)
        route(setup, now=NOON)
    with pool.connect() as caller:
        cancels(caller)
        with unwilling(pool) as submitter:
            _, taken = intend(submitter, letters)
        assert [each.key for each in taken] == ["free"]

"""Transactions that callers leave open, which delay only their own rows: one file because every verb is tried beside the same
transactions."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine, text

from lanes.doors.item import Amendment
from lanes.errors import StillLocked
from lanes.ids import BatchId
from lanes.packing import ClaimedWork
from lanes.settling.listing import NoResult, ResultRequest
from lanes.store import work
from lanes.store.batch import creates
from lanes.store.doors import emptying, items, unrouted
from lanes.store.replays import replays
from lanes.store.rollouts import rollout_moves, rollouts
from lanes.store.settling import decisions, outcomes, results
from lanes.store.settling.results import Result
from lanes.store.workload import workloads
from lanes.words import Lane, Outcome, Signature
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.rollouts import playbook, step
from tests.store.tries import (
    A,
    backend,
    claim,
    claimed_item,
    intend,
    row,
    rows,
    said,
    save,
    submit,
    tried,
    until_blocked,
)

Holding = Callable[[Connection], object]
WAIT = timedelta(milliseconds=1)


def cancels(connection: Connection) -> None:
    assert items.cancel(connection, "letters", "held") == "canceled"


def amends(connection: Connection) -> None:
    late = Amendment("letters", "held", {"text": "late"})
    assert items.amend(connection, late, door="client", now=NOON).outcome == "amended"


def forgets(connection: Connection) -> None:
    emptying.forget(connection, "letters", "held", now=NOON)


def reads(connection: Connection) -> None:
    results.read(connection, "letters", "held", reader="desk")


def labels(connection: Connection) -> None:
    items.label(connection, "letters", {"held": A}, source="ada")


def submits(connection: Connection) -> None:
    admit(connection, "new", now=NOON)


OF_ITS_ROW = [cancels, amends, forgets]  # they change the item
OF_NOTHING = [reads, labels, submits]  # they only refer to the item


@contextmanager
def unwilling(pool: Engine) -> Iterator[Connection]:
    """Open a transaction that fails instead of waiting for a lock; commit it at the end."""
    with pool.begin() as connection:
        connection.execute(text("set local lock_timeout = '1ms'"))
        yield connection


def two_claims(pool: Engine) -> tuple[ClaimedWork, ClaimedWork]:
    """Claim the items "held" and "free"; return both claims."""
    with pool.begin() as setup:
        publish(setup, now=NOON)
        return claimed_item(setup, "held"), claimed_item(setup, "free")


@pytest.mark.parametrize("holding", OF_ITS_ROW)
@pytest.mark.parametrize("ending", ["commit", "rollback"])
def test_a_save_skips_an_item_that_another_transaction_holds_and_saves_it_once_later(
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
            # The bill is recorded even while another transaction holds the item.
            assert len(rows(reader, "spend")) == 2
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
        assert len(rows(reader, "current_results", key="held")) == (
            1 if ending == "rollback" else 0
        )


@pytest.mark.parametrize("holding", OF_NOTHING)
def test_a_transaction_that_only_refers_to_an_item_does_not_delay_a_save(
    pool: Engine, holding: Holding
) -> None:
    held, free = two_claims(pool)
    with pool.connect() as caller:
        holding(caller)
        with unwilling(pool) as saver:
            saved = save(saver, tried(held), tried(free))
        assert (saved.answered, saved.passed_over) == (2, [])


def test_an_open_retry_delays_only_the_items_that_it_retries(pool: Engine) -> None:
    with pool.begin() as setup:
        publish(setup, now=NOON, max_failures=1)
        failed = claimed_item(setup, "failed")
        save(setup, tried(failed, Outcome.ERRORED))
        free = claimed_item(setup, "free")
    with pool.connect() as caller:
        assert decisions.retry(caller, "letters", None, now=NOON) == ["failed"]
        with unwilling(pool) as saver:
            saved = save(saver, tried(failed, response=said("msg_late")), tried(free))
        assert (saved.answered, [each.claim for each in saved.passed_over]) == (1, [failed.claim])
        caller.commit()
    with unwilling(pool) as saver:
        assert outcomes.save(saver, saved.passed_over, now=NOON).late == 1
    with pool.begin() as reader:
        assert [each.outcome for each in rows(reader, "attempt_log", key="failed")] == [
            "errored",
            "valid",
        ]


def test_an_item_of_a_pack_that_is_saved_separately_bears_its_own_share_of_the_cost(
    pool: Engine,
) -> None:
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


def test_a_save_that_waited_restores_the_lock_timeout_of_its_transaction(pool: Engine) -> None:
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
def test_giving_work_back_waits_for_no_lock_and_makes_unlocked_work_ready(
    pool: Engine, holding: Holding
) -> None:
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


def test_work_of_an_item_that_is_being_amended_is_canceled_and_not_given_back(pool: Engine) -> None:
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
def test_recovery_of_lost_claims_leaves_locked_items_to_the_next_pass(
    pool: Engine, holding: Holding
) -> None:
    held, free = two_claims(pool)
    now = later(minutes=10)
    with pool.connect() as caller:
        holding(caller)
        with unwilling(pool) as rescuer:
            save(rescuer, *work.list_abandoned(rescuer, now=now), now=now)
            assert row(rescuer, "work", id=free.claim.work_id).state == "ready"
    with unwilling(pool) as rescuer:
        save(rescuer, *work.list_abandoned(rescuer, now=now), now=now)
        assert row(rescuer, "work", id=held.claim.work_id).state == "ready"


def test_a_batch_counts_a_skipped_result_once_when_the_result_is_saved(pool: Engine) -> None:
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
            outcomes.save(saver, saved.passed_over, batch_id=BatchId(batch_id), now=NOON)
    with pool.begin() as reader:
        assert row(reader, "batch_status").succeeded == 2


def test_a_submitter_skips_batch_work_that_an_open_transaction_holds(pool: Engine) -> None:
    with pool.begin() as setup:
        letters = publish(setup, now=NOON)
        admit(setup, "held", "free", now=NOON, lane=Lane.BATCH)
        route(setup, now=NOON)
    with pool.connect() as caller:
        cancels(caller)
        with unwilling(pool) as submitter:
            _, taken = intend(submitter, letters)
        assert [each.key for each in taken] == ["free"]


# -- the router


@pytest.mark.parametrize("holding", OF_ITS_ROW)
def test_a_router_skips_an_item_that_another_transaction_holds_and_finds_it_later(
    pool: Engine, holding: Holding
) -> None:
    with pool.begin() as setup:
        publish(setup, now=NOON)
        admit(setup, "held", "free", now=NOON)
    with pool.connect() as caller:
        holding(caller)
        with unwilling(pool) as router:
            assert unrouted.has_received(router)
            route(router, now=NOON)
            assert [each.key for each in rows(router, "route_log")] == ["free"]
    with unwilling(pool) as router:  # the caller rolled back
        assert [each.arrived.key for each in unrouted.lock_received(router, 10)] == ["held"]


@pytest.mark.parametrize("holding", OF_NOTHING)
def test_an_item_that_other_transactions_only_refer_to_gets_its_position_at_once(
    pool: Engine, holding: Holding
) -> None:
    with pool.begin() as setup:
        publish(setup, now=NOON)
        admit(setup, "held", "free", now=NOON)
    with pool.connect() as caller:
        holding(caller)
        with unwilling(pool) as router:
            route(router, now=NOON)
            assert [each.position for each in rows(router, "item_status", "position")] == [1, 2]


def test_checking_for_received_items_locks_no_item(pool: Engine) -> None:
    with pool.begin() as setup:
        publish(setup, now=NOON)
        assert not unrouted.has_received(setup)
        admit(setup, "a", now=NOON)
    with pool.connect() as looking:
        assert unrouted.has_received(looking)
        with unwilling(pool) as owner:
            assert items.cancel(owner, "letters", "a") == "canceled"


def test_a_waiting_amendment_of_a_locked_item_is_applied_once_the_lock_is_released(
    pool: Engine,
) -> None:
    with pool.begin() as setup:
        publish(setup, now=NOON)
        for key in ("held", "free"):
            late = Amendment("letters", key, {"text": "late"}, place=f"event {key}")
            assert items.amend(setup, late, door="event", now=NOON).outcome == "waiting"
        admit(setup, "held", "free", now=NOON)
    with pool.connect() as caller:
        cancels(caller)
        with unwilling(pool) as router:
            assert items.apply_waiting(router, now=NOON) == 1
    with unwilling(pool) as router:
        assert items.apply_waiting(router, now=NOON) == 1


# -- workloads


def test_publishing_the_version_in_force_takes_no_lock_and_writes_nothing(pool: Engine) -> None:
    with pool.begin() as setup:
        first = publish(setup, now=NOON)
    with pool.connect() as other:
        other.execute(text("select from lanes.workload for update"))
        with unwilling(pool) as publisher:
            publisher.execute(text("set transaction read only"))
            assert publish(publisher, now=later(days=1)).id == first.id


BY_QUERY = "select lanes.submit('letters', '{}', 'k' || n) from generate_series(1, 100) n"
BY_LIST = """select lanes.submit_many('letters', (select jsonb_agg(jsonb_build_object('payload', '{}'::jsonb, 'key', 'k' || n))
                                                    from generate_series(1, 100) n))"""


@pytest.mark.parametrize("submitting", [BY_QUERY, BY_LIST])
def test_an_open_submit_delays_no_publish_pause_rollout_replay_or_routing(
    pool: Engine, submitting: str
) -> None:
    with pool.begin() as setup:
        publish(setup, now=NOON)
        admit(setup, "old", now=NOON)
        route(setup, now=NOON)
    with pool.connect() as etl:
        etl.execute(text(submitting))
        with unwilling(pool) as other:
            other.execute(text(submitting.replace("'k'", "'other'")))
        with unwilling(pool) as operator:
            assert publish(operator, now=NOON, patience_s=5).number == 2
            rollouts.pause_workload(operator, "letters", now=NOON)
            rollouts.resume_workload(operator, "letters")
            rollout_moves.start(
                operator,
                playbook(step(50)),
                name="letters",
                consumer=None,
                by=Signature("ada", "", NOON),
                run_id=None,
            )
            replays.begin(
                operator,
                "letters",
                version_no=None,
                first=None,
                last=None,
                by=Signature("ada", "", NOON),
            )
        with unwilling(pool) as lanes:
            admit(lanes, "new", now=NOON)
            route(lanes, now=NOON)
            assert len(rows(lanes, "route_log")) == 102  # old, new and the 100 of the other caller


@pytest.mark.slow
def test_publishing_a_changed_workload_waits_for_a_lock_only_up_to_a_limit(pool: Engine) -> None:
    with pool.begin() as setup:
        publish(setup, now=NOON)
    with pool.connect() as other, pool.begin() as publisher:
        workloads.lock(other, "letters")
        with pytest.raises(StillLocked, match="another transaction"):
            publish(publisher, now=NOON, patience_s=5)
        assert publish(publisher, now=NOON).number == 1  # the transaction remains usable


# -- decisions of people


@pytest.mark.slow
@pytest.mark.parametrize("held", ["batch", "work"])
@pytest.mark.parametrize("decide", [decisions.give_up, decisions.resubmit])
@pytest.mark.parametrize("at_provider", [True, False])
def test_a_blocked_decision_about_a_batch_reports_the_lock_and_changes_nothing(
    pool: Engine, held: str, decide: Callable[..., str], at_provider: bool
) -> None:
    with pool.begin() as setup:
        letters = publish(setup, now=NOON)
        admit(setup, "a", "b", now=NOON, lane=Lane.BATCH)
        route(setup, now=NOON)
        batch_id, _ = intend(setup, letters)
        if at_provider:
            creates.mark_submitted(setup, batch_id, "msgbatch_1", expected_end_at=NOON, now=NOON)
    with pool.connect() as other:
        other.execute(text(f"select from lanes.{held} order by id limit 1 for no key update"))
        with (
            pytest.raises(StillLocked, match=r"another (open )?transaction"),
            pool.begin() as operator,
        ):
            decide(operator, batch_id, who="ada", why="lost", now=NOON)
    with pool.begin() as operator:
        assert {each.state for each in rows(operator, "work")} == {"submitted"}
        assert rows(operator, "attempt") == []
        assert f"batch {batch_id}" in decide(operator, batch_id, who="ada", why="lost", now=NOON)


@pytest.mark.slow
def test_an_adoption_waits_for_a_lock_on_its_batch_only_up_to_a_limit(pool: Engine) -> None:
    with pool.begin() as setup:
        letters = publish(setup, now=NOON)
        admit(setup, "a", now=NOON, lane=Lane.BATCH)
        route(setup, now=NOON)
        batch_id, _ = intend(setup, letters)
    with pool.connect() as other, pool.begin() as operator:
        other.execute(text("select from lanes.batch for no key update"))
        with pytest.raises(StillLocked, match="another transaction"):
            decisions.adopt(operator, batch_id, "msgbatch_1", now=NOON)
        assert rows(operator, "batch")[0].state == "intended"  # the transaction remains usable


@pytest.mark.parametrize("keys", [None, ["held", "free"]])
def test_a_retry_skips_items_that_another_transaction_holds_and_retries_the_rest(
    pool: Engine, keys: list[str] | None
) -> None:
    with pool.begin() as setup:
        publish(setup, now=NOON, max_failures=1)
        for key in ("held", "free"):
            save(setup, tried(claimed_item(setup, key), Outcome.ERRORED))
    with pool.connect() as caller:
        cancels(caller)
        with unwilling(pool) as operator:
            assert decisions.retry(operator, "letters", keys, now=NOON) == ["free"]
    with unwilling(pool) as operator:
        assert decisions.retry(operator, "letters", keys, now=NOON) == ["held"]


@pytest.mark.slow
def test_a_replay_reads_an_item_that_another_transaction_holds_without_waiting(
    pool: Engine,
) -> None:
    with pool.begin() as setup:
        publish(setup, now=NOON)
        admit(setup, "held", "free", now=NOON)
        route(setup, now=NOON)
        of = replays.begin(
            setup, "letters", version_no=None, first=None, last=None, by=Signature("ada", "", NOON)
        )
    with pool.connect() as caller, pool.begin() as reader:
        cancels(caller)
        assert replays.read_some(reader, of.id, now=NOON).items == 2


def test_a_save_that_waits_for_an_item_does_not_block_the_holder_of_the_item(pool: Engine) -> None:
    held, _ = two_claims(pool)
    with ThreadPoolExecutor(1) as beside, pool.connect() as caller, pool.connect() as saver:
        caller.execute(text("set local lock_timeout = '1ms'"))
        caller.execute(text("select from lanes.item where key = 'held' for no key update"))
        backend_id = backend(saver)
        waiting = beside.submit(
            outcomes.save, saver, [tried(held)], now=NOON, wait=timedelta(seconds=60)
        )
        until_blocked(pool, backend_id)
        # The save that waits for the item has not locked its work.
        assert items.cancel(caller, "letters", "held") == "canceled"
        caller.commit()
        saved = waiting.result(timeout=20)
        assert (saved.passed_over, saved.late, saved.answered) == ([], 1, 0)


@pytest.mark.slow
def test_a_read_of_several_results_skips_a_held_item_and_returns_the_others(pool: Engine) -> None:
    claims = two_claims(pool)
    with pool.begin() as connection:
        save(connection, *map(tried, claims))
    with pool.connect() as holder:
        holder.execute(text("select from lanes.item where key = 'held' for update")).all()
        with unwilling(pool) as taker:
            held, free = results.take(
                taker,
                [
                    ResultRequest("letters", "held", "desk"),
                    ResultRequest("letters", "free", "desk"),
                ],
            )
            assert held is NoResult.NOT_YET
            assert isinstance(free, Result)

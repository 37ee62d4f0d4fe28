"""Giving up: work that returned unanswered several times over a workload's `give_up_after_h` fails; a retry restores it."""

from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Connection

from lanes.realtime.circuit import Fault
from lanes.routing.shedding import Shed
from lanes.store.figures import measurements
from lanes.store.realtime import circuits, outages
from lanes.store.replays import replays
from lanes.store.routing import second_look
from lanes.store.settling import decisions, outcomes
from lanes.store.workload import workloads
from lanes.words import Lane, Mode, Outcome
from tests.conftest import NOON, later
from tests.examples import admit, begin_replay, publish, route
from tests.store.tries import claim, claimed_item, events, home, row, rows, save, submit, tried


def sweep(connection: Connection, *, hours: float) -> int:
    """Run the sweep `hours` after noon, and return how much work was given up."""
    given_up = [
        attempt
        for lane in Lane
        for attempt in outages.claim_hopeless(connection, lane, now=later(hours=hours))
    ]
    outcomes.save(connection, given_up, now=later(hours=hours))
    return len(given_up)


def waiting(connection: Connection, lane: Lane | None = Lane.REALTIME, **spec: Any) -> None:
    publish(connection, now=NOON, **spec)
    admit(connection, "k", now=NOON, lane=lane)
    route(connection, now=NOON)


def outage(connection: Connection, *, began_at: datetime, model: str = "claude-haiku-5-5") -> None:
    """Open the model's circuit: the model has answered no call since `began_at`."""
    circuits.record_fault(
        connection, "acme", model, Fault("529", 3, began_at, began_at), now=began_at
    )


def comes_back(
    connection: Connection, outcome: Outcome, *hours: float, at_home: float = 0.5, **judged: Any
) -> None:
    """Submit a batch at each of these hours after noon, and return all of its work with this outcome."""
    for hour in hours:
        batch_id, waiting = submit(
            connection, workloads.read_versions(connection)["letters"], now=later(hours=hour)
        )
        back = later(hours=hour + at_home)
        attempts = [tried(each, outcome, at=back) for each in waiting]
        attempts = [each._replace(judged=each.judged._replace(**judged)) for each in attempts]
        save(connection, *attempts, batch_id=batch_id, now=back)
        home(connection, batch_id, now=back)


def test_an_outage_of_a_day_fails_waiting_items_and_names_the_retry_command(
    connection: Connection,
) -> None:
    waiting(connection)
    outage(connection, began_at=later(hours=1))
    assert sweep(connection, hours=24.9) == 0
    assert sweep(connection, hours=25.1) == 1
    item = row(connection, "item_status")
    assert item.state == "failed"
    assert (
        "it could not be answered for 24.1 hours (0 attempts came back unanswered)" in item.failure
    )
    assert "`lanes retry letters --all` tries it again" in item.failure
    assert [each.outcome for each in rows(connection, "attempt_log")] == ["given_up"]
    assert len(events(connection, "lanes.item.failed")) == 1
    assert sweep(connection, hours=26) == 0


def test_give_up_time_counts_from_an_items_first_failure_when_it_precedes_the_outage(
    connection: Connection,
) -> None:
    waiting(connection)
    (mine,) = claim(connection)
    save(connection, tried(mine, Outcome.UNSERVED))
    outage(connection, began_at=later(hours=1))
    assert sweep(connection, hours=24.1) == 1


def test_give_up_time_counts_from_the_admission_of_an_item_admitted_during_an_outage(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    outage(connection, began_at=later(hours=-30))
    admit(connection, "k", now=NOON, lane="realtime")
    route(connection, now=NOON)
    assert sweep(connection, hours=23.9) == 0
    assert sweep(connection, hours=24.1) == 1


@pytest.mark.parametrize("model", ["claude-sonnet-5-5", None])
def test_work_whose_model_has_no_open_circuit_is_not_given_up_after_one_return(
    connection: Connection, model: str | None
) -> None:
    waiting(connection)
    if model is None:
        outage(connection, began_at=NOON)
        circuits.record_answer(connection, "acme", "claude-haiku-5-5", began_at=later(hours=1))
    else:
        outage(connection, began_at=NOON, model=model)
    (mine,) = claim(connection)
    save(connection, tried(mine, Outcome.UNSERVED))
    assert sweep(connection, hours=1_000) == 0


@pytest.mark.slow
def test_real_time_work_that_returns_unanswered_repeatedly_is_given_up(
    connection: Connection,
) -> None:
    waiting(connection)
    for hour in (1, 2, 25):
        assert sweep(connection, hours=hour) == 0
        (mine,) = claim(connection, now=later(hours=hour))
        save(connection, tried(mine, Outcome.UNSERVED, at=later(hours=hour)), now=later(hours=hour))
    assert sweep(connection, hours=24.9) == 0
    assert sweep(connection, hours=25.1) == 1


def test_a_workload_sets_its_own_give_up_time(connection: Connection) -> None:
    waiting(connection, give_up_after_h=2)
    outage(connection, began_at=NOON)
    assert sweep(connection, hours=2.1) == 1


@pytest.mark.slow
def test_a_retried_item_has_the_full_give_up_time_again(connection: Connection) -> None:
    waiting(connection, Lane.BATCH)
    comes_back(connection, Outcome.EXPIRED, 0, 1, 2)
    assert sweep(connection, hours=25) == 1
    assert decisions.retry(connection, "letters", None, now=later(hours=26)) == ["k"]
    assert sweep(connection, hours=1_000) == 0
    comes_back(connection, Outcome.EXPIRED, 1_000, 1_001, 1_002)
    assert sweep(connection, hours=1_024) == 0
    assert sweep(connection, hours=1_025) == 1


def test_in_lambda_mode_a_given_up_item_that_may_wait_goes_to_batch(connection: Connection) -> None:
    waiting(connection, lane=None, mode=Mode.LAMBDA, split_percent=100)
    outage(connection, began_at=NOON)
    assert sweep(connection, hours=25) == 1
    owed = row(connection, "work", lane="batch")
    assert (owed.state, owed.purpose) == ("ready", "answer")
    assert row(connection, "item_status").state == "routed"


def test_work_of_a_paused_workload_is_not_given_up(connection: Connection) -> None:
    waiting(connection)
    outage(connection, began_at=NOON)
    workloads.pause(connection, "letters", since=NOON)
    assert sweep(connection, hours=1_000) == 0


def test_untried_batch_work_is_never_given_up(connection: Connection) -> None:
    waiting(connection, Lane.BATCH)
    assert sweep(connection, hours=1_000) == 0


LEFT_BY_BATCHES = [Outcome.EXPIRED, Outcome.CANCELED, Outcome.UNSERVED, Outcome.PACK_REFUSED]


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("outcome", LEFT_BY_BATCHES)
def test_one_unanswered_return_from_a_batch_never_gives_work_up(
    connection: Connection, outcome: Outcome, mode: Mode
) -> None:
    waiting(connection, Lane.BATCH, mode=mode, give_up_after_h=2)
    comes_back(connection, outcome, 10)
    assert sweep(connection, hours=10.6) == 0
    assert sweep(connection, hours=1_000) == 0
    assert row(connection, "work").failures == 0
    comes_back(connection, Outcome.VALID, 1_000)
    assert row(connection, "item_status").state == "settled"


@pytest.mark.slow
@pytest.mark.parametrize("outcome", [Outcome.EXPIRED, Outcome.CANCELED, Outcome.UNSERVED])
def test_batch_work_that_returns_unanswered_repeatedly_is_given_up(
    connection: Connection, outcome: Outcome
) -> None:
    waiting(connection, Lane.BATCH)
    comes_back(connection, outcome, 10, 34)
    assert sweep(connection, hours=57) == 0
    comes_back(connection, outcome, 58)
    assert sweep(connection, hours=58.6) == 1
    item = row(connection, "item_status")
    assert item.state == "failed"
    assert (
        "it could not be answered for 48.1 hours (3 attempts came back unanswered); `lanes retry"
        in item.failure
    )


@pytest.mark.slow
def test_repeated_batch_returns_give_nothing_up_before_the_full_give_up_time(
    connection: Connection,
) -> None:
    waiting(connection, Lane.BATCH)
    comes_back(connection, Outcome.EXPIRED, 100, 101, 102, 103, 104)
    assert sweep(connection, hours=124.4) == 0
    assert sweep(connection, hours=124.6) == 1


@pytest.mark.slow
def test_neighbours_of_a_refused_pack_are_not_given_up_for_it(connection: Connection) -> None:
    waiting(connection, Lane.BATCH)
    comes_back(connection, Outcome.PACK_REFUSED, 0, 1, 2, 3, 4)
    assert sweep(connection, hours=1_000) == 0


@pytest.mark.slow
def test_real_time_attempts_before_shedding_do_not_count_as_batch_returns(
    connection: Connection,
) -> None:
    waiting(connection, lane=None, split_percent=100)
    for hour in (0, 1):
        (mine,) = claim(connection, now=later(hours=hour))
        save(connection, tried(mine, Outcome.UNSERVED, at=later(hours=hour)), now=later(hours=hour))
    (left,) = second_look.queue_tail(connection, ["letters"], now=NOON).waiting
    assert (
        second_look.shed(connection, {left.id: Shed("no model answers")}, now=later(hours=23)) == 1
    )
    comes_back(connection, Outcome.EXPIRED, 1_000, 1_010)
    assert sweep(connection, hours=1_100) == 0
    comes_back(connection, Outcome.EXPIRED, 1_100)
    assert sweep(connection, hours=1_101) == 1


@pytest.mark.slow
def test_a_given_up_authoritative_pass_settles_the_provisional_answer_until_a_retry(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, mode=Mode.LAMBDA)
    save(connection, tried(claimed_item(connection)))
    comes_back(connection, Outcome.EXPIRED, 10)
    assert sweep(connection, hours=100) == 0
    assert row(connection, "item_status").state == "answered"
    comes_back(connection, Outcome.EXPIRED, 100, 101)
    assert sweep(connection, hours=102) == 1
    item = row(connection, "item_status")
    assert (item.state, item.failure.split(":")[0]) == ("settled", "given_up")
    assert decisions.retry(connection, "letters", ["k"], now=later(hours=103)) == ["k"]
    item = row(connection, "item_status")
    assert (item.state, item.failure, row(connection, "current_results").standing) == (
        "answered",
        None,
        "provisional",
    )
    comes_back(connection, Outcome.VALID, 104)
    item = row(connection, "item_status")
    assert (item.state, item.failure, row(connection, "current_results").standing) == (
        "settled",
        None,
        "authoritative",
    )


@pytest.mark.slow
def test_a_replay_completes_when_its_unanswered_item_is_given_up(connection: Connection) -> None:
    publish(connection, now=NOON)
    save(connection, tried(claimed_item(connection)))
    of = begin_replay(connection)
    replays.read_some(connection, of.id, limit=10, now=NOON)
    comes_back(connection, Outcome.UNSERVED, 0, 10)
    assert sweep(connection, hours=1_000) == 0
    comes_back(connection, Outcome.UNSERVED, 1_000)
    assert sweep(connection, hours=1_001) == 1
    owed = row(connection, "work", generation=of.number)
    assert owed.state == "failed"
    assert [each.id for each in replays.finish(connection, now=later(hours=1_001))] == [of.id]
    errors = [each.error for each in rows(connection, "attempt_log") if each.error is not None]
    assert "`lanes replay letters` tries it again" in errors[-1]
    assert row(connection, "item_status").state == "settled"


def test_claimed_work_is_not_given_up(connection: Connection) -> None:
    waiting(connection)
    outage(connection, began_at=NOON)
    claim(connection, now=later(hours=24))
    assert sweep(connection, hours=25) == 0


@pytest.mark.parametrize(("hours", "news"), [(25, 1), (50, 0)])
def test_failed_items_are_measured_for_a_day_and_until_they_are_retried(
    connection: Connection, hours: float, news: int
) -> None:
    waiting(connection)
    outage(connection, began_at=NOON)
    sweep(connection, hours=25)
    seen = measurements.measure(connection, now=later(hours=hours)).failed
    assert [(each.workload, each.items, each.key) for each in seen] == [("letters", 1, "k")] * news
    decisions.retry(connection, "letters", None, now=later(hours=26))
    assert measurements.measure(connection, now=later(hours=26)).failed == []

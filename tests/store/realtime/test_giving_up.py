"""Nobody waits for ever: what could not be answered for a workload's `give_up_after_h` fails, and can be brought back."""

from typing import Any

import pytest
from sqlalchemy import Connection

from lanes.routing.shedding import Shed
from lanes.store.figures import measurements
from lanes.store.realtime import giving_up
from lanes.store.routing import sheds
from lanes.store.settling import outcomes, retries
from lanes.store.workload import workloads
from lanes.words import Lane, Mode, Outcome
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import claim, claimed_item, events, row, rows, save, submit, tried


def sweep(connection: Connection, *, hours: float) -> int:
    """What the sweep does so many hours after noon; how much work was given up."""
    given_up = [attempt for lane in Lane for attempt in giving_up.hopeless(connection, lane, now=later(hours=hours))]
    outcomes.save(connection, given_up, now=later(hours=hours))
    return len(given_up)


def waiting(connection: Connection, lane: Lane | None = Lane.REALTIME, **spec: Any) -> None:
    publish(connection, now=NOON, **spec)
    admit(connection, "k", now=NOON, lane=lane)
    route(connection, now=NOON)


def test_an_item_that_could_not_be_answered_for_a_day_fails_with_the_command_that_brings_it_back(
    connection: Connection,
) -> None:
    waiting(connection)
    assert sweep(connection, hours=24) == 0
    assert sweep(connection, hours=24.1) == 1
    item = row(connection, "item_status")
    assert item.state == "failed"
    assert "it could not be answered for 24.1 hours; `lanes retry letters --all` tries it again" in item.failure
    assert [each.outcome for each in rows(connection, "attempt_log")] == ["given_up"]
    assert len(events(connection, "lanes.item.failed")) == 1
    assert sweep(connection, hours=25) == 0


def test_a_workload_says_how_long(connection: Connection) -> None:
    waiting(connection, give_up_after_h=2)
    assert sweep(connection, hours=2.1) == 1


def test_an_item_that_was_brought_back_has_a_whole_day_again(connection: Connection) -> None:
    waiting(connection)
    sweep(connection, hours=25)
    assert retries.retry(connection, "letters", None, now=later(hours=26)) == ["k"]
    assert sweep(connection, hours=49) == 0
    assert sweep(connection, hours=51) == 1


def test_in_lambda_mode_the_batch_lane_still_answers_what_may_wait(connection: Connection) -> None:
    waiting(connection, lane=None, mode=Mode.LAMBDA, split_percent=100)
    assert sweep(connection, hours=25) == 1
    owed = row(connection, "work", lane="batch")
    assert (owed.state, owed.purpose) == ("ready", "answer")
    assert row(connection, "item_status").state == "routed"


def test_a_paused_workload_waits_for_the_person_who_paused_it(connection: Connection) -> None:
    waiting(connection)
    workloads.pause(connection, "letters", since=NOON)
    assert sweep(connection, hours=1_000) == 0


def test_batch_work_that_nobody_tried_waits_for_its_window(connection: Connection) -> None:
    waiting(connection, Lane.BATCH)
    assert sweep(connection, hours=1_000) == 0


def test_batch_work_that_comes_back_again_and_again_is_given_up(connection: Connection) -> None:
    waiting(connection, Lane.BATCH)
    letters = workloads.in_force(connection)["letters"]
    batch_id, (work,) = submit(connection, letters)
    save(connection, tried(work, Outcome.EXPIRED), batch_id=batch_id)
    assert sweep(connection, hours=25) == 1
    assert row(connection, "item_status").state == "failed"


def test_what_real_time_tried_before_it_was_shed_waits_for_its_window_until_a_batch_brings_it_back(
    connection: Connection,
) -> None:
    waiting(connection, lane=None, split_percent=100)
    (mine,) = claim(connection)
    save(connection, tried(mine, Outcome.ERRORED))
    (left,) = sheds.last(connection, ["letters"]).waiting
    assert sheds.save(connection, {left.id: Shed("it answers nobody")}, now=later(hours=23)) == 1
    assert sweep(connection, hours=1_000) == 0
    batch_id, (work,) = submit(connection, workloads.in_force(connection)["letters"], now=later(hours=1_000))
    save(connection, tried(work, Outcome.EXPIRED), batch_id=batch_id, now=later(hours=1_001))
    assert sweep(connection, hours=1_002) == 1


def test_an_authoritative_pass_that_is_given_up_leaves_the_provisional_answer_settled(connection: Connection) -> None:
    publish(connection, now=NOON, mode=Mode.LAMBDA)
    save(connection, tried(claimed_item(connection)))
    letters = workloads.in_force(connection)["letters"]
    batch_id, (work,) = submit(connection, letters)
    save(connection, tried(work, Outcome.EXPIRED), batch_id=batch_id)
    assert sweep(connection, hours=25) == 1
    item = row(connection, "item_status")
    assert (item.state, item.failure.split(":")[0]) == ("settled", "given_up")


def test_work_that_is_being_tried_is_nobodys_to_give_up(connection: Connection) -> None:
    waiting(connection)
    claim(connection, now=later(hours=24))
    assert sweep(connection, hours=25) == 0


@pytest.mark.parametrize(("hours", "news"), [(25, 1), (50, 0)])
def test_failed_items_are_news_for_a_day_and_until_they_are_brought_back(
    connection: Connection, hours: float, news: int
) -> None:
    waiting(connection)
    sweep(connection, hours=25)
    seen = measurements.measure(connection, now=later(hours=hours)).failed
    assert [(each.workload, each.items, each.key) for each in seen] == [("letters", 1, "k")] * news
    retries.retry(connection, "letters", None, now=later(hours=26))
    assert measurements.measure(connection, now=later(hours=26)).failed == []

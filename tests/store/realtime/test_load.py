"""The load of the real-time lane: waiting work by rank, the limits that it uses, and the speed of the lane."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, text, update

from lanes.money.budget import Budget, Period
from lanes.realtime.circuit import Fault
from lanes.routing.capacity import Limit, LimitKind, Need
from lanes.routing.lane_rules import EXPECTED_CALL
from lanes.routing.load import AddedItems, Load, ModelRest
from lanes.store.money import budgets
from lanes.store.realtime import circuits, load
from lanes.store.tables import budget
from lanes.store.workload import workloads
from lanes.store.workload.accounts import LaneAccount
from lanes.words import Lane
from lanes.workload.version import Entitlement
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import claim, claimed_item, save, tried

MODEL = "claude-haiku-5-5"


def seen(connection: Connection, **more: Any) -> Load:
    return load.snapshot(connection, LaneAccount("acme", **more), now=NOON)


def test_waiting_work_is_counted_by_rank_and_work_in_flight_ranks_first(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, patience_s=600)
    claimed_item(connection, "asked")
    admit(connection, "a", "b", now=NOON, lane=Lane.REALTIME)
    admit(connection, "soon", now=NOON, lane=Lane.REALTIME, due_at=later(seconds=62))
    route(connection, now=NOON)
    found = seen(connection)
    assert found.entitled == {"letters": Entitlement(1, 75)}
    assert [
        found.line("letters", until=later(seconds=each)).items for each in (0, 60, 61, 600, 601)
    ] == [1, 1, 2, 2, 4]
    assert found.waiting() == 4
    assert found.waiting("another") == 0


def test_waiting_work_counts_for_the_model_of_its_own_version(connection: Connection) -> None:
    publish(connection, now=NOON)
    claimed_item(connection, "asked")
    admit(connection, "a", "b", now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    publish(connection, now=NOON, realtime_model="claude-sonnet-5-5")
    admit(connection, "c", now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    found = seen(connection)
    assert (found.waiting(MODEL), found.waiting("claude-sonnet-5-5"), found.waiting()) == (3, 1, 4)


def test_work_of_a_paused_workload_is_not_counted_as_load(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    admit(connection, "a", now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    workloads.pause(connection, "letters", since=NOON)
    assert seen(connection).waiting() == 0


def test_a_lane_without_calls_assumes_the_expected_call_time(connection: Connection) -> None:
    publish(connection, now=NOON)
    found = seen(connection)
    assert found.call_of(MODEL) == EXPECTED_CALL
    assert found.per_s == 64 / EXPECTED_CALL.total_seconds()
    assert seen(connection, most_calls=4).per_s == 4 / EXPECTED_CALL.total_seconds()


def test_past_calls_set_the_speed_of_the_lane_and_the_limits_that_an_item_uses(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    for key in "abcd":
        save(connection, tried(claimed_item(connection, key), at=NOON))
    found = seen(connection)
    assert found.per_s == 64  # one-second calls in 64 places
    assert found.call_of(MODEL) == EXPECTED_CALL  # the minimum: these took a second
    assert found.need_of("letters") == Need(1_000, 20, 1)
    assert found.need_of("bills") == Need(0, 0, 1)


def test_account_limits_set_the_drain_time_when_they_are_slower_than_the_calls(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    admit(connection, *(f"k{n}" for n in range(10)), now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    empty = Limit(LimitKind.REQUESTS, 60, 0, reset_at=later(minutes=1), seen_at=NOON)
    load.exchange_limits(connection, "acme", {MODEL: [empty]}, now=NOON)
    found = seen(connection)
    assert found.drain_s("letters", MODEL) == 10
    assert found.drain_s("letters", MODEL, more=AddedItems(MODEL, 5, Need(0, 0, 5))) == 15
    assert found.drain_s("letters", "another", more=AddedItems("another", 5, Need(0, 0, 5))) < 1


def test_work_of_a_later_rank_does_not_delay_work_of_an_earlier_rank(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, patience_s=3_600)
    admit(connection, *(f"k{n}" for n in range(20)), now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    found = seen(connection, most_calls=1)
    assert found.drain_s("letters", MODEL, until=later(minutes=5)) == 0
    assert found.drain_s("letters", MODEL) == 20 * EXPECTED_CALL.total_seconds()
    claim(connection, places=2)
    claimed = seen(connection, most_calls=1)
    assert (
        claimed.drain_s("letters", MODEL, until=later(minutes=5))
        == 2 * timedelta(seconds=2).total_seconds()
    )


def test_a_model_of_the_account_rests_until_it_answers_even_without_recent_probes(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    began = later(minutes=-9)
    circuits.record_fault(connection, "acme", MODEL, Fault("529", 3, began, began), now=began)
    circuits.record_fault(connection, "others", "another", Fault("529", 3, NOON, NOON), now=NOON)
    assert seen(connection).rests == {MODEL: ModelRest(MODEL, began, "529")}
    circuits.record_answer(connection, "acme", MODEL, began_at=NOON)
    assert seen(connection).rests == {}


def test_a_refusal_by_a_budget_is_known_until_the_next_period_of_the_budget(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    for consumer, refused_at in (
        (None, later(minutes=-1)),
        ("crm", NOON),
        ("web", later(days=-1)),
        ("app", None),
    ):
        allowed = Budget("letters", consumer, Period.DAY, "UTC", None, Decimal(1))
        budgets.put(connection, allowed, who="ada", why="test", now=NOON)
        of = budget.c.consumer.is_not_distinct_from(consumer)
        connection.execute(update(budget).where(of).values(refused_at=refused_at, refused_usd=2))
    assert seen(connection).refused == {("letters", None), ("letters", "crm")}


@pytest.mark.slow
def test_an_exactly_used_up_budget_counts_as_refused_before_it_has_refused_work(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    save(connection, tried(claimed_item(connection, "a", consumer="crm"), at=NOON))
    claimed_item(connection, "asked")
    admit(connection, "waits", now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    spent = connection.execute(text("select sum(cost_usd) from lanes.spend")).scalar_one()
    for consumer, hard_usd in ((None, spent + Decimal("0.01")), ("crm", spent)):
        allowed = Budget("letters", consumer, Period.DAY, "UTC", None, hard_usd)
        budgets.put(connection, allowed, who="ada", why="test", now=NOON)
    assert (seen(connection).refused, seen(connection).waiting()) == ({("letters", "crm")}, 2)
    assert load.backlog(connection, Lane.REALTIME, now=NOON).ready == 1
    budgets.put(
        connection,
        Budget("letters", None, Period.DAY, "UTC", None, spent),
        who="ada",
        why="test",
        now=NOON,
    )
    assert (seen(connection).refused, seen(connection).waiting()) == (
        {("letters", None), ("letters", "crm")},
        1,
    )
    assert load.backlog(connection, Lane.REALTIME, now=NOON).ready == 0

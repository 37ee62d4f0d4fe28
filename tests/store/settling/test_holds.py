"""Causes of holds that `lanes explain` loads for an item, each recorded by its own part of the system."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Connection, text

from lanes.money.budget import Budget, Period
from lanes.promises.batches import batch_unclear
from lanes.promises.breaches import frozen
from lanes.realtime.circuit import Fault
from lanes.routing.capacity import Limit, LimitKind
from lanes.settling.story import next_step
from lanes.store import incidents
from lanes.store.money import budgets
from lanes.store.realtime import circuits, load
from lanes.store.settling import story
from lanes.store.workload import accounts, workloads
from lanes.words import Lane
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import intend, submit

MODEL = "claude-haiku-5-5"
DAY = Budget("letters", None, Period.DAY, "UTC", None, Decimal(0))


@pytest.fixture(autouse=True)
def items(connection: Connection) -> None:
    """Route one item to each lane."""
    publish(connection, now=NOON, off_peak_start="22:00", off_peak_end="06:00", timezone="UTC")
    admit(connection, "now", now=NOON, lane=Lane.REALTIME)
    admit(connection, "tonight", now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)


def said(connection: Connection, key: str = "now", **then: float) -> str:
    now = later(**then)
    return next_step(story.records(connection, "letters", key, now=now), now)


def pause(connection: Connection) -> None:
    workloads.pause(connection, "letters", since=NOON)


def refuse_key(connection: Connection) -> None:
    incidents.open(connection, frozen("acme", 1, "invalid x-api-key"), now=NOON)


def spend(connection: Connection) -> None:
    budgets.put(connection, DAY, who="ada", why="none", now=NOON)


def open_circuit(connection: Connection) -> None:
    circuits.record_fault(
        connection, "acme", MODEL, Fault("529 overloaded", 3, NOON, NOON), now=NOON
    )


def back_off(connection: Connection) -> None:
    connection.execute(text("update lanes.work set ready_at = :at"), {"at": later(hours=1)})


def reach_limit(connection: Connection) -> None:
    reached = Limit(LimitKind.REQUESTS, 50, 0, later(seconds=60), NOON)
    load.exchange_limits(connection, "acme", {MODEL: [reached]}, now=NOON)
    accounts.note(connection, {"lanes": "acme"}, now=NOON)


CAUSES: list[tuple[Callable[[Connection], None], str]] = [
    (pause, "`lanes resume letters`"),
    (refuse_key, "invalid x-api-key"),
    (spend, "waits for money"),
    (open_circuit, "529 overloaded"),
    (back_off, "rests until 13:00 UTC"),
    (reach_limit, "limit of 50 requests a minute"),
]


@pytest.mark.parametrize(("cause", "told"), CAUSES)
def test_explain_names_the_cause_of_a_hold(
    connection: Connection, cause: Callable[[Connection], None], told: str
) -> None:
    assert "a drain claims it" in said(connection)
    cause(connection)
    assert told in said(connection, seconds=1)
    assert "12:00 UTC" in said(connection, seconds=1) or cause in (back_off, spend)


def test_explain_reports_when_the_off_peak_window_of_a_waiting_item_opens(
    connection: Connection,
) -> None:
    assert "the next batch leaves at 22:00 UTC, or at once by `lanes depart letters`" in said(
        connection, "tonight"
    )


def test_explain_reports_the_state_of_the_batch_of_an_item(connection: Connection) -> None:
    letters = workloads.current(connection, "letters")
    assert letters is not None
    batch_id, _ = submit(connection, letters)
    assert f"batch {batch_id} has been at the provider since 12:00 UTC" in said(
        connection, "tonight", minutes=1
    )
    incidents.open(
        connection, batch_unclear("letters", batch_id, 1, "two batches fit"), now=later(minutes=2)
    )
    told = said(connection, "tonight", minutes=3)
    assert f"batch {batch_id} has been held since 12:02 UTC (two batches fit)" in told
    assert f"`lanes give-up {batch_id}`" in told


def test_explain_reports_a_batch_create_that_had_no_answer(connection: Connection) -> None:
    letters = workloads.current(connection, "letters")
    assert letters is not None
    batch_id, _ = intend(connection, letters)
    assert f"the create of batch {batch_id} has had no answer since 12:00 UTC" in said(
        connection, "tonight", minutes=1
    )


def test_outdated_limits_do_not_hold_an_item(connection: Connection) -> None:
    reach_limit(connection)
    assert "a drain claims it" in said(
        connection, seconds=(load.FRESH + timedelta(seconds=1)).total_seconds()
    )

"""Budgets: the costs that count against them, and the start and end of their periods."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from lanes.errors import ActionRefused, UnknownWorkload
from lanes.money.budget import Budget, Period
from lanes.settling.outcome import PackShare
from lanes.store.database import wait_at_most
from lanes.store.money import budgets
from lanes.words import Outcome
from tests.conftest import NOON, later
from tests.examples import publish
from tests.store.money.budgeted import PRICE, ZERO, ZONES, put, stands
from tests.store.tries import claimed_item, rows, said, save, tried


@pytest.mark.slow
def test_billed_and_unknown_costs_count_in_the_budgets_current_period(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    put(connection)
    save(connection, tried(claimed_item(connection, "a")))
    save(
        connection, tried(claimed_item(connection, "b"), Outcome.UNKNOWN, bound_usd=Decimal("0.3"))
    )
    assert (stands(connection).spent_usd, stands(connection).unknown_usd) == (PRICE, Decimal("0.3"))
    assert stands(connection, later(days=1)).used_usd == 0


@pytest.mark.slow
def test_a_new_budget_includes_the_earlier_costs_of_its_period(connection: Connection) -> None:
    publish(connection, now=NOON)
    save(connection, tried(claimed_item(connection, "a"), at=later(days=-1)))
    save(connection, tried(claimed_item(connection, "b", consumer="crm")))
    save(
        connection,
        tried(
            claimed_item(connection, "c", consumer="web"), Outcome.UNKNOWN, bound_usd=Decimal("0.3")
        ),
    )
    put(connection)
    put(connection, consumer="crm")
    put(connection, period=Period.MONTH)
    known = {
        each.budget.subject: (each.spent_usd, each.unknown_usd)
        for each in budgets.statuses(connection, now=NOON)
    }
    assert known == {
        "day budget": (PRICE, Decimal("0.3")),
        "month budget": (2 * PRICE, Decimal("0.3")),
        "day budget of crm": (PRICE, ZERO),
    }


@pytest.mark.slow
@pytest.mark.parametrize("consumer", [None, "crm"])
def test_a_save_is_not_blocked_while_a_new_budget_sums_past_costs_and_counts_once(
    pool: Engine, consumer: str | None
) -> None:
    with pool.begin() as setup:
        publish(setup, now=NOON)
        before, meanwhile, after = (claimed_item(setup, key, consumer="crm") for key in "abc")
        save(setup, tried(before))
    with pool.connect() as operator:
        left = [meanwhile]

        @event.listens_for(operator, "after_cursor_execute")
        def _(*told: Any) -> None:
            if "sum(" in told[2] and left:
                with pool.begin() as saver:
                    wait_at_most(saver, timedelta(seconds=1))
                    save(saver, tried(left.pop()))

        put(operator, consumer=consumer)
        operator.commit()
    with pool.begin() as connection:
        assert not left
        assert stands(connection).spent_usd == 2 * PRICE
        save(connection, tried(after))
        assert stands(connection).spent_usd == 3 * PRICE


@pytest.mark.slow
def test_a_consumer_pays_its_part_of_a_pack(connection: Connection) -> None:
    publish(connection, now=NOON)
    put(connection, consumer="crm")
    shared = said(tokens=1_000)
    one, other = (
        claimed_item(connection, "a", consumer="crm"),
        claimed_item(connection, "b", consumer="web"),
    )
    save(
        connection,
        tried(one, response=shared)._replace(share=PackShare(0, 2)),
        tried(other, response=shared)._replace(share=PackShare(1, 2)),
    )
    assert stands(connection).spent_usd == PRICE / 2


@pytest.mark.slow
def test_saving_an_attempt_twice_counts_it_once(connection: Connection) -> None:
    publish(connection, now=NOON)
    put(connection)
    put(connection, consumer="crm")
    attempt = tried(claimed_item(connection, "a", consumer="crm"))
    save(connection, attempt)
    save(connection, attempt)
    assert [each.spent_usd for each in budgets.statuses(connection, now=NOON)] == [PRICE, PRICE]


@pytest.mark.slow
@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("period", Period)
def test_the_database_and_the_domain_agree_when_a_period_begins_and_ends(
    connection: Connection, zone: str, period: Period
) -> None:
    publish(connection, now=NOON)
    put(connection, zone=zone, period=period)
    for hour in range(0, 24 * 370, 23):
        at = datetime(2016, 9, 1, tzinfo=UTC) + timedelta(hours=hour)
        seen = stands(connection, at)
        assert (seen.began_at, seen.ends_at) == (seen.budget.begins(at), seen.budget.ends(at))


def test_an_invalid_budget_or_one_of_an_unknown_workload_is_refused(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    with pytest.raises(ActionRefused, match="is above hard_usd"):
        put(connection, "1", "2")
    with pytest.raises(ActionRefused, match="not an IANA time zone"):
        put(connection, zone="Europe/Atlantis")
    with pytest.raises(UnknownWorkload):
        budgets.put(
            connection,
            Budget("none", None, Period.DAY, "UTC", None, ZERO),
            who="a",
            why="b",
            now=NOON,
        )
    with pytest.raises(ActionRefused, match="no such budget"):
        budgets.remove(connection, "letters", None, Period.DAY, now=NOON)
    assert rows(connection, "budget_status") == []


@pytest.mark.slow
@pytest.mark.parametrize("soft", ["0.5", None])
def test_folding_the_uses_of_a_budget_does_not_change_its_status(
    connection: Connection, soft: str | None
) -> None:
    publish(connection, now=NOON)
    put(connection, "1" if soft is None else None, soft)
    put(connection, period=Period.MONTH)
    for key in "abc":
        save(connection, tried(claimed_item(connection, key)))
    before = budgets.statuses(connection, now=NOON)
    budgets.remove(connection, "letters", None, Period.MONTH, now=NOON)
    assert budgets.fold(connection, most=2) == 2
    assert budgets.fold(connection) == 1
    assert rows(connection, "budget_use") == []
    assert budgets.statuses(connection, now=NOON) == before[:1]

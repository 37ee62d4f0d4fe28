"""Periods in their time zone, the status of a budget, and refused budgets."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.money.budget import Budget, BudgetStatus, Period, refusal
from tests.conftest import NOON

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/Havana",
    "Asia/Kathmandu",
    "Pacific/Kiritimati",
    "America/Sao_Paulo",
)
moments = st.integers(0, 14 * 365 * 24 * 60).map(
    lambda minutes: datetime(2016, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)
amounts = st.decimals(0, 1_000, places=4)


def budget(
    soft: str | None = None,
    hard: str | None = "10",
    *,
    period: Period = Period.DAY,
    zone: str = "UTC",
) -> Budget:
    limits = [None if each is None else Decimal(each) for each in (soft, hard)]
    return Budget("letters", None, period, zone, *limits)


def status(
    of: Budget,
    *,
    spent: str = "0",
    unknown: str = "0",
    calls: str = "0",
    batches: str = "0",
    lacked: str | None = None,
) -> BudgetStatus:
    sums = Decimal(spent), Decimal(unknown), Decimal(calls), Decimal(batches)
    at, usd = (None, None) if lacked is None else (NOON, Decimal(lacked))
    return BudgetStatus(of, of.begins(NOON), of.ends(NOON), *sums, refused_at=at, refused_usd=usd)


@given(moments, st.sampled_from(ZONES), st.sampled_from(Period))
def test_each_period_begins_when_the_previous_one_ends(
    at: datetime, zone: str, period: Period
) -> None:
    of = budget(zone=zone, period=period)
    assert of.begins(of.ends(at)) == of.ends(at)
    assert of.begins(at).astimezone(UTC) < of.ends(at).astimezone(UTC)
    assert at < of.ends(at)


def test_a_day_on_which_the_clocks_change_has_23_or_25_hours() -> None:
    of = budget(zone="Europe/Berlin")
    for day, hours in (
        (datetime(2026, 3, 29, 12, tzinfo=UTC), 23),
        (datetime(2026, 10, 25, 12, tzinfo=UTC), 25),
    ):
        length = of.ends(day).astimezone(UTC) - of.begins(day).astimezone(UTC)
        assert length == timedelta(hours=hours)


def test_unknown_costs_count_as_spent() -> None:
    stands = status(budget("6", "10"), spent="5", unknown="1", calls="1.5", batches="0.5")
    assert (stands.used_usd, stands.reserved_usd, stands.rest_usd, stands.share) == (
        Decimal(6),
        Decimal(2),
        Decimal(2),
        0.6,
    )
    assert stands.is_over_soft
    assert not stands.is_used_up


def test_a_budget_of_0_is_used_up_before_anything_is_paid() -> None:
    stands = status(budget(None, "0"))
    assert stands.is_used_up
    assert stands.share == 1


def test_a_budget_is_used_up_once_less_is_left_than_the_next_call_may_cost() -> None:
    assert status(budget(), spent="9.99", lacked="0.02").is_used_up
    assert not status(budget(), spent="9.99").is_used_up
    assert not status(budget(), spent="9.97", lacked="0.02").is_used_up  # as after a raise


def test_reserved_money_is_not_spent() -> None:
    waits = status(budget(), spent="1.3", calls="8.69", lacked="0.02")
    assert (waits.is_used_up, waits.waits, waits.state) == (
        False,
        True,
        "waiting for reserved money",
    )
    assert not status(budget(), spent="1.3", calls="1", lacked="0.02").waits
    assert status(budget(), spent="9.99", calls="0.01", lacked="0.02").state == "used up"


@pytest.mark.parametrize(
    ("of", "why"),
    [
        (budget(None, None), "needs soft_usd, hard_usd or both"),
        (budget("11", "10"), "soft_usd .* is above hard_usd"),
        (budget(None, "-1"), "are 0 to"),
        (budget(None, "NaN"), "are 0 to"),
        (budget(None, "Infinity"), "are 0 to"),
        (budget(None, "1e-12"), "0.0000000001 US dollars at least"),
        (budget(zone="Europe/Atlantis"), "not an IANA time zone"),
    ],
)
def test_an_invalid_budget_is_refused_with_a_sentence(of: Budget, why: str) -> None:
    said = refusal(of)
    assert said is not None
    assert re.search(why, said)


def test_a_budget_of_0_and_one_with_a_single_limit_are_not_refused() -> None:
    assert [refusal(each) for each in (budget("0", "0"), budget("1", None), budget(None, "0"))] == [
        None,
        None,
        None,
    ]

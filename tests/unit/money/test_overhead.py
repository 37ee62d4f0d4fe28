"""Overheads: the dated amount in force, assumed amounts, and refused amounts."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.money.overhead import (
    MOST_USD,
    DatedOverhead,
    Overhead,
    OverheadKind,
    Overheads,
    refusal,
    select_in_force,
)
from lanes.words import Lane
from tests.conftest import NOON

DAY = date(2026, 11, 1)


def dated(
    usd: int, *, after: int = 0, workload: str | None = None, lane: Lane = Lane.BATCH
) -> DatedOverhead:
    of = Overhead(
        workload, lane, OverheadKind.ENGINEERING, Decimal(usd), DAY + timedelta(days=after)
    )
    return DatedOverhead(of, "ada", "because", NOON)


def amount(*rows: DatedOverhead, on: int = 0, workload: str = "letters") -> float:
    return select_in_force(rows, workload, DAY + timedelta(days=on)).engineering_usd(Lane.BATCH)


def test_all_overheads_are_assumed_without_any_row() -> None:
    found = select_in_force([], "letters", DAY)
    assert found == Overheads()
    assert (found.monthly_usd(Lane.REALTIME), found.monthly_usd(Lane.BATCH)) == (120, 450)
    assert len(found.assumed) == 4


def test_the_newest_overhead_that_has_begun_is_in_force() -> None:
    rows = dated(100), dated(300, after=20), dated(200, after=10)
    assert [amount(*rows, on=day) for day in (-1, 0, 9, 10, 19, 20, 400)] == [
        400,
        100,
        100,
        200,
        200,
        300,
        300,
    ]


def test_the_later_entry_is_in_force_if_two_overheads_begin_on_one_day() -> None:
    assert amount(dated(100), dated(200)) == 200


def test_a_workloads_own_overhead_overrides_the_general_one() -> None:
    rows = dated(100, workload="letters"), dated(200, after=10), dated(7, workload="other")
    assert (amount(*rows, on=20), amount(*rows, on=20, workload="third")) == (100, 200)


def test_assumed_overheads_are_listed_by_lane_and_kind() -> None:
    found = select_in_force([dated(100), dated(0, lane=Lane.REALTIME)], "letters", DAY)
    assert found.assumed == (
        (Lane.REALTIME, OverheadKind.INFRASTRUCTURE),
        (Lane.BATCH, OverheadKind.INFRASTRUCTURE),
    )
    assert (
        found.of(Lane.BATCH)
        == "batch $150.00: $50.00 infrastructure (assumed), $100.00 engineering"
    )


@pytest.mark.parametrize(
    ("usd", "after", "why"),
    [
        ("-1", 0, "0 to 1,000,000,000"),
        ("NaN", 0, "0 to"),
        (str(MOST_USD + 1), 0, "0 to"),
        ("1", 1, "2026-11-02 is after today (2026-11-01, UTC)"),
    ],
)
def test_an_invalid_overhead_is_refused(usd: str, after: int, why: str) -> None:
    of = Overhead(
        None, Lane.BATCH, OverheadKind.ENGINEERING, Decimal(usd), DAY + timedelta(days=after)
    )
    assert why in (refusal(of, today=DAY) or "")


@given(st.lists(st.builds(dated, st.integers(0, 99), after=st.integers(0, 30))), st.integers(0, 30))
def test_an_overhead_with_a_later_date_never_changes_earlier_amounts(
    rows: list[DatedOverhead], on: int
) -> None:
    later = [each for each in rows if each.overhead.from_date > DAY + timedelta(days=on)]
    assert amount(*rows, on=on) == amount(*(each for each in rows if each not in later), on=on)

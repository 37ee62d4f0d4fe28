"""Reserving money of hard budgets: never more than is left, and no item that does not fit blocks cheaper items."""

from datetime import timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from lanes.ids import BudgetId, WorkId
from lanes.money.budget import (
    BATCHES_REST,
    CALLS_REST,
    Budget,
    BudgetStatus,
    Period,
    ReserveCandidate,
    ReserveResult,
    reserve,
)
from tests.conftest import NOON

ZERO = Decimal(0)


def status(
    hard: str,
    *,
    spent: str = "0",
    calls: str = "0",
    batches: str = "0",
    consumer: str | None = None,
    workload: str = "letters",
    period: Period = Period.DAY,
) -> BudgetStatus:
    of = Budget(workload, consumer, period, "UTC", None, Decimal(hard))
    return BudgetStatus(
        of, of.begins(NOON), of.ends(NOON), Decimal(spent), ZERO, Decimal(calls), Decimal(batches)
    )


def wants(*bounds: str, consumers: str = "", workload: str = "letters") -> list[ReserveCandidate]:
    names = consumers.ljust(len(bounds), "-")
    return [
        ReserveCandidate(WorkId(n), workload, None if name == "-" else name, Decimal(bound))
        for n, (bound, name) in enumerate(zip(bounds, names, strict=True))
    ]


def take(
    candidates: list[ReserveCandidate], *of: BudgetStatus, least: str = "0.01"
) -> ReserveResult:
    named = {BudgetId(n): each for n, each in enumerate(of)}
    return reserve(
        candidates, named, least={each.budget.workload: Decimal(least) for each in of}, now=NOON
    )


def paid(then: ReserveResult) -> list[int]:
    return [each.work_id for each in then.paid]


def test_a_claim_is_reduced_to_the_items_that_fit_the_budget() -> None:
    then = take(wants("0.4", "0.4", "0.4"), status("1", calls="0.1"))
    assert (paid(then), then.waiting, then.resting, then.stopped) == (
        [0, 1],
        {"letters"},
        [],
        set(),
    )
    assert then.refused == {0: None}


def test_an_item_dearer_than_the_rest_of_the_budget_rests_and_its_neighbours_are_paid() -> None:
    then = take(wants("0.01", "2", "0.01"), status("1"))
    assert paid(then) == [0, 2]
    ((dear, until),) = then.resting
    assert (dear.work_id, until) == (1, status("1").ends_at)
    assert (then.waiting, then.stopped, then.refused) == (set(), set(), {0: None})


def test_an_item_that_needs_money_reserved_for_batches_rests_for_a_minute() -> None:
    then = take(wants("0.5"), status("1", batches="0.8"))
    assert [until for _, until in then.resting] == [NOON + BATCHES_REST]
    assert then.refused == {0: Decimal("0.5")}


def test_an_item_waits_for_calls_in_flight_whose_reserved_money_could_pay_it() -> None:
    then = take(wants("0.5"), status("1", calls="0.8"))
    assert (then.waiting, then.resting, then.refused) == ({"letters"}, [], {0: Decimal("0.5")})


def test_a_workload_stops_if_less_is_left_than_any_of_its_calls_may_cost() -> None:
    then = take(wants("0.02", "0.03"), status("1", spent="0.995"))
    assert (then.stopped, then.resting, then.refused) == ({"letters"}, [], {0: Decimal("0.02")})


def test_a_call_dearer_than_the_whole_budget_does_not_mark_it_as_used_up() -> None:
    assert take(wants("2"), status("1")).refused == {}


def test_a_consumer_without_money_stops_no_other_consumer() -> None:
    spent, calls = status("1", spent="1", consumer="a"), status("1", calls="1", consumer="b")
    then = take(wants("0.1", "0.1", "0.1", "0.1", consumers="abc-"), spent, calls, status("9"))
    assert paid(then) == [2, 3]
    assert [(each.work_id, until) for each, until in then.resting] == [
        (0, spent.ends_at),
        (1, NOON + CALLS_REST),
    ]
    assert (then.waiting, then.stopped) == (set(), set())


def test_an_item_rests_until_the_last_of_its_used_up_budgets_begins_a_new_period() -> None:
    month = status("1", spent="1", consumer="a", period=Period.MONTH)
    then = take(wants("0.1", consumers="a"), status("1", spent="1", consumer="a"), month)
    assert [until for _, until in then.resting] == [month.ends_at]
    assert month.ends_at > NOON + timedelta(days=2)


def test_the_budget_of_one_workload_blocks_no_other_workload() -> None:
    bills = [ReserveCandidate(WorkId(7), "bills", None, Decimal("0.5"))]
    then = take(wants("0.5") + bills, status("1", spent="1"), status("1", workload="bills"))
    assert (paid(then), then.stopped) == ([7], {"letters"})


amounts = st.integers(0, 300).map(lambda n: Decimal(n) / 100)
statuses = st.builds(
    lambda hard, spent, calls, batches, consumer: status(
        str(hard), spent=str(spent), calls=str(calls), batches=str(batches), consumer=consumer
    ),
    amounts,
    amounts,
    amounts,
    amounts,
    st.sampled_from([None, "a", "b"]),
)
asked = st.lists(st.tuples(amounts, st.sampled_from("ab-")), max_size=12)


@given(asked, st.lists(statuses, min_size=1, max_size=4))
def test_no_budget_pays_more_than_it_has_left_and_every_item_is_paid_or_has_a_reason(
    asked: list[tuple[Decimal, str]], of: list[BudgetStatus]
) -> None:
    candidates = wants(
        *(str(usd) for usd, _ in asked), consumers="".join(name for _, name in asked)
    )
    then = take(candidates, *of)
    for each in of:
        pays = [
            one.bound_usd for one in then.paid if each.budget.pays_for(one.workload, one.consumer)
        ]
        assert sum(pays, ZERO) <= max(ZERO, each.left_usd)
    told = {each.work_id for each in then.paid} | {each.work_id for each, _ in then.resting}
    assert then.waiting or then.stopped or len(told) == len(candidates)
    assert all(until > NOON for _, until in then.resting)

"""The blame for faults: an outage blames no item, and a poisonous item is found while others are answered."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.ids import WorkId
from lanes.realtime.health import (
    DOWN_AFTER,
    LONGEST_PAUSE_S,
    Blame,
    Health,
    PastFaults,
    find_faulty,
)
from lanes.realtime.pace import MOST_PATIENCE
from tests.conftest import NOON, later

MODEL = "claude-haiku-5-5"


def health(*, answered: datetime | None = NOON) -> Health:
    """Return a health with the longest pauses, and with an answer of the model at noon by default."""
    one = Health(jitter=lambda: 1.0)
    if answered is not None:
        one.record_answer(MODEL, most=64, now=answered)
    return one


def test_a_fault_while_others_are_answered_is_blamed_on_the_item() -> None:
    assert health().record_fault(MODEL, [WorkId(1)], now=later(seconds=59)) is Blame.ITEM


def test_a_fault_of_a_pack_while_others_are_answered_is_blamed_on_the_pack() -> None:
    assert (
        health().record_fault(MODEL, [WorkId(1), WorkId(2), WorkId(3)], now=later(seconds=5))
        is Blame.PACK
    )


@pytest.mark.parametrize("answered", [None, later(seconds=-61)])
def test_a_fault_is_blamed_on_the_provider_without_an_answer_in_the_last_minute(
    answered: datetime | None,
) -> None:
    assert health(answered=answered).record_fault(MODEL, [WorkId(1)], now=NOON) is Blame.PROVIDER


def test_an_answer_of_another_model_is_no_evidence_against_an_item() -> None:
    assert health().record_fault("claude-opus-5-5", [WorkId(1)], now=NOON) is Blame.PROVIDER


def test_a_fault_marked_as_innocent_is_blamed_on_the_provider() -> None:
    assert (
        health().record_fault(MODEL, [WorkId(1)], innocent=True, now=later(seconds=1))
        is Blame.PROVIDER
    )


def test_only_the_first_fault_of_an_outage_is_blamed_on_an_item() -> None:
    one = health()
    blames = [one.record_fault(MODEL, [WorkId(work)], now=later(seconds=1)) for work in range(187)]
    assert blames == [Blame.ITEM] + [Blame.PROVIDER] * 186


def test_an_item_that_faults_repeatedly_while_others_are_answered_is_blamed_each_time() -> None:
    one = health()
    for second in range(5):
        assert (
            one.record_fault(
                MODEL, [WorkId(7)], last_chance=second == 4, now=later(seconds=10 * second)
            )
            is Blame.ITEM
        )
        one.record_answer(MODEL, most=64, now=later(seconds=10 * second + 1))


def test_old_evidence_never_uses_up_the_last_chance_of_a_lone_item_in_an_outage() -> None:
    one = health()
    blames = [
        one.record_fault(
            MODEL, [WorkId(7)], last_chance=failures >= 4, now=later(seconds=2 * failures)
        )
        for failures in range(9)
    ]
    assert blames == [Blame.ITEM] * 4 + [Blame.PROVIDER] * 5


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 20)), max_size=200))
def test_no_item_spends_its_whole_retry_budget_in_an_outage(faults: list[tuple[int, int]]) -> None:
    one, spent, second = health(), dict.fromkeys(range(21), 0), 0
    for pause, work in faults:
        second += pause
        last = spent[WorkId(work)] + 1 >= 5
        spent[WorkId(work)] += (
            one.record_fault(MODEL, [WorkId(work)], last_chance=last, now=later(seconds=second))
            is Blame.ITEM
        )
    assert max(spent.values()) < 5


def test_a_model_rests_longer_with_each_fault_and_never_longer_than_five_seconds() -> None:
    one, now, pauses = health(answered=None), NOON, []
    for _ in range(9):
        one.record_fault(MODEL, [WorkId(1)], now=now)
        assert one.calls(MODEL, now) == 0
        until = one.next_change(now)
        assert until is not None
        pauses.append((until - now).total_seconds())
        now = until
    assert pauses == [0.25, 0.5, 1, 2, 4, *[LONGEST_PAUSE_S] * 4]


def test_faults_of_calls_in_flight_at_the_start_of_a_rest_do_not_lengthen_the_rest() -> None:
    one = health(answered=None)
    for work in range(64):
        one.record_fault(MODEL, [WorkId(work)], now=NOON)
    assert one.next_change(NOON) == NOON + timedelta(seconds=0.25)


def test_a_model_gets_one_call_at_a_time_after_a_rest_and_one_more_with_each_answer() -> None:
    one = health(answered=None)
    one.record_fault(MODEL, [WorkId(1)], now=NOON)
    assert one.calls(MODEL, later(seconds=1)) == 1
    one.of(MODEL).in_flight = 1
    assert one.calls(MODEL, later(seconds=1)) == 0
    one.of(MODEL).in_flight = 0
    one.record_answer(MODEL, most=3, now=later(seconds=2))
    assert one.calls(MODEL, later(seconds=2)) == 2
    one.record_answer(MODEL, most=3, now=later(seconds=3))
    one.record_answer(MODEL, most=3, now=later(seconds=3))
    assert one.calls(MODEL, later(seconds=3)) is None


def test_several_faults_in_a_row_are_an_outage_that_an_answer_ends() -> None:
    one = health(answered=None)
    for work in range(DOWN_AFTER):
        assert not one.is_down(MODEL)
        one.record_fault(MODEL, [WorkId(work)], now=NOON)
    assert one.is_down(MODEL)
    one.record_answer(MODEL, most=64, now=later(seconds=1))
    assert not one.is_down(MODEL)
    assert one.next_change(later(seconds=1)) is None


def test_a_cut_call_is_blamed_on_the_item_if_the_model_answered_others_during_the_call() -> None:
    """Cut six slow items in a row: without another answer during their calls they would be an outage."""
    one = health(answered=later(seconds=10))
    blames = [
        one.record_fault(
            MODEL, [WorkId(n)], cut=True, began_at=later(seconds=5), now=later(seconds=37)
        )
        for n in range(6)
    ]
    assert blames == [Blame.ITEM] * 6
    assert one.calls(MODEL, later(seconds=37)) is None
    assert not one.is_down(MODEL)


def test_a_model_silent_for_a_whole_call_is_blamed_and_gets_more_time_until_a_quick_answer() -> (
    None
):
    one = health(answered=later(seconds=4))
    assert (
        one.record_fault(
            MODEL, [WorkId(1)], cut=True, began_at=later(seconds=5), now=later(seconds=37)
        )
        is Blame.PROVIDER
    )
    assert one.patience(MODEL, 0) == 2
    one.record_answer(MODEL, most=64, quick=False, now=later(seconds=80))
    assert one.patience(MODEL, 0) == 2
    one.record_answer(MODEL, most=64, now=later(seconds=82))
    assert one.patience(MODEL, 0) == 1


@given(st.lists(st.sampled_from(["cut", "answered"]), max_size=9), st.integers(0, 40))
def test_patience_stays_within_its_bounds_and_is_never_lower_for_an_item_that_failed(
    told: list[str], failures: int
) -> None:
    one = health(answered=None)
    for second, what in enumerate(told):
        if what == "cut":
            one.record_fault(
                MODEL,
                [WorkId(1)],
                cut=True,
                began_at=later(seconds=second),
                now=later(seconds=second),
            )
        else:
            one.record_answer(MODEL, most=64, now=later(seconds=second))
    assert 1 <= one.patience(MODEL, 0) <= one.patience(MODEL, failures) <= MOST_PATIENCE


FIRST, BESIDE, SINCE = PastFaults(False, False), PastFaults(True, False), PastFaults(False, True)


@pytest.mark.parametrize(
    ("faulted", "meanwhile", "others", "at_fault_"),
    [
        ([FIRST], True, False, False),  # its first fault: an outage may have begun
        ([BESIDE], False, False, True),  # it faults again, after a fault while others were answered
        ([SINCE], False, False, True),  # it faults again, after others were answered
        ([BESIDE], False, True, False),  # requests of other batches fault too
        ([SINCE], True, True, False),
        ([BESIDE, BESIDE], False, False, True),
        (
            [SINCE, SINCE],
            False,
            False,
            False,
        ),  # they met an outage before, and this may be another one
        ([SINCE, BESIDE], True, False, True),
        (
            [BESIDE, FIRST],
            True,
            False,
            False,
        ),  # one of them never faulted while others were answered: it clears the other one
    ],
)
def test_requests_of_an_unanswered_batch_are_blamed_only_with_evidence_against_all_of_them(
    faulted: list[PastFaults], meanwhile: bool, others: bool, at_fault_: bool
) -> None:
    requests = dict(enumerate(faulted))
    found = find_faulty(requests, answered_meanwhile=meanwhile, others_faulted=others)
    assert found == (set(requests) if at_fault_ else set())


@given(st.lists(st.just(FIRST), min_size=1), st.booleans(), st.booleans())
def test_requests_that_fault_for_the_first_time_are_never_blamed(
    faulted: list[PastFaults], meanwhile: bool, others: bool
) -> None:
    assert (
        find_faulty(dict(enumerate(faulted)), answered_meanwhile=meanwhile, others_faulted=others)
        == set()
    )

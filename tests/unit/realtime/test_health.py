"""Whose fault a fault is. An outage blames nobody, and a poisonous item is found while the others are answered."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.ids import WorkId
from lanes.realtime.health import DOWN_AFTER, LONGEST_PAUSE_S, Blame, Health, PastFaults, at_fault
from lanes.realtime.pace import MOST_PATIENCE
from tests.conftest import NOON, later

MODEL = "claude-haiku-5-5"


def health(*, answered: datetime | None = NOON) -> Health:
    """Longest pauses, and a model that answered at noon."""
    one = Health(jitter=lambda: 1.0)
    if answered is not None:
        one.record_answer(MODEL, most=64, now=answered)
    return one


def test_a_fault_while_others_are_answered_is_the_items() -> None:
    assert health().record_fault(MODEL, [WorkId(1)], now=later(seconds=59)) is Blame.ITEM


def test_a_fault_of_a_pack_while_others_are_answered_is_nobodys_until_each_was_alone() -> None:
    assert (
        health().record_fault(MODEL, [WorkId(1), WorkId(2), WorkId(3)], now=later(seconds=5))
        is Blame.PACK
    )


@pytest.mark.parametrize("answered", [None, later(seconds=-61)])
def test_without_an_answer_of_the_last_minute_a_fault_is_the_providers(
    answered: datetime | None,
) -> None:
    assert health(answered=answered).record_fault(MODEL, [WorkId(1)], now=NOON) is Blame.PROVIDER


def test_an_answer_of_another_model_proves_nothing() -> None:
    assert health().record_fault("claude-opus-5-5", [WorkId(1)], now=NOON) is Blame.PROVIDER


def test_an_overload_and_a_refused_connection_are_never_an_items_fault() -> None:
    assert (
        health().record_fault(MODEL, [WorkId(1)], innocent=True, now=later(seconds=1))
        is Blame.PROVIDER
    )


def test_when_an_outage_begins_only_the_first_fault_is_an_items() -> None:
    one = health()
    blames = [one.record_fault(MODEL, [WorkId(work)], now=later(seconds=1)) for work in range(187)]
    assert blames == [Blame.ITEM] + [Blame.PROVIDER] * 186


def test_an_item_that_faults_again_and_again_beside_answered_ones_pays_each_time() -> None:
    one = health()
    for second in range(5):
        assert (
            one.record_fault(
                MODEL, [WorkId(7)], last_chance=second == 4, now=later(seconds=10 * second)
            )
            is Blame.ITEM
        )
        one.record_answer(MODEL, most=64, now=later(seconds=10 * second + 1))


def test_an_item_alone_in_an_outage_is_never_ended_by_old_evidence() -> None:
    one = health()
    blames = [
        one.record_fault(
            MODEL, [WorkId(7)], last_chance=failures >= 4, now=later(seconds=2 * failures)
        )
        for failures in range(9)
    ]
    assert blames == [Blame.ITEM] * 4 + [Blame.PROVIDER] * 5


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 20)), max_size=200))
def test_no_item_fails_in_an_outage_whatever_comes_when(faults: list[tuple[int, int]]) -> None:
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


def test_the_calls_that_were_in_flight_when_a_rest_began_do_not_lengthen_it() -> None:
    one = health(answered=None)
    for work in range(64):
        one.record_fault(MODEL, [WorkId(work)], now=NOON)
    assert one.next_change(NOON) == NOON + timedelta(seconds=0.25)


def test_a_model_that_rested_is_asked_one_call_at_a_time_then_more_with_each_answer() -> None:
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


def test_some_faults_in_a_row_are_an_outage_and_an_answer_ends_it() -> None:
    one = health(answered=None)
    for work in range(DOWN_AFTER):
        assert not one.is_down(MODEL)
        one.record_fault(MODEL, [WorkId(work)], now=NOON)
    assert one.is_down(MODEL)
    one.record_answer(MODEL, most=64, now=later(seconds=1))
    assert not one.is_down(MODEL)
    assert one.next_change(later(seconds=1)) is None


def test_a_call_that_we_cut_is_no_fault_of_a_model_that_answered_others_meanwhile() -> None:
    """Six slow items in a row: without an answer while they were asked they would be an outage."""
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


def test_a_model_that_is_silent_for_as_long_as_a_call_may_take_is_at_fault_and_gets_more_time() -> (
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
def test_patience_never_ends_and_an_item_that_failed_gets_more(
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
        ([FIRST], True, False, False),  # it faults for the first time: an outage may have begun
        ([BESIDE], False, False, True),  # it faulted while others were answered, and does again
        ([SINCE], False, False, True),  # others were answered since, and it faults again
        ([BESIDE], False, True, False),  # others fault too
        ([SINCE], True, True, False),
        ([BESIDE, BESIDE], False, False, True),
        (
            [SINCE, SINCE],
            False,
            False,
            False,
        ),  # they met an outage before, and perhaps meet another one
        ([SINCE, BESIDE], True, False, True),
        (
            [BESIDE, FIRST],
            True,
            False,
            False,
        ),  # one of them never faulted beside answers: it clears the other one
    ],
)
def test_whose_fault_it_is_that_no_request_of_a_batch_was_answered(
    faulted: list[PastFaults], meanwhile: bool, others: bool, at_fault_: bool
) -> None:
    requests = dict(enumerate(faulted))
    found = at_fault(requests, answered_meanwhile=meanwhile, others_faulted=others)
    assert found == (set(requests) if at_fault_ else set())


@given(st.lists(st.just(FIRST), min_size=1), st.booleans(), st.booleans())
def test_an_outage_that_requests_meet_for_the_first_time_blames_none(
    faulted: list[PastFaults], meanwhile: bool, others: bool
) -> None:
    assert (
        at_fault(dict(enumerate(faulted)), answered_meanwhile=meanwhile, others_faulted=others)
        == set()
    )

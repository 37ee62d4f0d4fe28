"""How much is routed at a time."""

from hypothesis import given
from hypothesis import strategies as st

from lanes.routing.portions import BESIDE_ANSWERS, FEW, MOST, Portions


def test_few_are_routed_first_and_all_that_a_transaction_takes_while_nobody_is_answered() -> None:
    portions = Portions()
    assert portions.size == FEW
    portions.go_on(busy=False)
    assert portions.size == MOST


def test_what_is_new_waits_for_no_large_chunk() -> None:
    portions = Portions(size=MOST)
    portions.begin()
    assert portions.size == FEW


@given(st.lists(st.booleans(), max_size=30))
def test_a_backlog_is_never_routed_by_the_few_however_busy_a_drain_and_slow_a_machine_is(busy: list[bool]) -> None:
    portions = Portions()
    for each in busy:
        portions.begin()
        portions.go_on(busy=each)
        assert BESIDE_ANSWERS <= portions.size <= MOST

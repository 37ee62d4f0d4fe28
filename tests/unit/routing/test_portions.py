"""How much is routed at a time."""

from hypothesis import given
from hypothesis import strategies as st

from tasks.router import BESIDE_ANSWERS, FEW, HALVED, MOST, Portions, halves


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
def test_a_backlog_is_never_routed_by_the_few_however_busy_a_drain_and_slow_a_machine_is(
    busy: list[bool],
) -> None:
    portions = Portions()
    for each in busy:
        portions.begin()
        portions.go_on(busy=each)
        assert BESIDE_ANSWERS <= portions.size <= MOST


@given(st.integers(0, 2 * HALVED))
def test_many_are_saved_in_halves_few_at_once_and_all_in_their_order(number: int) -> None:
    of = range(number)
    parts = halves(of, HALVED)
    assert [each for part in parts for each in part] == [*of]
    assert len(parts) == (1 if number < HALVED else 2)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1

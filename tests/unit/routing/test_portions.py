"""How much is routed at a time."""

from hypothesis import given
from hypothesis import strategies as st

from lanes.routing.portions import BESIDE_ANSWERS_S, FEW, MOST, Portions

chunks = st.lists(st.tuples(st.floats(0, 10), st.booleans()), max_size=30)


def test_few_are_routed_first_and_all_that_a_transaction_takes_while_nobody_is_answered() -> None:
    portions = Portions()
    assert portions.size == FEW
    portions.took(3.0, busy=False)
    assert portions.size == MOST


def test_beside_answers_a_chunk_takes_no_longer_than_it_may() -> None:
    portions = Portions(size=MOST, many=MOST)
    portions.took(10 * BESIDE_ANSWERS_S, busy=True)
    assert portions.size == MOST // 10
    portions.took(BESIDE_ANSWERS_S / 2, busy=True)
    assert portions.size == 2 * (MOST // 10)


def test_what_is_new_waits_for_no_large_chunk() -> None:
    portions = Portions(size=MOST, many=MOST)
    portions.begin()
    assert portions.size == FEW


def test_a_backlog_is_not_routed_by_the_few_because_something_new_comes_all_the_time() -> None:
    portions, sizes = Portions(), list[int]()
    for _ in range(40):
        sizes.append(portions.size)
        portions.took(0.01 + portions.size * BESIDE_ANSWERS_S / 400, busy=True)
        if len(sizes) % 2:
            portions.begin()
    assert set(sizes[1::2]) == {FEW}  # what is new
    assert sum(sizes[20::2]) > 10 * 200


@given(chunks)
def test_a_chunk_has_always_a_few_and_never_more_than_a_transaction_takes(seen: list[tuple[float, bool]]) -> None:
    portions = Portions()
    for seconds, busy in seen:
        portions.took(seconds, busy=busy)
        assert FEW <= portions.size <= MOST

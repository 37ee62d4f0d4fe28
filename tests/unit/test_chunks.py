"""Chunks are bounded by number and by bytes, in order, and nothing is read ahead of them."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from lanes.packing import chunks


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 10), st.integers(1, 100))
def test_no_chunk_has_more_than_it_may_but_for_its_last_input(
    sizes: list[int], most: int, most_bytes: int
) -> None:
    made = list(chunks(sizes, most=most, most_bytes=most_bytes, weight=lambda size: size))
    assert list(itertools.chain(*made)) == sizes
    for chunk in made:
        assert 1 <= len(chunk) <= most
        assert sum(chunk[:-1]) < most_bytes
    for chunk in made[:-1]:  # none ends too early
        assert len(chunk) == most or sum(chunk) >= most_bytes


def test_an_endless_source_is_read_as_far_as_it_is_asked_for() -> None:
    numbers = itertools.count()
    assert next(chunks(numbers, most=10, most_bytes=3, weight=lambda _: 1)) == [0, 1, 2]
    assert next(numbers) == 3

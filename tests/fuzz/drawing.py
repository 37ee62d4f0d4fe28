"""Cases drawn by Hypothesis from a seed: the same seed draws the same cases."""

from typing import TypeVar

from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st

from tests.conftest import UNHURRIED

T = TypeVar("T")


def drawn(cases: st.SearchStrategy[T], number: int, of: int) -> list[T]:
    """Return about `number` cases that the seed `of` draws."""
    found: list[T] = []

    @seed(of)
    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=UNHURRIED,
    )
    @given(cases)
    def keep(case: T) -> None:
        found.append(case)

    keep()
    return found

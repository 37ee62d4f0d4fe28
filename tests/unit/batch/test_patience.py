"""A run waits for a busy provider as long as it is told, and never beyond its patience."""

from hypothesis import given
from hypothesis import strategies as st

from lanes.batch.departure import Patience

chances = st.floats(0, 1)


@given(st.lists(st.tuples(st.none() | st.floats(0, 1e7), chances), max_size=30))
def test_the_pauses_of_a_run_never_add_up_to_more_than_its_patience(
    busy: list[tuple[float | None, float]],
) -> None:
    patience = Patience(60)
    pauses = [patience.pause(retry_after_s=after, chance=chance) for after, chance in busy]
    assert sum(pause or 0 for pause in pauses) <= 60.0001


@given(st.floats(0, 40), chances)
def test_a_pause_is_at_least_as_long_as_the_provider_says(after: float, chance: float) -> None:
    pause = Patience(60).pause(retry_after_s=after, chance=chance)
    assert pause is not None
    assert after <= pause


def test_pauses_double_up_to_a_bound_and_are_short_again_after_an_answer() -> None:
    patience = Patience(1_000)
    pauses = [patience.pause(retry_after_s=None, chance=0) for _ in range(6)]
    assert pauses == [2, 4, 8, 16, 30, 30]
    patience.answered()
    assert patience.pause(retry_after_s=None, chance=1) == 3


def test_a_provider_that_names_days_is_left_to_a_later_run() -> None:
    assert Patience(60).pause(retry_after_s=86_400, chance=0) is None

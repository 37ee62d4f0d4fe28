"""How long calls take by how many items they carry."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.ids import VersionId
from lanes.realtime.service import UNSURE, ServiceTimes

ONE, TWO = VersionId(1), VersionId(2)


def learned(*calls: tuple[int, float], of: VersionId = ONE) -> ServiceTimes:
    times = ServiceTimes()
    for items, seconds in calls:
        times.answered(of, items, seconds)
    return times


def test_of_calls_of_a_size_that_was_never_asked_the_line_through_the_others_tells() -> None:
    times = learned(*[(1, 1.5), (3, 2.5), (5, 3.5)] * 10)
    assert [times.takes_s(ONE, items) / UNSURE for items in (1, 4, 20)] == pytest.approx(
        [1.5, 3, 11]
    )


def test_nothing_is_known_of_a_version_that_was_not_asked() -> None:
    assert learned((4, 9.0)).takes_s(TWO, 4) == 0


def test_where_all_calls_were_of_one_size_they_take_what_they_took() -> None:
    assert learned((4, 9.0), (4, 11.0)).takes_s(ONE, 20) / UNSURE == pytest.approx(10, abs=0.1)


def test_what_calls_took_long_ago_fades() -> None:
    times = learned(*[(4, 30.0)] * 50, *[(4, 2.0)] * 300)
    assert times.takes_s(ONE, 4) / UNSURE == pytest.approx(2, abs=0.1)


@given(
    st.lists(st.tuples(st.integers(1, 50), st.floats(0, 600)), min_size=1, max_size=50),
    st.integers(1, 50),
)
def test_more_items_never_take_less_and_nothing_takes_less_than_no_time(
    calls: list[tuple[int, float]], items: int
) -> None:
    times = learned(*calls)
    assert 0 <= times.takes_s(ONE, items) <= times.takes_s(ONE, items + 1)

"""Whether what was stated was right."""

from hypothesis import given
from hypothesis import strategies as st

from lanes.routing.prospect import EDGES, StatedBin, calibrations

told = st.builds(
    lambda workload, bin, items, back, off: StatedBin(
        workload,
        bin,
        items,
        min(back, items),
        items * (EDGES[bin - 1] + EDGES[bin]) / 2,
        items * off,
    ),
    st.sampled_from(["letters", "bills"]),
    st.integers(1, len(EDGES) - 1),
    st.integers(0, 50),
    st.integers(0, 50),
    st.floats(0, 1),
)


@given(st.lists(told, unique_by=lambda each: (each.workload, each.bin)))
def test_the_bins_of_a_workload_are_its_items_and_what_each_was_told_lies_within_its_bin(
    of: list[StatedBin],
) -> None:
    found = calibrations(of)
    assert sum(each.items for each in found) == sum(each.items for each in of)
    for each in found:
        assert each.items == sum(bin.items for bin in each.bins) > 0
        assert 0 <= each.back <= 1
        assert 0 <= each.brier <= 1
        assert all(bin.low <= bin.stated <= bin.high for bin in each.bins)


def test_a_workload_that_was_right_has_the_score_of_its_own_uncertainty() -> None:
    (found,) = calibrations([StatedBin("letters", 3, 100, 85, 85.0, 12.75)])
    assert (found.stated, found.back, found.brier) == (0.85, 0.85, 0.1275)
    assert [(bin.low, bin.high) for bin in found.bins] == [(0.8, 0.9)]


def test_of_nothing_there_is_no_score() -> None:
    assert calibrations([]) == []
    assert calibrations([StatedBin("letters", 3, 0, 0, 0, 0)]) == []

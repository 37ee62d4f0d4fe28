"""The reasons why the batch share changed: the parts add up to the change for any counts, and name the right causes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.routing.mix import LATER, TRAFFIC, MixChange, RoutedCount, compute_change, sentence
from lanes.words import Lane, Reason

NUMBERS = st.integers(0, 2_000)
COUNTS = st.lists(
    st.builds(
        RoutedCount,
        st.sampled_from([*Reason]),
        st.sampled_from([*Lane]),
        st.sampled_from(["", "app", "archive"]),
        st.sampled_from([None, 1, 2]),
        NUMBERS,
        NUMBERS,
    ),
    max_size=12,
    unique_by=lambda each: each[:4],
)


def moved(*counts: tuple[str, str, int, int], consumer: str = "") -> MixChange:
    """Return the change that these counts (reason, lane, before, now) make."""
    found = compute_change([RoutedCount(*each[:2], consumer, 1, *each[2:]) for each in counts])
    assert found is not None
    return found


def parts(of: MixChange) -> dict[str, float]:
    """Return the parts by reason that exceed rounding."""
    found = dict[str, float]()
    for each in of.parts:
        found[each.reason] = found.get(each.reason, 0.0) + each.change
    return {name: round(change, 4) for name, change in found.items() if abs(change) > 1e-9}


@given(COUNTS)
def test_the_parts_sum_to_the_change_of_the_share(counts: list[RoutedCount]) -> None:
    found = compute_change(counts)
    first = [each for each in counts if each.reason not in LATER]
    before, now = sum(each.before for each in first), sum(each.now for each in first)
    if not before or not now:
        assert found is None
        return
    assert found is not None
    assert (found.items_before, found.items) == (before, now)
    in_batch = sum(
        each.now * (LATER[Reason(each.reason)] if each.reason in LATER else each.lane == Lane.BATCH)
        for each in counts
    )
    assert found.now == pytest.approx(in_batch / now, abs=1e-9)
    assert sum(each.change for each in found.parts) == pytest.approx(found.change, abs=1e-9)


@given(COUNTS, st.integers(1, 5))
def test_the_same_mix_of_more_items_has_no_parts(counts: list[RoutedCount], times: int) -> None:
    found = compute_change([each._replace(now=each.before * times) for each in counts])
    assert found is None or parts(found) == {}


def test_more_urgent_items_explain_the_whole_fall_and_the_split_explains_none() -> None:
    found = moved(
        ("split", "batch", 71, 71), ("split", "realtime", 29, 29), ("urgent", "realtime", 0, 37)
    )
    assert (found.before, found.now) == pytest.approx((0.71, 71 / 137))
    assert parts(found) == {"urgent": pytest.approx(found.change, abs=1e-4)}


def test_items_that_a_guard_moves_to_batch_count_for_the_guard_and_not_for_the_split() -> None:
    found = moved(
        ("split", "batch", 70, 70), ("split", "realtime", 30, 10), ("capacity", "batch", 0, 20)
    )
    assert parts(found) == {"capacity": pytest.approx(0.2)}


def test_a_lowered_split_counts_as_the_splits_own_part() -> None:
    found = moved(("split", "batch", 50, 80), ("split", "realtime", 50, 20))
    assert parts(found) == {"split": pytest.approx(0.3)}


def test_moves_after_the_first_route_count_for_and_against_batch() -> None:
    found = moved(
        ("split", "realtime", 100, 100), ("shed", "batch", 0, 30), ("rescue", "realtime", 0, 10)
    )
    assert found.now == pytest.approx(0.2)
    assert parts(found) == {"shed": pytest.approx(0.3), "rescue": pytest.approx(-0.1)}


def test_a_consumer_that_sends_more_is_reported_as_traffic() -> None:
    found = compute_change(
        [
            RoutedCount("split", "batch", "archive", 1, 100, 300),
            RoutedCount("split", "realtime", "app", 1, 100, 100),
        ]
    )
    assert found is not None
    assert parts(found) == {TRAFFIC: pytest.approx(0.25)}


def test_the_sentence_names_the_largest_parts_towards_the_change_and_one_against_it() -> None:
    found = compute_change(
        [
            RoutedCount("split", "batch", "", 1, 71, 71),
            RoutedCount("split", "realtime", "", 1, 29, 24),
            RoutedCount("capacity", "batch", "", 1, 0, 5),
            RoutedCount("urgent", "realtime", "app", 1, 0, 60),
        ]
    )
    told = sentence("tickets", found, _told)
    assert told == (
        "Batch share of tickets fell from 71 % to 48 %: 26.6 points by `urgent` from consumer app; "
        "against it 3.1 points by `capacity` during incident 12."
    )


def _told(reason: str) -> str:
    return " during incident 12" if reason == "capacity" else ""


def test_the_sentence_says_that_the_share_stayed_or_that_a_period_is_empty() -> None:
    same = moved(("split", "batch", 71, 142), ("split", "realtime", 29, 58))
    assert sentence("tickets", same, _told) == "Batch share of tickets stayed at 71 %."
    assert sentence("tickets", compute_change([]), _told) == (
        "tickets had no items in one of the periods: there is nothing to compare."
    )

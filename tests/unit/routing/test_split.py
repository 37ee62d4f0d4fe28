"""The split: sticky buckets, and shares that only ever add or only ever take."""

from collections import Counter
from dataclasses import replace
from operator import eq

from hypothesis import given
from hypothesis import strategies as st

from lanes.routing.split import BUCKETS, Canary, Split, Splits, bucket, to_realtime, version_bucket
from tests.examples import version
from tests.unit.strategies import TEXT

points = st.integers(0, BUCKETS)
consumers = st.sampled_from([None, "desk", "night"])


@given(points, points, TEXT, st.none() | TEXT)
def test_raising_the_split_never_moves_an_item_away_from_realtime(
    low: int, high: int, key: str, entity: str | None
) -> None:
    low, high = sorted((low, high))
    place = bucket("letters", entity=entity, key=key)
    before, after = (to_realtime(Split("letters", None, points), place) for points in (low, high))
    assert after or not before


@given(TEXT, TEXT, st.none() | TEXT)
def test_a_bucket_is_stable_and_within_the_wheel(
    workload: str, key: str, entity: str | None
) -> None:
    place = bucket(workload, entity=entity, key=key)
    assert 0 <= place < BUCKETS
    assert place == bucket(workload, entity=entity, key=key)


@given(TEXT, TEXT, TEXT)
def test_items_of_one_entity_share_a_bucket_whatever_their_keys(
    entity: str, key: str, other: str
) -> None:
    assert bucket("letters", entity=entity, key=key) == bucket("letters", entity=entity, key=other)
    assert bucket("letters", entity=entity, key=key) == bucket("letters", entity=None, key=entity)


def test_buckets_never_change_between_releases() -> None:
    assert bucket("letters", entity=None, key="k1") == 8771
    assert bucket("letters", entity="customer 7", key="k1") == 6831
    assert bucket("tickets", entity=None, key="k1") == 7898


@given(TEXT, st.none() | TEXT)
def test_a_split_of_nothing_and_one_of_all_leave_no_doubt(key: str, entity: str | None) -> None:
    place = bucket("letters", entity=entity, key=key)
    assert not to_realtime(Split("letters", None, 0), place)
    assert to_realtime(Split("letters", None, BUCKETS), place)


def test_a_split_takes_about_its_share_of_many_items() -> None:
    quarter = Split("letters", None, 2_500)
    taken = Counter(
        to_realtime(quarter, bucket("letters", entity=None, key=f"k{n}")) for n in range(10_000)
    )
    assert 2_300 < taken[True] < 2_700


def test_the_buckets_of_two_workloads_are_independent() -> None:
    letters, tickets = (
        [bucket(workload, entity=None, key=f"k{n}") for n in range(1_000)]
        for workload in ("letters", "tickets")
    )
    assert sum(map(eq, letters, tickets)) < 10


def test_the_narrower_split_wins_and_without_any_everything_goes_to_batch() -> None:
    wide, narrow = Split("letters", None, 10), Split("letters", "desk", 20)
    splits = Splits([wide, narrow])
    assert splits.of("letters", "desk") is narrow
    assert splits.of("letters", "night") is wide
    assert splits.of("letters", None) is wide
    assert splits.of("tickets", "desk") == Split("tickets", None, 0)


def test_a_split_of_nothing_for_a_consumer_wins_over_one_of_all() -> None:
    narrow = Split("letters", "desk", 0)
    assert Splits([Split("letters", None, BUCKETS), narrow]).of("letters", "desk") is narrow


@given(
    st.lists(st.tuples(consumers, points | st.none()), max_size=6),
    consumers,
    points | st.none(),
    consumers,
    TEXT,
)
def test_a_change_of_a_split_moves_an_item_only_the_way_that_its_own_share_moves(
    rows: list[tuple[str | None, int | None]],
    changed: str | None,
    to: int | None,
    consumer: str | None,
    key: str,
) -> None:
    """Also one that lets a consumer inherit, or that moves the split which others inherit."""
    before = in_force(rows).of("letters", consumer)
    after = in_force([*rows, (changed, to)]).of("letters", consumer)
    place = bucket("letters", entity=None, key=key)
    was, now = to_realtime(before, place), to_realtime(after, place)
    assert not (after.basis_points >= before.basis_points and was and not now)
    assert not (after.basis_points <= before.basis_points and now and not was)


def in_force(rows: list[tuple[str | None, int | None]]) -> Splits:
    """The newest row of each consumer counts; one without a share says that it inherits."""
    return Splits(
        [Split("letters", whose, share) for whose, share in dict(rows).items() if share is not None]
    )


def test_version_buckets_never_change_between_releases() -> None:
    assert version_bucket("letters", entity=None, key="k1") == 9781
    assert version_bucket("letters", entity="customer 7", key="k1") == 1270


@given(TEXT, TEXT, TEXT)
def test_items_of_one_entity_get_one_version_whatever_their_keys(
    entity: str, key: str, other: str
) -> None:
    canary = Canary(version(2), 5_000)
    in_force = version(1)
    first, second = (
        canary.choose(in_force, entity=entity, key=each)[0].id for each in (key, other)
    )
    assert first == second


@given(points, points, TEXT, st.none() | TEXT)
def test_a_larger_share_takes_no_item_from_the_candidate(
    low: int, high: int, key: str, entity: str | None
) -> None:
    in_force, candidate = version(1), version(2)
    before, after = (
        Canary(candidate, share).choose(in_force, entity=entity, key=key)[0]
        for share in sorted((low, high))
    )
    assert after is candidate or before is in_force


@given(st.integers(0, 10_000))
def test_the_version_of_an_item_is_independent_of_its_lane(start: int) -> None:
    """A quarter of a quarter is on both sides; a shared salt would put all of it there, or nothing."""
    keys = [f"k{start + n}" for n in range(4_000)]
    both = sum(
        bucket("letters", entity=None, key=key) < 2_500
        and version_bucket("letters", entity=None, key=key) < 2_500
        for key in keys
    )
    assert abs(both - 250) < 5 * (4_000 * 1 / 16 * 15 / 16) ** 0.5


def test_a_canary_says_which_version_and_why() -> None:
    canary = Canary(replace(version(2), number=2), 2_500)
    place = version_bucket("letters", entity=None, key="k1")
    _, said = canary.choose(version(1), entity=None, key="k1")
    number, where = (2, "inside") if place < 2_500 else (1, "outside")
    assert said == (
        f"version {number}: the canary sends 25 % to version 2, and version bucket {place:,} of 10,000 is {where}"
    )

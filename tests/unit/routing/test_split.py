"""The split: stable buckets, and shares whose changes move items in one direction only."""

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
def test_a_bucket_is_stable_and_in_range(workload: str, key: str, entity: str | None) -> None:
    place = bucket(workload, entity=entity, key=key)
    assert 0 <= place < BUCKETS
    assert place == bucket(workload, entity=entity, key=key)


@given(TEXT, TEXT, TEXT)
def test_items_of_one_entity_share_a_bucket_regardless_of_their_keys(
    entity: str, key: str, other: str
) -> None:
    assert bucket("letters", entity=entity, key=key) == bucket("letters", entity=entity, key=other)
    assert bucket("letters", entity=entity, key=key) == bucket("letters", entity=None, key=entity)


def test_buckets_never_change_between_releases() -> None:
    assert bucket("letters", entity=None, key="k1") == 8771
    assert bucket("letters", entity="customer 7", key="k1") == 6831
    assert bucket("tickets", entity=None, key="k1") == 7898


@given(TEXT, st.none() | TEXT)
def test_a_zero_split_sends_no_item_and_a_full_split_sends_every_item_to_real_time(
    key: str, entity: str | None
) -> None:
    place = bucket("letters", entity=entity, key=key)
    assert not to_realtime(Split("letters", None, 0), place)
    assert to_realtime(Split("letters", None, BUCKETS), place)


def test_a_split_sends_about_its_share_of_many_items_to_real_time() -> None:
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


def test_the_narrower_split_wins_and_without_a_split_every_item_goes_to_batch() -> None:
    wide, narrow = Split("letters", None, 10), Split("letters", "desk", 20)
    splits = Splits([wide, narrow])
    assert splits.of("letters", "desk") is narrow
    assert splits.of("letters", "night") is wide
    assert splits.of("letters", None) is wide
    assert splits.of("tickets", "desk") == Split("tickets", None, 0)


def test_a_consumers_zero_split_wins_over_a_full_split_of_the_workload() -> None:
    narrow = Split("letters", "desk", 0)
    assert Splits([Split("letters", None, BUCKETS), narrow]).of("letters", "desk") is narrow


@given(
    st.lists(st.tuples(consumers, points | st.none()), max_size=6),
    consumers,
    points | st.none(),
    consumers,
    TEXT,
)
def test_a_changed_split_moves_an_item_only_in_the_direction_of_its_own_share(
    rows: list[tuple[str | None, int | None]],
    changed: str | None,
    to: int | None,
    consumer: str | None,
    key: str,
) -> None:
    """Include changes that make a consumer inherit, and changes of the inherited split."""
    before = in_force(rows).of("letters", consumer)
    after = in_force([*rows, (changed, to)]).of("letters", consumer)
    place = bucket("letters", entity=None, key=key)
    was, now = to_realtime(before, place), to_realtime(after, place)
    assert not (after.basis_points >= before.basis_points and was and not now)
    assert not (after.basis_points <= before.basis_points and now and not was)


def in_force(rows: list[tuple[str | None, int | None]]) -> Splits:
    """Return the newest split of each consumer; a row without a share makes the consumer inherit."""
    return Splits(
        [Split("letters", whose, share) for whose, share in dict(rows).items() if share is not None]
    )


def test_version_buckets_never_change_between_releases() -> None:
    assert version_bucket("letters", entity=None, key="k1") == 9781
    assert version_bucket("letters", entity="customer 7", key="k1") == 1270


@given(TEXT, TEXT, TEXT)
def test_items_of_one_entity_get_one_version_regardless_of_their_keys(
    entity: str, key: str, other: str
) -> None:
    canary = Canary(version(2), 5_000)
    in_force = version(1)
    first, second = (
        canary.choose(in_force, entity=entity, key=each)[0].id for each in (key, other)
    )
    assert first == second


@given(points, points, TEXT, st.none() | TEXT)
def test_a_larger_canary_share_takes_no_item_from_the_candidate(
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
    """A quarter of a quarter is in both; with a shared salt it would be the whole quarter, or nothing."""
    keys = [f"k{start + n}" for n in range(4_000)]
    both = sum(
        bucket("letters", entity=None, key=key) < 2_500
        and version_bucket("letters", entity=None, key=key) < 2_500
        for key in keys
    )
    assert abs(both - 250) < 5 * (4_000 * 1 / 16 * 15 / 16) ** 0.5


def test_the_explanation_of_a_canary_names_the_version_and_the_reason() -> None:
    canary = Canary(replace(version(2), number=2), 2_500)
    place = version_bucket("letters", entity=None, key="k1")
    _, said = canary.choose(version(1), entity=None, key="k1")
    number, where = (2, "inside") if place < 2_500 else (1, "outside")
    assert said == (
        f"version {number}: the canary sends 25 % to version 2, and version bucket {place:,} of 10,000 is {where}"
    )

"""The split: sticky buckets, and shares that only ever add or only ever take."""

from collections import Counter
from operator import eq

from hypothesis import given
from hypothesis import strategies as st

from lanes.routing.split import BUCKETS, Split, Splits, bucket, to_realtime
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

"""How free places are divided: by weight, within bounds, and nobody starves."""

from hypothesis import given
from hypothesis import strategies as st

from lanes.shares import Standing, divide

standings = st.dictionaries(
    st.sampled_from("abcdefgh"), st.builds(Standing, st.integers(1, 100), st.integers(1, 100)), max_size=8
)
places = st.integers(1, 500)


@given(places, standings)
def test_every_workload_that_waits_gets_a_place_however_heavy_the_others_are(
    free: int, waiting: dict[str, Standing]
) -> None:
    shares = divide(free, waiting)
    assert shares.keys() == waiting.keys()
    assert all(share >= 1 for share in shares.values())


@given(places, standings)
def test_the_shares_exceed_the_places_by_less_than_the_number_of_workloads(
    free: int, waiting: dict[str, Standing]
) -> None:
    assert sum(divide(free, waiting).values()) < free + max(len(waiting), 1)


@given(places, standings)
def test_none_takes_more_than_its_largest_share_while_another_waits(free: int, waiting: dict[str, Standing]) -> None:
    if len(waiting) > 1:
        for name, share in divide(free, waiting).items():
            assert share <= max(1, free * waiting[name].max_share_percent / 100)


@given(places, st.integers(1, 100), st.integers(1, 100))
def test_a_workload_that_waits_alone_takes_everything(free: int, weight: int, most: int) -> None:
    assert divide(free, {"a": Standing(weight, most)}) == {"a": free}


@given(st.integers(-5, 0), standings)
def test_without_free_places_nobody_gets_one(free: int, waiting: dict[str, Standing]) -> None:
    assert set(divide(free, waiting).values()) <= {0}


@given(places, st.integers(1, 50))
def test_a_heavier_workload_never_gets_less(free: int, weight: int) -> None:
    shares = divide(free, {"light": Standing(weight, 75), "heavy": Standing(2 * weight, 75)})
    assert shares["heavy"] >= shares["light"]


def test_weights_divide_the_places() -> None:
    waiting = {"a": Standing(1, 75), "b": Standing(3, 75)}
    assert divide(16, waiting) == {"a": 4, "b": 12}
    assert divide(1, waiting) == {"a": 1, "b": 1}
    assert divide(16, {}) == {}

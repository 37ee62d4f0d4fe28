"""How places are divided: by weight, within bounds, what is in flight included, and nobody starves."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from lanes.realtime.limiter import divide
from lanes.workload.version import Entitlement

NAMES = "abcdefgh"
entitled = st.dictionaries(
    st.sampled_from(NAMES),
    st.builds(Entitlement, st.integers(1, 100), st.integers(1, 100)),
    max_size=8,
)
calls = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 40))
rooms = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 20))
places = st.integers(1, 200)


def shares(
    free: int,
    waiting: dict[str, Entitlement],
    *,
    in_flight: dict[str, int] | None = None,
    places: int = 16,
) -> dict:
    return divide(free, waiting, in_flight=in_flight or {}, places=places, rooms={})


@given(places, entitled, calls, rooms)
def test_never_more_places_are_given_than_are_free(
    free: int, waiting: dict[str, Entitlement], in_flight: dict[str, int], rooms: dict[str, int]
) -> None:
    given_out = divide(
        free, waiting, in_flight=in_flight, places=free + sum(in_flight.values()), rooms=rooms
    )
    assert sum(given_out.values()) <= free
    assert all(0 < number <= rooms.get(name, free) for name, number in given_out.items())


@given(places, entitled, calls)
def test_none_holds_more_than_its_largest_share_while_another_waits_or_is_served(
    free: int, waiting: dict[str, Entitlement], in_flight: dict[str, int]
) -> None:
    whole = free + sum(in_flight.values())
    contend = waiting.keys() | {name for name, held in in_flight.items() if held}
    if len(contend) > 1:
        for name, number in divide(
            free, waiting, in_flight=in_flight, places=whole, rooms={}
        ).items():
            assert number + in_flight.get(name, 0) <= max(
                1, whole * waiting[name].max_share_percent / 100
            )


@given(places, entitled, st.data())
def test_however_slow_its_calls_a_workload_never_gathers_more_than_its_share(
    whole: int, waiting: dict[str, Entitlement], data: st.DataObject
) -> None:
    """The others' calls end at once, its own never: the repeated division that once gave it everything."""
    if len(waiting) < 2:
        return
    slow = data.draw(st.sampled_from(sorted(waiting)))
    held = Counter[str]()
    for _ in range(30):
        held.update(divide(whole - held.total(), waiting, in_flight=held, places=whole, rooms={}))
        assert held[slow] <= max(1, whole * waiting[slow].max_share_percent / 100)
        held = Counter({slow: held[slow]})


@given(entitled, st.integers(1, 100))
def test_everybody_who_waits_is_served_in_time_though_places_come_free_one_by_one(
    waiting: dict[str, Entitlement], turns: int
) -> None:
    held = Counter[str]()
    for _ in waiting:
        held.update(divide(1, waiting, in_flight=held, places=len(waiting), rooms={}))
    assert held.keys() == waiting.keys()


@given(places, st.integers(1, 100), st.integers(1, 100))
def test_a_workload_that_is_alone_takes_everything(free: int, weight: int, most: int) -> None:
    assert shares(free, {"a": Entitlement(weight, most)}, places=free) == {"a": free}
    assert shares(free, {"a": Entitlement(weight, most)}, in_flight={"a": 3}, places=free + 3) == {
        "a": free
    }


@given(st.integers(-5, 0), entitled)
def test_without_free_places_nobody_gets_one(free: int, waiting: dict[str, Entitlement]) -> None:
    assert shares(free, waiting) == {}


@given(places, st.integers(1, 50))
def test_a_heavier_workload_never_gets_less(free: int, weight: int) -> None:
    given_out = shares(
        free,
        {"light": Entitlement(weight, 100), "heavy": Entitlement(2 * weight, 100)},
        places=free,
    )
    assert given_out.get("heavy", 0) >= given_out.get("light", 0)


def test_weights_divide_the_places() -> None:
    waiting = {"a": Entitlement(1, 75), "b": Entitlement(3, 75)}
    assert shares(16, waiting) == {"a": 4, "b": 12}
    assert shares(1, waiting) == {"b": 1}
    assert shares(16, {}) == {}

"""The size of a routing portion, and how long a backlog rests between portions."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from lanes.routing.room import (
    FEW,
    LEAST,
    LONGEST_REST,
    MOST,
    WITHIN_S,
    PortionBounds,
    Portions,
    RoutedPortion,
)
from tasks.router import HALVED, halves


@dataclass(frozen=True)
class Measured:
    """The measurements of one routed portion; the portion is full unless `ends` says that it took the last items."""

    seconds: float
    waited_s: float = 0.0
    urgent: int = 0
    busy: bool = True
    ends: bool = False


class MeasuringRouter:
    """A router of one workload with its own clock, which measures its portions."""

    def __init__(self) -> None:
        self.portions, self.at = Portions(), 0.0

    def route(self, portion: Measured) -> int:
        """Route a portion and return its size."""
        bounds = self.bounds()
        size = bounds.if_urgent if portion.urgent else bounds.most
        full = {"letters"} if size > FEW and "letters" not in bounds.resting else set[str]()
        self.at += portion.seconds
        self.portions.record_portion(
            RoutedPortion(size, portion.urgent, portion.waited_s, full),
            portion.seconds,
            waiting=[] if portion.ends else ["letters"],
            busy=portion.busy,
            at=self.at,
        )
        return size

    def bounds(self) -> PortionBounds:
        """Return the bounds of the next portion."""
        return self.portions.bounds(self.at)

    def rest(self) -> float:
        """Advance the clock by the backlog's rest and return its seconds."""
        rest_s = self.portions.rest_s(self.at)
        self.at += rest_s
        return rest_s


def grown() -> MeasuringRouter:
    """Return a router whose portions have grown to the largest size."""
    clock = MeasuringRouter()
    while clock.route(Measured(WITHIN_S / 4, busy=False)) < MOST:
        pass
    return clock


def test_the_first_portion_is_small_and_the_backlog_behind_it_gets_growing_portions() -> None:
    clock = MeasuringRouter()
    assert [clock.route(Measured(0.01, busy=False)) for _ in range(3)] == [FEW, LEAST, 2 * LEAST]


def test_portions_do_not_grow_without_a_backlog() -> None:
    clock = MeasuringRouter()
    sizes = [clock.route(Measured(0.01, busy=False, ends=True)) for _ in range(3)]
    assert sizes == [FEW, LEAST, LEAST]


def test_after_an_arrival_only_an_urgent_item_makes_one_portion_small() -> None:
    clock = grown()
    clock.portions.begin()
    assert (clock.bounds().if_urgent, clock.bounds().most) == (FEW, MOST)
    assert clock.route(Measured(0.01, urgent=1, busy=False)) == FEW
    assert (
        clock.route(Measured(0.01, urgent=1, busy=False)) == MOST
    )  # urgent items come all the time
    clock.portions.begin()
    assert clock.route(Measured(0.01, busy=False)) == MOST


def test_while_a_backlog_rests_it_is_left_out_and_others_get_small_portions() -> None:
    clock = grown()
    assert clock.route(Measured(WITHIN_S / 2)) == MOST
    assert clock.bounds() == PortionBounds(FEW, FEW, FEW, frozenset({"letters"}))
    assert clock.rest() > 0
    assert clock.bounds() == PortionBounds(MOST, MOST, FEW)


def test_a_few_large_items_of_a_backlog_rest_too() -> None:
    portions = Portions()
    portions.record_portion(
        RoutedPortion(1, full={"letters"}), 0.5, waiting=["letters", "notes"], busy=True, at=0.5
    )
    assert portions.rest_s(0.5) == 0.5
    assert portions.bounds(0.6).resting == {"letters"}


def test_nothing_rests_once_no_item_is_left() -> None:
    clock = grown()
    assert clock.route(Measured(WITHIN_S / 2, ends=True)) == MOST
    assert clock.rest() == 0


def test_a_backlog_rests_longer_the_later_urgent_items_are() -> None:
    rests: list[float] = []
    for late in (0.5, 1, 3, 100):
        clock = grown()
        clock.route(Measured(0.1, waited_s=late * WITHIN_S, urgent=1))
        rests.append(clock.rest() / 0.1)
    assert [round(each, 6) for each in rests] == [1, 1, 3, LONGEST_REST]


def test_a_flood_of_urgent_items_raises_the_urgent_portion_until_the_flood_ends() -> None:
    clock = MeasuringRouter()
    assert clock.bounds().urgent == FEW
    clock.route(Measured(0.01, urgent=FEW))
    assert clock.bounds().urgent == MOST
    clock.route(Measured(0.01, urgent=5))
    assert clock.bounds().urgent == FEW


portions = st.builds(
    Measured,
    st.floats(0.001, 10),
    st.floats(0, 1_000),
    st.integers(0, MOST),
    st.booleans(),
    st.booleans(),
)


@given(st.lists(portions, max_size=60))
def test_a_backlog_never_stops_and_regains_full_portions_once_routing_is_in_time(
    before: list[Measured],
) -> None:
    clock = MeasuringRouter()
    for each in before:
        clock.rest()
        clock.portions.begin()
        clock.route(each)
        clock.rest()
        assert LEAST <= clock.route(each) <= MOST
        assert clock.portions.rest_s(clock.at) <= LONGEST_REST * each.seconds * 1.001
    clock.rest()
    sizes = [clock.route(Measured(WITHIN_S / 2, busy=False)) for _ in range(30)]
    assert sizes[-1] == MOST


@given(st.floats(0.0002, 0.1))
def test_portions_converge_to_a_size_that_is_routed_in_time(per_item_s: float) -> None:
    clock, took = MeasuringRouter(), list[float]()
    for _ in range(60):
        clock.rest()
        seconds = 0.01 + per_item_s * clock.bounds().most
        clock.route(Measured(seconds))
        took.append(seconds)
    assert max(took[30:]) <= took[0] + WITHIN_S + per_item_s * LEAST


def test_portions_stay_large_where_a_small_one_takes_long_too() -> None:
    clock = MeasuringRouter()
    sizes = [clock.route(Measured(1 + clock.bounds().most / 20_000, busy=False)) for _ in range(20)]
    assert sizes[-1] == MOST


@given(st.integers(0, 2 * HALVED))
def test_many_items_are_saved_in_two_halves_and_few_in_one_part_all_in_order(number: int) -> None:
    of = range(number)
    parts = halves(of, HALVED)
    assert [each for part in parts for each in part] == [*of]
    assert len(parts) == (1 if number < HALVED else 2)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1

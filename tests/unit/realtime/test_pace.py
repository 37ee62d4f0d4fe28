"""The number of calls in flight, and the division of their places by weight and within bounds; every workload gets some."""

import math
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.realtime.limiter import MayStart, Pack, divide
from lanes.realtime.pace import (
    CALLS_PER_S,
    DEFAULT_WAIT,
    FREEZE,
    LEAST,
    LONGEST_WAIT,
    Backpressure,
    Places,
)
from lanes.realtime.scheduler import ASIDE
from lanes.realtime.state import DrainState
from lanes.words import Purpose
from lanes.workload.version import Entitlement, Version
from tests.conftest import NOON, later
from tests.examples import version
from tests.unit.realtime.work import claimed

HAIKU, SONNET, OPUS = (
    version(n, realtime_model=f"claude-{name}-5-5")
    for n, name in enumerate(("haiku", "sonnet", "opus"))
)
MODEL = "claude-haiku-5-5"
steps = st.lists(
    st.tuples(st.just("start"), st.integers(1, 5))
    | st.tuples(st.just("end"), st.integers(1, 5))
    | st.tuples(st.just("answered"), st.floats(0, 600))
    | st.tuples(st.just("slow_down"), st.none() | st.floats() | st.integers(0, 10**9))
    | st.tuples(st.just("freeze"), st.just(0)),
    max_size=60,
)
NAMES = "abcdefgh"
entitled = st.dictionaries(
    st.sampled_from(NAMES),
    st.builds(Entitlement, st.integers(1, 100), st.integers(1, 100)),
    max_size=8,
)
calls = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 40))
rooms = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 20))
places = st.integers(1, 200)


class LimitedLane:
    """The places of a drain, the backpressure of the provider, and the calls in flight."""

    def __init__(self, most: int = 16, *, bounded: bool = True) -> None:
        self.places = Places(most, bounded=bounded)
        self.backpressure = Backpressure(self.places)
        self.running: list[Pack] = []

    def start(self, calls: int) -> None:
        for _ in range(calls):
            self.running.append(pack := Pack(HAIKU, [claimed(1, HAIKU)], NOON))
            for each in (self.places, self.backpressure):
                each.started(pack, NOON)

    def end(self, calls: int) -> None:
        for _ in range(calls):
            pack = self.running.pop()
            for each in (self.places, self.backpressure):
                each.ended(pack, None, NOON)

    def answered(self, seconds: float) -> None:
        self.places.record_answer(seconds)
        self.backpressure.record_answer(MODEL)

    def slow_down(self, retry_after_s: float | None = 0, times: int = 1) -> None:
        for _ in range(times):
            self.backpressure.slow_down(MODEL, retry_after_s=retry_after_s, now=NOON)

    def room(self, seconds: float = 1, of: Version = HAIKU) -> int | None:
        return self.backpressure.room(of, later(seconds=seconds))


@given(st.integers(1, 64), steps)
def test_the_places_stay_within_their_bounds_after_any_events(
    most: int, happens: list[tuple[str, float | None]]
) -> None:
    lane = LimitedLane(most)
    for minute, (what, value) in enumerate(happens):
        now = later(minutes=minute)
        match what:
            case "start":
                lane.start(min(int(value or 0), lane.places.free))
            case "end":
                lane.end(min(int(value or 0), len(lane.running)))
            case "answered":
                lane.answered(value or 0)
            case "slow_down":
                lane.backpressure.slow_down(MODEL, retry_after_s=value, now=now)
            case _:
                lane.backpressure.freeze(now)
        assert 0 <= (lane.backpressure.room(HAIKU, now) or 0) <= most
        assert lane.places.in_flight.get("letters", 0) == len(lane.running) <= most
        assert 0 <= lane.places.free <= most - len(lane.running)
        change = lane.backpressure.next_change(now)
        assert change is None or now < change <= now + LONGEST_WAIT
        assert lane.backpressure.room(OPUS, now) == (
            0 if lane.backpressure.is_frozen(now) else None
        )


def test_all_places_are_free_at_first_and_each_call_takes_one() -> None:
    lane = LimitedLane()
    assert lane.places.free == 16
    lane.start(10)
    assert lane.places.free == 6
    lane.end(10)
    assert lane.places.free == 16


@pytest.mark.parametrize(("times", "room"), [(1, 8), (2, 4), (3, 2), (4, 1), (5, 1), (50, 1)])
def test_a_rate_limit_halves_the_calls_of_its_model_and_leaves_at_least_one(
    times: int, room: int
) -> None:
    lane = LimitedLane()
    lane.slow_down(times=times)
    assert lane.room() == room


def test_no_call_starts_before_the_retry_time_that_the_provider_named() -> None:
    lane = LimitedLane()
    lane.slow_down(12)
    assert (lane.room(11.9), lane.room(12)) == (0, 8)


def test_a_rate_limit_or_a_freeze_of_one_model_does_not_limit_other_models() -> None:
    lane, now = LimitedLane(), later(seconds=1)
    lane.slow_down(12)
    lane.backpressure.freeze(NOON, model=SONNET.spec.realtime_model)
    assert (lane.room(), lane.room(of=SONNET), lane.room(of=OPUS)) == (0, 0, None)
    assert lane.backpressure.compute_rest_end(OPUS, now) == now
    assert lane.backpressure.compute_rest_end(HAIKU, now) == later(seconds=12)


@pytest.mark.parametrize(
    ("retry_after_s", "wait"),
    [
        (None, DEFAULT_WAIT),
        (0, timedelta(0)),
        (-5, timedelta(0)),
        (10_000, LONGEST_WAIT),
        (1e30, LONGEST_WAIT),
        (math.inf, LONGEST_WAIT),
    ],
)
def test_a_retry_after_is_obeyed_up_to_five_minutes(
    retry_after_s: float | None, wait: timedelta
) -> None:
    lane = LimitedLane()
    lane.slow_down(retry_after_s)
    assert lane.backpressure.compute_rest_end(HAIKU, NOON) == NOON + wait


def test_a_shorter_wait_never_ends_a_longer_one() -> None:
    lane = LimitedLane()
    lane.backpressure.freeze(NOON, model=MODEL)
    lane.slow_down(1)
    assert lane.backpressure.compute_rest_end(HAIKU, NOON) == NOON + FREEZE


def test_the_allowed_calls_recover_by_about_one_per_round_of_answers() -> None:
    lane = LimitedLane()
    lane.slow_down(times=2)
    for answers, room in ((4, 4), (1, 5), (1_000, None)):
        for _ in range(answers):
            lane.answered(0.1)
        assert lane.room() == room


def test_longer_calls_get_more_places_up_to_the_bound() -> None:
    places = Places(64)
    assert places.free == LEAST
    places.record_answer(0.1)
    assert places.free == 0.1 * CALLS_PER_S
    for seconds, free in ((60, 64), (0.01, LEAST)):
        for _ in range(200):
            places.record_answer(seconds)
        assert places.free == free


@pytest.mark.parametrize(("call_s", "ahead"), [(0.1, 32), (0.2, 64), (0.4, 32), (1, 12), (30, 0)])
def test_work_for_places_that_are_free_in_a_fifth_of_a_second_is_claimed_ahead_once_per_place(
    call_s: float, ahead: int
) -> None:
    places = Places(64)
    assert places.ahead == 0
    places.record_answer(call_s)
    assert places.ahead == ahead


def test_rate_limits_of_many_calls_in_flight_halve_the_calls_only_once() -> None:
    lane = LimitedLane()
    lane.slow_down(5, times=16)
    assert lane.room(5) == 8


def test_a_bound_set_by_a_person_stays_and_without_one_the_call_length_sets_the_places() -> None:
    bound, free = Places(64), Places(64, bounded=False)
    for each in (bound, free):
        each.raise_bound()
        each.record_answer(1.0)
    assert (bound.all, free.all) == (64, 320)


def test_replays_get_half_of_the_places_and_only_a_few_while_live_work_arrives() -> None:
    places = Places(32)
    places.record_answer(1.0)

    def asks(pack: Pack, seconds: float) -> bool:
        if may := isinstance(places.admits(pack, later(seconds=seconds)), MayStart):
            places.started(pack, later(seconds=seconds))
        return may

    live = Pack(HAIKU, [claimed(1, HAIKU)], NOON)
    replayed = Pack(HAIKU, [claimed(2, HAIKU, purpose=Purpose.REPLAY)], NOON)
    assert asks(live, 0)
    times = (1, 1.09, 2, 9)
    assert [asks(replayed, seconds) for seconds in times] == [True, False, True, False]
    assert sum(asks(replayed, 10) for _ in range(20)) == 14
    assert asks(live, 11), "live work finds places free"


def test_a_queue_read_that_includes_replays_claims_little_while_live_work_is_served() -> None:
    scheduler = DrainState(NOON, most_calls=16, jitter=lambda: 1.0).scheduler
    waiting = {"letters": HAIKU}
    assert scheduler.plan_claims(waiting, NOON, aside=True) == {"letters": 16}
    scheduler.take_in([claimed(1, HAIKU)], {HAIKU.id: HAIKU}, NOON)
    scheduler.start(NOON)
    assert scheduler.plan_claims(waiting, NOON) == {"letters": 15}
    assert scheduler.plan_claims(waiting, NOON, aside=True) == {"letters": ASIDE}
    assert scheduler.plan_claims(waiting, later(minutes=1), aside=True) == {"letters": 15}


def shares(
    free: int,
    waiting: dict[str, Entitlement],
    *,
    in_flight: dict[str, int] | None = None,
    places: int = 16,
) -> dict:
    return divide(free, waiting, in_flight=in_flight or {}, places=places, rooms={})


@given(places, entitled, calls, rooms)
def test_a_division_never_exceeds_the_free_places_or_the_room_of_a_workload(
    free: int, waiting: dict[str, Entitlement], in_flight: dict[str, int], rooms: dict[str, int]
) -> None:
    given_out = divide(
        free, waiting, in_flight=in_flight, places=free + sum(in_flight.values()), rooms=rooms
    )
    assert sum(given_out.values()) <= free
    assert all(0 < number <= rooms.get(name, free) for name, number in given_out.items())


@given(places, entitled, calls)
def test_no_workload_exceeds_its_largest_share_while_another_waits_or_is_served(
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
def test_a_workload_with_slow_calls_never_accumulates_more_than_its_share(
    whole: int, waiting: dict[str, Entitlement], data: st.DataObject
) -> None:
    """Divide the places repeatedly: the others' calls end at once, its own never. This once gave it all places."""
    if len(waiting) < 2:
        return
    slow = data.draw(st.sampled_from(sorted(waiting)))
    held = Counter[str]()
    for _ in range(30):
        held.update(divide(whole - held.total(), waiting, in_flight=held, places=whole, rooms={}))
        assert held[slow] <= max(1, whole * waiting[slow].max_share_percent / 100)
        held = Counter({slow: held[slow]})


@given(entitled, st.integers(1, 100))
def test_every_waiting_workload_is_served_even_if_places_become_free_one_by_one(
    waiting: dict[str, Entitlement], turns: int
) -> None:
    held = Counter[str]()
    for _ in waiting:
        held.update(divide(1, waiting, in_flight=held, places=len(waiting), rooms={}))
    assert held.keys() == waiting.keys()


@given(places, st.integers(1, 100), st.integers(1, 100))
def test_a_lone_workload_gets_all_free_places(free: int, weight: int, most: int) -> None:
    assert shares(free, {"a": Entitlement(weight, most)}, places=free) == {"a": free}
    assert shares(free, {"a": Entitlement(weight, most)}, in_flight={"a": 3}, places=free + 3) == {
        "a": free
    }


@given(st.integers(-5, 0), entitled)
def test_no_workload_gets_a_place_if_none_is_free(
    free: int, waiting: dict[str, Entitlement]
) -> None:
    assert shares(free, waiting) == {}


@given(places, st.integers(1, 50))
def test_a_workload_with_more_weight_never_gets_fewer_places(free: int, weight: int) -> None:
    given_out = shares(
        free,
        {"light": Entitlement(weight, 100), "heavy": Entitlement(2 * weight, 100)},
        places=free,
    )
    assert given_out.get("heavy", 0) >= given_out.get("light", 0)


def test_places_are_divided_by_weight() -> None:
    waiting = {"a": Entitlement(1, 75), "b": Entitlement(3, 75)}
    assert shares(16, waiting) == {"a": 4, "b": 12}
    assert shares(1, waiting) == {"b": 1}
    assert shares(16, {}) == {}

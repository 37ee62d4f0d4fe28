"""Whether real time has room for what may wait: limits, what waits, how fast it is answered; and what guards never do."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.money.budget import Budget, BudgetStatus, Period
from lanes.routing.capacity import WINDOW, Kind, Limit, Waiting, fits
from lanes.routing.prediction import Prediction, Tried
from lanes.routing.room import BELIEVED, BUSY, Ahead, Load, Room, Usual
from lanes.routing.route import Arrived, decide
from lanes.routing.split import BUCKETS, Split, Splits
from lanes.words import Lane, Reason
from lanes.workload.version import Version
from tests.conftest import NOON, later
from tests.examples import version
from tests.unit.strategies import arrived

LETTERS = version(patience_s=60)
MODEL = LETTERS.spec.realtime_model
ALL_REALTIME, ALL_BATCH = Splits([Split("letters", None, BUCKETS)]), Splits([Split("letters", None, 0)])
MINUTE = timedelta(minutes=1)


def limit(kind: Kind = Kind.REQUESTS, of: int = 600, remaining: float | None = None, **told: Any) -> Limit:
    """Whole a minute after it was told, unless that is said."""
    seen_at = told.get("seen_at", NOON)
    return Limit(kind, of, of if remaining is None else remaining, told.get("reset_at", seen_at + WINDOW), seen_at)


def load(*limits: Limit, ahead: int = 0, since_s: float | None = None, per_s: float | None = None) -> Load:
    waits_since = None if since_s is None else later(seconds=-since_s)
    return Load(NOON, {MODEL: limits} if limits else {}, [Ahead(LETTERS, ahead)] if ahead else [], waits_since, per_s)


def item(**fields: Any) -> Arrived:
    return Arrived("letters", "k1", {"text": "hello"}, NOON, NOON, **fields)


def lane(seen: Load, each: Arrived | None = None, of: Version = LETTERS) -> tuple[Lane, Reason]:
    route = decide(each or item(), of, ALL_REALTIME, now=NOON, room=Room(seen))
    return route.lane, route.reason


def test_what_may_wait_goes_to_batch_where_what_waits_takes_longer_than_its_patience() -> None:
    assert lane(load(ahead=600, since_s=30, per_s=10.1)) == (Lane.REALTIME, Reason.SPLIT)
    route = decide(item(), LETTERS, ALL_REALTIME, now=NOON, room=Room(load(ahead=1_000, since_s=30, per_s=10)))
    assert (route.lane, route.reason, route.binds) == (Lane.BATCH, Reason.CAPACITY, None)
    assert route.explanation.startswith(
        "real time is full: 1,000 items wait, and 10 a second are answered, so that it would be asked in 100 s and may wait 60 s "
        "there; bucket 8,771 of 10,000 is below the split"
    )


@pytest.mark.parametrize("since_s", [None, 0, (BUSY / 2).total_seconds()])
def test_a_rate_that_is_only_that_of_the_demand_says_nothing(since_s: float | None) -> None:
    assert lane(load(ahead=1_000, since_s=since_s, per_s=0.1)) == (Lane.REALTIME, Reason.SPLIT)


def test_where_nothing_is_known_the_guard_says_nothing() -> None:
    assert lane(load()) == lane(load(ahead=100_000)) == (Lane.REALTIME, Reason.SPLIT)
    assert lane(load(ahead=100_000, since_s=60, per_s=0)) == (Lane.REALTIME, Reason.SPLIT)


def test_a_limit_leaves_its_reserve_to_what_presses_and_one_told_long_ago_is_not_believed() -> None:
    nothing_waits = {"of": 600, "reset_at": later(minutes=1)}
    assert lane(load(limit(remaining=600))) == (Lane.REALTIME, Reason.SPLIT)
    at_once = version(patience_s=0)
    assert lane(load(limit(remaining=122, **nothing_waits)), of=at_once) == (Lane.REALTIME, Reason.SPLIT)
    assert lane(load(limit(remaining=120, **nothing_waits)), of=at_once) == (Lane.BATCH, Reason.CAPACITY)
    assert lane(load(limit(remaining=0), ahead=500)) == (Lane.REALTIME, Reason.SPLIT)  # 50 s of the limit
    assert lane(load(limit(remaining=0), ahead=700)) == (Lane.BATCH, Reason.CAPACITY)
    told_at = NOON - BELIEVED - timedelta(seconds=1)
    assert lane(load(limit(remaining=0, seen_at=told_at), ahead=700)) == (Lane.REALTIME, Reason.SPLIT)


def test_what_the_chunk_itself_adds_counts_so_that_a_flood_fills_real_time_and_no_more() -> None:
    room, went = Room(load(limit(Kind.REQUESTS, 60, 60))), list[Lane]()
    for _ in range(300):
        route = decide(item(), LETTERS, ALL_REALTIME, now=NOON, room=room)
        went.append(route.lane)
        if route.lane is Lane.REALTIME:
            room.add(LETTERS, item().characters)
    assert went.count(Lane.REALTIME) == 48 + 60  # what is there above the reserve, and what comes within the patience
    assert went[: 48 + 60] == [Lane.REALTIME] * (48 + 60)


def test_what_was_answered_since_the_look_is_no_longer_ahead() -> None:
    room = Room(load(ahead=1_000, since_s=30, per_s=10))
    assert room.lacks(LETTERS, 10, MINUTE, now=NOON) is not None
    assert room.lacks(LETTERS, 10, MINUTE, now=later(seconds=41)) is None


def test_what_is_due_may_wait_in_real_time_until_then() -> None:
    full = load(ahead=10_000, since_s=30, per_s=10)
    assert lane(full, item(due_at=later(hours=3))) == (Lane.REALTIME, Reason.SPLIT)
    assert lane(load(ahead=1_000_000, since_s=30, per_s=10), item(due_at=later(hours=3))) == (Lane.BATCH, Reason.CAPACITY)


def test_an_item_takes_its_part_of_a_full_pack_as_its_workload_learned_it() -> None:
    of = version(realtime_pack=10, instructions="x" * 4_000)
    alone, packed = (Room(load()).need_of(each, 40) for each in (version(instructions="x" * 4_000), of))
    assert (alone.requests, packed.requests) == (1, 0.1)
    assert packed.input < alone.input / 5
    tries = [Tried(400, 1, 900, 50)] * 30
    usual = Usual.learned(of.spec, tries)
    assert usual.characters == 400
    assert Room(load(), {"letters": usual}).need_of(of, 40).output == 50
    assert Usual.learned(of.spec, []).characters == 0


kinds = st.sampled_from(Kind)
limits = st.builds(
    lambda kind, of, part, fills_s, age_s: Limit(
        kind, of, of * part, later(seconds=fills_s - age_s), later(seconds=-age_s)
    ),
    kinds, st.integers(1, 1_000_000), st.floats(0, 1), st.floats(0, 60), st.floats(0, 200),
)  # fmt: skip
statuses = st.lists(
    st.builds(
        lambda consumer, used: BudgetStatus(
            Budget("letters", consumer, Period.DAY, "UTC", Decimal(1), None), NOON, later(days=1), Decimal(used), Decimal(0),
            Decimal(0),
        ),
        st.none() | st.sampled_from(["desk", "night"]), st.integers(1, 100),
    ),
    max_size=3,
)  # fmt: skip
specs = st.builds(
    version, patience_s=st.integers(0, 600), value_usd=st.sampled_from([0, 0, 0.000_001, 0.001, 10]),
    half_life_s=st.integers(1, 10**6), urgent_when=st.sampled_from(["", 'consumer == "desk"']), batch_when=st.sampled_from(["", "age_s > 86400.0"]),
    mode=st.sampled_from(["plain", "lambda"]),
)  # fmt: skip
pins = st.none() | st.sampled_from(Lane)


def seen(limits: Sequence[Limit], ahead: int, since_s: float | None, per_s: float | None) -> Load:
    return load(*limits, ahead=ahead, since_s=since_s, per_s=per_s)


loads = st.builds(
    seen, st.lists(limits, max_size=4), st.integers(0, 100_000), st.none() | st.floats(0, 600), st.none() | st.floats(0, 1_000)
)


@given(arrived(pin=pins), specs, statuses, loads, st.integers(0, BUCKETS))
def test_what_is_bound_is_never_moved_whatever_load_and_budget_say(
    each: Arrived, of: Version, over: list[BudgetStatus], seen: Load, points: int
) -> None:
    splits = Splits([Split("letters", None, points)])
    free = decide(each, of, splits, now=NOON)
    guarded = decide(each, of, splits, now=NOON, over_soft=over, room=Room(seen))
    if free.binds is not None or free.lane is Lane.BATCH:
        assert guarded == free
    elif guarded != free:
        assert guarded.lane is Lane.BATCH
        assert guarded.reason in (Reason.BUDGET, Reason.CAPACITY)
        assert guarded.binds is None
        assert guarded.explanation.endswith(f"; {free.explanation}")
    assert (guarded.realtime_usd, guarded.batch_usd) == (free.realtime_usd, free.batch_usd)
    assert guarded.realtime_usd > guarded.batch_usd > 0


@given(arrived(pin=pins), specs, statuses, loads, st.integers(0, BUCKETS), st.integers(0, BUCKETS))
def test_raising_the_split_moves_items_only_to_real_time_beside_guards_values_and_budgets(
    each: Arrived, of: Version, over: list[BudgetStatus], seen: Load, one: int, other: int
) -> None:
    low, high = (
        decide(each, of, Splits([Split("letters", None, points)]), now=NOON, over_soft=over, room=Room(seen))
        for points in sorted((one, other))
    )
    assert (low.lane, high.lane) != (Lane.REALTIME, Lane.BATCH)


@given(st.lists(limits, max_size=4), st.integers(0, 10_000), st.integers(0, 4_000), st.floats(0, 600))
def test_what_has_room_fits_behind_what_waits_within_the_limits(
    told: list[Limit], ahead: int, characters: int, within_s: float
) -> None:
    room = Room(load(*told, ahead=ahead))
    if room.lacks(LETTERS, characters, timedelta(seconds=within_s), now=NOON) is None:
        believed = [each for each in told if NOON - each.seen_at <= BELIEVED]
        waits, more = (Waiting(n, room.need_of(LETTERS, c)) for n, c in ((ahead, 0), (1, characters)))
        assert fits([waits], more, believed, per_s=None, within_s=within_s + 1e-5, now=NOON)


def test_a_prediction_of_more_takes_more_room() -> None:
    told = limit(Kind.OUTPUT, 6_000, 6_000)
    heavy = Usual(Prediction(1.0, 300.0), 0)
    fit = [
        next(n for n in range(10_000) if Room(load(told, ahead=n), usual).lacks(LETTERS, 0, MINUTE, now=NOON))
        for usual in ({}, {"letters": heavy})
    ]
    assert fit[0] > 3 * fit[1] > 0

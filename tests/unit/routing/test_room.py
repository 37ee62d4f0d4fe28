"""Room in real time for items that may wait: the items ranked before them, places, limits; and what guards never do."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from operator import itemgetter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.ids import VersionId
from lanes.money.budget import Budget, BudgetStatus, Period
from lanes.money.cost import estimate_shared_tokens
from lanes.money.estimates import Estimates, Sharing
from lanes.money.pack_size import PackDecision, PackPlace, PackSizes
from lanes.routing.capacity import RESERVE, WINDOW, Limit, LimitKind, Need
from lanes.routing.load import Load, RankedQueue
from lanes.routing.prospect import Prospects
from lanes.routing.room import Guards, Room
from lanes.routing.route import ArrivedItem, decide
from lanes.routing.split import BUCKETS, Split, Splits
from lanes.words import Lane, Reason
from lanes.workload.version import Version
from tests.conftest import NOON, later
from tests.examples import version
from tests.unit.strategies import arrived

LETTERS = version(patience_s=60)
MODEL = LETTERS.spec.realtime_model
ALL_REALTIME = Splits([Split("letters", None, BUCKETS)])
MINUTE = timedelta(minutes=1)


def limit(of: int, remaining: float, kind: LimitKind = LimitKind.REQUESTS) -> Limit:
    return Limit(kind, of, remaining, NOON + WINDOW, NOON)


def load(
    ahead: int = 0, *limits: Limit, per_s: float = 1_000_000, ranks_from: float = 0, **more: Any
) -> Load:
    queues = [RankedQueue("letters", MODEL, later(seconds=ranks_from), ahead)] if ahead else []
    return Load(NOON, per_s, queues=queues, limits={MODEL: limits} if limits else {}, **more)


def item(**fields: Any) -> ArrivedItem:
    return ArrivedItem("letters", "k1", {"text": "hello"}, NOON, NOON, **fields)


def lane(seen: Load, each: ArrivedItem | None = None, of: Version = LETTERS) -> tuple[Lane, Reason]:
    route = decide(each or item(), of, ALL_REALTIME, now=NOON, guards=Guards(room=Room(seen)))
    return route.lane, route.reason


def test_an_item_goes_to_batch_if_the_items_before_it_take_longer_than_its_patience() -> None:
    assert lane(load(590, per_s=10)) == (Lane.REALTIME, Reason.SPLIT)
    route = decide(
        item(), LETTERS, ALL_REALTIME, now=NOON, guards=Guards(room=Room(load(999, per_s=10)))
    )
    assert (route.lane, route.reason, route.binds) == (Lane.BATCH, Reason.CAPACITY, None)
    assert route.explanation.startswith(
        "real time is full: with 999 items before it, its call would start in 100 s (10 a second), but it may wait only 60 s; "
        "the split sends 100 % to real time, and bucket 8,771 of 10,000 is inside"
    )


def test_items_that_rank_behind_an_item_do_not_delay_it() -> None:
    assert lane(load(100_000, per_s=10, ranks_from=59)) == (Lane.BATCH, Reason.CAPACITY)
    assert lane(load(100_000, per_s=10, ranks_from=61)) == (Lane.REALTIME, Reason.SPLIT)


def test_a_fast_lane_without_known_limits_never_triggers_the_capacity_guard() -> None:
    assert lane(load()) == lane(load(100_000)) == (Lane.REALTIME, Reason.SPLIT)


def test_the_reserve_of_a_limit_is_closed_to_items_that_may_wait() -> None:
    at_once = version(patience_s=0)
    kept = RESERVE * 600
    assert lane(load(0, limit(600, kept + 1)), of=at_once) == (Lane.REALTIME, Reason.SPLIT)
    assert lane(load(0, limit(60, RESERVE * 60 - 1)), of=at_once) == (
        Lane.REALTIME,
        Reason.SPLIT,
    )  # refilled within a second
    assert lane(load(2, limit(60, RESERVE * 60), ranks_from=-1), of=at_once) == (
        Lane.BATCH,
        Reason.CAPACITY,
    )
    # 500 items use 50 s of the limit.
    assert lane(load(500, limit(600, 0))) == (Lane.REALTIME, Reason.SPLIT)
    full = decide(
        item(), LETTERS, ALL_REALTIME, now=NOON, guards=Guards(room=Room(load(700, limit(600, 0))))
    )
    assert full.reason is Reason.CAPACITY
    assert f"(the limits of {MODEL}, less the reserve)" in full.explanation


def test_added_items_count_at_once_and_a_flood_does_not_overfill_real_time() -> None:
    room, went = Room(load(0, limit(60, 60))), list[Lane]()
    for _ in range(300):
        route = decide(item(), LETTERS, ALL_REALTIME, now=NOON, guards=Guards(room=room))
        went.append(route.lane)
        if route.lane is Lane.REALTIME:
            room.add(LETTERS)
    assert went == [Lane.REALTIME] * (48 + 60) + [Lane.BATCH] * (
        300 - 108
    )  # 48 above the reserve, and 60 that refill in a minute


def test_items_answered_since_the_load_was_read_are_no_longer_ahead() -> None:
    room = Room(load(1_000, per_s=10))
    assert room.lacks(LETTERS, MINUTE, now=NOON) is not None
    assert room.lacks(LETTERS, MINUTE, now=later(seconds=41)) is None


def test_an_item_with_a_due_time_may_wait_in_real_time_until_it_is_due() -> None:
    due = item(due_at=later(hours=6))
    assert lane(load(10_000, per_s=10), due) == (Lane.REALTIME, Reason.SPLIT)
    assert lane(load(1_000_000, per_s=10), due) == (Lane.BATCH, Reason.CAPACITY)


def test_an_item_needs_its_workloads_measured_amount_or_else_its_part_of_a_full_pack() -> None:
    long = "x" * 4_000
    alone, packed = (
        Room(load()).need_of(version(instructions=long, realtime_pack=pack)) for pack in (1, 10)
    )
    assert (alone.requests, packed.requests) == (1, 0.1)
    assert packed.input < alone.input / 5
    assert Room(load(needs={"letters": Need(7, 8, 9)})).need_of(LETTERS) == Need(7, 8, 9)


def test_the_need_uses_the_current_pack_size_and_excludes_tokens_read_from_the_cache() -> None:
    of = version(instructions="x" * 4_000, realtime_pack=10)
    halved = PackSizes({PackPlace.of(of, Lane.REALTIME): PackDecision(5, 10, NOON)})
    packed, cached = Sharing(halved), Sharing(halved, {(of.id, Lane.REALTIME): 0.5})
    known = Room(load(), packed).need_of(of)
    assert known.requests == 0.2
    assert Room(load(), cached).need_of(of).input == pytest.approx(
        known.input - estimate_shared_tokens(of.spec) * 0.5 / 5
    )


kinds = st.sampled_from(LimitKind)
limits = st.builds(
    lambda kind, of, part, fills_s, age_s: Limit(
        kind, of, of * part, later(seconds=fills_s - age_s), later(seconds=-age_s)
    ),
    kinds,
    st.integers(1, 1_000_000),
    st.floats(0, 1),
    st.floats(0, 60),
    st.floats(0, 200),
)
specs = st.builds(
    version,
    patience_s=st.integers(0, 600),
    value_usd=st.sampled_from([0, 0, 0.000_001, 0.001, 10]),
    half_life_s=st.integers(1, 10**6),
    urgent_when=st.sampled_from(["", 'consumer == "desk"']),
    batch_when=st.sampled_from(["", "age_s > 86400.0"]),
    mode=st.sampled_from(["plain", "lambda"]),
)
consumers = st.none() | st.sampled_from(["desk", "night"])
pins = st.none() | st.sampled_from(Lane)


def over(consumer: str | None, used: int) -> BudgetStatus:
    budget, none = Budget("letters", consumer, Period.DAY, "UTC", Decimal(1), None), Decimal(0)
    return BudgetStatus(budget, NOON, later(days=1), Decimal(used), none, none)


def loaded(limits: Sequence[Limit], ahead: int, ranks_from: float, per_s: float) -> Load:
    return load(ahead, *limits, ranks_from=ranks_from, per_s=per_s)


budgets = st.lists(st.builds(over, consumers, st.integers(1, 100)), max_size=3)
loads = st.builds(
    loaded,
    st.lists(limits, max_size=4),
    st.integers(0, 100_000),
    st.floats(-600, 600),
    st.floats(0.001, 1_000),
)


@pytest.mark.slow
@given(arrived(pin=pins), specs, budgets, loads, st.integers(0, BUCKETS))
def test_load_and_budget_never_move_a_bound_item(
    each: ArrivedItem, of: Version, soft: list[BudgetStatus], seen: Load, points: int
) -> None:
    splits = Splits([Split("letters", None, points)])
    free = decide(each, of, splits, now=NOON)
    guarded = decide(each, of, splits, now=NOON, guards=Guards(soft, Room(seen)))
    if free.binds is not None or free.lane is Lane.BATCH:
        assert guarded == free
    elif guarded != free:
        assert guarded.lane is Lane.BATCH
        assert guarded.reason in (Reason.BUDGET, Reason.CAPACITY)
        assert guarded.binds is None
        assert guarded.explanation.endswith(f"; {free.explanation}")
    assert isinstance(guarded.reason, Reason)
    assert (guarded.realtime_usd, guarded.batch_usd) == (free.realtime_usd, free.batch_usd)
    assert guarded.realtime_usd > guarded.batch_usd > 0


@given(arrived(pin=pins), specs, budgets, loads, st.integers(0, BUCKETS), st.integers(0, BUCKETS))
def test_raising_the_split_moves_items_only_to_real_time_under_any_guard_value_and_budget(
    each: ArrivedItem, of: Version, soft: list[BudgetStatus], seen: Load, one: int, other: int
) -> None:
    low, high = (
        decide(
            each,
            of,
            Splits([Split("letters", None, points)]),
            now=NOON,
            guards=Guards(soft, Room(seen)),
        )
        for points in sorted((one, other))
    )
    assert (low.lane, high.lane) != (Lane.REALTIME, Lane.BATCH)


@given(arrived(), specs, loads, st.integers(0, 10_000))
def test_a_longer_queue_moves_items_that_may_wait_only_to_batch(
    each: ArrivedItem, of: Version, seen: Load, more: int
) -> None:
    busier = load(
        sum(q.items for q in seen.queues) + more,
        *seen.limits.get(MODEL, ()),
        per_s=seen.per_s,
        ranks_from=-600,
    )
    calm, busy = (
        decide(each, of, ALL_REALTIME, now=NOON, guards=Guards(room=Room(one)))
        for one in (seen, busier)
    )
    assert (calm.lane, busy.lane) != (Lane.BATCH, Lane.REALTIME)


def test_a_lane_without_a_measured_rate_is_full_only_by_its_limits() -> None:
    assert lane(load(100_000, per_s=10, timed=False)) == (Lane.REALTIME, Reason.SPLIT)
    empty = Limit(LimitKind.REQUESTS, 60, remaining=0, reset_at=later(minutes=1), seen_at=NOON)
    assert lane(load(100_000, empty, per_s=10, timed=False)) == (Lane.BATCH, Reason.CAPACITY)


BILLS = replace(version(workload="bills", patience_s=30), id=VersionId(2))
groups = st.tuples(
    st.builds(
        item,
        consumer=consumers,
        urgent=st.sampled_from([False] * 4 + [True]),
        due_at=st.none() | st.sampled_from([later(seconds=0), later(hours=9), later(days=2)]),
    ),
    st.booleans(),
    st.integers(1, 150),
)
nearly_full = st.builds(
    loaded,
    st.lists(st.builds(limit, st.integers(1, 200), st.just(0), kinds), max_size=1),
    st.integers(0, 60),
    st.sampled_from([-60, 20]),
    st.sampled_from([1.0, 3.0]),
)


@pytest.mark.slow
@given(st.lists(groups, min_size=2, max_size=4), specs, nearly_full, st.booleans())
def test_a_portion_is_decided_as_if_its_items_were_decided_one_by_one(
    portion: list[tuple[ArrivedItem, bool, int]], letters: Version, seen: Load, mixed: bool
) -> None:
    """Compute costs, chance and room once for equal items; each item has its own draw."""
    splits = Splits([Split("letters", None, BUCKETS), Split("bills", None, 9_000)])
    room, went = Room(seen), list[Version]()
    estimates, prospects = Estimates(NOON), Prospects.assume(NOON)
    items = [(nth, each, of) for each, of, times in portion for nth in range(times)]
    for nth, each, is_bill in sorted(items, key=itemgetter(0)) if mixed else items:
        of, alone = BILLS if is_bill else letters, Room(seen)
        for earlier in went:
            alone.add(earlier)
        named = each._replace(workload=of.workload, key=f"k{nth}")
        route = decide(
            named,
            of,
            splits,
            now=NOON,
            estimates=estimates,
            prospects=prospects,
            guards=Guards(room=room),
        )
        assert route == decide(named, of, splits, now=NOON, guards=Guards(room=alone))
        if route.lane is Lane.REALTIME:
            room.add(of)
            went.append(of)

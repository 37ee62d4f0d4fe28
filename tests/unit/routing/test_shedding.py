"""Shedding: free work leaves a real-time lane that cannot serve it, and only if a batch is in time."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lanes.ids import VersionId, WorkId
from lanes.money.budget import Budget, BudgetStatus, Period
from lanes.money.estimates import Estimate
from lanes.routing.capacity import Limit, LimitKind
from lanes.routing.lane_rules import LONG_OVERDUE
from lanes.routing.load import Load, ModelRest, RankedQueue
from lanes.routing.prospect import Prospects
from lanes.routing.shedding import SETTLED, SOON, QueuedWork, Shed, Shedding
from lanes.words import Lane, Reason
from lanes.workload.version import Version
from tests.conftest import NOON, later
from tests.examples import version

MODEL = "claude-haiku-5-5"
LETTERS = version()
DOWN = ModelRest(MODEL, later(minutes=-2), "529: overloaded")
COSTS = Estimate(realtime=Decimal("0.002"), batch=Decimal("0.001"))
SOFT = Budget("letters", "desk", Period.DAY, "UTC", Decimal(1), None)
OVER = BudgetStatus(SOFT, NOON, later(days=1), Decimal(2), Decimal(0), Decimal(0))
IDLE = Load(NOON, per_s=0.5)


def waiting(
    rank_at: datetime = NOON,
    *,
    due_at: datetime | None = None,
    bound_to: Lane | None = None,
    consumer: str | None = None,
) -> QueuedWork:
    return QueuedWork(WorkId(1), "letters", VersionId(1), consumer, rank_at, due_at, bound_to)


def pressure(
    *rests: ModelRest, over_soft: BudgetStatus | None = None, load: Load = IDLE
) -> Shedding:
    return Shedding(
        rests, [] if over_soft is None else [over_soft], load, Prospects.assume(NOON), now=NOON
    )


def queued(items: int, **more: Any) -> Load:
    """Return a load in which `items` items of `letters` wait."""
    return replace(IDLE, queues=[RankedQueue("letters", MODEL, LONG_OVERDUE, items)], **more)


def leaves(
    pressed: Shedding, of: QueuedWork, by: Version = LETTERS, *, before: int = 0
) -> Shed | None:
    """Return the decision for an item with `before` items ahead of it."""
    return pressed.of(of, by, pressed.line({by.workload: by}, {by.workload: before}))


def test_free_work_of_a_resting_model_is_shed_and_its_route_says_since_when_and_why() -> None:
    shed = leaves(pressure(DOWN), waiting())
    assert shed is not None
    route = shed.route(COSTS)
    assert (route.lane, route.reason, route.binds, route.probability) == (
        Lane.BATCH,
        Reason.SHED,
        None,
        None,
    )
    assert (route.realtime_usd, route.batch_usd) == (COSTS.realtime, COSTS.batch)
    assert (
        route.explanation
        == f"{MODEL} has not answered since 11:58 UTC: 529: overloaded; it may wait for a batch"
    )


def test_a_resting_model_sheds_no_work_of_another_model() -> None:
    assert leaves(pressure(DOWN), waiting(), version(realtime_model="claude-sonnet-5-5")) is None
    assert leaves(pressure(replace(DOWN, model="claude-sonnet-5-5")), waiting()) is None
    assert leaves(pressure(), waiting()) is None


def test_a_model_that_rests_for_a_few_seconds_sheds_nothing() -> None:
    assert (
        leaves(pressure(replace(DOWN, since=NOON - SETTLED + timedelta(seconds=1))), waiting())
        is None
    )
    assert leaves(pressure(replace(DOWN, since=NOON - SETTLED)), waiting()) is not None


def test_due_work_is_shed_only_if_a_batch_is_in_time_and_its_route_says_how_probably() -> None:
    down = pressure(DOWN)
    back_at = Prospects.assume(NOON).of(LETTERS).back_at
    assert leaves(down, waiting(due_at=back_at - timedelta(minutes=1))) is None
    assert leaves(down, waiting(due_at=later(minutes=-1))) is None
    shed = leaves(down, waiting(due_at=back_at + timedelta(minutes=1)))
    assert shed is not None
    route = shed.route(COSTS)
    assert route.probability is not None
    assert route.probability >= LETTERS.spec.confidence
    assert ": 95" in route.explanation


def test_work_that_counts_against_an_exceeded_soft_budget_is_shed() -> None:
    over = pressure(over_soft=OVER)
    shed = leaves(over, waiting(consumer="desk"))
    assert shed is not None
    assert shed.why == OVER.sentence
    assert leaves(over, waiting(consumer="web")) is None
    assert leaves(over, waiting(consumer="desk"), version(workload="others")) is None
    everybody = replace(OVER, budget=replace(SOFT, consumer=None))
    assert leaves(pressure(over_soft=everybody), waiting(consumer="web")) is not None


def walked(pressed: Shedding, ranks: Sequence[datetime]) -> list[int]:
    """Return the indexes of the items that leave when the queue is walked from its end."""
    queue = [replace(waiting(at), id=WorkId(nth)) for nth, at in enumerate(ranks)]
    line = pressed.line({"letters": LETTERS}, {"letters": len(queue)})
    return sorted(pressed.choose(reversed(queue), {LETTERS.id: LETTERS}, line))


def test_a_slow_lane_sheds_only_items_that_it_would_serve_later_than_their_rank_allows() -> None:
    """Each item takes two seconds. With a minute of patience, those of the first minute are served in time."""
    ranks = [later(minutes=1, seconds=nth) for nth in range(180)]
    assert walked(pressure(load=queued(180)), ranks) == list(range(61, 180))
    shed = leaves(pressure(load=queued(180)), waiting(ranks[90]), before=90)
    assert shed is not None
    assert shed.why == f"the work before it for {MODEL} takes 3.0 min, 30 s longer than it can wait"


def test_a_burst_of_equal_rank_sheds_exactly_the_items_that_cannot_be_served_in_time() -> None:
    assert walked(pressure(load=queued(100)), [later(minutes=1)] * 100) == list(range(31, 100))


def test_items_beyond_the_providers_limits_are_shed_even_if_places_are_free() -> None:
    limit = Limit(LimitKind.REQUESTS, 60, 0, later(minutes=1), NOON)
    limited = queued(100, per_s=1_000, limits={MODEL: [limit]})
    assert walked(pressure(load=limited), [later(minutes=1)] * 100) == list(range(61, 100))


def test_a_lane_without_a_measured_rate_sheds_nothing() -> None:
    assert pressure(load=queued(1_000)).list_pressed({"letters": LETTERS}) == ["letters"]
    untimed = pressure(load=queued(1_000, timed=False))
    assert untimed.list_pressed({"letters": LETTERS}) == []
    assert leaves(untimed, waiting(), before=1_000) is None


def test_an_item_that_is_served_soon_is_not_shed_however_late_it_is() -> None:
    of_ten_s = int(SOON.total_seconds() * IDLE.per_s)
    pressed = pressure(load=queued(20))
    assert leaves(pressed, waiting(later(hours=-1)), before=of_ten_s) is None
    assert leaves(pressed, waiting(later(hours=-1)), before=of_ten_s + 1) is not None


def test_items_of_a_resting_model_do_not_delay_other_items() -> None:
    others = version(2, "others", realtime_model="claude-sonnet-5-5")
    load = replace(
        queued(1),
        queues=[*queued(1).queues, RankedQueue("others", "claude-sonnet-5-5", LONG_OVERDUE, 1_000)],
    )
    both = {"letters": LETTERS, "others": others}, {"letters": 4, "others": 1_000}
    busy, resting = (
        pressure(load=load),
        pressure(replace(DOWN, model="claude-sonnet-5-5", since=NOON), load=load),
    )
    assert busy.of(waiting(), LETTERS, busy.line(*both)) is not None  # they share the places
    assert resting.of(waiting(), LETTERS, resting.line(*both)) is None


def test_an_item_that_real_time_does_not_serve_now_is_not_shed_as_late() -> None:
    """It may wait for its budget, for example."""
    assert leaves(pressure(load=IDLE), waiting(later(hours=-1)), before=1_000) is None


def test_only_workloads_under_pressure_are_listed() -> None:
    other = version(2, "others", realtime_model="claude-sonnet-5-5")
    of = {"letters": LETTERS, "others": other}
    assert pressure().list_pressed(of) == []
    assert pressure(DOWN).list_pressed(of) == ["letters"]
    assert pressure(over_soft=replace(OVER, budget=replace(SOFT, workload="others"))).list_pressed(
        of
    ) == ["others"]
    assert pressure(load=queued(5)).list_pressed(of) == []
    assert pressure(load=queued(6)).list_pressed(of) == ["letters"]
    both = [*queued(5).queues, RankedQueue("others", "claude-sonnet-5-5", LONG_OVERDUE, 3)]
    assert pressure(load=replace(IDLE, queues=both)).list_pressed(of) == [
        "letters",
        "others",
    ]  # they share the places


def test_work_whose_version_cannot_be_read_is_not_shed() -> None:
    pressed = pressure(DOWN)
    unreadable = replace(waiting(), id=WorkId(2), version_id=VersionId(2))
    left = pressed.choose(
        [waiting(), unreadable],
        {LETTERS.id: LETTERS},
        pressed.line({"letters": LETTERS}, {"letters": 2}),
    )
    assert list(left) == [WorkId(1)]


def test_a_shadow_or_a_replay_is_not_shed() -> None:
    assert leaves(pressure(DOWN), replace(waiting(), answers=False)) is None


spans = st.integers(-100_000, 1_000_000).map(lambda s: later(seconds=s))


@given(
    rank_at=spans,
    due_at=st.none() | spans,
    consumer=st.sampled_from([None, "desk"]),
    bound_to=st.sampled_from(Lane),
    rests=st.lists(st.builds(ModelRest, st.just(MODEL), spans, st.just("529"))),
    over=st.booleans(),
    items=st.integers(0, 10**9),
)
def test_work_bound_to_a_lane_is_never_shed_under_any_load_or_budget(
    rank_at: datetime,
    due_at: datetime | None,
    consumer: str | None,
    bound_to: Lane,
    rests: list[ModelRest],
    over: bool,
    items: int,
) -> None:
    pressed = pressure(*rests, over_soft=OVER if over else None, load=queued(items))
    of = waiting(rank_at, due_at=due_at, bound_to=bound_to, consumer=consumer)
    assert leaves(pressed, of, before=items) is None


@given(rank_at=spans, due_at=st.none() | spans, items=st.integers(0, 10**6))
def test_work_shed_from_a_slow_lane_would_be_late_there_and_is_in_time_in_a_batch(
    rank_at: datetime, due_at: datetime | None, items: int
) -> None:
    shed = leaves(pressure(load=queued(items)), waiting(rank_at, due_at=due_at), before=items)
    if shed is not None:
        assert NOON + timedelta(seconds=items / IDLE.per_s) > max(rank_at, NOON + SOON)
        assert (shed.chance is None) == (due_at is None)
        assert shed.chance is None or shed.chance.enough

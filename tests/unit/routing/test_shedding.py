"""Which work leaves the real-time lane while that cannot serve it: free work, and only where a batch is in time."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from lanes.ids import VersionId, WorkId
from lanes.money.budget import Budget, BudgetStatus, Period
from lanes.money.cost import Estimate
from lanes.routing.load import Load, Queue
from lanes.routing.prospect import Prospects
from lanes.routing.route import LONG_OVERDUE
from lanes.routing.shedding import SETTLED, SOON, Rest, Shedding, Waiting
from lanes.words import Lane, Reason
from tests.conftest import NOON, later
from tests.examples import version

MODEL = "claude-haiku-5-5"
LETTERS = version()
DOWN = Rest(MODEL, later(minutes=-2), "529: overloaded")
COSTS = Estimate(realtime=Decimal("0.002"), batch=Decimal("0.001"))
SOFT = Budget("letters", "desk", Period.DAY, "UTC", Decimal(1), None)
OVER = BudgetStatus(SOFT, NOON, later(days=1), Decimal(2), Decimal(0), Decimal(0))


IDLE = Load(NOON, per_s=0.5)
# Items rank a second apart from a minute on, three minutes long, and each takes two seconds.
SLOW = replace(IDLE, queues=[Queue("letters", MODEL, later(minutes=1, seconds=n), 1) for n in range(180)])


def waiting(rank_at: datetime = NOON, *, due_at: datetime | None = None, bound_to: Lane | None = None,
            consumer: str | None = None) -> Waiting:  # fmt: skip
    return Waiting(WorkId(1), VersionId(1), consumer, rank_at, due_at, bound_to)


def pressure(*rests: Rest, over_soft: BudgetStatus | None = None, load: Load = IDLE) -> Shedding:
    return Shedding(rests, [] if over_soft is None else [over_soft], load, Prospects.assumed(NOON), now=NOON)


def behind(items: int, model: str = MODEL) -> Load:
    """So many items rank before all others."""
    return replace(IDLE, queues=[Queue("others", model, LONG_OVERDUE, items), Queue("letters", MODEL, later(hours=-2), 1)])


def test_free_work_of_a_model_that_answers_nobody_leaves_and_says_since_when_and_why() -> None:
    shed = pressure(DOWN).of(waiting(), LETTERS)
    assert shed is not None
    route = shed.route(COSTS)
    assert (route.lane, route.reason, route.binds, route.probability) == (Lane.BATCH, Reason.SHED, None, None)
    assert (route.realtime_usd, route.batch_usd) == (COSTS.realtime, COSTS.batch)
    assert route.explanation == f"{MODEL} answers nobody since 11:58 UTC: 529: overloaded; it may wait for a batch"


def test_another_model_sheds_nothing() -> None:
    assert pressure(DOWN).of(waiting(), version(realtime_model="claude-sonnet-5-5")) is None
    assert pressure(replace(DOWN, model="claude-sonnet-5-5")).of(waiting(), LETTERS) is None
    assert pressure().of(waiting(), LETTERS) is None


def test_a_model_that_rests_for_a_few_seconds_sheds_nothing() -> None:
    assert pressure(replace(DOWN, since=NOON - SETTLED + timedelta(seconds=1))).of(waiting(), LETTERS) is None
    assert pressure(replace(DOWN, since=NOON - SETTLED)).of(waiting(), LETTERS) is not None


def test_what_is_due_leaves_only_where_a_batch_is_in_time_and_says_how_surely() -> None:
    down = pressure(DOWN)
    back_at = Prospects.assumed(NOON).of(LETTERS).back_at
    assert down.of(waiting(due_at=back_at - timedelta(minutes=1)), LETTERS) is None
    assert down.of(waiting(due_at=later(minutes=-1)), LETTERS) is None
    shed = down.of(waiting(due_at=back_at + timedelta(minutes=1)), LETTERS)
    assert shed is not None
    route = shed.route(COSTS)
    assert route.probability is not None
    assert route.probability >= LETTERS.spec.confidence
    assert "is back by then with 95" in route.explanation


def test_beyond_a_soft_limit_what_counts_against_that_budget_leaves() -> None:
    over = pressure(over_soft=OVER)
    shed = over.of(waiting(consumer="desk"), LETTERS)
    assert shed is not None
    assert shed.why == OVER.said
    assert over.of(waiting(consumer="web"), LETTERS) is None
    assert over.of(waiting(consumer="desk"), version(workload="others")) is None
    everybody = replace(OVER, budget=replace(SOFT, consumer=None))
    assert pressure(over_soft=everybody).of(waiting(consumer="web"), LETTERS) is not None


def test_of_a_lane_that_is_too_slow_only_what_would_be_served_later_than_its_rank_allows_leaves() -> None:
    limited = pressure(load=SLOW)
    leaving = [n for n in range(180) if limited.of(waiting(later(minutes=1, seconds=n)), LETTERS) is not None]
    assert leaving == list(range(61, 180))
    shed = limited.of(waiting(later(minutes=1, seconds=90)), LETTERS)
    assert shed is not None
    assert shed.why == f"what waits for {MODEL} before it takes 3.0 min, 30 s longer than it can wait"


def test_what_is_served_soon_stays_however_late_it_is() -> None:
    of_ten_s = int(SOON.total_seconds() * IDLE.per_s)
    assert pressure(load=behind(of_ten_s)).of(waiting(later(hours=-1)), LETTERS) is None
    assert pressure(load=behind(of_ten_s + 1)).of(waiting(later(hours=-1)), LETTERS) is not None


def test_what_waits_for_a_model_that_rests_is_in_nobodys_way() -> None:
    other = "claude-sonnet-5-5"
    assert pressure(load=behind(1_000, other)).of(waiting(), LETTERS) is not None  # they share the places
    assert pressure(replace(DOWN, model=other, since=NOON), load=behind(1_000, other)).of(waiting(), LETTERS) is None


def test_only_workloads_that_something_presses_are_looked_at() -> None:
    other = version(2, "others", realtime_model="claude-sonnet-5-5")
    of = {"letters": LETTERS, "others": other}
    assert pressure().looked_at(of) == []
    assert pressure(DOWN).looked_at(of) == ["letters"]
    assert pressure(over_soft=replace(OVER, budget=replace(SOFT, workload="others"))).looked_at(of) == ["others"]
    assert pressure(load=behind(4)).looked_at(of) == []
    assert pressure(load=SLOW).looked_at(of) == ["letters", "others"]


spans = st.integers(-100_000, 1_000_000).map(lambda s: later(seconds=s))


@given(
    rank_at=spans, due_at=st.none() | spans, consumer=st.sampled_from([None, "desk"]), bound_to=st.sampled_from(Lane),
    rests=st.lists(st.builds(Rest, st.just(MODEL), spans, st.just("529"))), over=st.booleans(), items=st.integers(0, 10**9),
)  # fmt: skip
def test_what_is_bound_to_a_lane_is_never_shed_whatever_load_and_budget(
    rank_at: datetime, due_at: datetime | None, consumer: str | None, bound_to: Lane, rests: list[Rest], over: bool,
    items: int,
) -> None:  # fmt: skip
    pressed = pressure(*rests, over_soft=OVER if over else None, load=behind(items))
    assert pressed.of(waiting(rank_at, due_at=due_at, bound_to=bound_to, consumer=consumer), LETTERS) is None


@given(rank_at=spans, due_at=st.none() | spans, items=st.integers(0, 10**6))
def test_what_leaves_a_slow_lane_could_not_be_served_in_time_and_its_batch_is(
    rank_at: datetime, due_at: datetime | None, items: int
) -> None:
    shed = pressure(load=behind(items)).of(waiting(rank_at, due_at=due_at), LETTERS)
    if shed is not None:
        assert NOON + timedelta(seconds=items / IDLE.per_s) > max(rank_at, NOON + SOON) - timedelta(seconds=2)
        assert (shed.chance is None) == (due_at is None)
        assert shed.chance is None or shed.chance.enough

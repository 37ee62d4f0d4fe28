"""The time that real time needs for a workload's backlog, given the current rate, every limit and the other workloads."""

from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lanes.realtime.limiter import divide
from lanes.routing.capacity import (
    FEWEST,
    WINDOW,
    WINDOW_S,
    Limit,
    LimitKind,
    MeasuredTry,
    Need,
    WaitingItems,
    assume_prediction,
    drain_time_s,
    fits_at,
    learn,
)
from lanes.routing.lane_rules import LONG_OVERDUE
from lanes.routing.load import A_CALL, AddedItems, Load, RankedQueue
from lanes.workload.version import Entitlement
from tests.conftest import NOON, later
from tests.examples import spec

MODEL = "claude-haiku-5-5"
PLACES = 200
EACH = Need(100, 50)
moments = st.floats(0, 200).map(lambda seconds: later(seconds=seconds))
limits = st.builds(
    lambda kind, limit, part, fills_s: Limit(
        kind, limit, part * limit, later(seconds=fills_s), NOON
    ),
    st.sampled_from(LimitKind),
    st.integers(1, 10**7),
    st.floats(0, 1),
    st.floats(0, WINDOW_S),
)


def load(
    entitled: dict[str, Entitlement] | None = None,
    *,
    per_s: float = 50,
    limits: dict[str, list[Limit]] | None = None,
    **waiting: int,
) -> Load:
    queues = [RankedQueue(name, MODEL, LONG_OVERDUE, items) for name, items in waiting.items()]
    return Load(NOON, per_s, queues=queues, entitled=entitled or {}, limits=limits or {})


def one(seen: Load, workload: str = "letters") -> float:
    """Return the seconds until one more item of `workload` is answered."""
    return seen.drain_s(workload, MODEL, until=later(minutes=2), more=AddedItems(MODEL, 1, A_CALL))


def test_another_workloads_backlog_delays_an_item_only_by_that_workloads_share() -> None:
    assert one(load(archive=20_000)) == 2 / 50
    assert one(load(archive=20_000, letters=49)) == 100 / 50
    assert one(load(archive=10, letters=49)) == 60 / 50  # the small backlog is soon answered
    heavy = {"archive": Entitlement(3, 100), "letters": Entitlement(1, 100)}
    assert one(load(heavy, archive=20_000, letters=49)) == 200 / 50


def test_another_workloads_items_get_their_share_even_if_they_rank_later() -> None:
    behind = Load(
        NOON,
        50,
        queues=[
            RankedQueue("letters", MODEL, NOON, 2_999),
            RankedQueue("archive", MODEL, later(hours=3), 20_000),
        ],
    )
    assert one(behind) == 6_000 / 50


def test_a_workload_never_exceeds_its_largest_share_while_others_wait() -> None:
    seen = load(
        {"letters": Entitlement(100, 25), "archive": Entitlement(1, 100)},
        archive=20_000,
        letters=99,
    )
    assert one(seen) == 400 / 50
    both = load(
        {name: Entitlement(1, 25) for name in ("letters", "archive")}, archive=20_000, letters=99
    )
    assert one(both) == 400 / 50  # half of the places are empty
    alone = load({"letters": Entitlement(1, 25)}, letters=99)
    assert one(alone) == 100 / 50


def test_workloads_share_a_models_limits_as_they_share_the_places() -> None:
    limits = {MODEL: [Limit(LimitKind.REQUESTS, 60, 0, NOON + WINDOW, NOON)]}
    assert one(load(limits=limits, archive=20_000, letters=9)) == 20
    others = AddedItems("another", 20_000, Need(0, 0, 20_000))
    ours = AddedItems(MODEL, 10, Need(0, 0, 10))
    assert (
        load(limits=limits).drain_s("letters", MODEL, more=ours, beside={"archive": others}) == 10
    )


names = st.sampled_from(["letters", "archive", "bills", "mail"])
waits = st.dictionaries(
    names, st.tuples(st.integers(1, 20_000), st.integers(1, 9), st.integers(10, 100)), min_size=1
)


@pytest.mark.slow
@given(waits)
@example({"letters": (61, 1, 10), "archive": (1, 1, 69), "bills": (41, 1, 10)})
def test_the_estimated_drain_time_is_close_to_a_simulation_with_the_real_division(
    of: dict[str, tuple[int, int, int]],
) -> None:
    entitled = {name: Entitlement(weight, most) for name, (_, weight, most) in of.items()}
    left = {name: items for name, (items, _, _) in of.items()}
    workload, seconds = next(iter(of)), 0
    while left.get(workload):
        seconds += 1
        waiting = {name: entitled[name] for name in left}
        given_out = divide(PLACES, waiting, in_flight={}, places=PLACES, rooms=left)
        left = dict(Counter(left) - Counter(given_out))
    queues = [RankedQueue(name, MODEL, LONG_OVERDUE, items) for name, (items, _, _) in of.items()]
    told = Load(NOON, PLACES, queues=queues, entitled=entitled).drain_s(workload, MODEL)
    assert (
        told * 0.5 - 3 <= seconds <= told * 1.35 + 3
    )  # the two differ most where a heavy workload is capped and a small one soon done


def test_an_empty_queue_needs_no_time_and_without_a_rate_the_time_is_unknown() -> None:
    assert drain_time_s([], [], per_s=None, now=NOON) == 0
    assert drain_time_s([WaitingItems(5, EACH)], [], per_s=None, now=NOON) is None


def test_the_scarcest_of_the_rate_and_the_limits_determines_the_drain_time() -> None:
    waiting, requests = (
        [WaitingItems(120, EACH)],
        Limit(LimitKind.REQUESTS, 60, 0, later(minutes=1), NOON),
    )
    assert drain_time_s(waiting, [], per_s=10, now=NOON) == 12
    assert drain_time_s(waiting, [requests], per_s=10, now=NOON) == 120
    tokens = Limit(LimitKind.INPUT, 1_000_000, 1_000_000, NOON, NOON)
    assert drain_time_s(waiting, [requests, tokens], per_s=0.5, now=NOON) == 240


@given(limits, moments, moments)
def test_a_limits_remainder_only_grows_with_time_and_is_full_after_one_window(
    limit: Limit, one: object, other: object
) -> None:
    sooner, sequel = sorted((one, other))  # pyright: ignore[reportArgumentType, reportCallIssue]
    assert 0 <= limit.estimate_remaining(sooner) <= limit.estimate_remaining(sequel) <= limit.limit
    assert limit.estimate_remaining(NOON + WINDOW) == limit.limit


@example(
    Limit(LimitKind.REQUESTS, 1, 0.75, later(seconds=16), NOON), 1.0, NOON
)  # full later than at the rate of one window
@given(limits, st.floats(0, 1), moments)
def test_fits_at_names_a_moment_within_one_window_at_which_the_amount_fits(
    limit: Limit, part: float, now: object
) -> None:
    wanted = part * limit.limit
    at = fits_at(limit, wanted, now)  # pyright: ignore[reportArgumentType]
    assert at <= now + WINDOW  # pyright: ignore[reportOperatorIssue]
    assert limit.estimate_remaining(at) >= wanted - 1e-3 * limit.limit


waits_of = st.tuples(st.integers(1, 500), st.floats(1, 5_000), st.floats(1, 5_000))


@given(st.lists(waits_of, min_size=1, max_size=5), st.lists(limits))
def test_more_waiting_items_never_need_less_time(
    waits: list[tuple[int, float, float]], known: list[Limit]
) -> None:
    waiting = [WaitingItems(items, Need(input, output)) for items, input, output in waits]
    less, more = (drain_time_s(some, known, per_s=2, now=NOON) for some in (waiting[:-1], waiting))
    assert less is not None
    assert more is not None
    assert less <= more


def test_few_tries_keep_the_assumed_prediction_and_many_replace_it_with_quantiles() -> None:
    letters = spec()
    tried = [MeasuredTry(400, 1, 300, n) for n in range(100)]
    assert learn(letters, tried[: FEWEST - 1]) == assume_prediction(letters)
    known = learn(letters, tried)
    assert known.tries == 100
    assert known.output == 94
    assert abs(known.input_of(letters, 400) - 300) < 1


@given(st.lists(st.builds(MeasuredTry, *[st.integers(0, 10**9)] * 4), max_size=60))
def test_a_prediction_from_any_tries_is_a_finite_number_of_tokens(
    tried: list[MeasuredTry],
) -> None:
    need = learn(spec(), tried).usual(spec(), 1_000, 3)
    assert 0 <= need.input < 10**12
    assert 0 <= need.output < 10**12

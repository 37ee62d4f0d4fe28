"""How long what waits takes: by the present rate and by every limit, whichever is slower."""

from hypothesis import example, given
from hypothesis import strategies as st

from lanes.routing.capacity import (
    FEWEST,
    WINDOW,
    WINDOW_S,
    Limit,
    LimitKind,
    MeasuredTry,
    Need,
    WaitingItems,
    drain_time_s,
    fits_at,
    learn,
    unlearned,
)
from tests.conftest import NOON, later
from tests.examples import spec

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


def test_nothing_that_waits_takes_no_time_and_without_any_figure_nobody_knows() -> None:
    assert drain_time_s([], [], per_s=None, now=NOON) == 0
    assert drain_time_s([WaitingItems(5, EACH)], [], per_s=None, now=NOON) is None


def test_what_waits_takes_as_long_as_the_scarcest_of_rate_and_limits() -> None:
    waiting, requests = (
        [WaitingItems(120, EACH)],
        Limit(LimitKind.REQUESTS, 60, 0, later(minutes=1), NOON),
    )
    assert drain_time_s(waiting, [], per_s=10, now=NOON) == 12
    assert drain_time_s(waiting, [requests], per_s=10, now=NOON) == 120
    tokens = Limit(LimitKind.INPUT, 1_000_000, 1_000_000, NOON, NOON)
    assert drain_time_s(waiting, [requests, tokens], per_s=0.5, now=NOON) == 240


@given(limits, moments, moments)
def test_what_is_left_only_grows_by_waiting_and_is_whole_after_a_minute(
    limit: Limit, one: object, other: object
) -> None:
    sooner, sequel = sorted((one, other))  # pyright: ignore[reportArgumentType, reportCallIssue]
    assert 0 <= limit.left(sooner) <= limit.left(sequel) <= limit.limit
    assert limit.left(NOON + WINDOW) == limit.limit


@example(
    Limit(LimitKind.REQUESTS, 1, 0.75, later(seconds=16), NOON), 1.0, NOON
)  # whole later than at the rate of a window
@given(limits, st.floats(0, 1), moments)
def test_what_fits_a_whole_limit_fits_when_it_is_said_to(
    limit: Limit, part: float, now: object
) -> None:
    wanted = part * limit.limit
    at = fits_at(limit, wanted, now)  # pyright: ignore[reportArgumentType]
    assert at <= now + WINDOW  # pyright: ignore[reportOperatorIssue]
    assert limit.left(at) >= wanted - 1e-3 * limit.limit


waits_of = st.tuples(st.integers(1, 500), st.floats(1, 5_000), st.floats(1, 5_000))


@given(st.lists(waits_of, min_size=1, max_size=5), st.lists(limits))
def test_more_that_waits_never_takes_less_time(
    waits: list[tuple[int, float, float]], known: list[Limit]
) -> None:
    waiting = [WaitingItems(items, Need(input, output)) for items, input, output in waits]
    less, more = (drain_time_s(some, known, per_s=2, now=NOON) for some in (waiting[:-1], waiting))
    assert less is not None
    assert more is not None
    assert less <= more


def test_few_tries_teach_nothing_and_many_teach_quantiles() -> None:
    letters = spec()
    tried = [MeasuredTry(400, 1, 300, n) for n in range(100)]
    assert learn(letters, tried[: FEWEST - 1]) == unlearned(letters)
    known = learn(letters, tried)
    assert known.tries == 100
    assert known.output == 94
    assert abs(known.input_of(letters, 400) - 300) < 1


@given(st.lists(st.builds(MeasuredTry, *[st.integers(0, 10**9)] * 4), max_size=60))
def test_whatever_was_tried_a_prediction_is_a_finite_number_of_tokens(
    tried: list[MeasuredTry],
) -> None:
    need = learn(spec(), tried).usual(spec(), 1_000, 3)
    assert 0 <= need.input < 10**12
    assert 0 <= need.output < 10**12

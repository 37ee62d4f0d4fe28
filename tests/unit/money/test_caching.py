"""When calls mark their shared tokens for caching: only if it measurably pays, after a small trial, with rare retries."""

import math
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.ids import BatchId, VersionId
from lanes.money.caching import (
    APART,
    LONGEST_REST,
    MARGIN,
    PROBED,
    PROBED_EVERY_S,
    TERMS,
    BatchCache,
    CachePrices,
    CacheUse,
    CachingDecision,
    Marking,
    Marks,
    PrimerStep,
    cache_prices,
    compute_saved_usd,
    decide,
    primer_saves,
    select_marked,
    start_unmarked,
)
from lanes.words import Lane
from lanes.workload.prices import Usage, cost
from tests.conftest import NOON, later

HAIKU = "claude-haiku-5-5"
REALTIME, BATCH = (cache_prices(HAIKU, lane, at=NOON) for lane in (Lane.REALTIME, Lane.BATCH))
OFTEN = 1.0  # calls a second
rates = st.floats(0, 1)


def measured(hit_rate: float, calls: int = 1_000, *, per_s: float = OFTEN) -> CacheUse:
    read = round(hit_rate * calls * 4_000)
    return CacheUse(read, calls * 4_000 - read, calls, calls, per_s)


def marking(marks: Marks, prices: CachePrices = REALTIME) -> CachingDecision:
    return replace(start_unmarked(prices, now=NOON), marks=marks)


def test_the_break_even_hit_rate_follows_from_the_prices() -> None:
    assert (REALTIME.write, REALTIME.read) == (pytest.approx(1.25), pytest.approx(0.1))
    assert REALTIME.pays_from == pytest.approx(0.25 / 1.15)
    assert (BATCH.write, BATCH.read) == (pytest.approx(2), pytest.approx(0.1))
    assert BATCH.pays_from == pytest.approx(1 / 1.9)


@pytest.mark.parametrize("lane", Lane)
@given(st.integers(0, 1_000_000), st.integers(0, 1_000_000))
def test_caching_saves_money_only_above_the_break_even_hit_rate(
    lane: Lane, read: int, wrote: int
) -> None:
    saved = compute_saved_usd(read, wrote, model=HAIKU, lane=lane, at=NOON)
    one_hour = lane is Lane.BATCH
    cached = Usage(cache_read=read, **{"cache_write_1h" if one_hour else "cache_write_5m": wrote})
    if read + wrote < 100_000:  # above it, all prices rise alike
        plain = cost(Usage(input=read + wrote), model=HAIKU, lane=lane, at=NOON)
        assert saved == plain - cost(cached, model=HAIKU, lane=lane, at=NOON)
    if read + wrote:
        pays_from = cache_prices(HAIKU, lane, at=NOON).pays_from
        assert saved >= 0 or read / (read + wrote) <= pays_from + 1e-9
        assert saved <= 0 or read / (read + wrote) >= pays_from - 1e-9


@pytest.mark.parametrize(
    "prices", [CachePrices(1.0, 1.0), CachePrices(1.25, 1.0), CachePrices(0.5, 0.9)]
)
def test_caching_is_never_tried_at_prices_that_never_pay(prices: CachePrices) -> None:
    assert math.isinf(prices.pays_from)
    for lane in Lane:
        decided = decide(
            start_unmarked(prices, now=NOON), measured(1), prices, lane=lane, now=later(days=1)
        )
        assert decided.marks is Marks.NONE
        assert "never pays" in decided.describe(lane)


def test_real_time_caching_is_tried_once_enough_calls_arrive_within_five_minutes() -> None:
    now = later(minutes=1)
    seldom, often = (CacheUse(per_s=per_s) for per_s in (1 / 3_600, 1 / 300))
    assert (
        decide(
            start_unmarked(REALTIME, now=NOON), seldom, REALTIME, lane=Lane.REALTIME, now=now
        ).marks
        is Marks.NONE
    )
    assert often.estimate_hit_rate(Lane.REALTIME) == pytest.approx(1 - math.exp(-1))
    tried = decide(start_unmarked(REALTIME, now=NOON), often, REALTIME, lane=Lane.REALTIME, now=now)
    assert (tried.marks, tried.since) == (Marks.SOME, now)
    assert (
        tried.why
        == "a few calls find out: with a call every 5.0 min a hit rate of 0.63 is expected"
    )


def test_a_batch_trial_marks_a_few_requests_at_equal_distances() -> None:
    tried = decide(start_unmarked(BATCH, now=NOON), CacheUse(), BATCH, lane=Lane.BATCH, now=NOON)
    assert tried.marks is Marks.SOME
    marked = [number for number in range(100_000) if number in select_marked(tried.marks)]
    assert len(marked) == PROBED
    assert {second - first for first, second in pairwise(marked)} == {APART}
    assert not any(number in select_marked(Marks.NONE) for number in range(100))
    assert all(number in select_marked(Marks.ALL) for number in range(100_000))


def test_a_cold_batch_marks_only_its_first_request_and_a_warm_trial_marks_the_first_few() -> None:
    for marks in (Marks.SOME, Marks.ALL):
        assert [*select_marked(marks, warm=False)] == [0]
    assert not [*select_marked(Marks.NONE, warm=True), *select_marked(Marks.NONE, warm=False)]
    assert [*select_marked(Marks.SOME, warm=True)] == [*range(PROBED)]
    assert select_marked(Marks.ALL, warm=True) == select_marked(Marks.ALL)


@given(st.integers(0, 100_000), st.integers(0, 90_000))
def test_a_primer_saves_the_difference_between_plain_tokens_and_one_write_plus_reads(
    requests: int, shared: int
) -> None:
    saved = primer_saves(requests, shared, model=HAIKU, at=NOON)
    each = {
        kind: cost(Usage(**{kind: shared}), model=HAIKU, lane=Lane.BATCH, at=NOON)
        for kind in ("input", "cache_read", "cache_write_1h")
    }
    if requests:
        primed = each["cache_write_1h"] + (requests - 1) * each["cache_read"]
        assert saved == requests * each["input"] - primed
    assert (saved > 0) is (requests > 2 and shared > 0)


HOUR, ENOUGH = later(hours=1), Decimal("0.01")


@pytest.mark.parametrize(
    ("cache", "saves", "endangers", "step"),
    [
        (BatchCache(), ENOUGH, False, PrimerStep.SEND),
        (BatchCache(), ENOUGH / 2, False, PrimerStep.NONE),
        (BatchCache(), ENOUGH, True, PrimerStep.NONE),
        (BatchCache(warm=True), ENOUGH, False, PrimerStep.NONE),
        (
            BatchCache(warm=True, primer=BatchId(1), until=HOUR, primed=True),
            ENOUGH,
            False,
            PrimerStep.NONE,
        ),
        (BatchCache(primer=BatchId(1), until=HOUR, primed=True), ENOUGH, False, PrimerStep.WAIT),
        (BatchCache(primer=BatchId(1), until=HOUR, primed=True), ENOUGH, True, PrimerStep.NONE),
        (
            BatchCache(primer=BatchId(1), until=HOUR, primed=True),
            ENOUGH / 2,
            False,
            PrimerStep.NONE,
        ),
        (BatchCache(primer=BatchId(1), until=NOON, primed=True), ENOUGH, False, PrimerStep.NONE),
        (BatchCache(primed=True), ENOUGH, False, PrimerStep.NONE),
    ],
)
def test_a_primer_is_sent_or_awaited_only_if_it_pays_and_endangers_nothing(
    cache: BatchCache, saves: Decimal, endangers: bool, step: PrimerStep
) -> None:
    assert cache.step(saves=saves, endangers=endangers, now=NOON) is step


@pytest.mark.parametrize("lane", Lane)
@given(rates, st.sampled_from([Marks.SOME, Marks.ALL]))
def test_all_calls_mark_exactly_when_the_measured_hit_rate_pays(
    lane: Lane, hit_rate: float, marks: Marks
) -> None:
    prices = cache_prices(HAIKU, lane, at=NOON)
    seen = measured(hit_rate)
    decided = decide(marking(marks, prices), seen, prices, lane=lane, now=later(hours=1))
    assert seen.hit_rate is not None
    wanted = prices.pays_from + (MARGIN if marks is Marks.SOME else 0)
    assert decided.marks is (Marks.ALL if seen.hit_rate >= wanted else Marks.NONE)
    assert (decided.hit_rate, decided.calls) == (seen.hit_rate, 1_000)


def test_caching_does_not_flap_at_a_hit_rate_near_the_break_even() -> None:
    pays = REALTIME.pays_from
    on = decide(
        marking(Marks.ALL), measured(pays + 0.001), REALTIME, lane=Lane.REALTIME, now=later(hours=1)
    )
    assert on.marks is Marks.ALL
    off = decide(on, measured(pays - 0.01), REALTIME, lane=Lane.REALTIME, now=later(hours=2))
    assert off.marks is Marks.NONE
    assert off.again_at is not None
    assert (
        decide(off, measured(1), REALTIME, lane=Lane.REALTIME, now=later(hours=3)).marks
        is Marks.NONE
    )
    again = decide(off, measured(1), REALTIME, lane=Lane.REALTIME, now=off.again_at)
    assert again.marks is Marks.SOME
    assert (
        decide(again, measured(pays + 0.01), REALTIME, lane=Lane.REALTIME, now=later(days=1)).marks
        is Marks.NONE
    )


@pytest.mark.parametrize("lane", Lane)
def test_each_loss_doubles_the_rest_of_caching_up_to_a_month(
    lane: Lane,
) -> None:
    prices, now = cache_prices(HAIKU, lane, at=NOON), NOON
    state, rests = start_unmarked(prices, now=now), list[timedelta]()
    for _ in range(12):
        state = decide(state, measured(0), prices, lane=lane, now=now)
        assert state.marks is Marks.SOME
        state = decide(state, measured(0.01), prices, lane=lane, now=now)
        assert state.marks is Marks.NONE
        assert state.again_at is not None
        rests.append(state.again_at - now)
        now = state.again_at
    assert rests[:3] == [TERMS[lane].rests * factor for factor in (1, 2, 4)]
    assert rests[-1] == LONGEST_REST
    state = decide(
        decide(state, measured(1), prices, lane=lane, now=now),
        measured(1),
        prices,
        lane=lane,
        now=now,
    )
    assert (state.marks, state.losses) == (Marks.ALL, 0)


@pytest.mark.parametrize("marks", [Marks.SOME, Marks.ALL])
def test_caching_turns_off_with_a_reason_if_the_provider_caches_nothing(marks: Marks) -> None:
    nothing = CacheUse(marked=40, per_s=OFTEN)
    off = decide(marking(marks), nothing, REALTIME, lane=Lane.REALTIME, now=later(hours=1))
    assert (off.marks, off.hit_rate) == (Marks.NONE, None)
    assert off.why == "the provider cached nothing of 40 calls: what they share is too short for it"
    assert off.again_at == later(days=7, hours=1)


@pytest.mark.parametrize("marks", [Marks.SOME, Marks.ALL])
def test_a_hit_rate_near_the_break_even_needs_more_calls_for_a_decision(marks: Marks) -> None:
    few, more = (measured(BATCH.pays_from - 0.1, calls) for calls in (20, 100))
    unsure = decide(marking(marks, BATCH), few, BATCH, lane=Lane.BATCH, now=later(hours=1))
    assert (unsure.marks, unsure.losses) == (marks, 0)
    assert unsure.why.endswith("it pays from 0.53: too few to tell")
    assert decide(unsure, more, BATCH, lane=Lane.BATCH, now=later(hours=2)).marks is Marks.NONE
    assert (
        decide(unsure, measured(0.2, 20), BATCH, lane=Lane.BATCH, now=later(hours=2)).marks
        is Marks.NONE
    )


def test_few_calls_change_nothing_unless_calls_are_too_rare() -> None:
    few = measured(0, TERMS[Lane.REALTIME].fewest - 1)
    assert (
        decide(marking(Marks.ALL), few, REALTIME, lane=Lane.REALTIME, now=later(hours=1)).marks
        is Marks.ALL
    )
    seldom = measured(1, 3, per_s=1 / 7_200)
    off = decide(marking(Marks.ALL), seldom, REALTIME, lane=Lane.REALTIME, now=later(hours=1))
    assert (off.marks, off.again_at) == (Marks.NONE, None)


def test_a_trial_marks_one_call_a_second_per_version_and_a_decision_marks_all_or_none() -> None:
    marking, one, other = Marking(), VersionId(1), VersionId(2)
    assert not marking.marks(one, at=0)
    marking.learn({one: Marks.SOME, other: Marks.SOME})
    assert [marking.marks(one, at=at) for at in (5, 5, 5.9, 5 + PROBED_EVERY_S, 6.5)] == [
        True,
        False,
        False,
        True,
        False,
    ]
    assert marking.marks(other, at=6.5)
    marking.learn({one: Marks.ALL})
    assert [marking.marks(one, at=7), marking.marks(one, at=7), marking.marks(other, at=9)] == [
        True,
        True,
        False,
    ]


def test_the_description_of_caching_states_the_decision_and_its_evidence() -> None:
    on = decide(
        marking(Marks.ALL), measured(0.93, 1_204), REALTIME, lane=Lane.REALTIME, now=later(hours=1)
    )
    assert (
        on.describe(Lane.REALTIME)
        == "on in real time (hit rate 0.93 of 1,204 calls, pays from 0.22)"
    )
    assert start_unmarked(BATCH, now=NOON).describe(Lane.BATCH) == "off in batches (pays from 0.53)"

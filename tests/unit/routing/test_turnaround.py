"""How long batches take, learned: what an estimate may never do, and that it is what others compute."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lanes.routing.turnaround import ENOUGH, HALF_LIFE, PSEUDO_BATCHES, SIGMA, Seen, Turnaround, Turnarounds
from tests.conftest import NOON, later

MODEL = "claude-haiku-5-5"
HOUR = timedelta(hours=1)
ASSUMED = stats.lognorm(s=SIGMA, scale=HOUR.total_seconds())
spans = st.integers(0, 200_000).map(lambda seconds: timedelta(seconds=seconds))
moments = st.floats(0, 500_000)
seen = st.builds(
    Seen, model=st.just(MODEL), requests=st.sampled_from([1, 99, 100, 20_000]), hour=st.integers(0, 23), took=spans,
    back=st.booleans(), age=st.integers(-1, 400).map(lambda days: timedelta(days=days)),
)  # fmt: skip
histories = st.lists(seen, max_size=30)


def batch(took: timedelta, *, back: bool = True, age: timedelta = timedelta(0), requests: int = 10, hour: int = 12) -> Seen:
    return Seen(MODEL, requests, hour, took, back, age)


def law(of: Sequence[Seen], usual: timedelta = HOUR) -> Turnaround:
    return Turnaround(of, usual=usual)


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


@given(st.floats(1, 500_000), st.integers(1, 1440).map(minutes))
def test_with_nothing_seen_it_is_exactly_what_is_assumed(seconds: float, usual: timedelta) -> None:
    assumed = stats.lognorm(s=SIGMA, scale=usual.total_seconds())
    assert law([], usual).by(seconds) == pytest.approx(assumed.cdf(seconds), abs=1e-12)
    assert law([], usual).within(0.95).total_seconds() == pytest.approx(assumed.ppf(0.95), abs=1e-6)


@given(histories, moments, moments)
def test_later_is_never_less_probable(of: list[Seen], one: float, other: float) -> None:
    sooner, later_ = sorted((one, other))
    assert 0 <= law(of).by(sooner) <= law(of).by(later_) + 1e-12 <= 1 + 1e-12


@given(histories, moments, moments)
def test_what_one_that_is_out_promises_follows_from_what_one_that_leaves_promises(
    of: list[Seen], out: float, after: float
) -> None:
    found = law(of)
    still = 1 - found.by(out)
    if after <= out or still < 1e-9:
        return
    assert found.of_one_out(out)(after) == pytest.approx((found.by(after) - found.by(out)) / still, abs=1e-6)
    assert found.of_one_out(0)(after) == pytest.approx(found.by(after))


@given(histories, moments, moments, moments)
def test_of_one_that_is_out_later_is_never_less_probable_and_the_past_is_impossible(
    of: list[Seen], out: float, one: float, other: float
) -> None:
    back_by = law(of).of_one_out(out)
    sooner, later_ = sorted((one, other))
    assert 0 <= back_by(sooner) <= back_by(later_) + 1e-9 <= 1 + 1e-9
    assert back_by(out) == 0


@given(histories, st.data(), moments)
def test_not_having_seen_an_end_never_raises_a_probability(of: list[Seen], data: st.DataObject, after: float) -> None:
    if not of:
        return
    place = data.draw(st.integers(0, len(of) - 1))
    censored = [replace(each, back=False) if n == place else each for n, each in enumerate(of)]
    assert law(censored).by(after) <= law([replace(each, back=True) if n == place else each for n, each in enumerate(of)]).by(
        after
    ) + 1e-12  # fmt: skip
    without = [each for n, each in enumerate(of) if n != place]
    assert law(censored).by(after) <= law(without).by(after) + 1e-12


@given(histories, st.floats(0.01, 0.999))
def test_within_is_the_first_moment_at_which_it_is_so_probable(of: list[Seen], probability: float) -> None:
    found = law(of)
    moment = found.within(probability)
    assert found.by(moment + timedelta(milliseconds=1)) >= probability - 1e-6
    assert found.by(moment - timedelta(milliseconds=1)) <= probability + 1e-6


@given(histories, moments, st.floats(0.01, 0.999))
def test_within_knows_how_long_a_batch_has_been_out(of: list[Seen], out: float, probability: float) -> None:
    found = law(of)
    moment, back_by = found.within(probability, out=out), found.of_one_out(out)
    assert moment.total_seconds() >= out - 1e-6
    assert back_by(moment + timedelta(milliseconds=1)) >= probability - 1e-3
    assert back_by(moment - timedelta(milliseconds=1)) <= probability + 1e-3


@given(seen, moments)
def test_a_history_of_one_batch_is_survived(of: Seen, after: float) -> None:
    found = law([of])
    assert 0 <= found.by(after) <= 1
    assert found.within(0.95) > timedelta(0)
    assert found.evidence.batches == 1


def test_one_batch_moves_what_is_assumed_by_one_sixth() -> None:
    assert law([batch(minutes(10))]).by(minutes(10)) == pytest.approx((5 * ASSUMED.cdf(600) + 1) / 6)


@given(st.lists(st.tuples(st.integers(1, 150), st.booleans(), st.integers(0, 3)), min_size=1, max_size=20), st.integers(1, 200))
def test_it_is_what_scipy_computes_when_what_is_assumed_is_many_batches(of: list[tuple[int, bool, int]], after: int) -> None:
    """Each batch stands there as many times as it weighs: halved for each week."""
    copies, fine = 1024, 1024 * int(PSEUDO_BATCHES)
    history = [batch(minutes(took), back=back, age=HALF_LIFE * weeks) for took, back, weeks in of]
    ended, lost = list[float](), list[float]()
    for took, back, weeks in of:
        (ended if back else lost).extend([float(took)] * (copies // 2**weeks))
    assumed = stats.lognorm(s=SIGMA, scale=60).ppf((np.arange(fine) + 0.5) / fine)
    theirs = stats.ecdf(stats.CensoredData(uncensored=[*ended, *assumed], right=lost))
    ours = law(history).by(minutes(after))
    assert float(theirs.cdf.evaluate(float(after))) == pytest.approx(ours, abs=0.01)


def test_a_batch_of_last_week_counts_half() -> None:
    assert batch(HOUR, age=HALF_LIFE).weight == 0.5
    assert batch(HOUR, age=2 * HALF_LIFE).weight == 0.25
    assert batch(HOUR, age=-HOUR).weight == 1  # of a clock that went back
    old, new = [batch(minutes(20), age=HALF_LIFE) for _ in range(20)], [batch(minutes(20)) for _ in range(10)]
    assert law(old).by(minutes(30)) == pytest.approx(law(new).by(minutes(30)))


def test_leaving_out_what_is_not_back_yet_would_be_too_quick() -> None:
    back, out = [batch(minutes(30)) for _ in range(20)], [batch(minutes(31), back=False) for _ in range(20)]
    assert law(back).by(HOUR) >= 0.9
    assert law([*back, *out]).by(HOUR) < 0.75


def test_a_cell_with_too_few_batches_takes_all_sizes_and_then_all_hours() -> None:
    nine = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
    small = [batch(minutes(10), requests=5, hour=9) for _ in range(ENOUGH - 1)]
    large = [batch(minutes(90), requests=50_000, hour=9) for _ in range(ENOUGH)]
    noon = [batch(minutes(30), requests=5, hour=12) for _ in range(5)]
    found = Turnarounds([*small, *large, *noon], NOON)

    def batches(leaves_at: datetime, requests: int | None) -> int:
        return found.of(MODEL, leaves_at=leaves_at, usual=HOUR, requests=requests).evidence.batches

    assert batches(nine, 50_000) == ENOUGH  # its size and hour
    assert batches(nine, 5) == batches(nine, None) == 2 * ENOUGH - 1  # all sizes of the hour
    assert batches(NOON, 5) == 2 * ENOUGH + 4  # all there is
    assert found.of("another", leaves_at=NOON, usual=HOUR).evidence.batches == 0
    assert found.of(MODEL, leaves_at=later(hours=-3), usual=HOUR) is found.of(MODEL, leaves_at=nine, usual=HOUR)


def test_the_age_of_the_evidence_is_that_of_what_weighs() -> None:
    assert law([]).evidence.age is None
    age = law([batch(HOUR), batch(HOUR, age=HALF_LIFE)]).evidence.age
    assert age is not None
    assert age == HALF_LIFE / 3
    assert not math.isnan(law([batch(timedelta(days=1), age=timedelta(days=9999))]).by(timedelta(days=2)))

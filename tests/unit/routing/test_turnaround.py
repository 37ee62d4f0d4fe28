"""Learned batch turnaround: what an estimate never does, what it forgets, and how outcomes correct the stated probability."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lanes.routing.turnaround import (
    ENOUGH,
    HALF_LIFE,
    PSEUDO_BATCHES,
    SHAPE,
    Turnaround,
    correction,
    since_change,
)
from tests.conftest import NOON, later
from tests.took import MODEL, Took, laws, seen

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
spans = st.integers(0, 200_000).map(lambda seconds: timedelta(seconds=seconds))
moments = spans
batches = st.builds(
    Took,
    spans,
    back=st.booleans(),
    age=st.integers(-1, 400).map(lambda days: timedelta(days=days)),
    requests=st.sampled_from([1, 99, 100, 20_000]),
    items=st.integers(1, 50_000),
)
histories = st.lists(batches, max_size=30)


def law(of: list[Took], usual: timedelta = HOUR) -> Turnaround:
    return Turnaround(seen(of), usual=usual)


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


@given(st.floats(10, 500_000), st.integers(1, 1440).map(minutes))
def test_without_observations_the_law_equals_the_assumed_distribution(
    seconds: float, usual: timedelta
) -> None:
    assumed = stats.fisk(c=SHAPE, scale=usual.total_seconds())
    assert law([], usual).by(timedelta(seconds=seconds)) == pytest.approx(
        assumed.cdf(seconds), abs=1e-3
    )
    assert law([], usual).within(0.95).total_seconds() == pytest.approx(assumed.ppf(0.95), rel=1e-2)


@given(histories, moments, moments)
def test_a_later_moment_is_never_less_probable_and_no_moment_is_certain(
    of: list[Took], one: timedelta, other: timedelta
) -> None:
    sooner, later_ = sorted((one, other))
    assert 0 <= law(of).by(sooner) <= law(of).by(later_) < 1


@given(histories, moments, moments)
def test_an_open_batch_has_the_conditional_probability_given_its_age(
    of: list[Took], out: timedelta, after: timedelta
) -> None:
    found = law(of)
    still = 1 - found.by(out)
    if after <= out or still < 1e-9:
        return
    assert found.by(after, out=out) == pytest.approx(
        (found.by(after) - found.by(out)) / still, abs=1e-6
    )


@given(histories, moments, moments, moments)
def test_for_an_open_batch_later_is_never_less_probable_and_the_past_is_impossible(
    of: list[Took], out: timedelta, one: timedelta, other: timedelta
) -> None:
    found = law(of)
    sooner, later_ = sorted((one, other))
    assert 0 <= found.by(sooner, out=out) <= found.by(later_, out=out) < 1
    assert found.by(out, out=out) == 0


@given(histories, st.data(), moments)
def test_a_batch_without_an_observed_end_never_raises_a_probability(
    of: list[Took], data: st.DataObject, after: timedelta
) -> None:
    if not of:
        return
    place = data.draw(st.integers(0, len(of) - 1))
    out, back = (
        [replace(each, back=back) if n == place else each for n, each in enumerate(of)]
        for back in (False, True)
    )
    assert law(out).by(after) <= law(back).by(after) + 1e-12


@given(histories, st.floats(0.01, 0.999))
def test_within_returns_the_first_moment_that_reaches_the_probability(
    of: list[Took], probability: float
) -> None:
    found = law(of)
    moment = found.within(probability)
    assert found.by(moment + timedelta(milliseconds=1)) >= probability - 1e-6 or moment > timedelta(
        days=365
    )
    assert found.by(moment - timedelta(milliseconds=1)) <= probability + 1e-6


@given(histories, moments, st.floats(0.01, 0.999))
def test_within_accounts_for_how_long_a_batch_has_been_out(
    of: list[Took], out: timedelta, probability: float
) -> None:
    found = law(of)
    moment = found.within(probability, out=out)
    assert moment >= out
    assert found.by(
        moment + timedelta(milliseconds=1), out=out
    ) >= probability - 1e-3 or moment > timedelta(days=365)
    assert found.by(moment - timedelta(milliseconds=1), out=out) <= probability + 1e-3


@pytest.mark.slow
@given(
    st.lists(
        st.tuples(st.integers(1, 150), st.booleans(), st.integers(0, 3)), min_size=1, max_size=20
    ),
    st.integers(1, 200),
)
def test_the_law_matches_scipy_when_the_prior_is_written_as_many_batches(
    of: list[tuple[int, bool, int]], after: int
) -> None:
    """Repeat each batch by its weight, which halves every week. The prior is centred on the median of a first pass."""
    copies, fine = 1024, 1024 * int(PSEUDO_BATCHES)
    history = [Took(minutes(took), back=back, age=HALF_LIFE * weeks) for took, back, weeks in of]
    ended, lost = list[float](), list[float]()
    for took, back, weeks in of:
        (ended if back else lost).extend([float(took)] * (copies // 2**weeks))

    def theirs(median: float) -> Any:
        assumed = stats.fisk(c=SHAPE, scale=median).ppf((np.arange(fine) + 0.5) / fine)
        return stats.ecdf(stats.CensoredData(uncensored=[*ended, *assumed], right=lost)).cdf

    first = theirs(60.0)
    median = float(first.quantiles[np.searchsorted(first.probabilities, 0.5)])
    sooner, later_ = (
        law(history).by(minutes(after * by)) for by in (0.9, 1.12)
    )  # the grid is discrete
    assert sooner - 0.03 <= float(theirs(median).evaluate(float(after))) <= later_ + 0.03


def test_a_batch_of_last_week_counts_half() -> None:
    assert seen([Took(HOUR, age=HALF_LIFE), Took(HOUR, age=-HOUR)]).decay.tolist() == [0.5, 1]
    old, new = (
        [Took(minutes(20), age=age) for _ in range(number)]
        for age, number in ((HALF_LIFE, 20), (0 * HOUR, 10))
    )
    assert law(old).by(minutes(30)) == pytest.approx(law(new).by(minutes(30)))


def test_a_batch_is_weighted_by_its_items_and_one_huge_batch_counts_as_one() -> None:
    quick, slow = (
        [Took(minutes(20), items=10) for _ in range(20)],
        [Took(HOUR * 4, items=10_000) for _ in range(20)],
    )
    assert law([*quick, *slow]).by(HOUR) < 0.1
    assert seen(quick).weight.sum() == pytest.approx(20)
    assert seen([*quick, Took(HOUR, items=100_000)]).weight.sum() == pytest.approx(1, abs=0.01)


def test_batches_that_are_still_out_lower_the_probability() -> None:
    back, out = (
        [Took(minutes(30)) for _ in range(20)],
        [Took(minutes(31), back=False) for _ in range(20)],
    )
    assert law(back).by(HOUR) >= 0.9
    assert law([*back, *out]).by(HOUR) < 0.75


def at_hour(
    hour: int, took: timedelta, *, days: int, each: int = 2, first: int = 0, requests: int = 10
) -> list[Took]:
    """Return batches that left in this hour on `days` days, counted back from `first` days before noon."""
    before = timedelta(hours=(11.5 - hour) % 24)
    return [
        Took(took, age=before + day * DAY, requests=requests)
        for day in range(first, first + days)
        for _ in range(each)
    ]


def test_the_hour_counts_if_enough_batches_left_in_it_and_never_replaces_the_size() -> None:
    nine, three = later(hours=-3), later(hours=3)
    small, large = (
        at_hour(9, minutes(10), days=14, each=4),
        at_hour(9, HOUR * 5, days=14, each=4, requests=50_000),
    )
    slower, few = (
        at_hour(15, minutes(40), days=14, each=4),
        at_hour(15, HOUR * 5, days=1, requests=50_000, first=1),
    )
    found = laws([*small, *large, *slower, *few])

    def by(after: timedelta, leaves_at: object, requests: int | None) -> float:
        return found.of(MODEL, leaves_at=leaves_at, usual=HOUR, requests=requests).by(after)  # pyright: ignore[reportArgumentType]

    assert by(minutes(30), nine, 5) > 0.8 > 0.2 > by(minutes(30), three, 5)
    assert (
        by(HOUR * 3, three, 50_000) < 0.2 < 0.8 < by(HOUR * 3, three, 5)
    )  # few large batches left at that hour: those of all hours count
    assert found.of("another", leaves_at=NOON, usual=HOUR).evidence.batches == 0
    assert found.of(MODEL, leaves_at=NOON, usual=HOUR) is found.of(
        MODEL, leaves_at=later(minutes=20), usual=HOUR
    )


def test_an_unknown_size_is_judged_by_items_and_a_known_size_by_similar_batches() -> None:
    alike = [Took(HOUR * 4, requests=500, items=500, age=timedelta(hours=1 + n)) for n in range(96)]
    small = [
        Took(minutes(15), requests=20, items=20, age=timedelta(hours=1 + n)) for n in range(400)
    ]
    found = laws([*alike, *small])
    assert found.of(MODEL, leaves_at=NOON, usual=HOUR, requests=400).by(HOUR * 3) < 0.1
    assert (
        found.of(MODEL, leaves_at=NOON, usual=HOUR).by(HOUR * 3) < 0.3
    )  # 86 % of the items are in such batches
    assert found.of(MODEL, leaves_at=NOON, usual=HOUR, requests=20).by(HOUR) > 0.9


def test_a_stale_hour_does_not_outvote_fresh_batches_of_other_hours() -> None:
    stale = at_hour(12, minutes(5), days=1, each=int(ENOUGH), first=23)
    fresh = [Took(HOUR * 2, age=timedelta(hours=2 + n % 20, days=n // 60)) for n in range(1_500)]
    assert laws([*stale, *fresh]).of(MODEL, leaves_at=NOON, usual=HOUR).by(HOUR) < 0.1


def test_after_the_provider_slows_down_earlier_batches_are_forgotten_within_hours() -> None:
    drawn = np.random.default_rng(5).lognormal(np.log(3_600), 0.4, 500)
    before = [
        Took(timedelta(seconds=took), age=timedelta(hours=10 + n / 2))
        for n, took in enumerate(drawn)
    ]
    left = [
        Took(timedelta(hours=out), back=False, age=timedelta(hours=out))
        for out in (1, 1.5, 2, 2.5, 3, 3.5)
    ]
    assert since_change(seen(before), HOUR) == len(before)
    assert since_change(seen([*before, *left]), HOUR) < 10
    told = [
        laws(of).of(MODEL, leaves_at=NOON, usual=HOUR).by(HOUR * 3)
        for of in (before, [*before, *left])
    ]
    assert told[0] > 0.95
    assert told[1] < 0.7


def test_after_a_speed_up_at_least_a_whole_day_counts_because_nights_are_faster_too() -> None:
    drawn = np.random.default_rng(5).lognormal(np.log(7_200), 0.3, 300)
    for quick in (12, 40):
        took = [timedelta(minutes=20)] * quick + [timedelta(seconds=each) for each in drawn]
        stay = since_change(
            seen([Took(each, age=HOUR * n) for n, each in enumerate(took, 1)]), HOUR
        )
        assert stay == 312 if quick == 12 else 24 <= stay < 60


@pytest.mark.slow
def test_without_a_change_observed_batches_are_rarely_forgotten() -> None:
    forgot = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        ages, takes = random.uniform(0, 10 * 86_400, 150), random.lognormal(np.log(3_600), 0.5, 150)
        pairs = zip(ages, takes, strict=True)
        same = [
            Took(timedelta(seconds=min(t, a)), bool(t <= a), timedelta(seconds=a)) for a, t in pairs
        ]
        forgot += since_change(seen(same), HOUR) < 150
    assert forgot <= 10


def test_misses_lower_and_hits_raise_the_probability_once_the_stated_time_has_passed() -> None:
    def stated(took: float, age: float, *, back: bool = True) -> Took:
        return Took(HOUR * took, back=back, age=HOUR * age, stated=HOUR * 2)

    hits, misses = [stated(1, 5)] * 20, [stated(3, 5)] * 2
    assert correction(seen([])) == correction(seen([Took(HOUR)])) == 0
    assert correction(seen(hits)) < 0 < correction(seen([*hits[:5], *misses]))
    assert correction(seen([stated(1, 1.5)] * 20)) == 0  # back early, and not decided yet
    assert correction(seen([stated(2.5, 2.5, back=False)])) > 0  # still out, and decided
    assert correction(seen([stated(1, 5, back=False)])) == 0  # cancelled: no information
    history = [Took(HOUR, age=DAY + HOUR * n) for n in range(50)]
    surely, doubtful = (
        [replace(each, stated=HOUR * hours) for each in history] for hours in (2, 0.5)
    )
    told = [
        laws(of).of(MODEL, leaves_at=NOON, usual=HOUR).by(HOUR * 2)
        for of in (doubtful, history, surely)
    ]
    assert told == sorted(told)
    assert told[0] < told[1] < told[2]


def test_the_age_of_the_evidence_is_the_weighted_mean_age() -> None:
    assert law([]).evidence.age is None
    age = law([Took(HOUR), Took(HOUR, age=HALF_LIFE)]).evidence.age
    assert age == HALF_LIFE / 3
    assert 0 < law([Took(DAY, age=timedelta(days=9999))]).by(timedelta(days=2)) < 1

"""Burn rates: what spends its error budget too fast is told soon, and twenty items within the budget are not."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from lanes.promises import assessment
from lanes.promises.answers import RealtimeFigures, realtime_failing, realtime_slow
from lanes.promises.assessment import (
    ALERTS,
    FAST,
    LEAST_HITS,
    SHORT,
    UNPROVED,
    WINDOWS,
    Assessment,
    burning,
    threshold,
)
from lanes.promises.incident import Severity
from lanes.statistics.shares import SampleShare, bounds
from lanes.words import Verdict
from tests.benchmarks import watch_burn
from tests.examples import version

BUDGET = 0.05
FIVE, SIX_HOURS = 1, 4  # places
Tried = tuple[int, int]  # hits and samples


def windows(*of: Tried) -> list[SampleShare]:
    """The shares of the windows, the shortest first; the last of them for all that are longer."""
    return [SampleShare(*each) for each in of + of[-1:] * (len(WINDOWS) - len(of))]


def attempts(*of: Tried, percent: float = 5) -> Assessment:
    figures = RealtimeFigures("letters", 1, 0, 0, 0, 0, tried=windows(*of))
    return realtime_failing(version(promises={"realtime_max_error_percent": percent}), figures)


def growing() -> st.SearchStrategy[list[SampleShare]]:
    """Windows of which each holds the shorter ones."""
    steps = st.tuples(st.integers(0, 400), st.integers(0, 4_000))

    def summed(of: list[Tried]) -> list[SampleShare]:
        hits, clean, found = 0, 0, list[SampleShare]()
        for more_hits, more_clean in of:
            hits, clean = hits + more_hits, clean + more_clean
            found.append(SampleShare(hits, hits + clean))
        return found

    return st.lists(steps, min_size=len(WINDOWS), max_size=len(WINDOWS)).map(summed)


def test_the_long_and_short_windows_are_those_of_the_workbook() -> None:
    longest = {each.rate: each.places[-1] for each in ALERTS}
    lengths = {rate: (WINDOWS[at], WINDOWS[SHORT[at]]) for rate, at in longest.items()}
    assert lengths == {
        14.4: (timedelta(hours=1), timedelta(minutes=5)),
        6: (timedelta(hours=6), timedelta(minutes=30)),
        1: (timedelta(days=3), timedelta(hours=6)),
    }


@pytest.mark.parametrize(
    ("rate", "budget", "share"), [(14.4, 0.001, 0.0144), (14.4, 0.05, 0.525), (6, 0.5, 0.75)]
)
def test_a_budget_of_several_percent_caps_the_share_that_a_burn_rate_asks_for(
    rate: float, budget: float, share: float
) -> None:
    assert threshold(rate, budget) == pytest.approx(share)


@given(st.integers(0, 20), st.sampled_from([0.001, 0.01, 0.05, 0.2, 0.5]))
def test_twenty_items_alarm_only_if_the_budget_would_nearly_never_give_so_many_hits(
    hits: int, budget: float
) -> None:
    if burning(windows((hits, 20)), budget).verdict is Verdict.FAILED:
        assert hits >= LEAST_HITS
        assert binom.sf(hits - 1, 20, budget) <= UNPROVED


@given(growing(), st.floats(0.001, 0.9))
def test_a_breach_rests_on_a_window_whose_lower_bound_lies_above_the_budget(
    seen: list[SampleShare], budget: float
) -> None:
    judged = burning(seen, budget)
    if judged.verdict is Verdict.FAILED:
        assert bounds(seen[judged.place], alpha=UNPROVED)[0] >= budget - 1e-9
    if judged.verdict is Verdict.PASSED:
        assert seen[judged.place].hits < budget * seen[judged.place].samples


def test_a_total_outage_is_critical_while_most_of_the_hour_was_fine() -> None:
    found = attempts((30, 50), (30, 500), (30, 3_000), (30, 6_000))
    assert (found.verdict, found.severity) == (Verdict.FAILED, Severity.CRITICAL)
    assert found.sentence == (
        "30 of 50 attempts of the last minute failed: 60 %, and 5 % is the limit."
    )


def test_a_slow_burn_is_a_warning_that_only_the_long_windows_tell() -> None:
    found = attempts((0, 1), (1, 8), (3, 50), (6, 100), (40, 600), (480, 7_200))
    assert (found.verdict, found.severity) == (Verdict.FAILED, Severity.WARNING)
    assert "480 of 7,200 attempts of the last 3 days failed" in found.sentence
    assert attempts((0, 1), (1, 8), (3, 50), (6, 100), (40, 600), (380, 7_200)).verdict is (
        Verdict.INCONCLUSIVE
    )


def test_what_burned_and_is_healthy_again_is_over_though_the_long_windows_still_show_it() -> None:
    found = attempts((0, 100), (2, 500), (1_500, 3_000), (1_530, 6_000))
    assert (found.verdict, found.ends) == (Verdict.PASSED, True)
    assert "2 of 500 attempts of the last 5 minutes" in found.sentence


@pytest.mark.parametrize(("place", "clean"), [(FIVE, 191), (SIX_HOURS, 107)])
def test_the_shortest_window_that_can_tell_ends_an_incident(place: int, clean: int) -> None:
    for samples, verdict in ((clean, Verdict.PASSED), (clean - 1, Verdict.INCONCLUSIVE)):
        seen = [SampleShare(0, samples if each == place else 0) for each in range(len(WINDOWS))]
        assert burning(seen, BUDGET).verdict is verdict


def test_too_few_clean_samples_end_nothing_and_no_sample_at_all_hides_a_breach() -> None:
    found = attempts((0, 2), (0, 10), (1, 60), (50, 120))
    assert (found.verdict, found.ends) == (Verdict.INCONCLUSIVE, False)
    assert attempts((0, 2), (0, 10), (30, 60), (50, 120)).verdict is Verdict.FAILED
    assert attempts((0, 0), (0, 0), (30, 60), (50, 120)).verdict is Verdict.FAILED


def test_healthy_hours_before_a_breach_do_not_end_its_incident() -> None:
    assert not attempts((3, 10), (4, 50), (10, 300), (15, 600), (40, 3_600)).ends


def test_slow_answers_burn_a_budget_of_five_percent() -> None:
    timely = windows((30, 50), (30, 500), (30, 3_000))
    found = realtime_slow(version(), RealtimeFigures("letters", 9, 3_000, 0, 0, 0, timely=timely))
    assert (found.verdict, found.severity, found.value) == (Verdict.FAILED, Severity.CRITICAL, 9)
    assert "30 of 50 items of the last minute took longer, or still wait: 60 %" in found.sentence


@given(growing(), st.floats(0.001, 0.9))
def test_a_limit_of_nothing_or_everything_is_never_broken_and_fast_burns_are_critical(
    seen: list[SampleShare], budget: float
) -> None:
    assert {burning(seen, each).verdict for each in (0, 1)} == {Verdict.PASSED}
    verdict, place, fast = burning(seen, budget)
    if fast:
        assert seen[place].hits >= threshold(FAST, budget) * seen[place].samples
    assert (fast is not None) == (verdict is Verdict.FAILED)


def test_the_bench_finds_no_opening_at_half_of_the_limit() -> None:
    assert watch_burn.measure(quick=True) == {"opened_at_half_limit_per_day": 0}


def test_the_bench_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assessment, "UNPROVED", 1e9)
    assert watch_burn.measure(quick=True)["opened_at_half_limit_per_day"] > 0.05


@pytest.mark.slow
def test_a_quiet_week_opens_nothing_and_a_bad_week_is_told_soon() -> None:
    assert watch_burn.quiet_month(workloads=5, attempts=250_000, days=7) == 0
    told = watch_burn.bad_week(breaches=12)
    assert [each for each in told if not each.told] == []
    assert sorted(each.delay_s for each in told)[len(told) // 2] <= 60

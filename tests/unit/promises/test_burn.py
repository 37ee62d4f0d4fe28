"""Shares against their limits, budgets, and burn rates: alerts neither flap nor miss a clear breach in any traffic."""

from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from lanes.money.budget import Budget, BudgetStatus, Period
from lanes.promises import assessment
from lanes.promises.answers import RealtimeFigures, judge_failing, realtime_slow
from lanes.promises.assessment import (
    ALERTS,
    FAST,
    LEAST_HITS,
    SHORT,
    STAYS,
    UNPROVED,
    WINDOWS,
    Assessment,
    judge_burn,
    share_verdict,
    threshold,
)
from lanes.promises.breaches import budget_lasts
from lanes.promises.incident import Severity
from lanes.statistics.shares import SampleShare, bounds
from lanes.words import Verdict
from tests.benchmarks import watch_burn
from tests.benchmarks.watch_burn import DAY_S, LOOK_S, drawn, failing, openings
from tests.conftest import NOON
from tests.examples import version

BUDGET = 0.05
FIVE, SIX_HOURS = 1, 4  # positions in WINDOWS
Tried = tuple[int, int]  # hits and samples
LETTERS = version()
LIMIT = LETTERS.spec.promises.realtime_max_error_percent / 100
DAYS = 10


def windows(*of: Tried) -> list[SampleShare]:
    """Return the shares of the windows, the shortest first; the last share also fills the longer windows."""
    return [SampleShare(*each) for each in of + of[-1:] * (len(WINDOWS) - len(of))]


def attempts(*of: Tried, percent: float = 5) -> Assessment:
    figures = RealtimeFigures("letters", 1, 0, 0, tried=windows(*of))
    return judge_failing(version(promises={"realtime_max_error_percent": percent}), figures)


def growing() -> st.SearchStrategy[list[SampleShare]]:
    """Generate windows, each of which contains the shorter ones."""
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
def test_a_budget_of_several_percent_caps_the_share_that_a_burn_rate_requires(
    rate: float, budget: float, share: float
) -> None:
    assert threshold(rate, budget) == pytest.approx(share)


@given(st.integers(0, 20), st.sampled_from([0.001, 0.01, 0.05, 0.2, 0.5]))
def test_twenty_items_alarm_only_if_the_budget_makes_that_many_hits_highly_unlikely(
    hits: int, budget: float
) -> None:
    if judge_burn(windows((hits, 20)), budget).verdict is Verdict.FAILED:
        assert hits >= LEAST_HITS
        assert binom.sf(hits - 1, 20, budget) <= UNPROVED


@given(growing(), st.floats(0.001, 0.9))
def test_a_breach_needs_a_window_whose_lower_bound_is_above_the_budget(
    seen: list[SampleShare], budget: float
) -> None:
    judged = judge_burn(seen, budget)
    if judged.verdict is Verdict.FAILED:
        assert bounds(seen[judged.place], alpha=UNPROVED)[0] >= budget - 1e-9
    if judged.verdict is Verdict.PASSED:
        assert seen[judged.place].hits < budget * seen[judged.place].samples


def test_a_recent_outage_is_critical_although_most_of_the_hour_was_healthy() -> None:
    found = attempts((30, 50), (30, 500), (30, 3_000), (30, 6_000))
    assert (found.verdict, found.severity) == (Verdict.FAILED, Severity.CRITICAL)
    assert found.sentence == (
        "30 of 50 attempts of the last minute failed: 60 %, and 5 % is the limit."
    )


def test_a_slow_burn_is_a_warning_from_the_long_windows_alone() -> None:
    found = attempts((0, 1), (1, 8), (3, 50), (6, 100), (40, 600), (480, 7_200))
    assert (found.verdict, found.severity) == (Verdict.FAILED, Severity.WARNING)
    assert "480 of 7,200 attempts of the last 3 days failed" in found.sentence
    assert attempts((0, 1), (1, 8), (3, 50), (6, 100), (40, 600), (380, 7_200)).verdict is (
        Verdict.INCONCLUSIVE
    )


def test_a_breach_that_recovered_ends_although_the_long_windows_still_show_it() -> None:
    found = attempts((0, 100), (2, 500), (1_500, 3_000), (1_530, 6_000))
    assert (found.verdict, found.ends) == (Verdict.PASSED, True)
    assert "2 of 500 attempts of the last 5 minutes" in found.sentence


@pytest.mark.parametrize(("place", "clean"), [(FIVE, 191), (SIX_HOURS, 107)])
def test_the_shortest_conclusive_window_ends_an_incident(place: int, clean: int) -> None:
    for samples, verdict in ((clean, Verdict.PASSED), (clean - 1, Verdict.INCONCLUSIVE)):
        seen = [SampleShare(0, samples if each == place else 0) for each in range(len(WINDOWS))]
        assert judge_burn(seen, BUDGET).verdict is verdict


def test_too_few_clean_samples_end_no_incident_and_empty_windows_hide_no_breach() -> None:
    found = attempts((0, 2), (0, 10), (1, 60), (50, 120))
    assert (found.verdict, found.ends) == (Verdict.INCONCLUSIVE, False)
    assert attempts((0, 2), (0, 10), (30, 60), (50, 120)).verdict is Verdict.FAILED
    assert attempts((0, 0), (0, 0), (30, 60), (50, 120)).verdict is Verdict.FAILED


def test_healthy_hours_before_a_breach_do_not_end_its_incident() -> None:
    assert not attempts((3, 10), (4, 50), (10, 300), (15, 600), (40, 3_600)).ends


def test_slow_answers_burn_a_budget_of_five_percent() -> None:
    timely = windows((30, 50), (30, 500), (30, 3_000))
    found = realtime_slow(version(), RealtimeFigures("letters", 9, 3_000, 0, timely=timely))
    assert (found.verdict, found.severity, found.value) == (Verdict.FAILED, Severity.CRITICAL, 9)
    assert "30 of 50 items of the last minute took longer, or still wait: 60 %" in found.sentence


@given(growing(), st.floats(0.001, 0.9))
def test_a_budget_of_0_or_1_is_never_broken_and_a_fast_burn_exceeds_its_threshold(
    seen: list[SampleShare], budget: float
) -> None:
    assert {judge_burn(seen, each).verdict for each in (0, 1)} == {Verdict.PASSED}
    verdict, place, fast = judge_burn(seen, budget)
    if fast:
        assert seen[place].hits >= threshold(FAST, budget) * seen[place].samples
    assert (fast is not None) == (verdict is Verdict.FAILED)


def test_the_benchmark_opens_no_incident_at_half_of_the_limit() -> None:
    assert watch_burn.measure(quick=True) == {"opened_at_half_limit_per_day": 0}


def test_the_benchmark_detects_alerts_that_open_too_easily(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assessment, "UNPROVED", 1e9)
    assert watch_burn.measure(quick=True)["opened_at_half_limit_per_day"] > 0.05


@pytest.mark.slow
def test_a_quiet_week_opens_no_incident_and_every_breach_of_a_bad_week_is_detected() -> None:
    assert watch_burn.quiet_month(workloads=5, attempts=250_000, days=7) == 0
    told = watch_burn.bad_week(breaches=12)
    assert [each for each in told if not each.told] == []
    assert sorted(each.delay_s for each in told)[len(told) // 2] <= 60


def opened(share: float, *, an_hour: int, seed: int) -> int:
    """Count the openings of the failing-attempts incident on the last of four days, by the rules of `incidents.record`."""
    traffic = drawn(np.random.default_rng(seed), an_hour, share, days=4)
    found = openings(traffic, failing(100 * LIMIT), LIMIT)
    return sum(1 for slot in found if slot * LOOK_S >= 3 * DAY_S)


@pytest.mark.slow
@pytest.mark.parametrize("an_hour", [30, 80, 400])
def test_a_promise_at_half_of_its_limit_opens_no_incident_in_ten_days(an_hour: int) -> None:
    days = [opened(LIMIT / 2, an_hour=an_hour, seed=seed) for seed in range(DAYS)]
    assert sum(days) == 0, days


@pytest.mark.slow
def test_an_incident_opens_rarely_at_its_limit_and_once_a_day_far_beyond_it() -> None:
    at_limit = [opened(LIMIT, an_hour=80, seed=seed) for seed in range(DAYS)]
    assert sum(at_limit) <= 3, at_limit
    random = np.random.default_rng(26)
    broken = [
        [*openings(drawn(random, 80, 5 * LIMIT, days=1), failing(100 * LIMIT), LIMIT)]
        for _ in range(DAYS)
    ]
    assert min(map(len, broken)) >= 1
    assert sum(map(len, broken)) / DAYS <= 1, broken


def test_a_clear_breach_needs_fewer_than_twenty_samples() -> None:
    assert share_verdict(SampleShare(19, 19), 5) is Verdict.FAILED
    assert share_verdict(SampleShare(LEAST_HITS, LEAST_HITS), 5) is Verdict.FAILED
    assert (
        share_verdict(SampleShare(LEAST_HITS - 1, LEAST_HITS - 1), 5) is Verdict.INCONCLUSIVE
    )  # the attempts of one item resemble each other


@pytest.mark.parametrize(
    ("hits", "samples", "passes"), [(0, 58, False), (0, 59, True), (1, 92, False), (1, 93, True)]
)
def test_a_share_is_below_its_limit_once_its_exact_upper_bound_is(
    hits: int, samples: int, passes: bool
) -> None:
    assert (share_verdict(SampleShare(hits, samples), 5) is Verdict.PASSED) == passes


@given(st.integers(0, 3000), st.integers(0, 3000), st.floats(0.1, 100))
def test_a_share_breaks_its_promise_only_where_its_bounds_lie_above_the_limit(
    hits: int, clean: int, limit: float
) -> None:
    seen = SampleShare(hits, hits + clean)
    low, _ = bounds(seen, alpha=0.01)
    judged = share_verdict(seen, limit)
    if judged is Verdict.FAILED:
        assert low >= limit / 100 - 1e-9
    if judged is Verdict.PASSED and seen.value is not None and limit < 100:
        assert seen.value < limit / 100


@given(st.integers(0, 500), st.integers(0, 500), st.floats(0.1, 99))
def test_one_more_hit_never_mends_a_share_and_one_more_clean_sample_never_breaks_it(
    hits: int, clean: int, limit: float
) -> None:
    seen = share_verdict(SampleShare(hits, hits + clean), limit)
    if seen is Verdict.FAILED:
        assert share_verdict(SampleShare(hits + 1, hits + clean + 1), limit) is Verdict.FAILED
    if share_verdict(SampleShare(hits, hits + clean + 1), limit) is Verdict.FAILED:
        assert seen is Verdict.FAILED


def test_the_incident_of_a_share_stays_open_for_a_while_unless_its_limit_is_zero() -> None:
    assert judge_failing(LETTERS, RealtimeFigures("letters", 1.0, 0, 0)).stays == STAYS
    none = version(promises={"realtime_max_error_percent": 0})
    assert judge_failing(none, RealtimeFigures("letters", 1.0, 0, 0)).stays == timedelta(0)


def seen(
    spent: str,
    *,
    hard: str | None = "10",
    soft: str | None = None,
    refused: bool = False,
    reserved: str = "0",
) -> BudgetStatus:
    limits = [None if each is None else Decimal(each) for each in (soft, hard)]
    of = Budget("letters", None, Period.DAY, "UTC", *limits)
    sums = Decimal(spent), Decimal(0), Decimal(reserved), Decimal(0)
    at, usd = (NOON, Decimal("0.1")) if refused else (None, None)
    return BudgetStatus(of, of.begins(NOON), of.ends(NOON), *sums, refused_at=at, refused_usd=usd)


@pytest.mark.parametrize(
    ("spent", "refused", "verdict", "severity"),
    [
        ("7.99", False, Verdict.PASSED, Severity.WARNING),
        ("8", False, Verdict.FAILED, Severity.WARNING),
        ("9.99", False, Verdict.FAILED, Severity.WARNING),
        ("9.99", True, Verdict.FAILED, Severity.CRITICAL),
        ("10", False, Verdict.FAILED, Severity.CRITICAL),
    ],
)
def test_a_budget_warns_from_80_percent_and_is_critical_once_nothing_more_is_paid(
    spent: str, refused: bool, verdict: Verdict, severity: Severity
) -> None:
    judged = budget_lasts(seen(spent, refused=refused))
    assert (judged.verdict, judged.severity, judged.ends) == (
        verdict,
        severity,
        verdict is Verdict.PASSED,
    )


def test_the_sentence_of_a_used_up_budget_states_when_its_work_continues() -> None:
    assert budget_lasts(seen("0", hard="0")).sentence == (
        "Nothing more is paid: letters, day budget: $0 spent of $0 (100 %), $0 left; its work waits until the budget is "
        "raised, or the next day begins at 2026-11-25 00:00 UTC."
    )


def test_a_call_that_waits_for_reserved_money_does_not_break_the_budget_promise() -> None:
    judged = budget_lasts(seen("1.28", reserved="8.65", refused=True))
    assert judged.verdict is Verdict.PASSED
    assert judged.sentence == (
        "letters, day budget: $1.28 spent of $10.00 (13 %), $8.65 reserved for what is under way, $0.0700 left; the next call "
        "waits for reserved money, and the next day begins at 2026-11-25 00:00 UTC."
    )


def test_a_budget_without_a_hard_limit_breaks_no_promise() -> None:
    assert budget_lasts(seen("99", hard=None, soft="1")).verdict is Verdict.PASSED

"""Shares against their limits: alerts neither flap nor miss what is clearly broken, whatever the traffic."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.promises.answers import RealtimeFigures, realtime_failing
from lanes.promises.assessment import LEAST_HITS, STAYS, share_verdict
from lanes.statistics.shares import SampleShare, bounds
from lanes.words import Verdict
from tests.benchmarks.watch_burn import DAY_S, LOOK_S, drawn, failing, openings
from tests.examples import version

LETTERS = version()
LIMIT = LETTERS.spec.promises.realtime_max_error_percent / 100
DAYS = 10


def opened(share: float, *, an_hour: int, seed: int) -> int:
    """How often the incident of failing attempts opens on the last of four days, as `incidents.record` has it."""
    traffic = drawn(np.random.default_rng(seed), an_hour, share, days=4)
    found = openings(traffic, failing(100 * LIMIT), LIMIT)
    return sum(1 for slot in found if slot * LOOK_S >= 3 * DAY_S)


@pytest.mark.slow
@pytest.mark.parametrize("an_hour", [30, 80, 400])
def test_at_half_of_its_limit_a_promise_opens_no_incident_on_nearly_any_day(an_hour: int) -> None:
    days = [opened(LIMIT / 2, an_hour=an_hour, seed=seed) for seed in range(DAYS)]
    assert sum(days) == 0, days


@pytest.mark.slow
def test_at_its_limit_a_promise_seldom_opens_an_incident_and_far_beyond_it_opens_few_that_last() -> (
    None
):
    at_limit = [opened(LIMIT, an_hour=80, seed=seed) for seed in range(DAYS)]
    assert sum(at_limit) <= 3, at_limit
    random = np.random.default_rng(26)
    broken = [
        [*openings(drawn(random, 80, 5 * LIMIT, days=1), failing(100 * LIMIT), LIMIT)]
        for _ in range(DAYS)
    ]
    assert min(map(len, broken)) >= 1
    assert sum(map(len, broken)) / DAYS <= 1, broken


def test_what_is_clearly_broken_needs_no_twenty_samples() -> None:
    assert share_verdict(SampleShare(19, 19), 5) is Verdict.FAILED
    assert share_verdict(SampleShare(LEAST_HITS, LEAST_HITS), 5) is Verdict.FAILED
    assert (
        share_verdict(SampleShare(LEAST_HITS - 1, LEAST_HITS - 1), 5) is Verdict.INCONCLUSIVE
    )  # the tries of one item are alike


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


def test_only_the_incidents_of_shares_stay_open_for_a_while() -> None:
    assert realtime_failing(LETTERS, RealtimeFigures("letters", 1.0, 0, 0, 100, 0)).stays == STAYS
    none = version(promises={"realtime_max_error_percent": 0})
    assert realtime_failing(none, RealtimeFigures("letters", 1.0, 0, 0, 100, 0)).stays == timedelta(
        0
    )

"""Recorded reads of a consumer, and the decay of an answer's value; unknown reads only make the estimates less certain."""

from math import inf, log
from typing import Any

import numpy
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import optimize, stats

from lanes.advice.evidence import LONGEST_S, ConsumerUse, Leaning, Waits, decay, list_decays
from lanes.advice.recommendation import advise
from lanes.commands.advise import as_data
from lanes.report import advice as report
from tests.examples import spec
from tests.unit.advice.test_advice import evidence, leanings, shown

HOUR = 3_600.0
CRITERION = "Value decays quickly"
ALPHA = 0.05
READ = ("A reader waits", "Results are read asynchronously", "Minutes to hours are fine")
R, B, U = Leaning.REALTIME, Leaning.BATCH, Leaning.UNKNOWN


def use(took_s: float, reads: int = 1_000, **fields: Any) -> ConsumerUse:
    """Return a consumer whose reads each took `took_s` seconds."""
    of: dict[str, Any] = {"routed": 2_000, "realtime": 2_000, "delays": [(took_s, reads)]}
    return ConsumerUse("desk", **{**of, "reads": reads, "later": reads, **fields})


def test_the_half_life_is_ln_2_of_the_mean_wait_and_leaves_half_of_the_value() -> None:
    found = decay([use(HOUR)])
    assert found is not None
    assert found.half_life_s == pytest.approx(0.6931 * HOUR, rel=1e-3)
    assert found.low_s == pytest.approx(0.6513 * HOUR, rel=1e-2)  # 6 % for 1,000 reads
    assert found.high_s == pytest.approx(0.738 * HOUR, rel=1e-2)
    assert found.compute_value_left(found.half_life_s) == 0.5
    assert found.compute_value_left(0) == 1


def test_the_wait_of_unread_answers_lengthens_the_half_life() -> None:
    found = decay([use(HOUR, 100, unknown=100, unread_s=100 * 5 * HOUR)])
    assert found is not None
    assert found.half_life_s == pytest.approx(0.6931 * 6 * HOUR, rel=1e-3)


@given(
    st.integers(20, 1_000),
    st.floats(1, 1e6),
    st.integers(0, 1_000),
    st.integers(0, 1_000),
    st.floats(0, 1e6),
)
def test_more_unknown_reads_never_make_a_slow_decay_more_certain(
    reads: int, took_s: float, some: int, more: int, waited_s: float
) -> None:
    few, many = (
        decay([use(took_s, reads, unknown=unknown, unread_s=unknown * waited_s)])
        for unknown in (some, some + more)
    )
    assert few is not None
    assert many is not None
    assert many.low_s <= few.low_s * (1 + 1e-9)
    assert many.high_s >= few.high_s * (1 - 1e-9)
    assert many.low_s <= many.half_life_s <= many.high_s


def test_the_advised_half_life_is_at_most_the_longest_that_a_definition_accepts() -> None:
    hardly = advise(evidence(use(HOUR, 20, unknown=10_000, unread_s=1e12)))
    assert f"half_life_s: {LONGEST_S}" in report.render_page(hardly)
    assert spec(half_life_s=LONGEST_S).half_life_s == LONGEST_S


def test_a_consumer_with_too_few_reads_has_no_half_life() -> None:
    assert list_decays([use(HOUR, 19), use(HOUR, 20)]) == list_decays([use(HOUR, 20)])
    assert decay([use(HOUR, 19)]) is None
    assert decay([]) is None


@pytest.mark.parametrize(
    ("took_s", "fields", "leaning"),
    [
        (60.0, {}, Leaning.REALTIME),
        (10 * HOUR, {}, Leaning.BATCH),
        (1.44 * HOUR, {}, Leaning.UNKNOWN),  # the half-life and a batch both take about an hour
        (10 * HOUR, {"unknown": 15_000, "unread_s": 1.0}, Leaning.UNKNOWN),
        (60.0, {"unknown": 100, "unread_s": 1e8}, Leaning.UNKNOWN),
    ],
)
def test_the_decay_criterion_follows_the_reads_only_if_they_are_conclusive(
    took_s: float, fields: dict[str, Any], leaning: Leaning
) -> None:
    advice = advise(evidence(use(took_s, **fields), batch_expected_s=HOUR))
    assert leanings(advice)[CRITERION] is leaning
    (said,) = [each.evidence for each in advice.criteria if each.name == CRITERION]
    assert "by recorded reads it halves in" in said


def test_urgent_items_decay_quickly_regardless_of_their_recorded_reads() -> None:
    advice = advise(evidence(use(10 * HOUR), urgent=200_000, batch_expected_s=HOUR))
    assert leanings(advice)[CRITERION] is Leaning.REALTIME


def test_the_advice_shows_the_decay_by_consumer_and_the_half_life_to_write() -> None:
    advice = advise(evidence(use(HOUR), batch_expected_s=HOUR))
    for page in (" ".join(shown(advice).split()), report.render_page(advice)):
        assert "How fast answers lose their value" in page
        assert "half_life_s: 2495, with 95 % confidence: 39 min to 44 min" in page
    assert "37\u00a0%" in report.render_page(advice)  # value left after an hour
    data = as_data(advice)
    assert data["decays"][0]["consumer"] == "desk"
    assert data["decay"]["half_life_s"] == pytest.approx(2_495, abs=1)
    now = data["now"]
    assert now["value_left"] == pytest.approx(now["share"] + (1 - now["share"]) * 0.368, abs=1e-3)
    assert "half_life_s:" not in report.render_page(advise(evidence()))


def minimize_closely(minus_log_likelihood: Any, start: Any, args: Any = (), disp: int = 0) -> Any:
    """Minimize as scipy does, but to 1e-9 s: scipy's own tolerance of 0.0001 s is too coarse for a wait of 0.02 s."""
    found = optimize.minimize(
        minus_log_likelihood,
        start,
        args,
        method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-9},
    )
    return found.x


@pytest.mark.slow
@given(st.lists(st.floats(0.01, 1e6), min_size=1), st.lists(st.floats(0.01, 1e6)))
@example(ended=[0.015625], going_on=[0.01])
def test_the_half_life_matches_scipys_fit_of_censored_waits(
    ended: list[float], going_on: list[float]
) -> None:
    seen = stats.CensoredData(uncensored=ended, right=going_on)
    _, scale = stats.expon.fit(seen, floc=0, optimizer=minimize_closely)
    found = Waits(len(ended), sum(ended) + sum(going_on))
    assert found.half_life_s == pytest.approx(log(2) * scale, rel=1e-3)


@given(st.integers(20, 1_000_000), st.floats(1, 1e9), st.sampled_from([0.2, 0.1, 0.05]))
def test_the_bounds_match_scipys_chi_square(ended: int, total_s: float, alpha: float) -> None:
    low, high = Waits(ended, total_s).bounds_s(alpha=alpha)
    rates = stats.chi2.ppf([alpha / 2, 1 - alpha / 2], [2 * ended, 2 * ended + 2]) / 2 / total_s
    assert high == pytest.approx(log(2) / rates[0], rel=1e-3)
    assert low == pytest.approx(log(2) / rates[1], rel=1e-3)
    assert low < Waits(ended, total_s).half_life_s < high


@given(st.integers(1, 19), st.floats(1, 1e9))
def test_the_bounds_of_few_waits_are_hardly_narrower_than_scipys(
    ended: int, total_s: float
) -> None:
    low, high = Waits(ended, total_s).bounds_s(alpha=ALPHA)
    rates = stats.chi2.ppf([ALPHA / 2, 1 - ALPHA / 2], [2 * ended, 2 * ended + 2]) / 2 / total_s
    assert high >= log(2) / rates[0] * 0.999
    assert low <= log(2) / rates[1] * 1.01


def test_waits_that_have_not_ended_bound_the_half_life_only_from_below() -> None:
    found = Waits(0, 1_000.0)
    low, high = found.bounds_s(alpha=ALPHA)
    assert (found.half_life_s, high) == (inf, inf)
    exact = 1_000 * log(2) / -log(ALPHA / 2)  # exp(-rate * 1,000) = alpha / 2
    assert low == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize("looked_after", [0.3, 1.0, 5.0])
def test_the_bounds_contain_the_true_half_life_as_often_as_stated(looked_after: float) -> None:
    random = numpy.random.default_rng(7)
    waits = random.exponential(1 / log(2), size=(2_000, 40))  # a half-life of 1
    ended = (waits <= looked_after).sum(axis=1)
    total = numpy.minimum(waits, looked_after).sum(axis=1)
    bounds = [
        Waits(int(n), float(s)).bounds_s(alpha=ALPHA) for n, s in zip(ended, total, strict=True)
    ]
    assert numpy.mean([low <= 1 <= high for low, high in bounds]) >= 0.945


def test_unknown_reads_are_no_evidence_that_no_reader_waits() -> None:
    desk = ConsumerUse(
        "desk", 1_000, realtime=1_000, reads=20, at_once=0, median_s=9_000, later=20, unknown=980
    )
    advice = advise(evidence(desk))
    assert advice.pattern is None
    assert advice.needs is not None
    assert (advice.needs.low, advice.needs.high) == (0, 0.98)
    assert advice.movable == []
    spoken = {each.name: (each.evidence, each.leaning) for each in advice.criteria}
    of_reads = (
        "; the reads of 980 of 1,000 answers are unknown: results taken by lanes.read_result, client.wait or "
        "lanes results --reader are recorded as read"
    )
    assert spoken["A reader waits"] == (
        f"0 % were read within 60 s (of 20 answers with a recorded read){of_reads}",
        Leaning.UNKNOWN,
    )
    assert spoken["Results are read asynchronously"] == (
        "0 of 1 consumer with enough reads take fewer than 20 % of their results at once; "
        f"0 % of 1,000 answers are theirs{of_reads}",
        Leaning.UNKNOWN,
    )
    for page in (" ".join(shown(advice).split()), report.render_page(advice)):
        assert "the reads of 980 of 1,000 answers are unknown" in page


@pytest.mark.parametrize(
    ("at_once", "between", "later", "unknown", "spoken", "is_movable"),
    [
        (100, 0, 0, 0, (R, R, R), False),
        (0, 0, 100, 0, (B, B, B), True),
        (0, 100, 0, 0, (B, B, R), True),
        (10, 0, 90, 9, (B, B, B), True),
        (10, 0, 90, 15, (B, U, B), False),  # a fifth may have been read at once
        (0, 0, 100, 99, (B, U, B), False),
        (0, 0, 100, 101, (U, U, U), False),  # most reads are unknown
        (100, 0, 0, 99, (R, R, R), False),
        (100, 0, 0, 101, (U, R, U), False),  # a third is surely more than a fifth
        (19, 0, 0, 0, (U, U, U), False),  # too few reads
        (0, 0, 19, 0, (U, U, U), False),
        (0, 0, 0, 1_000, (U, U, U), False),
        (0, 0, 0, 0, (U, U, U), False),
    ],
)
def test_a_read_criterion_is_decided_only_if_no_unknown_read_could_change_it(
    at_once: int,
    between: int,
    later: int,
    unknown: int,
    spoken: tuple[Leaning, ...],
    is_movable: bool,
) -> None:
    reads = at_once + between + later
    desk = ConsumerUse("desk", 304_000, 0, 0, 304_000, reads, at_once, 1.0, later, unknown)
    advice = advise(evidence(desk, with_due=0))
    found = {each.name: each for each in advice.criteria}
    assert tuple(found[name].leaning for name in READ) == spoken
    assert bool(advice.movable) is is_movable
    for name in READ:
        assert (
            f"the reads of {unknown:,} of {reads + unknown:,} answers are unknown"
            in found[name].evidence
        )
        is_told_how = "lanes.read_result" in found[name].evidence
        assert is_told_how == (found[name].leaning is Leaning.UNKNOWN)


def test_consumers_with_too_few_reads_leave_the_read_criteria_unknown() -> None:
    habit = ConsumerUse("nightly", 500, realtime=500, reads=100, median_s=9_000, later=100)
    rare = [ConsumerUse(f"rare {n}", 500, realtime=500, reads=19, at_once=19) for n in range(6)]
    advice = advise(evidence(habit, *rare, with_due=0))
    assert {leanings(advice)[name] for name in READ} == {Leaning.UNKNOWN}
    assert [each.consumer for each in advice.movable] == ["nightly"]


def test_due_times_decide_whether_hours_are_fine_if_reads_are_unknown() -> None:
    desk = ConsumerUse("desk", 1_000, realtime=1_000, unknown=1_000)
    advice = advise(evidence(desk, with_due=100, due_before_batch=90))
    assert leanings(advice)["Minutes to hours are fine"] is Leaning.REALTIME


@given(st.integers(20, 10_000), st.integers(0, 10_000), st.integers(0, 10_000))
def test_more_unknown_reads_never_make_the_need_for_real_time_more_certain(
    reads: int, some: int, more: int
) -> None:
    few, many = (
        advise(
            evidence(ConsumerUse("desk", 50_000, reads=reads, at_once=reads // 2, unknown=unknown))
        ).needs
        for unknown in (some, some + more)
    )
    assert few is not None
    assert many is not None
    assert many.low <= few.low <= 0.5 * (1 + 1e-9)
    assert few.high <= many.high <= 1

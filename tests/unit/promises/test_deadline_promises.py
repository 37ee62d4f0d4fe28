"""Due times: the share missed recently, and the items that are too unlikely to meet theirs."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.ids import WorkId
from lanes.promises.assessment import BATCH, LEAST_HITS, REALTIME
from lanes.promises.deadlines import AtRisk, DueCounts, deadline_at_risk, deadline_missed, risks
from lanes.promises.incident import Promise, Severity
from lanes.promises.judge import PromiseMeasurements, assess
from lanes.routing.load import Load, UnservedReason
from lanes.routing.second_look import DoubtfulItem, LateItem
from lanes.words import Lane, Verdict
from tests.conftest import NOON
from tests.examples import version

LETTERS = version()


def due(met: int, missed: int, overdue: int = 0) -> DueCounts:
    return DueCounts("letters", met, missed, overdue, in_realtime=missed + overdue)


@pytest.mark.parametrize(
    ("seen", "verdict", "severity"),
    [
        (due(99, 1), Verdict.PASSED, Severity.WARNING),
        (due(94, 6), Verdict.INCONCLUSIVE, Severity.WARNING),  # a true 5 % often gives this
        (due(85, 15), Verdict.FAILED, Severity.WARNING),
        (due(85, 0, 15), Verdict.FAILED, Severity.WARNING),  # items that still wait are late, too
        (due(80, 10, 10), Verdict.FAILED, Severity.CRITICAL),
        (due(0, 19), Verdict.FAILED, Severity.CRITICAL),
        (due(0, 4), Verdict.INCONCLUSIVE, Severity.CRITICAL),
    ],
)
def test_the_share_of_missed_due_times_breaks_the_promise_beyond_its_limit(
    seen: DueCounts, verdict: Verdict, severity: Severity
) -> None:
    judged = deadline_missed(LETTERS, seen)
    assert (judged.verdict, judged.severity, judged.ends) == (
        verdict,
        severity,
        verdict is Verdict.PASSED,
    )


def test_the_sentence_counts_the_missed_the_due_and_the_waiting_items() -> None:
    assert deadline_missed(LETTERS, due(90, 9, 1)).sentence == (
        "10 of 100 items that were due missed it within the last hour: 10 %, and 5 % is the limit. 1 item of them still waits."
    )


def test_an_open_incident_ends_once_nothing_is_due() -> None:
    quiet = deadline_missed(LETTERS, None)
    assert (quiet.verdict, quiet.ends) == (Verdict.INCONCLUSIVE, True)
    few = deadline_missed(LETTERS, due(3, 3))
    assert (few.verdict, few.ends) == (Verdict.INCONCLUSIVE, False)


def test_a_limit_of_zero_promises_nothing() -> None:
    none = version(promises={"deadline_max_missed_percent": 0})
    assert deadline_missed(none, due(0, 100)).verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("met", "in_realtime", "elsewhere", "explained"),
    [
        (80, 20, 0, REALTIME),
        (80, 0, 20, BATCH),
        (80, 15, 5, REALTIME),  # with the batch lane alone, the promise would be kept
        (80, 4, 16, BATCH),
        (60, 20, 20, REALTIME | BATCH),
        (5, 0, 4, REALTIME),  # too few to break anything
    ],
)
def test_a_standstill_explains_a_breach_only_if_it_vanishes_without_the_misses_of_that_lane(
    met: int, in_realtime: int, elsewhere: int, explained: frozenset[Lane]
) -> None:
    judged = deadline_missed(
        LETTERS, DueCounts("letters", met, in_realtime + elsewhere, 0, in_realtime=in_realtime)
    )
    assert judged.standstill == explained


def test_a_paused_workload_promises_no_due_times() -> None:
    seen: dict[str, Any] = {"due": [due(0, 100)]}
    told = {
        each.promise for each in assess({"letters": LETTERS}, PromiseMeasurements(**seen), NOON)
    }
    paused = {
        each.promise
        for each in assess(
            {"letters": LETTERS}, PromiseMeasurements(**seen, paused=frozenset({"letters"})), NOON
        )
    }
    assert told - paused >= {Promise.DEADLINE_MISSED}


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000))
def test_too_few_misses_never_break_the_promise_and_more_misses_never_improve_it(
    met: int, missed: int, overdue: int
) -> None:
    judged = deadline_missed(LETTERS, due(met, missed, overdue))
    if missed + overdue < LEAST_HITS:
        assert judged.verdict is not Verdict.FAILED
    assert 0 <= judged.value <= 100
    assert deadline_missed(LETTERS, due(met, missed + 1, overdue)).value >= judged.value
    assert not (judged.ends and judged.verdict is Verdict.FAILED)


def at_risk(bound: int, crowded: int, drain_s: float | None = None) -> AtRisk:
    return AtRisk("letters", bound, crowded, NOON + timedelta(minutes=30), 0.3125, 0.95, drain_s)


def test_a_single_item_at_risk_is_reported_with_its_probability_and_the_reason() -> None:
    judged = deadline_at_risk(at_risk(1, 0), NOON)
    assert judged.verdict is Verdict.FAILED
    assert judged.sentence == (
        "1 item is less likely to meet its due time than required; the nearest is due 12:30 UTC, and its batch has a "
        "31.2 % chance of being back by then (95 % is required)."
    )
    assert judged.why == "1 item is bound to batch"


def test_items_that_real_time_cannot_accept_are_reported_with_its_drain_time() -> None:
    judged = deadline_at_risk(at_risk(2, 3, drain_s=900), NOON)
    assert judged.value == 5
    assert judged.why == (
        "2 items are bound to batch; 3 items would not be answered in real time either: it needs 15 min for what waits there"
    )


REST = UnservedReason("claude has not answered since 11:59 UTC: 529", outage=True)
UNPAID = UnservedReason('the budget of "letters" is used up', outage=False)


def doubtful(held: UnservedReason | None = None, *, binds: Lane | None = None) -> DoubtfulItem:
    return DoubtfulItem(
        LateItem(WorkId(1), LETTERS, NOON + timedelta(minutes=30), binds=binds),
        0.25,
        "it is late",
        held,
    )


@pytest.mark.parametrize(
    ("found", "why", "standstill"),
    [
        (
            [doubtful(REST), doubtful(REST)],
            f"real time answers nothing of 2 items: {REST.sentence}",
            REALTIME,
        ),
        (
            [doubtful(UNPAID)],
            f"real time answers nothing of 1 item: {UNPAID.sentence}",
            REALTIME | BATCH,
        ),
        (
            [doubtful(REST), doubtful(UNPAID)],
            f"real time answers nothing of 1 item: {REST.sentence}; real time answers nothing of 1 item: {UNPAID.sentence}",
            REALTIME | BATCH,
        ),
        (
            [doubtful(REST), doubtful(binds=Lane.BATCH)],
            f"1 item is bound to batch; real time answers nothing of 1 item: {REST.sentence}",
            REALTIME | BATCH,
        ),
        ([doubtful(binds=Lane.BATCH)], "1 item is bound to batch", BATCH),
    ],
)
def test_items_that_real_time_does_not_serve_name_the_reason_and_the_stalled_lanes(
    found: list[DoubtfulItem], why: str, standstill: frozenset[Lane]
) -> None:
    (of,) = risks(found, Load(NOON, per_s=10))
    judged = deadline_at_risk(of, NOON)
    assert (of.items, of.crowded, judged.value) == (len(found), 0, len(found))
    assert (judged.why, judged.standstill) == (why, standstill)

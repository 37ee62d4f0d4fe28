"""Promises about routing: the figures that break them, those that do not, and the sentences about them."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.promises.assessment import REALTIME
from lanes.promises.decisions import (
    EARLIER,
    HOUR,
    LEAST,
    LEAST_HOURS,
    WINDOWS,
    ConsumerReads,
    RaisedRules,
    RoutedHours,
    chance_wrong,
    read_late,
    rule_raises,
    shares_grew,
)
from lanes.promises.incident import Promise
from lanes.statistics.shares import NOTHING, SampleShare
from lanes.words import Lane, Verdict
from tests.conftest import NOON, later

NOW = NOON + timedelta(minutes=30)
Hour = Mapping[str, int]
SHIFTED, GUARDS = Promise.ROUTING_SHIFTED, Promise.GUARDS_FIRE


def hour(split: int, **others: int) -> Hour:
    """Return an hour of decisions: the split's, half to each lane, and those of other reasons on the lane they choose."""
    found = {f"{lane} split": split // 2 for lane in Lane}
    realtime = ("urgent", "deadline")
    return found | {
        f"{Lane.REALTIME if name in realtime else Lane.BATCH} {name}": n
        for name, n in others.items()
    }


def routed(
    earlier: Hour,
    now: Hour,
    before: Hour | None = None,
    *,
    changed_at: datetime | None = None,
    odd: Hour | None = None,
) -> RoutedHours:
    """Return `now` and `before` for the newest two hours and `earlier` for the earlier days, `odd` for one of them."""
    hours = {at - ago: earlier for ago in EARLIER for at in (NOON, NOON - HOUR)}
    if odd is not None:
        hours |= {at - EARLIER[0]: odd for at in (NOON, NOON - HOUR)}
    hours |= {NOON: now, NOON - HOUR: now if before is None else before}
    return RoutedHours("letters", hours, changed_at, "the split was set to 30 %")


USUAL, URGENT = hour(400, urgent=20), hour(400, urgent=200)


def test_a_reason_whose_share_grew_against_the_same_hours_breaks_the_promise() -> None:
    judged = shares_grew(SHIFTED, routed(USUAL, URGENT), NOW)
    assert (judged.verdict, round(judged.value), judged.samples) == (Verdict.FAILED, 33, 1200)
    assert judged.sentence == (
        "Of 1,200 decisions since 11:00 UTC, `urgent` to realtime took 33 % (usually at most 4.8 %)."
    )


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        (routed(USUAL, USUAL), Verdict.PASSED),
        (routed(USUAL, hour(400, urgent=40)), Verdict.PASSED),  # by less than five points
        (routed(USUAL, URGENT, USUAL), Verdict.PASSED),  # one hour only
        (routed(USUAL, hour(10, urgent=6), URGENT), Verdict.INCONCLUSIVE),  # a new hour
        (routed(USUAL, hour(40, urgent=12)), Verdict.INCONCLUSIVE),  # not sure yet
        (routed(USUAL, URGENT, odd=hour(10, urgent=400)), Verdict.FAILED),  # one odd day hides none
        (routed({}, URGENT), Verdict.INCONCLUSIVE),  # nothing to compare with
        (
            routed(hour(4000, urgent=4000), hour(4000)),
            Verdict.FAILED,
        ),  # the split took what was urgent before
    ],
)
def test_only_a_large_certain_and_lasting_shift_breaks_the_promise(
    seen: RoutedHours, verdict: Verdict
) -> None:
    assert shares_grew(SHIFTED, seen, NOW).verdict is verdict


def test_hours_that_differ_from_day_to_day_are_no_shift() -> None:
    days = [hour(400, urgent=20 * place) for place in range(1, 11)]
    hours = {
        at - ago: day for ago, day in zip(EARLIER, days, strict=True) for at in (NOON, NOON - HOUR)
    }
    hours |= {NOON: hour(400, urgent=260), NOON - HOUR: hour(400, urgent=260)}
    assert shares_grew(SHIFTED, RoutedHours("letters", hours), NOW).verdict is Verdict.PASSED


def lasting(urgent: int, *, hours: int) -> RoutedHours:
    """Return hours of 100 decisions: 5 of them urgent on earlier days, `urgent` of them in the newest `hours`."""
    newest = [NOON - number * HOUR for number in range(max(WINDOWS))]
    seen = {at - ago: hour(94, urgent=5) for ago in EARLIER for at in newest}
    seen |= {
        at: hour(100 - urgent, urgent=urgent) if number < hours else hour(94, urgent=5)
        for number, at in enumerate(newest)
    }
    return RoutedHours("letters", seen)


def test_a_shift_too_small_for_two_hours_is_reported_once_it_has_lasted_longer() -> None:
    verdicts = [shares_grew(SHIFTED, lasting(16, hours=each), NOW).verdict for each in range(13)]
    assert verdicts[0] is Verdict.PASSED
    assert Verdict.FAILED not in verdicts[:3]
    assert verdicts[12] is Verdict.FAILED
    assert shares_grew(SHIFTED, lasting(96, hours=1), NOW).verdict is not Verdict.FAILED


def test_a_breach_ends_once_the_usual_mix_has_returned_for_two_hours() -> None:
    seen = lasting(16, hours=12)
    back = {at: hour(94, urgent=5) for at in (NOON, NOON - HOUR)}
    assert shares_grew(SHIFTED, RoutedHours("letters", {**seen.hours, **back}), NOW).ends


def test_a_deliberate_change_is_no_breach_and_the_sentence_names_it() -> None:
    judged = shares_grew(SHIFTED, routed(USUAL, URGENT, changed_at=later(hours=-20)), NOW)
    assert (judged.verdict, judged.ends) == (Verdict.INCONCLUSIVE, True)
    assert judged.sentence == (
        "Too few earlier hours are known to compare with since 2026-11-23 16:00 UTC, when the split was set to 30 %."
    )
    settled = routed(USUAL, URGENT, changed_at=later(days=-4))
    assert shares_grew(SHIFTED, settled, NOW).verdict is Verdict.FAILED


def test_guards_that_fire_break_the_promise_and_name_the_change_of_that_day() -> None:
    seen = routed(hour(400), hour(400, capacity=40, shed=20), changed_at=later(hours=-20))
    judged = shares_grew(GUARDS, seen, NOW)
    assert (judged.verdict, judged.standstill) == (Verdict.FAILED, REALTIME)
    assert judged.why == "the split was set to 30 %"
    assert (
        "all guards together took 13 % (usually at most 0 %); `capacity` to batch took 8.7 %"
        in judged.sentence
    )
    long_ago = routed(hour(400), hour(400, capacity=40), changed_at=later(days=-9))
    alone = shares_grew(GUARDS, long_ago, NOW)
    assert alone.why is None
    # the total of all guards is not repeated if only one fired
    assert alone.sentence.endswith("`capacity` to batch took 9.1 % (usually at most 0 %).")
    assert shares_grew(SHIFTED, seen, NOW).verdict is not Verdict.FAILED


HOURS = st.builds(
    hour, st.integers(0, 3_000), urgent=st.integers(0, 300), capacity=st.integers(0, 300)
)


@given(st.lists(HOURS, min_size=10, max_size=10), HOURS, HOURS, st.sampled_from([SHIFTED, GUARDS]))
def test_no_promise_breaks_within_the_range_of_earlier_days_or_with_too_few_of_them(
    days: list[Hour], before: Hour, now: Hour, promise: Promise
) -> None:
    hours = {
        at - ago: day for ago, day in zip(EARLIER, days, strict=True) for at in (NOON, NOON - HOUR)
    }
    judged = shares_grew(
        promise, RoutedHours("letters", hours | {NOON: now, NOON - HOUR: before}), NOW
    )
    known = sum(sum(each.values()) >= LEAST for each in days)
    if known < LEAST_HOURS or (now in days[2:] and days[2:].count(now) > 1):
        assert judged.verdict is not Verdict.FAILED
    assert 0 <= judged.value <= 100
    assert (judged.verdict is Verdict.FAILED) == (judged.samples > 0)


def test_a_rule_that_raises_is_reported_with_its_error_its_items_and_an_example() -> None:
    errors = {
        "urgent_when": "`payload.n > payload[\"k\"]` reads 's3cret', which this item lacks; guard it with has()"
    }
    seen = RaisedRules(
        "letters", 3, {"urgent_when": 41, "batch_when": 1}, later(hours=-2), "t-17", errors
    )
    judged = rule_raises("letters", seen, NOON)
    assert (judged.verdict, judged.value) == (Verdict.FAILED, 42)
    assert judged.sentence == (
        "Version 3 could not evaluate `batch_when` for 1 item and `urgent_when` for 41 items of the last 24 hours, first at "
        '10:00 UTC; the newest is "t-17". The rule counts as not met there.'
    )
    assert judged.why == (
        'urgent_when: `payload.n > payload["k"]` reads "...", which this item lacks; guard it with has()'
    )
    assert rule_raises("letters", None, NOON).verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("late", "verdict"),
    [
        (NOTHING, Verdict.PASSED),
        (SampleShare(1, 40), Verdict.PASSED),
        (SampleShare(2, 12), Verdict.INCONCLUSIVE),
        (SampleShare(9, 12), Verdict.FAILED),
    ],
)
def test_batches_that_return_later_than_predicted_break_the_promise(
    late: SampleShare, verdict: Verdict
) -> None:
    assert chance_wrong("letters", late).verdict is verdict


def test_the_consumer_that_reads_latest_is_named() -> None:
    reads = [
        ConsumerReads("letters", "app", SampleShare(90, 500)),
        ConsumerReads("letters", "report", SampleShare(70, 80)),
    ]
    judged = read_late("letters", reads)
    assert (judged.verdict, judged.samples) == (Verdict.FAILED, 80)
    assert judged.sentence.startswith("Consumer report read 70 of 80 real-time answers")
    assert read_late("letters", reads[:1]).verdict is Verdict.PASSED
    assert read_late("letters", []).verdict is Verdict.PASSED

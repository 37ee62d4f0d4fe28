"""The prospect of a batch for a due item: its departure, its probability to be in time, the decision, and the calibration."""

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.money.estimates import Estimate
from lanes.routing.lane_rules import may_wait
from lanes.routing.prospect import EDGES, Prospect, Prospects, StatedBin, calibrations, percent
from lanes.routing.route import ArrivedItem, decide, fall_back
from lanes.routing.split import BUCKETS, Split, Splits
from lanes.routing.turnaround import Turnarounds
from lanes.words import Lane, Outcome, Reason
from lanes.workload.window import LEAD, Window
from tests.conftest import NOON, later
from tests.examples import version
from tests.took import Took, laws

LETTERS = version(batch_expected_minutes=60)
MODEL = LETTERS.spec.batch_model
ALL_BATCH = Splits([Split("letters", None, 0)])
AT_22_05 = datetime(2026, 11, 24, 22, 5, tzinfo=UTC)
NOTHING = Turnarounds({}, NOON)
told = st.builds(
    lambda workload, bin, items, back, off: StatedBin(
        workload,
        bin,
        items,
        min(back, items),
        items * (EDGES[bin - 1] + EDGES[bin]) / 2,
        items * off,
    ),
    st.sampled_from(["letters", "bills"]),
    st.integers(1, len(EDGES) - 1),
    st.integers(0, 50),
    st.integers(0, 50),
    st.floats(0, 1),
)


def item(due_at: datetime | None) -> ArrivedItem:
    return ArrivedItem("letters", "k", {}, received_at=NOON, occurred_at=NOON, due_at=due_at)


def history(took: timedelta, *, number: int = 20) -> list[Took]:
    return [Took(took, age=timedelta(days=1)) for _ in range(number)]


@pytest.mark.parametrize(
    ("due_in_minutes", "presses"),
    [
        (65, True),  # at 23:00 it would be 59 minutes late
        (395, True),  # back by 04:41 with 95 %, and a run takes time to start
        (397, False),
        (3, True),  # too late in any case; less late if it leaves now
    ],
)
def test_work_presses_if_the_next_scheduled_run_would_probably_return_it_too_late(
    due_in_minutes: int, presses: bool
) -> None:
    until = Prospect(LETTERS, NOTHING, AT_22_05).presses_until
    assert (AT_22_05 + timedelta(minutes=due_in_minutes) < until) is presses


minutes = st.integers(1, 1440).map(lambda each: timedelta(minutes=each))
windows = st.builds(
    Window,
    st.times(),
    st.times(),
    st.sampled_from([ZoneInfo("UTC"), ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kathmandu")]),
).map(lambda each: Window(_whole(each.start), _whole(each.end), each.zone))
confidences = st.floats(0.5, 0.999)
histories = st.lists(st.builds(Took, minutes, back=st.booleans(), age=minutes), max_size=60)


def _whole(each: time) -> time:
    return each.replace(second=0, microsecond=0)


@given(windows, st.integers(1, 1440), minutes, minutes, confidences, histories)
def test_an_item_routed_to_batch_is_back_in_time_with_the_required_confidence(
    of: Window, usual: int, span: timedelta, slack: timedelta, confidence: float, seen: list[Took]
) -> None:
    now = NOON + span
    letters = version(
        batch_expected_minutes=usual,
        confidence=confidence,
        off_peak_start=f"{of.start:%H:%M}",
        off_peak_end=f"{of.end:%H:%M}",
        timezone=of.zone.key,
    )
    prospects = Prospects(laws(seen, now), now)
    route = decide(item(now + 2 * slack), letters, ALL_BATCH, now=now, prospects=prospects)
    assert route.probability is not None
    assert (
        (route.lane is Lane.REALTIME)
        == (route.probability < confidence)
        == (route.reason is Reason.DEADLINE)
    )
    if route.lane is Lane.BATCH:
        early = now + 2 * slack < prospects.of(letters).presses_until - timedelta(milliseconds=1)
        leaves = (now if early else of.next_departure(now)) + LEAD
        law = laws(seen, now).of(MODEL, leaves_at=leaves, usual=timedelta(minutes=usual))
        assert law.by(now + 2 * slack - leaves) >= confidence - 1e-6


@given(minutes, minutes, confidences, confidences, histories)
def test_more_confidence_moves_items_only_to_real_time_and_a_later_due_time_only_to_batch(
    one: timedelta, other: timedelta, low: float, high: float, seen: list[Took]
) -> None:
    prospects = Prospects(laws(seen), NOON)

    def lane(due_in: timedelta, confidence: float, id: int) -> Lane:
        of = version(id=id, confidence=confidence)
        return decide(item(NOON + due_in), of, ALL_BATCH, now=NOON, prospects=prospects).lane

    low, high = sorted((low, high))
    assert (lane(one, low, 1), lane(one, high, 2)) != (Lane.REALTIME, Lane.BATCH)
    assert (lane(min(one, other), low, 1), lane(max(one, other), low, 1)) != (
        Lane.BATCH,
        Lane.REALTIME,
    )


def test_observed_batches_move_the_decision_in_both_directions() -> None:
    due = item(later(hours=1))

    def route(seen: list[Took]) -> Lane:
        prospects = Prospects(laws(seen), NOON)
        return decide(due, LETTERS, ALL_BATCH, now=NOON, prospects=prospects).lane

    assert route([]) is Lane.REALTIME
    assert route(history(timedelta(minutes=10), number=100)) is Lane.BATCH
    assert route(history(timedelta(hours=3), number=100)) is Lane.REALTIME


def test_the_explanation_names_the_probability_and_the_number_and_age_of_the_batches() -> None:
    prospects = Prospects(laws(history(timedelta(minutes=10))), NOON)
    route = decide(item(later(minutes=20)), LETTERS, ALL_BATCH, now=NOON, prospects=prospects)
    assert route.explanation == (
        "94.1 % chance that a batch that leaves about 2026-11-24T12:02+00:00 is back by 2026-11-24T12:20:00+00:00, "
        "judged by 20 batches that left 24 h ago on average; 95 % is required"
    )
    assert route.probability == pytest.approx(0.941, abs=0.001)
    far = decide(item(later(days=3)), LETTERS, ALL_BATCH, now=NOON, prospects=prospects)
    assert (
        " chance that a batch that leaves about 2026-11-24T22:02+00:00 is back by 2026-11-27T12:00:00+00:00"
        in far.explanation
    )


@given(minutes, minutes, confidences, histories)
def test_back_at_is_the_moment_when_an_open_batchs_probability_reaches_the_confidence(
    out: timedelta, due_in: timedelta, confidence: float, seen: list[Took]
) -> None:
    batch = Prospects(laws(seen), NOON).underway(LETTERS, left_at=NOON - out, requests=5)
    surely, due = batch.back_at(confidence), NOON + due_in
    assert surely >= NOON - timedelta(milliseconds=1)
    if due < surely - timedelta(milliseconds=1):
        assert batch.back_by(due) <= confidence + 1e-3
    if due > surely + timedelta(milliseconds=1):
        assert batch.back_by(due) >= confidence - 1e-3
    assert batch.back_by(NOON) == 0


def test_a_batch_out_for_long_is_less_likely_back_in_time_than_one_that_just_left() -> None:
    prospects = Prospects.assume(NOON)
    stuck, fresh = (
        prospects.underway(LETTERS, left_at=later(hours=-h), requests=5) for h in (5, 0)
    )
    assert stuck.back_by(later(hours=6)) < 0.75 < 0.95 < fresh.back_by(later(hours=6))
    assert stuck.back_at(0.95) > later(hours=12)
    assert stuck.told == "assuming 60 min before any batch was observed"


@pytest.mark.parametrize("split", [0, BUCKETS])
def test_only_a_route_that_weighed_a_due_time_states_a_probability(
    split: int,
) -> None:
    splits = Splits([Split("letters", None, split)])
    assert decide(item(later(days=1)), LETTERS, splits, now=NOON).probability is not None
    assert decide(item(later(minutes=1)), LETTERS, splits, now=NOON).probability is not None
    assert decide(item(None), LETTERS, splits, now=NOON).probability is None
    assert decide(item(later(minutes=-1)), LETTERS, splits, now=NOON).probability is None


def test_an_item_that_failed_in_real_time_may_wait_if_a_batch_is_probably_in_time() -> None:
    prospect = Prospects.assume(NOON).of(LETTERS)
    late, soon = prospect.chance(later(days=1)), prospect.chance(later(hours=1))
    assert may_wait(None, None)
    assert may_wait(None, late)
    assert not may_wait(None, soon)
    assert not may_wait(Lane.REALTIME, late)
    route = fall_back(
        last=Outcome.ERRORED, failures=3, costs=Estimate(Decimal(2), Decimal(1)), chance=late
    )
    assert route.probability == late.probability
    assert route.explanation.endswith(f"it may wait for a batch: {late.explanation}")


def test_a_percentage_is_never_rounded_up() -> None:
    assert [percent(each) for each in (0.94999, 0.95, 0.9999, 0.0004, 1.0)] == [
        "94.9 %",
        "95 %",
        "99.9 %",
        "0 %",
        "100 %",
    ]


@pytest.mark.parametrize("back", [True, False])
@pytest.mark.parametrize("took", [timedelta(0), timedelta(seconds=1), timedelta(days=1)])
def test_a_history_of_one_batch_moves_the_probability_little_and_makes_nothing_certain(
    took: timedelta, back: bool
) -> None:
    one = laws([Took(took, back=back)])
    for due_in in (timedelta(minutes=30), timedelta(hours=2), timedelta(hours=12)):
        stated, assumed = (
            each.of(LETTERS).chance(NOON + due_in)
            for each in (Prospects(one, NOON), Prospects.assume(NOON))
        )
        assert 0 < stated.probability < 1
        assert stated.probability == pytest.approx(assumed.probability, abs=0.25)
        assert "judged by 1 batch that left 0 s ago" in stated.explanation


def test_workloads_with_overlapping_windows_each_depart_in_their_own_window() -> None:
    night = version(id=1, off_peak_start="22:00", off_peak_end="06:00")
    evening = version(id=2, off_peak_start="21:30", off_peak_end="23:30")
    always = version(id=3, off_peak_start="00:00", off_peak_end="00:00")
    prospects = Prospects.assume(AT_22_05)
    due = AT_22_05 + timedelta(days=3)
    said = [prospects.of(each).chance(due).explanation for each in (night, evening, always)]
    assert ["23:02" in said[0], "22:32" in said[1], "23:02" in said[2]] == [True] * 3


@given(st.lists(told, unique_by=lambda each: (each.workload, each.bin)))
def test_a_workloads_bins_contain_all_its_items_and_each_stated_mean_is_within_its_bin(
    of: list[StatedBin],
) -> None:
    found = calibrations(of)
    assert sum(each.items for each in found) == sum(each.items for each in of)
    for each in found:
        assert each.items == sum(bin.items for bin in each.bins) > 0
        assert 0 <= each.back <= 1
        assert 0 <= each.brier <= 1
        assert all(bin.low <= bin.stated <= bin.high for bin in each.bins)


def test_a_well_calibrated_workload_has_the_score_of_its_own_uncertainty() -> None:
    (found,) = calibrations([StatedBin("letters", 3, 100, 85, 85.0, 12.75)])
    assert (found.stated, found.back, found.brier) == (0.85, 0.85, 0.1275)
    assert [(bin.low, bin.high) for bin in found.bins] == [(0.8, 0.9)]


def test_a_workload_without_items_has_no_score() -> None:
    assert calibrations([]) == []
    assert calibrations([StatedBin("letters", 3, 0, 0, 0, 0)]) == []

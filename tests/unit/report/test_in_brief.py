"""A run is told in a few sentences, each only where there is something to say."""

from datetime import timedelta
from decimal import Decimal

from lanes.realtime.limiter import CallWait, WaitReason
from lanes.report import summary
from lanes.report.figures import (
    AgreementFigures,
    CostFigures,
    DeadlineFigures,
    LaneFigures,
    RescueFigures,
    SecondPassFigures,
    StateFigures,
    WindowFigures,
)
from lanes.report.snapshot import Snapshot
from lanes.statistics.shares import SampleShare
from lanes.words import Lane
from tests.conftest import NOON

EMPTY = Snapshot(taken_at=NOON, since=NOON - timedelta(minutes=1))


def lane(workload: str, lane: Lane, p50_s: float) -> LaneFigures:
    """Ten items that the lane answered, half of them within `p50_s`."""
    return LaneFigures(workload, lane, 10, 10, 10, p50_s, p50_s, p50_s, 10.0, 10, 0, Decimal("0.5"))


def test_nothing_is_said_of_a_run_that_did_nothing() -> None:
    assert summary.sentences(EMPTY) == []


def test_a_run_is_told_by_lanes_waits_sharing_corrections_due_times_rescues_and_cost() -> None:
    run = Snapshot(
        taken_at=NOON,
        since=NOON - timedelta(minutes=1),
        lanes=[
            lane("a", Lane.REALTIME, 1.0),
            lane("b", Lane.REALTIME, 2.0),
            lane("a", Lane.BATCH, 30.0),
        ],
        states=[StateFigures("a", "settled", 30)],
        windows=[WindowFigures("b", 48, 0.4, 9.6, {}), WindowFigures("a", 3, 0.1, 1.0, {})],
        agreement=[AgreementFigures("a", 107, 38), AgreementFigures("b", 5, 0)],
        second_passes=[
            SecondPassFigures(
                "a", n, True, NOON, 900, saved, usd, SampleShare(99, 100), saved // 30
            )
            for n, saved, usd in (("x", 600, Decimal("0.06")), ("y", 0, None), ("z", 60, None))
        ],
        deadlines=[DeadlineFigures("a", Lane.REALTIME, "deadline", 3, 1, 0)],
        call_waits=[CallWait("a", WaitReason.PLACES, 3)],
        rescues=[RescueFigures("b", 2, 2, 0, Decimal("0.1"), Decimal(0))],
        costs=[CostFigures("a", Decimal("3"), Decimal("4"), Decimal("2"), Decimal(0))],
    )
    assert summary.sentences(run) == [
        "20 items answered in real time, half of them within 1.0 s to 2.0 s, by workload.",
        "10 items answered in batches, half of them within 30 s.",
        f"3 calls of a wait now: {WaitReason.PLACES.said}.",
        "48 items of b shared calls, 9.6 items a call.",
        "38 of 107 early answers of a were corrected by a batch.",
        "660 early answers of a got no second pass so far, which saved $0.0600; at most 22 are wrong.",
        "3 of 4 due items answered in time.",
        "2 items of b were rescued from a late batch; 2 of them in time.",
        "Cost $3.00; all of it in real time would have cost $4.00: 25 % saved.",
    ]

"""Sections of the report besides the lanes: incidents, rollouts, splits, replays, packing, late data, reads, advice."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from lanes.advice.evidence import ConsumerUse
from lanes.advice.recommendation import advise
from lanes.ids import IncidentId, RolloutId
from lanes.promises.incident import IncidentState, Promise
from lanes.realtime.circuit import CircuitState
from lanes.realtime.limiter import CallWait, WaitReason
from lanes.report import summary
from lanes.report.details import tables
from lanes.report.figures import (
    AgreementFigures,
    AmendmentFigures,
    BatchTotals,
    CachingFigures,
    CallFigures,
    CapacityFigures,
    CircuitFigures,
    CostFigures,
    DeadlineFigures,
    LaneFigures,
    OpenProposal,
    PackFigures,
    ReplayFigures,
    RescueFigures,
    SecondPassFigures,
    ShedFigures,
    SplitFigures,
    StateFigures,
    WaitFigures,
    WindowFigures,
)
from lanes.report.snapshot import Snapshot
from lanes.report.table import Table
from lanes.report.tables import attention, deadlines
from lanes.rollouts.rollout import HoldReason
from lanes.routing.capacity import Limit, LimitKind
from lanes.routing.prospect import StatedBin, calibrations
from lanes.statistics.shares import NOTHING, SampleShare
from lanes.words import FlushReason, Lane, ReplayState, RolloutState
from tests.conftest import NOON, later
from tests.examples import incident_of
from tests.rollouts import rollout_of
from tests.unit.advice.test_advice import evidence

BREACH = incident_of(
    Promise.BATCH_SLOW,
    "letters",
    "batch 41",
    uid="u-7",
    value=180,
    limit_value=120,
    samples=1,
    unit="minutes",
    sentence="Batch 41 has been open for 3.0 h; 2.0 h were promised.",
)
OVER = replace(BREACH, id=6, subject="", state=IncidentState.RESOLVED, resolved_at=NOON)
MOVING = rollout_of(id=RolloutId(3), consumer="desk", holds=HoldReason.GATHERING)
LATE_READERS = evidence(
    ConsumerUse("nightly", 900, realtime=900, reads=300, at_once=3, median_s=7_200, unknown=12)
)

TOLD = NOON + timedelta(minutes=59, seconds=30)
ROOM = Limit(LimitKind.INPUT, 50_000, 12_000, TOLD + timedelta(seconds=40), TOLD)
EMPTY = Snapshot(taken_at=NOON, since=NOON - timedelta(minutes=1))


def steered(text: str = "trial") -> Snapshot:
    """Return a snapshot with all sections besides the lanes; `text` is the text that people wrote."""
    return Snapshot(
        taken_at=NOON + timedelta(hours=1),
        since=NOON,
        incidents=[replace(BREACH, sentence=text), OVER],
        rollouts=[replace(MOVING, holds=text, consumer=text, started_by=text)],
        batch_totals=[
            BatchTotals("letters", 4, 3, 800, 600, 590, 59, 7_200, 2_000, 3_000),
            BatchTotals("new", 1, 0, 5, 0, 0, 0, 0, None, None),
        ],
        calibration=calibrations(
            [
                StatedBin("letters", 5, 200, 195, 194.0, 4.9),
                StatedBin("letters", 6, 100, 98, 98.5, 1.9),
            ]
        ),
        deadlines=[
            DeadlineFigures("letters", Lane.REALTIME, "rescue", 40, 1, 0),
            DeadlineFigures("letters", Lane.BATCH, "split", 297, 2, 1),
        ],
        packs=[
            PackFigures(
                "letters",
                Lane.BATCH,
                10,
                20,
                SampleShare(200, 220),
                SampleShare(78, 80),
                NOON,
                "20 hurt",
                Decimal("0.02"),
            ),
            PackFigures(
                "new", Lane.REALTIME, None, None, SampleShare(3, 3), NOTHING, None, "", Decimal(0)
            ),
        ],
        windows=[
            WindowFigures(
                "letters", 40, 0.8, 12.5, {FlushReason.FULL: 30, FlushReason.HOPELESS: 10}
            )
        ],
        waits=[WaitFigures("letters", 900, 0.05, 2.1)],
        splits=[SplitFigures("letters", None, 3_050, "ada", text, NOON)],
        replays=[
            ReplayFigures("letters", 2, 5, ReplayState.COMPLETE, 40, 39, 1, Decimal("0.0125"))
        ],
        calls=[CallFigures("letters", Lane.BATCH, 10, 195, 1_950, 1_950, 3_900)],
        caching=[
            CachingFigures(
                "letters", Lane.REALTIME, "on", "measured", 0.93, 0.217, 1_204, NOON, Decimal("1.5")
            ),
            CachingFigures("letters", Lane.BATCH, "off", "never", None, None, 0, NOON, Decimal(0)),
        ],
        capacity=[CapacityFigures("acme", "claude-haiku-5-5", [ROOM], 40, 75.0)],
        call_waits=[CallWait("letters", WaitReason.PLACES, 3)],
        rescues=[RescueFigures("letters", 40, 37, 2, Decimal("0.02"), Decimal("0.015"))],
        sheds=[ShedFigures("letters", 1_200, Decimal("0.6"), 1_000, 990, 1_500.0, 2_400.0, text)],
        amendments=[AmendmentFigures("letters", 4, 1)],
        advice=[advise(replace(LATE_READERS, workload=text))],
    )


def said(table: Table[Any]) -> list[str]:
    return [" ".join(row) for row in table.cells]


def details(snapshot: Snapshot) -> dict[str, list[str]]:
    return {each.title: said(each) for each in tables(snapshot) if each.rows}


def test_the_first_page_shows_only_incidents_and_rollouts_that_need_a_person_now() -> None:
    (incidents,) = attention(steered())
    assert incidents.title == "Incidents: 1 open incident"
    assert said(incidents)[0].startswith(
        "#7 letters Batch runs too long, batch 41 warning, open 12:00 UTC"
    )
    asking = replace(MOVING, state=RolloutState.WAITING_APPROVAL)
    incidents, waiting = attention(replace(steered(), rollouts=[asking, MOVING]))
    assert said(waiting) == [
        "letters: 10 % to real-time, step 1 of 2, waits for approval batch-to-realtime desk ada gathering"
    ]


def test_a_proposed_rollout_needs_a_person() -> None:
    proposed = OpenProposal(4, "letters", "nightly", 41.5, NOON)
    (table,) = attention(Snapshot(later(minutes=5), NOON, proposals=[proposed]))
    assert table.title == "Rollouts that are proposed"
    assert said(table) == ["#4 letters nightly $41.50 12:00 UTC"]


def test_models_that_do_not_answer_are_shown_with_their_last_error() -> None:
    seen = CircuitFigures(
        "acme", "claude-haiku-5-5", CircuitState.PROBING, NOON, 1_204, "the provider answered 529"
    )
    (table,) = attention(Snapshot(later(minutes=5), NOON, circuits=[seen]))
    assert table.title == "The provider does not answer"
    assert said(table) == [
        "claude-haiku-5-5 acme probing 12:00 UTC 1,204 the provider answered 529"
    ]


def test_an_incident_caused_by_another_names_the_other_incident() -> None:
    explained = replace(steered(), incidents=[replace(BREACH, parent_id=IncidentId(5))])
    (table,) = attention(explained)
    assert " warning, open, because of incident 5 12:00 UTC " in said(table)[0]


def test_each_section_has_its_table_on_the_second_page() -> None:
    found = details(steered("nightly"))
    advice = found.pop("Advice")
    assert advice[0].startswith("nightly ")
    assert advice[0].endswith(" nightly")
    assert found.pop("Incidents: 1 open incident")[1].startswith(
        "#6 letters Batch runs too long resolved"
    )
    assert found == {
        "Rollouts": [
            "letters: 10 % to real-time, step 1 of 2, runs batch-to-realtime nightly nightly nightly"
        ],
        "Batches by workload": [
            "letters 3 of 4 800 33 min 50 min 5.0 10 %",
            "new 0 of 1 5 - - - -",
        ],
        "Deadlines by reason": [
            "letters / real-time rescue 40 1 0 98 %",
            "letters / batch split 297 2 1 99 %",
        ],
        "Predicted batch times": [
            "letters all 300 97.5 % 97.7 % 0.023",
            "letters 95 % to 98 % 200 97.0 % 97.5 % ",
            "letters 98 % to 99 % 100 98.5 % 98.0 % ",
        ],
        "Rescued from late batches": ["letters 40 37 of 38 $0.0200 $0.0150"],
        "Shed to batches": ["letters 1,200 $0.600 990 of 1,000 25 min / 40 min nightly"],
        "Waits for a real-time call": ["letters 900 0.05 s 2.1 s"],
        "Pack sizes": [
            "letters / batch 10 of 20 0.91 (n 220) 0.97 (n 80) 12:00 UTC 20 hurt $0.0200",
            "new / real-time as allowed 1.00 (n 3) - - - $0",
        ],
        "Real-time windows": ["letters 12 0.80 s 75 % 0 % 0 % 25 %"],
        "Calls and packing": ["letters / batch 10 20 20 20 50 %"],
        "Shared context": [
            "letters / real-time on 93 % 22 % 1,204 60 min ago $1.50",
            "letters / batch off - - 0 60 min ago $0",
        ],
        "Capacity of real time": ["claude-haiku-5-5 input tokens 50,000 12,000 30 s ago 40 75 s"],
        "Splits in force": ["letters all 30.5 % ada nightly 12:00 UTC"],
        "Replays": ["letters 2 5 complete 39 of 40 1 $0.0125"],
        "Late data": ["letters 4 1"],
        "Reads of real-time answers": ["nightly nightly 300 2.0 h 1 % 12"],
    }


def test_the_first_page_adds_up_deadlines_by_lane() -> None:
    rescued = DeadlineFigures("letters", Lane.BATCH, "rescue", 3, 1, 0)
    of = replace(steered(), deadlines=[*steered().deadlines, rescued])
    assert said(deadlines(of)) == [
        "letters / real-time 40 1 0 98 %",
        "letters / batch 300 3 1 99 %",
    ]


def test_an_empty_snapshot_has_no_tables() -> None:
    quiet = Snapshot(NOON, NOON)
    assert (list(attention(quiet)), details(quiet)) == ([], {})


def test_the_headline_begins_with_open_incidents() -> None:
    assert summary.headline(steered()).startswith("1 open incident · Nothing arrived since")
    over = replace(steered(), incidents=[OVER])
    assert summary.headline(over).startswith("Nothing arrived since")


def lane(workload: str, lane: Lane, p50_s: float) -> LaneFigures:
    """Return the figures of ten items that the lane answered, half of them within `p50_s`."""
    return LaneFigures(workload, lane, 10, 10, 10, p50_s, p50_s, p50_s, 10.0, 10, 0, Decimal("0.5"))


def test_the_summary_of_a_run_without_work_is_empty() -> None:
    assert summary.sentences(EMPTY) == []


def test_the_summary_covers_lanes_waits_packs_corrections_deadlines_rescues_and_cost() -> None:
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
        f"3 calls of a wait now: {WaitReason.PLACES.explanation}.",
        "48 items of b shared calls, 9.6 items a call.",
        "38 of 107 early answers of a were corrected by a batch.",
        "660 early answers of a got no second pass so far, which saved $0.0600; at most 22 are wrong.",
        "3 of 4 due items answered in time.",
        "2 items of b were rescued from a late batch; 2 of them in time.",
        "Cost $3.00; all of it in real time would have cost $4.00: 25 % saved.",
    ]

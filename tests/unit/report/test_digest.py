"""The daily digest: the lanes, quality, incidents, and tasks for a person."""

from dataclasses import replace
from decimal import Decimal

from lanes.advice.proposals import ProposedRollout
from lanes.ids import IncidentId, ProposalId
from lanes.promises.incident import Handling, Promise, Severity
from lanes.report.digest import MOST, DailyFigures, parts
from lanes.report.figures import (
    AccuracyFigures,
    AgreementFigures,
    CostFigures,
    DeadlineFigures,
    StateFigures,
)
from lanes.report.snapshot import Snapshot
from lanes.words import Lane, ProposalState, RolloutState
from tests.conftest import NOON, later
from tests.rollouts import playbook
from tests.unit.report.test_report_sections import BREACH, MOVING, OVER

PROPOSED = ProposedRollout(
    ProposalId(4),
    "letters",
    "nightly",
    playbook(),
    None,  # pyright: ignore[reportArgumentType]
    ProposalState.OPEN,
    None,
    None,
    NOON,
    NOON,
)
QUIET = Snapshot(taken_at=NOON, since=later(days=-1))


def test_the_digest_of_a_quiet_day_has_three_lines() -> None:
    assert parts(DailyFigures(QUIET, 0, 0, [], [])) == [
        ("The lanes", ["Nothing arrived since 2026-11-23 12:00 UTC (24 h)."]),
        ("Incidents", ["0 opened, 0 ended, 0 open."]),
        ("What needs a person", ["Nothing."]),
    ]


def test_the_digest_reports_savings_deadlines_quality_incidents_and_tasks_for_a_person() -> None:
    minor = replace(
        BREACH,
        id=IncidentId(9),
        severity=Severity.DIGEST,
        handling=Handling.ACKNOWLEDGED,
        handled_by="ada",
        handled_why="on it",
        handled_until=later(hours=2),
    )
    held = replace(BREACH, id=IncidentId(8), promise=Promise.BATCH_UNCLEAR)
    costs = [CostFigures("letters", Decimal(6), Decimal(10), Decimal(5), Decimal(0), Decimal(0))]
    seen = replace(
        QUIET,
        costs=costs,
        states=[StateFigures("letters", "settled", 100), StateFigures("letters", "failed", 1)],
        deadlines=[DeadlineFigures("letters", Lane.BATCH, "split", 34, 2, 0)],
        agreement=[AgreementFigures("letters", 200, 6)],
        accuracy=[AccuracyFigures("letters", Lane.BATCH, 3, "category", 120, 0.93, 0.87, 0.96)],
        incidents=[minor, held, OVER, replace(OVER, severity=Severity.DIGEST)],
        rollouts=[replace(MOVING, state=RolloutState.WAITING_APPROVAL), MOVING],
    )
    told = dict(parts(DailyFigures(seen, 3, 2, [PROPOSED], ["letters: label 12 more"])))
    assert "40 % saved" in told["The lanes"][-1]
    assert "34 of 36 due items answered in time." in told["The lanes"]
    assert told["Quality"] == [
        "letters: 97 % of 200 early answers confirmed by a batch.",
        "letters, batch, category: 93 % right (87 % to 96 %) by 120 labels.",
    ]
    assert told["Incidents"][0] == "3 opened, 2 ended, 2 open."
    assert told["Incidents"][1] == (
        "#9 digest, letters: Batch runs too long. Batch 41 has been open for 3.0 h; 2.0 h were promised. "
        "Type `lanes batches`. (acknowledged until 2026-11-24 14:00 UTC by ada: on it)"
    )
    assert [each.split(":")[0] for each in told["Incidents"][2:]] == [
        "#6 digest, resolved, letters",
        "#8 warning, letters",
    ]
    assert told["What needs a person"] == [
        "Approve or decline: letters: 10 % to real-time, step 1 of 2, waits for approval.",
        "Decide proposal 4: nightly of letters, by batch-to-realtime.",
        "Decide about batch 41 of letters: lanes batches shows it.",
        "Labels are lacking: letters: label 12 more.",
        "1 item failed: lanes retry tries them again.",
    ]


def test_a_long_part_of_the_digest_is_cut_and_states_the_number_of_missing_lines() -> None:
    many = [replace(BREACH, id=IncidentId(number)) for number in range(30)]
    many[20] = replace(many[20], severity=Severity.DIGEST)
    told = dict(parts(DailyFigures(replace(QUIET, incidents=many), 30, 0, [], [])))
    assert len(told["Incidents"]) == MOST + 1
    assert told["Incidents"][1].startswith("#20 digest")  # no other message reports it
    assert told["Incidents"][-1] == "21 more"

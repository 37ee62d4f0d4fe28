"""Explanations of figures: the reference explains those of the report, and other pages explain theirs below each table."""

import io
import re
from collections import Counter
from dataclasses import fields, replace
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from rich.console import Console

from lanes.commands import forecast
from lanes.money.budget import Budget, BudgetStatus, Period
from lanes.realtime.circuit import CircuitState
from lanes.report import details, page, replay, rollout
from lanes.report.figures import CircuitFigures, OpenProposal
from lanes.report.snapshot import Snapshot
from lanes.report.table import LEFT, Column, Table, render_legend
from lanes.report.table import render_terminal as in_console
from lanes.rollouts.replays import diff
from lanes.routing.forecast import FilePlan, Forecast
from lanes.words import ItemState, Lane, Reason
from tests.conftest import NOON, later
from tests.docs.references.report import first_page
from tests.rollouts import ERRORS, playbook, step
from tests.unit.modules import ROOT
from tests.unit.report.explaining import NAMES, in_artifact, in_terminal, unexplained
from tests.unit.report.test_report import two_workloads
from tests.unit.report.test_report_sections import steered
from tests.unit.report.test_rollout_report import progress
from tests.unit.rollouts.test_replays import COMPLETE, answers

BUDGET = Budget("tickets", None, Period.DAY, "UTC", Decimal(5), Decimal(9))
GATES = [
    ERRORS,
    {"measure": "p95_s", "max": 9, "at_least": 5},
    {"measure": "deadlines_met", "min": 0.9, "at_least": 5},
    {"measure": "agreement", "min": 0.9, "at_least": 5},
]


def everything() -> Snapshot:
    """Return a snapshot without empty figures."""
    beside = {
        name: each for name, each in vars(steered()).items() if isinstance(each, list) and each
    }
    return replace(
        two_workloads(),
        budgets=[BudgetStatus(BUDGET, NOON, later(hours=9), Decimal(4), Decimal(0), Decimal(1))],
        proposals=[OpenProposal(4, "letters", "nightly", 41.5, NOON)],
        circuits=[
            CircuitFigures("acme", "claude-haiku-5-5", CircuitState.RESTING, NOON, 12, "529")
        ],
        **beside,
    )


def test_the_sample_snapshot_has_no_empty_figures() -> None:
    assert [each.name for each in fields(Snapshot) if getattr(everything(), each.name) == []] == []


def test_every_column_of_the_report_is_a_known_name_or_has_a_meaning() -> None:
    for table in (*first_page(), *details.tables(everything())):
        unknown = [each.head for each in table.columns if not each.meaning]
        assert set(unknown) <= NAMES, table.title
        assert all(len(each.meaning) <= 320 for each in table.columns)


def test_the_report_pages_link_to_the_glossary_instead_of_repeating_it() -> None:
    for shown in (page.main_page(everything()), page.details_page(everything())):
        assert shown.endswith(f"{page.MEANINGS}\n")
        assert "billed, in US dollars" not in shown
    assert (ROOT / "docs/reference/report.md").exists()


def test_every_figure_of_a_rollout_page_and_of_its_approval_form_is_explained() -> None:
    of = progress()
    of = replace(of, rollout=replace(of.rollout, playbook=playbook(step(10), step(50, *GATES))))
    for shown in (rollout.render(of), rollout.question(of)):
        assert unexplained(in_artifact(shown)) == []
        gates = re.findall(r"^- \*\*(.+?) [≤≥]", shown, re.MULTILINE)
        assert gates == [rollout.NAMES[each["measure"]] for each in GATES]
        legend = next(each for each in shown.split("\n\n") if each.startswith("A gate passes"))
        assert all(f". {name}: " in legend for name in (*gates, "Bounds", "Whole rollout"))
    assert "Bar: " in rollout.render(of)


def test_every_figure_of_a_replay_is_explained() -> None:
    found = diff([answers("k1", "a", "b", {"category": "b"}), answers("k2", "a", "a")])
    shown = in_artifact(replay.render(COMPLETE, found))
    assert len(shown) == 3
    assert unexplained(shown) == []


@pytest.mark.parametrize("by", [None, later(hours=8)])
def test_every_figure_of_a_quote_and_a_dry_run_is_explained(by: datetime | None) -> None:
    batch = FilePlan(
        Lane.BATCH,
        20,
        2,
        Decimal("0.1"),
        probability=0.97 if by else None,
        back_at=None if by else NOON,
    )
    plans = [FilePlan(Lane.REALTIME, 1, 40, Decimal("0.4"), takes_s=9.0), batch]
    routes = Counter({(Lane.BATCH, Reason.SPLIT): 30, (Lane.REALTIME, Reason.URGENT): 10})
    found = Forecast(
        "letters", 3, by, items=40, as_routed_usd=Decimal("0.2"), plans=plans, routes=routes
    )
    for face in (forecast.costs, forecast.routes):
        (shown,) = in_terminal(face(found, ZoneInfo("Europe/Berlin")))
        assert shown.figures
        assert shown.unexplained == []


def test_the_check_finds_a_figure_without_an_explanation() -> None:
    table = "| Lane | Cost | p50, p95 |\n|---|--:|--:|\n| a | 1 | 2 |"
    page = f"{table}\n\nCost: what was billed.\n\n### Next\n\np50, p95: not here."
    assert unexplained(in_artifact(page)) == ["p50, p95"]


def test_a_legend_is_one_line_that_begins_with_the_note() -> None:
    assert (
        render_legend({"Met": "in time", "p50, p95": "how long"}, "Due items.")
        == "Due items. Met: in time. p50, p95: how long."
    )
    assert render_legend({}) == ""


def test_every_item_state_has_a_meaning() -> None:
    assert all(details.STATES[each] for each in ItemState)


def test_a_title_wider_than_its_table_stays_one_line() -> None:
    table = Table("A title that is longer than its table", ["a"], Column("X", LEFT, "", str))
    console = Console(width=100, file=io.StringIO())
    console.print(in_console(table))
    assert console.file.getvalue().splitlines()[0] == table.title  # type: ignore[attr-defined]

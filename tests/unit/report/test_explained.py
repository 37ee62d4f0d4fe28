"""Every figure that a page shows is explained where it is shown: in the lines below its table, by its name."""

from collections import Counter
from dataclasses import fields, replace
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from lanes.money.budget import Budget, BudgetStatus, Period
from lanes.realtime.circuit import CircuitState
from lanes.replays.replay import diff
from lanes.report import forecast_terminal, legends, markdown, replay, rollout, summary, terminal
from lanes.report.figures import CircuitFigures, StateFigures
from lanes.report.section import explained, of_shown
from lanes.report.snapshot import Snapshot
from lanes.routing.forecast import FilePlan, Forecast
from lanes.words import ItemState, Lane, Reason
from tests.conftest import NOON, later
from tests.rollouts import ERRORS, playbook, step
from tests.unit.replays.test_replay import COMPLETE, answers
from tests.unit.report.explaining import in_artifact, in_terminal, unexplained
from tests.unit.report.test_report import two_workloads, written
from tests.unit.report.test_report_sections import steered
from tests.unit.report.test_rollout_report import progress

BUDGET = Budget("tickets", None, Period.DAY, "UTC", Decimal(5), Decimal(9))
GATES = [
    ERRORS,
    {"measure": "p95_s", "max": 9, "at_least": 5},
    {"measure": "deadlines_met", "min": 0.9, "at_least": 5},
    {"measure": "agreement", "min": 0.9, "at_least": 5},
]


def everything() -> Snapshot:
    """A snapshot in which nothing is empty."""
    beside = {
        name: each for name, each in vars(steered()).items() if isinstance(each, list) and each
    }
    return replace(
        two_workloads(),
        budgets=[BudgetStatus(BUDGET, NOON, later(hours=9), Decimal(4), Decimal(0), Decimal(1))],
        circuits=[
            CircuitFigures("acme", "claude-haiku-5-5", CircuitState.RESTING, NOON, 12, "529")
        ],
        **beside,
    )


def test_the_sample_has_every_figure_that_a_snapshot_can_have() -> None:
    assert [each.name for each in fields(Snapshot) if getattr(everything(), each.name) == []] == []


def test_every_figure_of_the_report_is_explained_on_both_faces() -> None:
    for shown in (
        in_terminal(terminal.render(everything(), report_url=None)),
        in_artifact(markdown.render(everything())),
    ):
        assert unexplained(shown) == []
        assert len(shown) >= 29


def test_every_chart_and_the_headline_of_the_report_are_explained() -> None:
    _, headline, *blocks = markdown.render(everything()).split("\n\n")
    charts = [place for place, each in enumerate(blocks) if each.startswith("![")]
    assert len(charts) == 4
    assert [
        blocks[place + 1] for place in charts if blocks[place + 1].startswith(("#", "!", "<"))
    ] == []
    for said in ("Received: ", "Answered: ", "Dollars: ", "Saved: ", "Real-time p95: "):
        assert said in headline


def test_every_figure_of_a_rollout_is_explained_and_of_the_form_that_asks_for_approval() -> None:
    of = progress()
    of = replace(of, rollout=replace(of.rollout, playbook=playbook(step(10), step(50, *GATES))))
    for page in (rollout.render(of), rollout.question(of)):
        assert unexplained(in_artifact(page)) == []
        assert "| agreement with the authoritative pass |" in page
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
    for face in (forecast_terminal.costs, forecast_terminal.routes):
        (shown,) = in_terminal(face(found, ZoneInfo("Europe/Berlin")))
        assert shown.figures
        assert shown.unexplained == []


def test_a_figure_that_nothing_explains_is_found() -> None:
    table = "| Lane | Cost | p50, p95 |\n|---|--:|--:|\n| a | 1 | 2 |"
    page = f"{table}\n\nCost: what was billed.\n\n### Next\n\np50, p95: not here."
    assert unexplained(in_artifact(page)) == ["p50, p95"]


def test_a_legend_is_one_line_that_begins_with_the_note() -> None:
    assert (
        explained({"Met": "in time", "p50, p95": "how long"}, "Due items.")
        == "Due items. Met: in time. p50, p95: how long."
    )
    assert explained({}) == ""


def test_a_legend_is_read_at_a_glance() -> None:
    for shown in (
        in_terminal(terminal.render(everything(), report_url=None)),
        in_artifact(markdown.render(everything())),
    ):
        assert [each.said for each in shown if len(each.said) > 300] == []
    said = [len(each.said) for each in in_terminal(terminal.render(everything(), report_url=None))]
    assert sum(said) / len(said) < 140


def test_what_is_not_shown_is_not_explained() -> None:
    legend = {"Met": "in time", "p50, p95": "how long"}
    assert of_shown(legend, ["Workload", "p95"]) == {"p50, p95": "how long"}
    settled = replace(everything(), states=[StateFigures("tickets", ItemState.SETTLED, 9)])
    for page in (
        in_terminal(terminal.render(settled, report_url=None)),
        in_artifact(markdown.render(settled)),
    ):
        (said,) = [each.said.strip() for each in page if "Where they stand" in each.figures]
        assert said == "Items: of the period. Where they stand: settled has its final answer."
    assert all(legends.STATES[each] for each in ItemState)


def test_a_title_wider_than_its_table_stays_one_line() -> None:
    of = replace(everything(), since=later(hours=-7 * 24))
    assert f"Cost in USD: items received {summary.period(of)}" in [
        line.rstrip() for line in written(of).splitlines()
    ]

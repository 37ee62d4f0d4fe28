"""The batch lane's throughput in the report, and the figures of both lanes in docs/concepts/monitoring.md."""

import re
from dataclasses import replace

import pytest

from lanes.report import details, page, tables
from lanes.report.figures import BatchTotals
from lanes.units import rate
from tests.docs.references.report import EMPTY, first_page
from tests.unit.modules import ROOT
from tests.unit.report import monitoring_chart
from tests.unit.report.test_report import a_batch, ago, charts_in, texts_of, two_workloads, written

QUICK, SLOW = {"items_per_minute_until_ended": 214.0}, {"items_per_minute_until_ended": 0.052}
UNDER_WAY = {
    "state": "submitted",
    "processed": 9,
    "ended_at": None,
    "collected_at": None,
    "submitted_at": ago(5),
    "items_per_minute_until_ended": None,
    "items_per_minute_until_collected": None,
}
PAGE = (ROOT / "docs/concepts/monitoring.md").read_text()
ROW = re.compile(r"^\| [^|]+ \| (\*[^|]+) \| [^|]+ \| [^|]+ \|$", re.MULTILINE)
OF_BOTH_LANES = (
    tables.lanes(EMPTY),
    details.throughput(EMPTY),
    details.batches(EMPTY),
    details.batch_totals(EMPTY),
    details.routes(EMPTY),
    tables.deadlines(EMPTY),
    *tables.quality(EMPTY),
)


def drawn(*batches) -> list[str | None]:
    """Return the texts in the chart of the batches."""
    artifact = page.details_page(replace(two_workloads(), batches=list(batches)))
    return [each.text for each in texts_of(charts_in(artifact)[2])]


def test_each_ended_batch_has_a_bar_in_the_group_of_its_workload() -> None:
    home = a_batch(43, **QUICK, items_per_minute_until_collected=178.3)
    others = (
        a_batch(42, **UNDER_WAY),
        a_batch(41, workload="archive", **SLOW, items_per_minute_until_collected=None),
    )
    assert drawn(home, *others) == [
        "tickets",
        "#43, 107 items",
        "214 (178)",
        "archive",
        "#41, 107 items",
        "0.052",
    ]


def test_the_chart_says_if_none_of_the_batches_has_ended() -> None:
    assert drawn(a_batch(**UNDER_WAY)) == ["None of these batches has ended."]


def test_the_details_page_has_no_throughput_chart_without_batches() -> None:
    assert len(charts_in(page.details_page(replace(two_workloads(), batches=[])))) == 2


def test_the_terminal_and_the_page_show_the_throughput_of_each_batch() -> None:
    half = a_batch(42, items_per_minute_until_ended=107.0)
    of = replace(two_workloads(), batches=[a_batch(43, **QUICK), half, a_batch(41, **UNDER_WAY)])
    lines = [" ".join(line.split()) for line in written(of, width=130).splitlines()]
    shown = page.details_page(of).replace("\u00a0", " ").replace("\\#", "#").splitlines()
    expected = [
        ("#43", "tickets", "collected", "104 of 107", "took 30 s", "██████ 214", "-"),
        ("#42", "tickets", "collected", "104 of 107", "took 30 s", "███ 107", "-"),
        (
            "#41",
            "tickets",
            "submitted, 43 % done",
            "104 of 107",
            "5.0 min so far, expected 14:25 UTC",
            "-",
            "-",
        ),
    ]
    for row in expected:
        assert " ".join(row) in lines
        assert f"| {' | '.join(row)} |" in shown


@pytest.mark.parametrize(
    ("per_minute", "said"),
    [
        (0, "0"),
        (0.0042, "0.0042"),
        (0.0996, "0.100"),
        (0.17, "0.2"),
        (9.94, "9.9"),
        (9.96, "10"),
        (1283.4, "1,283"),
    ],
)
def test_a_smaller_rate_is_written_with_more_decimals(per_minute: float, said: str) -> None:
    assert rate(per_minute) == said


def test_totals_by_workload_are_shown_once_a_workload_has_several_batches() -> None:
    one, several = (
        BatchTotals("tickets", number, 1, 107, 107, 107, 3, 30, 30, 30) for number in (1, 2)
    )
    for batches, is_shown in (([one], False), ([one, several], True)):
        of = replace(two_workloads(), batch_totals=batches)
        assert (
            "Batches by workload" in written(of),
            "### Batches by workload" in page.details_page(of),
        ) == (is_shown, is_shown)


def test_workloads_have_their_own_scale_if_several_are_shown_and_one_has_several_batches() -> None:
    own = "Each workload has its own scale."
    one, other, third = (
        a_batch(43, **QUICK),
        a_batch(42, workload="archive", **SLOW),
        a_batch(41, **SLOW),
    )
    for batches, is_said in (
        ([one, other], False),
        ([one, third], False),
        ([one, other, third], True),
    ):
        assert (own in page.details_page(replace(two_workloads(), batches=batches))) == is_said


def named() -> set[str]:
    """Return the figures that the page's tables name."""
    return {name for figures in ROW.findall(PAGE) for name in re.findall(r"\*([^*]+)\*", figures)}


def test_the_monitoring_page_names_every_figure_of_lanes_batches_and_decisions() -> None:
    wanted = {each.head for table in OF_BOTH_LANES for each in table.columns if each.meaning}
    assert wanted - named() == set()


def test_the_monitoring_page_names_only_figures_that_the_report_shows() -> None:
    every = [*first_page(), *details.tables(EMPTY)]
    assert named() - {head for table in every for head in table.heads} == set()


def test_the_monitoring_page_documents_both_throughput_columns() -> None:
    for column in ("items_per_minute_until_ended", "items_per_minute_until_collected"):
        assert f"| `{column}` |" in PAGE


def test_the_chart_file_of_the_monitoring_page_matches_the_reports_drawing() -> None:
    assert monitoring_chart.FILE.read_text() == monitoring_chart.drawn()
    for said in ("#41, 10,000 items", "200 (182)", "105 (100)", "2.5 (2.2)"):
        assert said in monitoring_chart.drawn()

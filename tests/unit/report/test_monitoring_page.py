"""docs/concepts/monitoring.md names the figures of both lanes as the report does."""

import re

from lanes.report import details, tables
from tests.docs.references.report import EMPTY, first_page
from tests.unit.modules import ROOT
from tests.unit.report import monitoring_chart

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


def named() -> set[str]:
    """The figures that the page's tables name."""
    return {name for figures in ROW.findall(PAGE) for name in re.findall(r"\*([^*]+)\*", figures)}


def test_every_figure_of_lanes_batches_and_decisions_stands_on_the_page() -> None:
    wanted = {each.head for table in OF_BOTH_LANES for each in table.columns if each.meaning}
    assert wanted - named() == set()


def test_the_page_names_no_figure_that_the_report_does_not_show() -> None:
    every = [*first_page(), *details.tables(EMPTY)]
    assert named() - {head for table in every for head in table.heads} == set()


def test_both_columns_of_throughput_stand_on_the_page() -> None:
    for column in ("items_per_minute_until_ended", "items_per_minute_until_collected"):
        assert f"| `{column}` |" in PAGE


def test_the_chart_of_the_page_is_drawn_as_the_report_draws_it() -> None:
    assert monitoring_chart.FILE.read_text() == monitoring_chart.drawn()
    for said in ("#41, 10,000 items", "200 (182)", "105 (100)", "2.5 (2.2)"):
        assert said in monitoring_chart.drawn()

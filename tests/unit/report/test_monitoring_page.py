"""docs/concepts/monitoring.md says what the figures of both lanes mean, by the names under which the report shows them."""

import re
from collections.abc import Iterator

from lanes.report import legends
from lanes.report.section import Legend
from tests.unit.modules import ROOT
from tests.unit.report import monitoring_chart

PAGE = (ROOT / "docs/concepts/monitoring.md").read_text()
ROW = re.compile(r"^\| [^|]+ \| (\*[^|]+) \| [^|]+ \| [^|]+ \|$", re.MULTILINE)
OF_BOTH_LANES = (
    legends.LANES,
    legends.THROUGHPUT,
    legends.BATCHES,
    legends.BATCH_TOTALS,
    legends.ROUTES,
    legends.DEADLINES,
    legends.AGREEMENT,
    legends.ACCURACY,
)


def names(*of: Legend) -> Iterator[str]:
    for legend in of:
        for heads in legend:
            yield from heads.split(", ")


def told() -> set[str]:
    """The figures that the page's tables name."""
    return {name for figures in ROW.findall(PAGE) for name in re.findall(r"\*([^*]+)\*", figures)}


def test_every_figure_of_lanes_batches_and_decisions_stands_on_the_page() -> None:
    assert set(names(*OF_BOTH_LANES)) - told() == set()


def test_the_page_names_no_figure_that_the_report_does_not_show() -> None:
    every = [
        each for name, each in vars(legends).items() if name.isupper() and isinstance(each, dict)
    ]
    assert told() - set(names(*every)) == set()


def test_both_columns_of_throughput_stand_on_the_page() -> None:
    for column in ("items_per_minute_until_ended", "items_per_minute_until_collected"):
        assert f"| `{column}` |" in PAGE


def test_the_chart_of_the_page_is_drawn_as_the_report_draws_it() -> None:
    assert monitoring_chart.FILE.read_text() == monitoring_chart.drawn()
    for said in ("#41, 10,000 items", "200 (182)", "105 (100)", "2.5 (2.2)"):
        assert said in monitoring_chart.drawn()

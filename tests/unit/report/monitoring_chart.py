"""The chart of docs/concepts/monitoring.md, drawn as in the report by `python -m tests.unit.report.monitoring_chart`."""

from lanes.report.charts import bars, list_bars
from tests.unit.modules import ROOT
from tests.unit.report.test_report import a_batch

FILE = ROOT / "docs/throughput.svg"
JOBS = (
    (41, 10_000, 50, 55),
    (42, 10_000, 52, 57),
    (43, 10_000, 95, 100),
    (44, 100, 40, 45),
)  # number, items, minutes until ended, minutes until collected


def drawn() -> str:
    """Return the chart of the jobs of one workload, one of them slow and one small."""
    batches = [
        a_batch(
            number,
            workload="archive",
            items=items,
            items_per_minute_until_ended=items / ended,
            items_per_minute_until_collected=items / collected,
        )
        for number, items, ended, collected in JOBS
    ]
    return bars(list_bars(batches)) + "\n"


if __name__ == "__main__":
    FILE.write_text(drawn())

"""docs/reference/report.md: the tables of the report's two pages, with the meaning of each figure."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from lanes.report import details, tables
from lanes.report.snapshot import Snapshot
from lanes.report.table import Table
from tests.docs.references.markdown import document, table

ABOUT = """
`lanes report` prints the first page, and `lanes report --all` the second one. The deployment `report` writes both into Prefect,
with charts: artifacts `lanes-report` and `lanes-report-details`. A table without rows is left out. A dash means that nothing
was measured, never zero. [Monitoring](../concepts/monitoring.md) says which figures matter, and when to act.
"""
AT = datetime(2026, 11, 24, tzinfo=UTC)
EMPTY = Snapshot(AT, AT)


def page() -> str:
    """Return the page."""
    return document(
        "Report",
        ABOUT,
        "## The first page",
        *_sections(first_page()),
        "## Everything else",
        *_sections(details.tables(EMPTY)),
    )


def first_page() -> list[Table[Any]]:
    """Return every table that the first page can have."""
    return [
        tables.circuits(EMPTY),
        tables.proposals(EMPTY),
        tables.lanes(EMPTY),
        tables.costs(EMPTY),
        tables.deadlines(EMPTY),
        *tables.quality(EMPTY),
    ]


def _sections(found: Iterable[Table[Any]]) -> Iterable[str]:
    for each in found:
        rows = [(column.head, column.meaning) for column in each.columns if column.meaning]
        if rows:
            yield f"### {each.title.partition(':')[0]}"
            yield table(["figure", "meaning"], rows)

"""The list of generated pages, docs/reference/ and BENCHMARKS.md, and the function that makes each page."""

from pathlib import Path

from sqlalchemy import Connection

from tests.benchmarks import page as benchmarks
from tests.docs.references import (
    commands,
    errors,
    events,
    metrics,
    playbooks,
    promises,
    report,
    settings,
    sizing,
    views,
    workload,
)

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "reference"


def pages(connection: Connection) -> dict[Path, str]:
    """Return each page's text by its file; the connection must lead to a database of the newest schema."""
    reference = {
        "settings.md": settings.page(),
        "workload.md": workload.page(),
        "playbooks.md": playbooks.page(),
        "views.md": views.page(connection),
        "commands.md": commands.page(),
        "events.md": events.page(),
        "promises.md": promises.page(),
        "report.md": report.page(),
        "metrics.md": metrics.page(),
        "sizing.md": sizing.page(),
        "errors.md": errors.page(),
    }
    text_by_file = {FOLDER / name: text for name, text in reference.items()}
    return text_by_file | {benchmarks.FILE: benchmarks.page()}

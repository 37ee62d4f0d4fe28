"""Pages of the Prefect UI that show what Lanes wrote there."""

from uuid import UUID

REPORT = "lanes-report"  # key of the report's versions


def versions_page(key: str) -> str:
    """The list of an artifact's versions, which shows none of them."""
    return f"/v2/artifacts/key/{key}"


def artifact_page(key: str, artifact_id: str | None) -> str:
    """One version of an artifact; the list of all where its id is not known."""
    return versions_page(key) if artifact_id is None else f"/v2/artifacts/artifact/{artifact_id}"


def report_page(artifact_id: str | None) -> str:
    """One report; the list of all where its id is not known."""
    return artifact_page(REPORT, artifact_id)


def run_page(run_id: UUID | str) -> str:
    """A flow run."""
    return f"/v2/runs/flow-run/{run_id}"

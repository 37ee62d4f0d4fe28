"""The paths of Prefect UI pages that show the artifacts, runs and other objects of Lanes."""

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote
from uuid import UUID

REPORT = "lanes-report"  # the artifact key of the report
DETAILS = "lanes-report-details"  # the artifact key of its second page
INCIDENTS = ("Incidents", '/v2/events?events=["lanes.incident.opened"]')
REPORTS = ("Reports", f"/v2/artifacts/key/{REPORT}")


def render_links(pages: Iterable[tuple[str, str]]) -> str:
    """Return a line of Markdown links from names and addresses."""
    return " · ".join(f"[{name}]({address})" for name, address in pages)


def versions_page(key: str) -> str:
    """Return the page that lists an artifact's versions without their content."""
    return f"/v2/artifacts/key/{key}"


def artifact_page(key: str, artifact_id: str | None) -> str:
    """Return the page of one artifact version, or the list of all versions if the id is not known."""
    return versions_page(key) if artifact_id is None else f"/v2/artifacts/artifact/{artifact_id}"


def report_page(artifact_id: str | None) -> str:
    """Return the page of one report, or the list of all reports if the id is not known."""
    return artifact_page(REPORT, artifact_id)


def run_page(run_id: UUID | str) -> str:
    """Return the page of a flow run."""
    return f"/v2/runs/flow-run/{run_id}"


def block_page(block_id: UUID | str) -> str:
    """Return the page that edits a block."""
    return f"/v2/blocks/block/{block_id}/edit"


def pool_page(name: str) -> str:
    """Return the page of a work pool, where it is paused and resumed."""
    return f"/v2/work-pools/work-pool/{name}"


def deployment_page(deployment_id: UUID | str) -> str:
    """Return the page of a deployment."""
    return f"/v2/deployments/deployment/{deployment_id}"


def form_page(deployment_id: UUID | str, parameters: Mapping[str, Any]) -> str:
    """Return the page of the form that runs a deployment, filled in with these parameters."""
    page = f"{deployment_page(deployment_id)}/run"
    filled = json.dumps(parameters, separators=(",", ":"))
    return f"{page}?parameters={quote(filled)}" if parameters else page

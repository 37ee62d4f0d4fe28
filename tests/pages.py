"""The pages of the Prefect UI that people use, found on a stand, with the markers that show that a page is complete."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Locator, Page

from lanes.report.links import (
    REPORT,
    artifact_page,
    block_page,
    deployment_page,
    form_page,
    run_page,
)
from lanes.standing.runs import WantedRun
from tests.browser import label, shown
from tests.running_stand import RunningStand

WORKLOAD_TYPE = "lanes-workload"
Markers = Callable[[Page], list[Locator]]


@dataclass(frozen=True)
class PageView:
    """A page: its path from the UI's root, the markers that it shows once loaded, and the clicks that come before."""

    path: str
    markers: Markers
    clicks: Callable[[Page], None] = lambda _: None

    def come(self, page: Page) -> None:
        """Do the clicks, and wait until the page is shown completely."""
        self.clicks(page)
        shown(page, *self.markers(page))


def deployment(stand: RunningStand, name: str) -> PageView:
    """Return a deployment's page, with the headline and the links of its description."""
    found = stand.prefect.get(f"deployments/name/{name}/{name}").raise_for_status().json()
    headline = re.findall(r"\*\*(.+?)\*\*", found["description"])[0]
    linked = re.findall(r"\[([^]]+)\]\([^)]+\)", found["description"])
    return PageView(
        f"{deployment_page(found['id'])}?tab=Description",
        lambda page: [
            page.get_by_text(headline),
            *(page.get_by_role("link", name=each.strip("`")) for each in linked),
        ],
    )


def form(stand: RunningStand, of: WantedRun) -> PageView:
    """Return a deployment's form with the known parameters filled in; its markers are every field's title and description."""
    found = stand.prefect.get(f"deployments/name/{of.deployment.address}").raise_for_status().json()
    fields = list(of_models(found["parameter_openapi_schema"]))

    def markers(page: Page) -> list[Locator]:
        titles = [label(page, field["title"]) for _, field in fields]
        return titles + [page.get_by_text(first_words(field["description"])) for _, field in fields]

    return PageView(form_page(found["id"], of.parameters), markers)


def editor(stand: RunningStand, workload: str) -> PageView:
    """Return the editor of a workload with a row of references; its markers are the titles of all the block's fields."""
    block = block_of(stand, workload)
    schema = (
        stand.prefect.get(f"block_schemas/{block['block_schema_id']}")
        .raise_for_status()
        .json()["fields"]
    )
    titles = [field["title"] for _, field in [*schema["properties"].items(), *of_models(schema)]]

    def clicks(page: Page) -> None:
        page.get_by_role("button", name="Add item").last.click()

    return PageView(
        block_page(block["id"]), lambda page: [label(page, each) for each in titles], clicks
    )


def report(stand: RunningStand) -> PageView:
    """Return the newest report, with its charts."""
    asked = {"artifacts": {"key": {"any_": [REPORT]}}, "sort": "CREATED_DESC", "limit": 1}
    (newest,) = stand.prefect.post("artifacts/filter", json=asked).raise_for_status().json()
    return PageView(
        artifact_page(REPORT, newest["id"]),
        lambda page: [page.get_by_role("heading"), page.locator("img[src^='data:image']")],
    )


def incident(path: str, *words: str) -> PageView:
    """Return an incident's page; its markers are `words`, the reason and the advice."""
    headings = ("Why", "What to do")
    return PageView(
        path,
        lambda page: (
            [page.get_by_text(each) for each in words]
            + [page.get_by_role("heading", name=each, exact=True) for each in headings]
        ),
    )


def resume(run_id: str) -> PageView:
    """Return the form that a suspended rollout asks a person to fill in, which opens from the three-dot menu."""

    def clicks(page: Page) -> None:
        page.get_by_role("button", name="Open menu").first.click()
        page.get_by_role("menuitem", name="Resume").click()

    def markers(page: Page) -> list[Locator]:
        dialog = page.get_by_role("dialog")
        return [dialog, *(label(page, each) for each in ("Approve", "Decline", "Who", "Why"))]

    return PageView(run_page(run_id), markers, clicks)


def block_of(stand: RunningStand, workload: str) -> dict[str, Any]:
    """Return the block of a workload."""
    path = f"block_types/slug/{WORKLOAD_TYPE}/block_documents/name/{workload}"
    return stand.prefect.get(path).raise_for_status().json()


def of_models(schema: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the fields of every model in a schema, with their names."""
    for model in {**schema.get("definitions", {}), **schema.get("$defs", {})}.values():
        yield from model.get("properties", {}).items()


def first_words(description: str) -> str:
    """Return the first words of a description, which are one piece of text on the page whether it renders Markdown or not."""
    return re.split(r"[`*_<\n]", description)[0][:60].strip()

"""The stand's pages in Prefect's UI, as a browser without the internet shows them."""

from typing import Any

import pytest
from playwright.sync_api import Page

from lanes.promises.incident import Promise
from lanes.promises.remedy import FormLink, form
from lanes.standing.runs import Deployment, WantedRun
from tests import pages
from tests.browser import Browser, value
from tests.examples import incident_of
from tests.running_stand import RunningStand

pytestmark = pytest.mark.slow

SLOW = incident_of(
    Promise.REALTIME_SLOW, "tickets", samples=40, unit="seconds", sentence="It is slow."
)


def moving() -> WantedRun:
    """Return the form that moves the traffic of a slow workload."""
    found = form(SLOW)
    assert isinstance(found, FormLink)
    return WantedRun(Deployment(found.name), found.parameters)


def known_of(stand: RunningStand, of: WantedRun) -> dict[str, str]:
    """Return the values that the link to a form fills in, by the titles of their fields."""
    schema = stand.prefect.get(f"deployments/name/{of.deployment.address}").json()[
        "parameter_openapi_schema"
    ]
    titles = {name: field["title"] for name, field in pages.of_models(schema)}
    given: dict[str, Any] = {
        name: each for known in of.parameters.values() for name, each in known.items()
    }
    return {titles[name]: str(each) for name, each in given.items()}


def test_the_page_of_a_deployment_shows_the_headline_and_links_of_its_description(
    stand: RunningStand, browser: Browser
) -> None:
    sight = pages.deployment(stand, "depart")
    browser.visit(stand.info.ui_url + sight.path, sight.come, login=stand.login)


def test_a_form_linked_from_a_message_explains_every_field_and_fills_in_known_values(
    stand: RunningStand, browser: Browser
) -> None:
    wanted = moving()
    sight, known = pages.form(stand, wanted), known_of(stand, wanted)

    def look(page: Page) -> dict[str, str]:
        sight.come(page)
        return {title: value(page, title) for title in known}

    assert known["Workload"] == "tickets"
    assert browser.visit(stand.info.ui_url + sight.path, look, login=stand.login) == known


@pytest.mark.parametrize("deployment", [Deployment.DECIDE_BATCH, Deployment.DECIDE_PROPOSAL])
def test_a_decision_form_explains_every_field(
    stand: RunningStand, browser: Browser, deployment: Deployment
) -> None:
    sight = pages.form(stand, WantedRun(deployment))
    browser.visit(stand.info.ui_url + sight.path, sight.come, login=stand.login)


def test_the_editor_of_a_workload_shows_the_title_of_every_field_and_the_instructions(
    stand: RunningStand, browser: Browser
) -> None:
    sight, said = pages.editor(stand, "archive"), pages.block_of(stand, "archive")["data"]

    def look(page: Page) -> str:
        sight.come(page)
        return value(page, "Instructions")

    assert (
        browser.visit(stand.info.ui_url + sight.path, look, login=stand.login).strip()
        == said["instructions"].strip()
    )

"""What an operator sees of the stand in Prefect's UI, as a browser without the internet shows it."""

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
    """Return the values that the link to a form fills in, by the title of their field."""
    schema = stand.prefect.get(f"deployments/name/{of.deployment.address}").json()[
        "parameter_openapi_schema"
    ]
    titles = {name: field["title"] for name, field in pages.of_models(schema)}
    given: dict[str, Any] = {
        name: each for known in of.parameters.values() for name, each in known.items()
    }
    return {titles[name]: str(each) for name, each in given.items()}


def test_a_deployments_page_says_what_it_is_for_and_leads_on(
    stand: RunningStand, browser: Browser
) -> None:
    sight = pages.deployment(stand, "depart")
    browser.visit(stand.info.ui_url + sight.path, sight.come, login=stand.login)


def test_the_form_that_a_message_links_has_every_field_explained_and_what_is_known_filled_in(
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
def test_a_form_that_decides_has_every_field_explained(
    stand: RunningStand, browser: Browser, deployment: Deployment
) -> None:
    sight = pages.form(stand, WantedRun(deployment))
    browser.visit(stand.info.ui_url + sight.path, sight.come, login=stand.login)


def test_a_workloads_editor_shows_every_field_with_its_title_and_what_it_says(
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

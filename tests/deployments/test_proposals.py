"""A proposed rollout in Prefect: `advise` writes it weekly, its link opens the form, and `migrate` leads it once approved."""

from datetime import timedelta
from uuid import uuid4

import pytest
from playwright.sync_api import Page
from sqlalchemy import Connection, text

from lanes.report.links import artifact_page
from lanes.routing.split import Split
from lanes.store.database import clock
from lanes.store.workload import workloads
from tests.browser import Browser, shown, value
from tests.examples import admit, route
from tests.running_stand import RunningStand
from tests.store.tries import claim, save, tried
from tests.waiting import until

pytestmark = pytest.mark.slow
ITEMS = 1_000  # in two days: enough for the gates of `realtime-to-batch`


def read_late(connection: Connection, consumer: str) -> None:
    """Record items of the consumer that real-time answered at once two days ago and that were read 20 hours later."""
    now = clock(connection) - timedelta(days=2, hours=1)
    split = Split("moderation", consumer, 10_000)
    workloads.set_split(connection, split, who="e2e", why="before the trial", now=now)
    keys = [f"{consumer}-{number}" for number in range(ITEMS)]
    admit(connection, *keys, now=now, workload="moderation", consumer=consumer)
    route(connection, now=now)
    while ours := [each for each in claim(connection, now=now) if each.key in keys]:
        save(connection, *(tried(each, at=now) for each in ours), now=now)
    read = text("select * from lanes.read_result('moderation', :key, 'report', :at)")
    for key in keys:
        connection.execute(read, {"key": key, "at": now + timedelta(hours=20)})


def test_a_proposal_is_shown_and_approved_in_prefect(stand: RunningStand, browser: Browser) -> None:
    consumer = f"late-{uuid4().hex[:8]}"
    with stand.pool.begin() as connection:
        read_late(connection, consumer)
    stand.run("advise", {"question": {"workload": "*"}})
    proposed = "select id from lanes.proposal where consumer = :c and state = 'open'"
    number = until(lambda: stand.value(proposed, c=consumer), what="the proposal")

    key = "lanes-proposals-moderation"
    asked = {"artifacts": {"key": {"any_": [key]}}, "sort": "CREATED_DESC", "limit": 1}
    (newest,) = until(
        lambda: stand.prefect.post("artifacts/filter", json=asked).raise_for_status().json(),
        what="the artifact",
    )

    def link(page: Page) -> str:
        decide = page.get_by_role("link", name="Approve, edit or decline")
        shown(page, page.get_by_text(consumer), page.locator("img[src^='data:image']"), decide)
        return decide.first.get_attribute("href") or ""

    ui = stand.info.ui_url
    form = browser.visit(f"{ui}{artifact_page(key, newest['id'])}", link, login=stand.login)

    def filled(page: Page) -> tuple[str, str]:
        shown(page, page.get_by_role("heading", name="Parameters"))
        return value(page, "Workload"), value(page, "Proposal")

    assert browser.visit(f"{ui}{form}", filled, login=stand.login) == ("moderation", str(number))

    signed = {"workload": "moderation", "who": "ada", "why": "e2e"}
    stand.run("decide_proposal", {"action": {**signed, "proposal": number, "action": "approve"}})
    led = "select state, started_by from lanes.rollout where consumer = :c and flow_run_id is not null"
    (begun,) = until(lambda: stand.rows(led, c=consumer), what="the run that leads it")
    assert tuple(begun) == ("running", "ada")
    assert stand.cli("proposals", "--json").returncode == 0
    aborted = stand.cli("rollout", "abort", "moderation", "--why", "enough seen")
    assert aborted.returncode == 0, aborted.stderr

"""The way from the Slack message of every broken promise to its cause and its remedy, in at most three clicks.

The module has its own stand, on which all promises are really broken at once. The message states the cause and the remedy (no
click); each of its buttons opens an existing page (one); so does each link of the incident's page (two); the remedy is filled
in and submitted there (three).
"""

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import Page, Response, expect

from lanes.promises.incident import EDIT_EVERY, EVERYBODY, TERMS, Promise
from tests import pages
from tests.breaking import BrokenPromise, break_promises, incident_of
from tests.browser import Browser, choose, field, label, shown, value
from tests.pages import PageView
from tests.running_stand import RunningStand, put_up, take_down
from tests.slack_standin import PostedMessage, SlackStandIn
from tests.slack_standin import shown as read
from tests.waiting import until
from tests.walking import Link, buttons, commands, filled_in, links, reads, thing

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# The cause as the message states it, and the remedy that the message offers: a button or a command.
TOLD = {
    Promise.BATCH_SLOW: ("It still runs at the provider", "[Decide about the batch]"),
    Promise.BATCH_FAILING: ("The scanner is jammed", "[Pause it]"),
    Promise.BATCH_INVALID: ("break the output schema", "[Edit the workload]"),
    Promise.BATCH_UNCLEAR: ("the provider offers no results of", "[Decide about the batch]"),
    Promise.BATCH_INCOMPLETE: ("came back without a result", "lanes psql -c"),
    Promise.BATCH_NEVER_STARTED: ("is paused in Prefect", "[Its work pool]"),
    Promise.COLLECT_STOPPED: ("is paused in Prefect", "[Its work pool]"),
    Promise.REALTIME_SLOW: ("the calls themselves take", "[Move its traffic]"),
    Promise.REALTIME_FAILING: ("The image is upside down", "[Move its traffic]"),
    Promise.AUTHORITATIVE_FAILED: ("The page is blank", "[Replay it]"),
    Promise.WORKLOAD_INVALID: ("patience_s", "[Edit the workload]"),
    Promise.ITEMS_FAILED: ("The image is too small", "lanes retry items-failed --all"),
    Promise.PROVIDER_DOWN: ("the provider answered 529: Overloaded", "lanes doctor"),
    Promise.APPROVAL_WAITS: ("asks for approval at step 1 of 2", "[Answer it (Resume)]"),
    Promise.PROVIDER_FROZEN: ("the provider answered 404", "[Edit the workload]"),
    Promise.BUDGET: ("Nothing more is paid", "[Raise the budget]"),
    Promise.DEADLINE_MISSED: ("on realtime, reason", "[Ask for more confidence]"),
    Promise.DEADLINE_AT_RISK: ("3 items are bound to batch", "lanes depart deadline-at-risk"),
    Promise.FEED_SILENT: ("its sender sends nothing, or does not reach a door", "[Pause it]"),
    Promise.QUALITY_DRIFT: ("0 % to", "[Accept the new answers]"),
    Promise.MODEL_CHANGED: ("0 % to", "lanes accept-quality model-changed"),
    Promise.RULE_RAISES: ("reads 'amount', which this item lacks", "[Edit the workload]"),
    Promise.GUARDS_FIRE: ("Nothing was changed on purpose within a day", "lanes why guards-fire"),
    Promise.CHANCE_WRONG: ("Batches took longer", "[Ask for more confidence]"),
    Promise.WEBHOOK_GONE: ("receiver said so", "lanes webhooks test webhook-gone"),
    Promise.BILL_DIFFERS: ("the sentence above names what differs", "[Compare again]"),
    Promise.ROLE_TAKEN: ('of user postgres (application "report"', "lanes doctor"),
}
# The promises that only the digest reports, and the command that the digest offers for each.
DIGESTED = {
    Promise.ROUTING_SHIFTED: "`lanes why routing-shifted",
    Promise.READ_LATE: "`lanes proposals --workload read-late",
}
KNOWN = "Details"
NOT_LOOKED_UP = "could not be looked up"
JUDGES = (
    "doctor",
    "status",
    "accept-quality",
)  # exit code 1: something is wrong, or nothing is left to do
CLICKS_WITHIN_MS = 120_000  # the response comes after all clicks of a remedy, each of which may take SHOWN_WITHIN_MS
DOES = re.compile(r"/(create_flow_run|resume|block_documents/[^/]+|work_pools/[^/]+)$")


class Remedy(NamedTuple):
    """The action of a person on the page of a button, and a query that is true of the workload afterwards."""

    promise: Promise
    button: str
    does: Callable[[Page], None]
    afterwards: str


def sent(answer: Response) -> bool:
    """Return whether `answer` responds to a request that makes Prefect carry out a remedy."""
    asked = answer.request
    return asked.method in ("POST", "PATCH") and DOES.search(asked.url) is not None


def resumes_the_pool(page: Page) -> None:
    switch = page.get_by_role("switch").first
    switch.wait_for()  # the page appears before its work pool has loaded
    expect(switch).not_to_be_checked()
    switch.click()
    expect(switch).to_be_checked()


def submits(page: Page) -> None:
    page.get_by_role("button", name="Submit", exact=True).click()


def signs(page: Page) -> None:
    field(page, "Who").fill("ada")
    field(page, "Why").fill("a trial of remedies")


def signs_and_submits(page: Page) -> None:
    signs(page)
    submits(page)


def raises_the_budget(page: Page) -> None:
    field(page, "Hard limit").fill("10")
    signs_and_submits(page)


def moves_it_to_batch(page: Page) -> None:
    field(page, "Percent to real-time").fill("0")
    signs_and_submits(page)


def gives_the_batch_up(page: Page) -> None:
    choose(page, "Action", "give_up")
    field(page, "Sure").click()
    signs_and_submits(page)


def corrects_it(page: Page) -> None:
    field(page, "Patience (seconds)").fill("60")
    page.get_by_role("button", name="Save", exact=True).click()


def approves(page: Page) -> None:
    page.get_by_role("button", name="Open menu").first.click()
    page.get_by_role("menuitem", name="Resume").click()
    field(page, "Approve").click()
    signs(page)
    page.get_by_role("dialog").get_by_role("button", name="Resume", exact=True).click()


OVER = "select bool_and(state = 'resolved') from lanes.incident_log where workload = :w and promise = replace(:w, '-', '_')"
# The order matters: runs of the forms need the work pool, which is paused until the first remedy.
REMEDIES = (
    Remedy(Promise.BATCH_NEVER_STARTED, "Its work pool", resumes_the_pool, "select true"),
    Remedy(Promise.BATCH_NEVER_STARTED, "Let it depart now", submits, OVER),
    Remedy(Promise.BUDGET, "Raise the budget", raises_the_budget, OVER),
    Remedy(
        Promise.REALTIME_SLOW,
        "Move its traffic",
        moves_it_to_batch,
        "select basis_points = 0 from lanes.split where workload = :w order by id desc limit 1",
    ),
    Remedy(Promise.BATCH_FAILING, "Pause it", signs_and_submits, OVER),
    Remedy(Promise.BATCH_SLOW, "Decide about the batch", gives_the_batch_up, OVER),
    Remedy(Promise.WORKLOAD_INVALID, "Edit the workload", corrects_it, OVER),
    Remedy(Promise.QUALITY_DRIFT, "Accept the new answers", signs_and_submits, OVER),
    Remedy(Promise.APPROVAL_WAITS, "Answer it (Resume)", approves, OVER),
)


@pytest.fixture(scope="module")
def stand(open_folder: Path, messages: SlackStandIn) -> Iterator[RunningStand]:
    """Start a stand on which every promise is broken, or will be soon."""
    keys = {"ANTHROPIC_ADMIN_KEY": "sk-ant-admin-1"}
    up = put_up(open_folder / "broken", **messages.environment(), **keys)
    try:
        up.run("report")
        break_promises(up, Promise)
        yield up
    finally:
        take_down(up)


def broken(stand: RunningStand, promise: Promise) -> Any:
    """Wait for the incident of the promise, and return it."""
    return until(lambda: incident_of(stand, promise), what=f"{promise} to be broken")


def told(stand: RunningStand, messages: SlackStandIn, promise: Promise) -> PostedMessage:
    """Return the only message about the incident of the promise, complete.

    A message is posted without its details if Prefect does not answer within 3 s, or if many incidents open at once and their
    lookups take too long. It is completed after EDIT_EVERY.
    """
    incident_id = broken(stand, promise).incident_id

    def complete() -> PostedMessage | None:
        posted = messages.about(incident_id)
        assert len(posted) <= 1
        linked = [each for each in posted if KNOWN in {of.label for of in buttons(each)}]
        return next((each for each in linked if NOT_LOOKED_UP not in read(each.blocks)), None)

    found = until(complete, within_s=60 + EDIT_EVERY.total_seconds(), what="the message")
    assert found is not None
    return found


@pytest.mark.parametrize("promise", TOLD)
def test_a_message_and_its_incident_page_both_state_the_cause_and_the_remedy(
    stand: RunningStand, messages: SlackStandIn, promise: Promise
) -> None:
    said = told(stand, messages, promise)
    cause, remedy = TOLD[promise]
    assert cause in read(said.blocks)
    assert remedy in read(said.blocks), read(said.blocks)
    (page,) = [each for each in buttons(said) if each.label == KNOWN]
    known = thing(stand, page)
    assert known is not None
    assert cause in reads(known["data"])
    assert remedy in reads(known["data"]), known["data"]


def test_every_promise_is_reported_by_a_message_or_by_the_digest(
    stand: RunningStand, messages: SlackStandIn
) -> None:
    assert {*TOLD} | {*DIGESTED} == {*Promise}
    numbers = {promise: broken(stand, promise).incident_id for promise in DIGESTED}
    said = json.loads(stand.cli("digest", "--json").stdout)
    for promise, typed in DIGESTED.items():
        (line,) = [each for each in said["Incidents"] if each.startswith(f"#{numbers[promise]} ")]
        assert TERMS[promise].title in line
        assert typed in line
        assert messages.about(numbers[promise]) == []


@pytest.mark.parametrize("promise", TOLD)
def test_every_link_of_a_message_and_of_its_incident_page_has_an_existing_target(
    stand: RunningStand, messages: SlackStandIn, promise: Promise
) -> None:
    said = told(stand, messages, promise)
    things = {each.label: thing(stand, each) for each in buttons(said)}
    for each in links(stand, (things[KNOWN] or {})["data"]):
        thing(stand, each)


def test_each_kind_of_button_opens_its_page(
    stand: RunningStand, messages: SlackStandIn, browser: Browser
) -> None:
    """Visit each kind of page once: the test above checks the target of every button without a browser."""
    visited = set[tuple[str, str]]()
    for promise in TOLD:
        for each in buttons(told(stand, messages, promise)):
            if (kind := (each.label, each.path.split("/")[2])) not in visited:
                visited.add(kind)
                look = partial(opened, stand, promise, each)
                browser.visit(each.url, look, login=stand.login)


@pytest.mark.parametrize("helps", REMEDIES, ids=lambda helps: f"{helps.promise}: {helps.button}")
def test_submitting_the_page_of_a_remedy_applies_the_remedy(
    stand: RunningStand, messages: SlackStandIn, browser: Browser, helps: Remedy
) -> None:
    (page,) = [
        each for each in buttons(told(stand, messages, helps.promise)) if each.label == helps.button
    ]

    def does(opened: Page) -> None:
        with opened.expect_response(sent, timeout=CLICKS_WITHIN_MS) as answer:
            helps.does(opened)
        assert answer.value.ok, answer.value.text()

    browser.visit(page.url, does, login=stand.login)
    until(
        lambda: BrokenPromise(stand, helps.promise).value(helps.afterwards),
        what=f"an end of {helps.promise}",
    )


@pytest.mark.parametrize("promise", TOLD)
def test_every_command_that_a_message_offers_exits_with_an_expected_code(
    stand: RunningStand, messages: SlackStandIn, promise: Promise
) -> None:
    for _, *typed in commands(told(stand, messages, promise)):
        done = stand.cli(*typed)
        assert done.returncode in ((0, 1) if typed[0] in JUDGES else (0,)), (
            typed,
            done.stdout,
            done.stderr,
        )


def test_the_report_is_shown_with_its_charts(stand: RunningStand, browser: Browser) -> None:
    stand.wait_for_end(stand.run("report"))
    sight = pages.report(stand)
    browser.visit(stand.info.ui_url + sight.path, sight.come, login=stand.login)


def opened(stand: RunningStand, promise: Promise, link: Link, page: Page) -> None:
    """Open the page of a button and check it."""
    about: Any = thing(stand, link)
    workload = BrokenPromise(stand, promise).workload
    match link.path.split("/")[2]:
        case "artifacts":
            pages.incident(link.path, TERMS[promise].title).come(page)
        case "runs" if promise is Promise.APPROVAL_WAITS:
            pages.resume(about["id"]).come(page)
        case "runs":
            shown(page, page.get_by_text(about["name"]))
        case "blocks":
            PageView(link.path, lambda page: [label(page, "Instructions")]).come(page)
        case "deployments" if promise in (Promise.BILL_DIFFERS, Promise.COLLECT_STOPPED):
            page.get_by_role("button", name="Submit", exact=True).wait_for()
        case "deployments":
            shown(page, label(page, "Workload"))
            about_it = value(page, "Workload")
            assert about_it in (workload, EVERYBODY)
            assert about_it in str(filled_in(link))
        case _:
            shown(page, page.get_by_text(about["name"]))

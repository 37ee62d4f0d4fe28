"""A browser without a window, in which tests and `make screenshots` see the pages that people see.

It is the machine's own Chromium. What is not on this machine does not exist for it: a page that needs the internet shows it.
"""

import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Self, TypeVar

from playwright.sync_api import BrowserContext, Locator, Page, expect, sync_playwright

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
SHOWN_WITHIN_MS = 30_000  # on a machine that does much else
AT_REST = """() => !document.querySelector('[data-slot=skeleton],.animate-pulse')
  && [...document.images].every(each => each.complete)
  && document.fonts.status === 'loaded'"""
FAILED = re.compile(
    r"^(Something went wrong!?|Unexpected error|(Prefect server|Configuration) error|Unable to connect .*)$"
)
ASKS = "() => !localStorage.getItem('prefect-password')"  # where Prefect's pages keep the login
# A block type without an icon has a picture without an address: Prefect shows a grey square.
BROKEN = "() => [...document.images].filter(each => each.src && !each.naturalWidth).map(each => each.src.slice(0, 120))"


def program() -> str | None:
    """Return the path of a browser; None where this machine has none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Browser:
    """One browser, used by one test at a time. It lives in a thread of its own, because it runs a loop there."""

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
        """Return what `look` saw on the page of that address, in a tab of its own. What it raises is raised here.

        The first visit to a server types the login at the page that asks for it; later ones are not asked.
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
        try:
            page.goto(url, wait_until="domcontentloaded")
            if login is not None and page.evaluate(ASKS):
                log_in(page, login)
            return look(page)
        finally:
            page.close()


def log_in(page: Page, login: str) -> None:
    """Type the login where a page asks for it, and come to the page that was asked for."""
    asked = page.locator("input[type=password]")
    asked.press_sequentially(login)
    page.get_by_role("button", name="Login").click()
    expect(asked).to_have_count(0, timeout=SHOWN_WITHIN_MS)


def shown(page: Page, *markers: Locator) -> None:
    """Wait until all of these are on the page, and no placeholder or broken part is."""
    for each in markers:
        expect(each.first).to_be_visible(timeout=SHOWN_WITHIN_MS)
    page.wait_for_function(AT_REST)
    expect(page.get_by_text(FAILED)).to_have_count(0)
    assert page.evaluate(BROKEN) == []


def label(page: Page, title: str) -> Locator:
    """Return the label of a form's field; Prefect marks optional fields."""
    return page.locator("label").filter(
        has_text=re.compile(rf"^{re.escape(title)}( \(Optional\))?$")
    )


def field(page: Page, title: str) -> Locator:
    """Return the field of a form that has that label."""
    found = page.locator(f"[id='{label(page, title).first.get_attribute('for')}']")
    expect(found).to_be_visible()
    return found


def value(page: Page, title: str) -> str:
    """Return the written or chosen value of a form's field."""
    return str(field(page, title).evaluate("field => field.value || field.innerText"))


def choose(page: Page, title: str, option: str) -> None:
    """Choose a value in a field that offers some."""
    field(page, title).click()
    page.get_by_role("option", name=option, exact=True).click()

"""Access to the stand's Prefect: foreign pages, foreign host names and callers without the login get nothing."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

import httpx2
import psutil
import pytest
from playwright.sync_api import Page
from sqlalchemy import Connection, create_engine, inspect, text
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from lanes.report.links import form_page
from lanes.stand.login import OF_STAND
from tests.browser import Browser, log_in, shown
from tests.foreign_pages import attack, foreign_site
from tests.running_stand import RunningStand

pytestmark = pytest.mark.slow
FOREIGN = "https://foreign.test"
OPEN = {("get", "/health"), ("get", "/ready")}  # report only that the server is alive
SOCKETS = ("events/in", "events/out", "logs/out", "task_runs/subscriptions/scheduled")


@pytest.fixture
def stranger(stand: RunningStand) -> Iterator[httpx2.Client]:
    """Open an HTTP client of the stand's Prefect without a login."""
    # A slow machine needs 20 s to generate the list of routes.
    with httpx2.Client(base_url=stand.info.ui_url, trust_env=False, timeout=60) as opened:
        yield opened


# -- without the login


def test_every_api_route_except_the_health_checks_requires_the_login(
    stranger: httpx2.Client,
) -> None:
    routes = stranger.get("/openapi.json").raise_for_status().json()["paths"]
    asked = {(method, path) for path, methods in routes.items() for method in methods}
    assert len(asked) > 150
    got = {each: stranger.request(each[0].upper(), _filled(each[1])).status_code for each in asked}
    assert {each for each, status in got.items() if status != 401} == OPEN


@pytest.mark.parametrize(
    "login",
    ["", "Basic", "Basic bGFuZXM6d3Jvbmc=", "Bearer {pair}", "Basic {pair}", "basic {coded}"],
)
def test_a_wrong_or_malformed_login_is_rejected(
    stand: RunningStand, stranger: httpx2.Client, login: str
) -> None:
    coded = stand.prefect.headers["authorization"].removeprefix("Basic ")
    header = login.format(pair=stand.login, coded=coded)
    assert stranger.get("/api/admin/version", headers={"authorization": header}).status_code == 401
    assert stand.prefect.get("admin/version").status_code == 200


@pytest.mark.parametrize("path", SOCKETS)
def test_a_web_socket_requires_the_login_and_rejects_foreign_origins(
    stand: RunningStand, path: str
) -> None:
    assert _is_let_in(stand, path, login=stand.login)
    assert _is_let_in(stand, path, login=stand.login, origin=stand.info.ui_url)
    assert not _is_let_in(stand, path, login=None)
    assert not _is_let_in(stand, path, login="lanes:wrong")
    for foreign in (FOREIGN, "null"):
        assert not _is_let_in(stand, path, login=stand.login, origin=foreign)


# -- foreign host names and pages


def test_a_foreign_host_header_is_rejected_even_with_the_login(stand: RunningStand) -> None:
    port = urlsplit(stand.info.ui_url).port
    for host in ("foreign.test", f"foreign.test:{port}", "127.0.0.1.foreign.test"):
        for path in (
            f"{stand.info.ui_url}/",
            f"{stand.info.ui_url}/ui-settings",
            "health",
            "admin/settings",
        ):
            answer = stand.prefect.get(path, headers={"host": host})
            assert (answer.status_code, answer.text) == (400, "Invalid host header")
    assert stand.prefect.get("health", headers={"host": f"localhost:{port}"}).status_code == 200


def test_a_foreign_origin_gets_no_permission_to_read_a_response(
    stand: RunningStand, stranger: httpx2.Client
) -> None:
    refused = stranger.get("/api/admin/version", headers={"origin": FOREIGN})
    assert refused.status_code == 401
    may_not = stranger.options(
        "/api/events", headers={"origin": FOREIGN, "access-control-request-method": "POST"}
    )
    assert may_not.status_code == 400
    even_logged_in = stand.prefect.get("admin/version", headers={"origin": FOREIGN})
    for answer in (refused, may_not, even_logged_in):
        assert "access-control-allow-origin" not in answer.headers
    own = stand.prefect.get("admin/version", headers={"origin": stand.info.ui_url})
    assert own.headers["access-control-allow-origin"] == stand.info.ui_url


def test_a_foreign_page_in_the_operators_browser_reads_nothing_and_changes_nothing(
    stand: RunningStand, browser: Browser
) -> None:
    browser.visit(
        stand.info.ui_url,
        lambda page: shown(page, page.get_by_role("link", name="Runs")),
        login=stand.login,
    )
    before, key = _steered(stand), f"foreign-{uuid4()}"
    means = {
        "deployments": {name: _deployment(stand, name) for name in ("set_split", "pause")},
        "event": _arrival(key),
        "flow_run": {
            "set_split": {
                "parameters": {
                    "change": {
                        "workload": "tickets",
                        "percent": 99,
                        "who": "foreign",
                        "why": "foreign",
                    }
                }
            },
            "pause": {
                "parameters": {
                    "action": {"workload": "tickets", "who": "foreign", "why": "foreign"}
                },
                "job_variables": {"command": "true"},
            },
        },
    }
    with foreign_site() as site:
        attacked = browser.visit(
            site.url, lambda page: attack(page, stand.info.prefect_api_url, means)
        )
        allowed = browser.visit(site.url, lambda page: attack(page, site.api, means))
    assert [each for each in attacked if each.read] == []
    assert _steered(stand) == before
    assert stand.value("select count(*) from lanes.item where key = :key", key=key) == 0
    assert [
        each for each in stand.events("lanes.item.arrived") if each["payload"].get("key") == key
    ] == []
    assert {
        each.read
        for each in allowed
        if not each.name.endswith("unseen") and "socket" not in each.name
    } == {"secret"}
    assert (
        site.driven.count("/api/events") == 4
    )  # three calls and a form reach a server that allows them


def test_a_foreign_host_name_for_the_server_opens_no_page(
    stand: RunningStand, browser: Browser
) -> None:
    port = urlsplit(stand.info.ui_url).port
    said = browser.visit(
        f"http://foreign.test:{port}/v2/dashboard", lambda page: page.locator("body").inner_text()
    )
    assert said == "Invalid host header"


# -- the operator


def test_a_link_to_a_filled_in_form_opens_the_form_after_a_single_login(
    stand: RunningStand, browser: Browser
) -> None:
    filled_in = form_page(_deployment(stand, "pause"), {"action": {"workload": "tickets"}})
    asked_for = stand.info.ui_url + filled_in

    def wrong_then_right(page: Page) -> str:
        page.evaluate("localStorage.clear()")  # as in a browser on its first visit
        page.goto(
            f"{stand.info.ui_url}/v2/login?redirectTo={quote(filled_in.removeprefix('/v2'))}"
        )  # as after a logout
        log_in(page, stand.login)
        shown(page, page.get_by_role("heading", name="Parameters"), page.get_by_text("tickets"))
        page.goto(f"{stand.info.prefect_api_url}/health")
        page.evaluate("localStorage.clear()")
        page.goto(asked_for, wait_until="domcontentloaded")
        field = page.locator("input[type=password]")
        field.press_sequentially("lanes:wrong")
        page.get_by_role("button", name="Login").click()
        shown(page, page.get_by_text("This is not the login of this server."))
        field.clear()
        log_in(page, stand.login)
        shown(page, page.get_by_role("heading", name="Parameters"), page.get_by_text("tickets"))
        return page.url

    opened = browser.visit(f"{stand.info.prefect_api_url}/health", wrong_then_right)
    assert opened.startswith(asked_for)
    assert stand.login not in opened
    assert stand.login.partition(":")[2] not in opened
    again = browser.visit(asked_for, lambda page: shown(page, page.get_by_text("tickets")))
    assert again is None


def test_the_start_page_redirects_to_the_dashboard(stand: RunningStand, browser: Browser) -> None:
    def look(page: Page) -> str:
        shown(page, page.get_by_role("link", name="Dashboard"))
        return urlsplit(page.url).path

    assert browser.visit(f"{stand.info.ui_url}/", look, login=stand.login) == "/v2/dashboard"


# -- where the login is stored


def test_the_login_is_in_one_private_file_and_in_no_other_file_argument_or_output(
    stand: RunningStand,
) -> None:
    password = stand.login.partition(":")[2]
    file = stand.home / OF_STAND
    assert file.stat().st_mode & 0o777 == 0o600
    assert [
        each for each in _files(stand.home) if password in each.read_text(errors="replace")
    ] == [file]
    for process in stand.info.processes:
        with suppress(psutil.NoSuchProcess):
            family = [
                psutil.Process(process.pid),
                *psutil.Process(process.pid).children(recursive=True),
            ]
            assert not [each for each in family if password in " ".join(each.cmdline())]
    for words in (
        ["url"],
        ["url", "prefect"],
        ["url", "prefect", "--curl-config"],
        ["status", "--json"],
        ["doctor"],
    ):
        done = stand.cli(*words)
        assert password not in done.stdout + done.stderr


def test_the_login_is_in_no_row_of_prefects_database(stand: RunningStand) -> None:
    assert stand.info.postgres is not None
    password = stand.login.partition(":")[2]
    engine = create_engine(stand.info.postgres.url("prefect"))
    with engine.connect() as connection:
        tables = inspect(connection).get_table_names()
        assert len(tables) > 20
        assert [each for each in tables if _says(connection, each, password)] == []
    engine.dispose()


def _says(connection: Connection, table: str, words: str) -> bool:
    question = text(f'select exists (select from "{table}" t where strpos(t::text, :words) > 0)')
    return bool(connection.execute(question, {"words": words}).scalar())


def _files(home: Path) -> list[Path]:
    """Return the files of the home, without the data of Postgres, which another user owns."""
    found = (Path(folder) / name for folder, _, names in os.walk(home) for name in names)
    return [each for each in found if home / "postgres" not in each.parents and each.is_file()]


def _filled(path: str) -> str:
    return "/".join(
        str(uuid4()) if part.startswith("{") else part for part in f"/api{path}".split("/")
    )


def _is_let_in(
    stand: RunningStand, path: str, *, login: str | None, origin: str | None = None
) -> bool:
    url = f"{stand.info.prefect_api_url.replace('http', 'ws', 1)}/{path}"
    try:
        with connect(
            url,
            origin=Origin(origin) if origin is not None else None,
            subprotocols=[Subprotocol("prefect")],
            proxy=None,
            open_timeout=20,
        ) as opened:
            opened.send(json.dumps({"type": "auth", "token": login}))
            return json.loads(opened.recv(timeout=20)) == {"type": "auth_success"}
    except WebSocketException:
        return False


def _arrival(key: str) -> dict[str, Any]:
    return {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": "lanes.item.arrived",
        "resource": {"prefect.resource.id": "lanes.workload.tickets"},
        "payload": {"key": key, "payload": {"text": "x"}},
    }


def _deployment(stand: RunningStand, name: str) -> str:
    return stand.prefect.get(f"deployments/name/{name}/{name}").raise_for_status().json()["id"]


def _steered(stand: RunningStand) -> tuple[Any, ...]:
    """Return the counts that a submitted form would change: the runs of the forms, and the splits."""
    asked = {"deployments": {"name": {"any_": ["set_split", "pause"]}}}
    runs = stand.prefect.post("flow_runs/count", json=asked).raise_for_status().json()
    return runs, stand.value("select count(*) from lanes.split")

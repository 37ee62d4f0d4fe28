"""Hosts that are created and cut off. Postgres frees the role of a host that is cut off, the host notices, and a page in the
tests' browser loses no request. Needs root on Linux.
"""

import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Page
from sqlalchemy import Engine

from lanes.store.signals import Role, holder_exists
from tests.browser import Browser
from tests.hosts import cut, may_cut_cables, namespace_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not may_cut_cables(), reason="this machine permits no network namespaces"),
]
FREED_S = 15
HOLDER = """
import asyncio, sys, time
from lanes.store.signals import Role, RoleLock

async def hold():
    lock = RoleLock(sys.argv[1], Role.ROUTER)
    print(await lock.try_take(), flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    try:
        print(await lock.holds())
    except Exception as error:
        print(type(error).__name__)
    print(time.monotonic() - began, flush=True)

asyncio.run(hold())
"""


def test_a_host_that_is_cut_off_loses_its_role_and_notices_within_15_seconds(
    database_url: str, pool: Engine
) -> None:
    with ExitStack() as opened:
        namespace, cable = namespace_of(opened, "cut", 1)
        command = ["ip", "netns", "exec", namespace, sys.executable, "-c", HOLDER, database_url]
        holder = opened.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        connection = opened.enter_context(
            pool.connect().execution_options(isolation_level="AUTOCOMMIT")
        )
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        assert holder_exists(connection, Role.ROUTER)
        cut(cable)
        began = time.monotonic()
        print("?", file=holder.stdin, flush=True)
        while holder_exists(connection, Role.ROUTER):
            assert time.monotonic() - began < 60
            time.sleep(0.1)
        freed_s = time.monotonic() - began
        said, noticed_s = holder.stdout.readline().strip(), float(holder.stdout.readline())
    print(f"freed after {freed_s:.1f} s, noticed after {noticed_s:.1f} s ({said})")
    assert freed_s < FREED_S
    assert noticed_s < FREED_S
    assert said != "True"


def test_a_page_loses_no_request_when_a_host_is_created(browser: Browser) -> None:
    created = threading.Event()

    class Slow(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path.startswith("/slow"):
                created.wait()
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return

    def look(page: Page) -> list[str]:
        # The browser opens six connections to a server; the other requests wait for one.
        page.evaluate(
            "() => { window.sent = Promise.allSettled([...Array(30).keys()].map(n => fetch('/slow?' + n))) }"
        )
        with ExitStack() as opened:
            namespace_of(opened, "new", 1)
            created.set()
            return page.evaluate("async () => (await window.sent).map(each => each.status)")

    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            statuses = browser.visit(f"http://127.0.0.1:{server.server_port}/", look)
        finally:
            created.set()
            server.shutdown()
            thread.join()
    assert statuses == ["fulfilled"] * 30

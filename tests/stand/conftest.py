"""Homes that the user who runs Postgres for root can enter (pytest's tmp_path is closed to others), and web servers."""

import json
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lanes.stand.local import LOOPBACK
from lanes.stand.postgres import EmbeddedPostgres
from tests.conftest import in_memory
from tests.stand.shells import VARIABLES

Answers = dict[str, tuple[int, object]]


def _open_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="lanes-test-", dir=in_memory()))
    folder.chmod(0o755)
    return folder


@pytest.fixture
def home() -> Iterator[Path]:
    """Provide an empty home for a stand."""
    folder = _open_folder()
    yield folder
    EmbeddedPostgres(folder / "postgres").stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset every variable that Lanes reads."""
    for variable in (*VARIABLES, "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def serve() -> Iterator[Callable[[Answers], str]]:
    """Start a server that answers by path, with 404 where none is given, and return its address."""
    running: list[ThreadingHTTPServer] = []

    def start(answers: Answers) -> str:
        class ModelHandler(BaseHTTPRequestHandler):
            # Send an answer in one piece: the second of two pieces would wait 40 ms for an acknowledgment.
            wbufsize = -1

            def do_GET(self) -> None:
                status, body = answers.get(self.path.partition("?")[0], (404, {}))
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            do_POST = do_GET

            def log_message(self, format: str, *args: Any) -> None: ...

        server = ThreadingHTTPServer((LOOPBACK, 0), ModelHandler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        running.append(server)
        return f"http://{LOOPBACK}:{server.server_port}"

    yield start
    for server in running:
        server.shutdown()
        server.server_close()

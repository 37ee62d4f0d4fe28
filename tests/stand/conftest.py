"""Homes that the user who runs Postgres in place of root can enter; pytest's own tmp_path is closed to others."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lanes.stand.postgres import EmbeddedPostgres, Running


def _open_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="lanes-test-"))
    folder.chmod(0o755)
    return folder


@pytest.fixture
def home() -> Iterator[Path]:
    """An empty home of a stand."""
    folder = _open_folder()
    yield folder
    EmbeddedPostgres(folder / "postgres").stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Running]:
    """A server that tests may read from, but neither stop nor break."""
    folder = _open_folder()
    server = EmbeddedPostgres(folder / "postgres")
    yield server.start()
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    """Waits for a condition, at most ten seconds."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true within 10 s"
            time.sleep(0.02)

    return wait

"""Homes that the user who runs Postgres in place of root can enter; pytest's own tmp_path is closed to others."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lanes.stand.postgres import EmbeddedPostgres
from tests.conftest import in_memory
from tests.stand.shells import VARIABLES


def _open_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="lanes-test-", dir=in_memory()))
    folder.chmod(0o755)
    return folder


@pytest.fixture
def home() -> Iterator[Path]:
    """An empty home of a stand."""
    folder = _open_folder()
    yield folder
    EmbeddedPostgres(folder / "postgres").stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell of the test sets no variable that Lanes reads."""
    for variable in (*VARIABLES, "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING"):
        monkeypatch.delenv(variable, raising=False)

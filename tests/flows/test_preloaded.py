"""The process that waits for a run: which run gets it, and that it begins with the environment of its run."""

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.abc
import pytest
import pytest_asyncio
from prefect.utilities.processutils import run_process

from tasks import worker
from tasks.worker import PreloadedProcess

# A stand-in for the module `flows`: it writes whether it waited and which run it serves.
FLOWS = """
import json, os, sys
waits = sys.argv[1:] == ["--waits"]
if waits:
    line = sys.stdin.readline()
    if not line: sys.exit()
    begins = json.loads(line)
    os.environ.clear(); os.environ.update(begins["env"]); os.chdir(begins["cwd"])
open("said", "w").write(f"{waits} {os.environ['PREFECT__FLOW_RUN_ID']}")
sys.exit(3)
"""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    (tmp_path / "flows.py").write_text(FLOWS)
    monkeypatch.chdir(tmp_path)
    return [sys.executable, "-m", "flows"]


@pytest_asyncio.fixture
async def waiting() -> AsyncIterator[PreloadedProcess]:
    made = PreloadedProcess()
    yield made
    await made.close()


async def run(
    of: PreloadedProcess, command: list[str], folder: Path, number: int, **more: str
) -> str:
    """Run the command and return what it wrote."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(folder), **more}
    said = folder / f"run-{number}"
    said.mkdir()

    async def start(*, task_status: anyio.abc.TaskStatus[int]) -> None:
        process = await of.run(
            command,
            env=env | {"PREFECT__FLOW_RUN_ID": str(number)},
            cwd=said,
            stream_output=True,
            task_status=task_status,
            task_status_handler=lambda process: process.pid,
        )
        assert process.returncode == 3

    async with anyio.create_task_group() as group:
        await group.start(start)
    return (said / "said").read_text()


@pytest.mark.slow
async def test_a_run_that_starts_like_the_last_one_gets_the_waiting_process(
    waiting: PreloadedProcess, command: list[str], tmp_path: Path
) -> None:
    assert await run(waiting, command, tmp_path, 1) == "False 1"
    await waiting.prepare()
    assert await run(waiting, command, tmp_path, 2) == "True 2"
    assert await run(waiting, command, tmp_path, 3) == "False 3"


@pytest.mark.slow
async def test_a_run_with_another_setting_or_release_starts_its_own_process(
    waiting: PreloadedProcess, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(waiting, command, tmp_path, 1)
    await waiting.prepare()
    assert await run(waiting, command, tmp_path, 2, LANES_GRACE_S="5") == "False 2"
    await waiting.prepare()
    monkeypatch.setattr(worker, "release", lambda: "newer")
    assert await run(waiting, command, tmp_path, 3, LANES_GRACE_S="5") == "False 3"


@pytest.mark.slow
async def test_a_run_starts_its_own_process_if_the_waiting_one_was_killed(
    waiting: PreloadedProcess, command: list[str], tmp_path: Path
) -> None:
    await run(waiting, command, tmp_path, 1)
    await waiting.prepare()
    assert waiting._waits is not None
    process, _ = waiting._waits
    process.kill()
    await process.wait()
    assert await run(waiting, command, tmp_path, 2) == "False 2"


def test_prefect_starts_runs_with_the_function_that_lanes_replaces() -> None:
    from prefect.runner import _starter_engine

    assert _starter_engine.run_process is run_process  # pyright: ignore[reportPrivateImportUsage]

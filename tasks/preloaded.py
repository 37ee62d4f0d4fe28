"""A process that has loaded what a run of `answer` needs and waits for its run, for a worker that keeps no drain warm.

Loading takes two seconds of processor time, most of a cold start. The worker starts the process when its last run has ended,
with the environment of that run, and gives it to the next run that starts alike: same command, same environment but for
Prefect's variables of the one run, same release of Lanes. Any other run starts as Prefect starts it.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio
import anyio.abc
from prefect.utilities.processutils import consume_process_output, run_process

from lanes.stand.deploying import release

OF_ONE_RUN = "PREFECT__"  # begins the names of variables that differ between runs
OF_FLOWS = ["-m", "flows"]
WAITS = "--waits"  # for its run, which its standard input names

T = TypeVar("T")


@dataclass(frozen=True)
class Start:
    """What a process starts from."""

    command: Sequence[str]
    environment: Mapping[str, str]
    release: str


class PreloadedProcess:
    """At most one process that waits for a run; `run` takes the place of Prefect's `run_process`."""

    def __init__(self) -> None:
        self._last: Start | None = None  # of the newest run of Lanes
        self._waits: tuple[anyio.abc.Process, Start] | None = None

    async def run(
        self,
        command: list[str],
        *,
        env: Mapping[str, str],
        stream_output: bool,
        task_status: anyio.abc.TaskStatus[T],
        task_status_handler: Callable[[anyio.abc.Process], T],
        **how: Any,
    ) -> anyio.abc.Process:
        """Run the command to its end, in the process that waits if it fits."""
        if command[-2:] == OF_FLOWS:
            alike = {k: v for k, v in env.items() if not k.startswith(OF_ONE_RUN)}
            self._last = Start(command, alike, await asyncio.to_thread(release))
            if (process := self._take(self._last)) is not None:
                try:
                    told = json.dumps({"env": dict(env), "cwd": str(how["cwd"])})
                    assert process.stdin is not None
                    await process.stdin.send(f"{told}\n".encode())
                except (anyio.BrokenResourceError, OSError):
                    process.kill()  # it has not begun the run
                else:
                    task_status.started(task_status_handler(process))
                    return await _to_its_end(process, stream_output)
        return await run_process(
            command,
            env=env,
            stream_output=stream_output,
            task_status=task_status,
            task_status_handler=task_status_handler,
            **how,
        )

    def _take(self, wanted: Start) -> anyio.abc.Process | None:
        """Return the process that waits, unless it differs or has ended."""
        if self._waits is None:
            return None
        (process, start), self._waits = self._waits, None
        if start == wanted and process.returncode is None:
            return process
        with suppress(ProcessLookupError):
            process.kill()
        return None

    async def prepare(self) -> None:
        """Start a process for the next run, as the last one was started."""
        if self._last is None or self._waits is not None:
            return
        process = await anyio.open_process(
            [*self._last.command, WAITS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._last.environment,
        )
        self._waits = process, self._last

    async def close(self) -> None:
        """End the process that waits."""
        if self._waits is not None:
            (process, _), self._waits = self._waits, None
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _to_its_end(process: anyio.abc.Process, stream_output: bool) -> anyio.abc.Process:
    """Do what Prefect's `run_process` does once the process has started."""
    sinks = (sys.stdout, sys.stderr) if stream_output else (None, None)
    try:
        async with process:
            await consume_process_output(process, *sinks)
            await process.wait()
    finally:
        with suppress(OSError):
            process.terminate()
    return process

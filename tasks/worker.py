"""A process worker that lets its runs finish when it is stopped; Prefect's own worker kills their processes.

If no drain is kept warm, the worker keeps a process ready that has loaded the modules of `answer`. Loading takes two seconds
of processor time, most of a cold start. The worker starts this process after its last run has ended, with the environment of
that run. The next run gets the process if it starts alike: with the same command, the same environment except Prefect's
variables for a single run, and the same release of Lanes. Prefect starts any other run as usual.
"""

import asyncio
import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import anyio
import anyio.abc
import psutil
from prefect.client.schemas.objects import FlowRun
from prefect.runner import _starter_engine
from prefect.states import Scheduled
from prefect.utilities.processutils import consume_process_output, run_process
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult

from lanes.realtime.drains import POOL
from lanes.settings import Settings
from lanes.stand.deploying import release
from lanes.text import make_logs_visible

OF_ONE_RUN = "PREFECT__"  # prefix of the variables that differ between runs
OF_FLOWS = ["-m", "flows"]
WAITS = "--waits"  # for its run, which it reads from standard input

T = TypeVar("T")


@dataclass(frozen=True)
class Start:
    """The conditions under which a process starts; two runs with equal ones can share a preloaded process."""

    command: Sequence[str]
    environment: Mapping[str, str]
    release: str


class PreloadedProcess:
    """At most one preloaded process that waits for a run; `run` replaces Prefect's `run_process`."""

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
        """Run the command to its end, in the waiting process if both start alike."""
        if command[-2:] == OF_FLOWS:
            shared_env = {k: v for k, v in env.items() if not k.startswith(OF_ONE_RUN)}
            self._last = Start(command, shared_env, await asyncio.to_thread(release))
            if (process := self._take(self._last)) is not None:
                try:
                    message = json.dumps({"env": dict(env), "cwd": str(how["cwd"])})
                    assert process.stdin is not None
                    await process.stdin.send(f"{message}\n".encode())
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
        """Return the waiting process; kill it and return None if it starts differently or has ended."""
        if self._waits is None:
            return None
        (process, start), self._waits = self._waits, None
        if start == wanted and process.returncode is None:
            return process
        with suppress(ProcessLookupError):
            process.kill()
        return None

    async def prepare(self) -> None:
        """Start a process for the next run, in the same way as the last run."""
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
        """Kill the waiting process."""
        if self._waits is not None:
            (process, _), self._waits = self._waits, None
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _to_its_end(process: anyio.abc.Process, stream_output: bool) -> anyio.abc.Process:
    """Forward the output and wait for the end, as Prefect's `run_process` does once the process has started."""
    sinks = (sys.stdout, sys.stderr) if stream_output else (None, None)
    try:
        async with process:
            await consume_process_output(process, *sinks)
            await process.wait()
    finally:
        with suppress(OSError):
            process.terminate()
    return process


# A worker waits this much longer than LANES_GRACE_S, because a run also reports its end to Prefect.
MARGIN_S = 10.0
LOOK_S = 0.1

make_logs_visible()

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it replaces Prefect's worker for the pools' type

    class PatientWorker(ProcessWorker):
        """A process worker that forwards SIGTERM to its runs, waits until they have ended, and starts no new ones."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._under_way: set[UUID] = set()
            self._ends = False
            self._preloaded = PreloadedProcess()
            if self._work_pool_name == POOL and not Settings.read().keep_warm:
                # Prefect's starters look the function up in their module, so that it can be replaced there
                _starter_engine.run_process = self._preloaded.run  # pyright: ignore[reportPrivateImportUsage]

        async def run(
            self,
            flow_run: FlowRun,
            configuration: ProcessJobConfiguration,
            task_status: anyio.abc.TaskStatus[int] | None = None,
        ) -> ProcessWorkerResult:
            """Run the flow run in a process of its own; schedule it again if the worker is stopping."""
            if self._ends:
                await self.client.set_flow_run_state(flow_run.id, Scheduled(), force=True)
                (task_status or anyio.TASK_STATUS_IGNORED).started(0)
                return ProcessWorkerResult(status_code=0, identifier="")
            self._under_way.add(flow_run.id)
            try:
                return await super().run(flow_run, configuration, task_status)
            finally:
                self._under_way.discard(flow_run.id)
                if not self._under_way and not self._ends:
                    with suppress(OSError):  # Prefect then starts the next run as usual
                        await self._preloaded.prepare()

        async def teardown(self, *exc_info: Any) -> None:
            """Ask the runs to stop and wait for them; then Prefect's own teardown kills those that take too long."""
            self._ends = True
            await self._preloaded.close()
            if self._under_way:
                await self._end_runs(Settings.read().grace_s + MARGIN_S)
            await super().teardown(*exc_info)

        async def _end_runs(self, within_s: float) -> None:
            message = "asked to stop: waiting up to %g s until %d runs have finished their calls"
            self._logger.info(message, within_s, len(self._under_way))
            stopped_pids: set[int] = set()
            with anyio.move_on_after(within_s):
                while self._under_way:
                    # a run that was just taken may get its process only now
                    for child in psutil.Process().children():
                        if child.pid not in stopped_pids:
                            child.terminate()
                            stopped_pids.add(child.pid)
                    await anyio.sleep(LOOK_S)

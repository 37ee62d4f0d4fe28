"""Prefect's process worker, which ends after its runs: Prefect's own kills their processes when it is asked to end.

Where no drain is kept warm, it keeps a process ready for the next one.
"""

import warnings
from contextlib import suppress
from typing import Any
from uuid import UUID

import anyio
import anyio.abc
import psutil
from prefect.client.schemas.objects import FlowRun
from prefect.runner import _starter_engine
from prefect.states import Scheduled
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult

from lanes.realtime.drains import POOL
from lanes.settings import Settings
from lanes.text import make_logs_visible
from tasks.preloaded import PreloadedProcess

# How much longer than LANES_GRACE_S a worker waits: a run also reports its end to Prefect.
MARGIN_S = 10.0
LOOK_S = 0.1

make_logs_visible()

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it takes the place of Prefect's own, by the type of the pools

    class PatientWorker(ProcessWorker):
        """A process worker that passes SIGTERM on to its runs, waits until they have ended, and begins no others."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._under_way: set[UUID] = set()
            self._ends = False
            self._preloaded = PreloadedProcess()
            if self._work_pool_name == POOL and not Settings.read().keep_warm:
                # Prefect's own seam: its starters look the function up in their module
                _starter_engine.run_process = self._preloaded.run  # pyright: ignore[reportPrivateImportUsage]

        async def run(
            self,
            flow_run: FlowRun,
            configuration: ProcessJobConfiguration,
            task_status: anyio.abc.TaskStatus[int] | None = None,
        ) -> ProcessWorkerResult:
            """Run the flow run in a process of its own; one that was taken just before the end is scheduled again."""
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
                    with suppress(OSError):  # the next run starts as Prefect starts it
                        await self._preloaded.prepare()

        async def teardown(self, *exc_info: Any) -> None:
            """Ask the runs to stop, and wait for them; those that take too long are killed, as Prefect does it."""
            self._ends = True
            await self._preloaded.close()
            if self._under_way:
                await self._end_runs(Settings.read().grace_s + MARGIN_S)
            await super().teardown(*exc_info)

        async def _end_runs(self, within_s: float) -> None:
            said = "asked to stop: waiting up to %g s until %d runs have finished their calls"
            self._logger.info(said, within_s, len(self._under_way))
            asked: set[int] = set()
            with anyio.move_on_after(within_s):
                while self._under_way:
                    # a run that was begun just before gets its process now
                    for each in psutil.Process().children():
                        if each.pid not in asked:
                            each.terminate()
                            asked.add(each.pid)
                    await anyio.sleep(LOOK_S)

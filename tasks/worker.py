"""Prefect's process worker, which ends after its runs: Prefect's own kills their processes when it is asked to end."""

import warnings
from typing import Any
from uuid import UUID

import anyio
import psutil
from prefect.client.schemas.objects import FlowRun
from prefect.workers.process import ProcessWorker, ProcessWorkerResult

from lanes.settings import Settings

# How much longer than LANES_GRACE_S a worker waits: a run also reports its end to Prefect.
MARGIN_S = 10.0

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it takes the place of Prefect's own, by the type of the pools

    class PatientWorker(ProcessWorker):
        """A process worker that passes SIGTERM on to its runs, and waits until they have ended."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._under_way: set[UUID] = set()
            self._all_ended = anyio.Event()

        async def run(self, flow_run: FlowRun, *args: Any, **kwargs: Any) -> ProcessWorkerResult:
            """Run the flow run in a process of its own."""
            self._under_way.add(flow_run.id)
            try:
                return await super().run(flow_run, *args, **kwargs)
            finally:
                self._under_way.discard(flow_run.id)
                if not self._under_way:
                    self._all_ended.set()

        async def teardown(self, *exc_info: Any) -> None:
            """Ask the runs to stop, and wait for them; those that take too long are killed, as Prefect does it."""
            if self._under_way:
                await self._end_runs(Settings.read().grace_s + MARGIN_S)
            await super().teardown(*exc_info)

        async def _end_runs(self, within_s: float) -> None:
            said = "asked to stop: waiting up to %g s until %d runs have finished their calls"
            self._logger.info(said, within_s, len(self._under_way))
            for each in psutil.Process().children():
                each.terminate()
            self._all_ended = anyio.Event()
            with anyio.move_on_after(within_s):
                await self._all_ended.wait()

"""The end of a worker of a process pool."""

import asyncio
from uuid import UUID, uuid4

import pytest
from prefect import get_client
from prefect.workers.process import ProcessJobConfiguration

from tasks.worker import PatientWorker
from tests.prefect_standin import PrefectStandIn


@pytest.mark.slow
async def test_a_run_that_a_worker_accepted_just_before_its_end_is_scheduled_again(
    prefect: PrefectStandIn,
) -> None:
    prefect.has_run("collect", "PENDING")
    (taken,) = prefect.runs
    async with get_client() as client:
        run = await client.read_flow_run(UUID(taken.id))
        worker = PatientWorker(work_pool_name="batch")
        worker._client = client
        worker._under_way.add(other := uuid4())
        ending = asyncio.create_task(worker.teardown(None, None, None))
        await asyncio.sleep(0)
        ended = await worker.run(run, ProcessJobConfiguration(name="collect", command="false"))
        worker._under_way.discard(other)
        await ending
    assert ended.status_code == 0
    assert taken.state == "SCHEDULED"

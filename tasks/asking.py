"""Asks Prefect for runs of deployments: the one road of this room. Asking has a limit in time, and waits for no run."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort

from lanes.standing.roles import StandingRun
from lanes.standing.vacancy import SeenRun, ask_key, on_its_way

LIMIT_S = 5.0
NEWEST = 20  # runs of a deployment that are looked at
OPEN = ("SCHEDULED", "PENDING", "RUNNING")


async def ask_for_run(flow: str, parameters: Mapping[str, Any], *, key: str | None = None, limit_s: float = LIMIT_S) -> UUID:
    """A run of the flow's deployment was asked for, under one `key` only once; its id.

    Raises:
        TimeoutError, httpx.HTTPError, PrefectException: Prefect did not say within `limit_s` seconds that it will run.
    """
    async with asyncio.timeout(limit_s), get_client() as client:
        return await _create(client, await _deployment(client, flow), parameters, key)


async def ask_for_standing(run: StandingRun, now: datetime, *, limit_s: float = LIMIT_S) -> bool:
    """A new standing run was asked for, unless one is on its way; whether it was. Raises as `ask_for_run` does."""
    async with asyncio.timeout(limit_s), get_client() as client:
        deployment = await _deployment(client, run.flow)
        if on_its_way(await _seen(client, deployment, now), now):
            return False
        await _create(client, deployment, run.parameters, ask_key(run, now))
        return True


async def _deployment(client: PrefectClient, flow: str) -> UUID:
    return (await client.read_deployment_by_name(f"{flow}/{flow}")).id


async def _create(client: PrefectClient, deployment: UUID, parameters: Mapping[str, Any], key: str | None) -> UUID:
    run = await client.create_flow_run_from_deployment(deployment, parameters=dict(parameters), idempotency_key=key)
    return run.id


async def _seen(client: PrefectClient, deployment: UUID, now: datetime) -> list[SeenRun]:
    wanted = FlowRunFilter.model_validate(
        {
            "deployment_id": {"any_": [deployment]},
            "state": {"type": {"any_": OPEN}},
            "expected_start_time": {"before_": now + timedelta(seconds=1)},
        }
    )
    runs = await client.read_flow_runs(flow_run_filter=wanted, sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=NEWEST)
    return [_seen_run(each) for each in runs if each.state is not None and each.expected_start_time is not None]


def _seen_run(run: FlowRun) -> SeenRun:
    assert run.state is not None
    assert run.expected_start_time is not None
    state = run.state.type.value
    return SeenRun(state, run.expected_start_time if state == "SCHEDULED" else run.state.timestamp)

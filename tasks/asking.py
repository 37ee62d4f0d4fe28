"""Asks Prefect for runs of deployments: the one road of this room. Asking has a limit in time, and waits for no run."""

import asyncio
from datetime import datetime
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort

from lanes.standing.roles import (
    NEWEST,
    OPEN,
    SOON,
    DeploymentRun,
    StandingRun,
    may_take_role,
    replacement,
)
from lanes.standing.runs import Deployment, WantedRun

LIMIT_S = 5.0


async def ask_for_run(wanted: WantedRun, *, limit_s: float = LIMIT_S) -> UUID:
    """Ask for the run, only once under one key; return its id.

    Raises:
        TimeoutError, httpx.HTTPError, PrefectException: Prefect did not say within `limit_s` seconds that it will run.
    """
    async with asyncio.timeout(limit_s), get_client() as client:
        return await _create(client, await _deployment(client, wanted.deployment), wanted)


async def ask_for_standing(run: StandingRun, now: datetime, *, limit_s: float = LIMIT_S) -> bool:
    """Ask for a new standing run as `ask_unless_coming` does."""
    return await ask_unless_coming(replacement(run, now), now, limit_s=limit_s)


async def ask_unless_coming(wanted: WantedRun, now: datetime, *, limit_s: float = LIMIT_S) -> bool:
    """Ask for the run unless one of its deployment waits for a worker or begins; return whether it asked.

    Raises the same errors as `ask_for_run`.
    """
    async with asyncio.timeout(limit_s), get_client() as client:
        deployment = await _deployment(client, wanted.deployment)
        if may_take_role(await _seen(client, deployment, now), now):
            return False
        await _create(client, deployment, wanted)
        return True


async def _deployment(client: PrefectClient, of: Deployment) -> UUID:
    return (await client.read_deployment_by_name(of.address)).id


async def _create(client: PrefectClient, deployment: UUID, wanted: WantedRun) -> UUID:
    path = {"id": deployment}
    made = await client.request(
        "POST", "/deployments/{id}/create_flow_run", path_params=path, json=wanted.request()
    )
    return UUID(made.json()["id"])


async def _seen(client: PrefectClient, deployment: UUID, now: datetime) -> list[DeploymentRun]:
    wanted = FlowRunFilter.model_validate(
        {
            "deployment_id": {"any_": [deployment]},
            "state": {"type": {"any_": OPEN}},
            "expected_start_time": {"before_": now + SOON},
        }
    )
    runs = await client.read_flow_runs(
        flow_run_filter=wanted, sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=NEWEST
    )
    return [_seen_run(each) for each in runs if each.state and each.expected_start_time]


def _seen_run(run: FlowRun) -> DeploymentRun:
    assert run.state is not None
    assert run.expected_start_time is not None
    state = run.state.type.value
    since = run.expected_start_time if state == "SCHEDULED" else run.state.timestamp
    return DeploymentRun(state, since)

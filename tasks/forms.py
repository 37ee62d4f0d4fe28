"""The workloads that the forms of deployments offer, as they are published."""

import asyncio
from collections.abc import Collection
from contextlib import suppress

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from lanes.standing.runs import Deployment
from lanes.workload.form import offering

OTHERS = (
    Deployment.REPLAY, Deployment.MIGRATE, Deployment.ACT, Deployment.SET_SPLIT, Deployment.SET_BUDGET,
    Deployment.SET_OVERHEAD, Deployment.DECIDE_BATCH, Deployment.ADVISE,
)  # fmt: skip


async def write_choices(client: PrefectClient, submit: DeploymentResponse, workloads: Collection[str]) -> None:
    """Every form that asks for a workload offers these.

    That of `submit` is written last, so that nothing is asked or written where it offers them already.
    """
    if _wanted(submit, workloads) is None:
        return
    await asyncio.gather(*(_renew(client, each, workloads) for each in OTHERS))
    await _write(client, submit, workloads)


async def _renew(client: PrefectClient, of: Deployment, workloads: Collection[str]) -> None:
    with suppress(ObjectNotFound):  # not everybody deploys all of them
        await _write(client, await client.read_deployment_by_name(of.address), workloads)


async def _write(client: PrefectClient, deployment: DeploymentResponse, workloads: Collection[str]) -> None:
    if (wanted := _wanted(deployment, workloads)) is not None:
        await client.update_deployment(deployment.id, DeploymentUpdate(parameter_openapi_schema=wanted))


def _wanted(deployment: DeploymentResponse, workloads: Collection[str]) -> dict[str, object] | None:
    """The schema of its parameters that offers them, None where its own does."""
    present = deployment.parameter_openapi_schema or {}
    wanted = offering(present, workloads)
    return None if wanted == present else wanted

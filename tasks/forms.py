"""The workloads that the forms of deployments offer, as they are published."""

import asyncio
from collections.abc import Collection, Iterable

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.responses import DeploymentResponse

from lanes.standing.runs import Deployment
from lanes.workload.form import offering
from tasks.troubles import described

_WITHOUT_A_WORKLOAD = {
    Deployment.ANSWER,
    Deployment.COLLECT,
    Deployment.WATCH,
    Deployment.RECONCILE,
    Deployment.REPORT,
    Deployment.TIDY,
}
ASKING = tuple(each for each in Deployment if each not in _WITHOUT_A_WORKLOAD)  # for a workload


async def write_choices(
    client: PrefectClient, forms: Iterable[DeploymentResponse], workloads: Collection[str]
) -> bool:
    """Make each of these forms offer these workloads; return whether any had to be written.

    Raises:
        FormsRefused: Prefect did not take some of them; the others are written.
    """
    wanted = [(each, _wanted(each, workloads)) for each in forms]
    outdated = [(each, schema) for each, schema in wanted if schema is not None]
    tried = [
        client.update_deployment(each.id, DeploymentUpdate(parameter_openapi_schema=to))
        for each, to in outdated
    ]
    ended = await asyncio.gather(*tried, return_exceptions=True)
    refused = {
        each.name: why
        for (each, _), why in zip(outdated, ended, strict=True)
        if isinstance(why, Exception)
    }
    if refused:
        raise FormsRefused(refused)
    return bool(outdated)


class FormsRefused(Exception):
    """Why Prefect did not take the form of a deployment, by its name."""

    def __init__(self, why: dict[str, Exception]) -> None:
        super().__init__(
            "; ".join(f"form `{name}`: {described(each)}" for name, each in why.items())
        )


def _wanted(deployment: DeploymentResponse, workloads: Collection[str]) -> dict[str, object] | None:
    """Return the schema of its parameters that offers them, None where its own does."""
    present = deployment.parameter_openapi_schema or {}
    wanted = offering(present, workloads)
    return None if wanted == present else wanted

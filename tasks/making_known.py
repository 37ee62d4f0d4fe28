"""What Prefect learns of the versions in force: when `submit` runs, and which workloads its forms offer."""

import asyncio
from collections.abc import Collection, Mapping

from prefect.client.orchestration import PrefectClient, get_client

from lanes.standing.runs import Deployment
from lanes.workload.version import Version
from tasks.forms import write_choices
from tasks.schedules import write_schedules
from tasks.troubles import described

KNOWN_WITHIN_S = 5.0


async def unknown(versions: Mapping[str, Version], *, keep: Collection[str]) -> str | None:
    """None once Prefect knows of these versions, as by `make_known`; else a sentence that says why not.

    Whoever publishes waits for it a few seconds at most.
    """
    try:
        async with asyncio.timeout(KNOWN_WITHIN_S), get_client() as client:
            await make_known(client, versions, keep=keep)
    except Exception as error:  # whatever Prefect does, the versions are in force
        return (
            "the off-peak schedules of `submit` and the choices of forms could not be written; the next publishing tries again "
            f"({described(error)})"
        )
    return None


async def make_known(client: PrefectClient, versions: Mapping[str, Version], *, keep: Collection[str] = ()) -> None:
    """`submit` runs in each workload's off-peak window, and forms offer each workload by name.

    Of workloads to `keep`, schedules stay as they are. One question is asked, and nothing written, where all is known already.
    """
    submit = await client.read_deployment_by_name(Deployment.SUBMIT.address)
    await write_schedules(client, submit, versions, keep=keep)
    await write_choices(client, submit, {*versions, *keep})

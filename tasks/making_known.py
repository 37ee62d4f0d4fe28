"""What Prefect learns of the versions in force: when `depart` runs, and which workloads its forms offer."""

import asyncio
import time
from dataclasses import dataclass

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowFilter,
    FlowFilterName,
)
from prefect.client.schemas.responses import DeploymentResponse

from lanes.standing.runs import Deployment
from lanes.store.database import Database
from lanes.store.workload import workloads
from lanes.store.workload.workloads import InForce
from tasks.forms import ASKING, write_choices
from tasks.schedules import slug_of, write_schedules
from tasks.troubles import described

KNOWN_WITHIN_S = 5.0
ASKED_AGAIN_S = (
    15.0  # a deploy removes schedules and choices, so those who publish often look again
)
MOST_TRIES = 3


@dataclass
class Told:
    """What Prefect knew when it was asked last, for one who publishes often and asks no more while that is fresh."""

    known: frozenset[str] | None = None
    at: float = 0.0  # of this host's monotonic clock

    def still(self, stored: InForce) -> bool:
        return self.known == _told_of(stored) and time.monotonic() - self.at < ASKED_AGAIN_S

    def now(self, stored: InForce) -> None:
        self.known, self.at = _told_of(stored), time.monotonic()


async def unknown(db: Database, stored: InForce, told: Told | None = None) -> str | None:
    """None once Prefect knows of these versions, as by `make_known`, or was `told` of them lately; else a sentence that says
    why not.

    Publishing waits a few seconds for it at most.
    """
    if told is not None and told.still(stored):
        return None
    try:
        async with asyncio.timeout(KNOWN_WITHIN_S), get_client() as client:
            stored = await make_known(client, db, stored)
    except Exception as error:  # whatever Prefect does, the versions are in force
        return (
            "the off-peak schedules of `depart` and the choices of forms could not be written; the next publishing tries again "
            f"({described(error)})"
        )
    if told is not None:
        told.now(stored)
    return None


async def make_known(client: PrefectClient, db: Database, stored: InForce) -> InForce:
    """`depart` runs in each workload's off-peak window, and forms offer each workload by name; of which versions.

    Of workloads whose version cannot be read, schedules and choices stay as they are. One question is asked, and nothing
    written, where all is known already. Two may publish at once, and one of them know less: whoever wrote, or met the other at
    it, reads what is in force again, so that what is written last leaves nobody's version out.
    """
    for left in reversed(range(MOST_TRIES)):
        try:
            wrote = await _write(client, stored)
        except Exception:
            if not left:
                raise
            wrote = True
        if not wrote:
            break
        stored = await db.run(workloads.read_in_force)
    return stored


async def _write(client: PrefectClient, stored: InForce) -> bool:
    """Return whether anything had to be written."""
    keep = {each.workload for each in stored.unreadable}
    forms = {each.name: each for each in await _asking(client)}
    if (submit := forms.get(Deployment.DEPART)) is None:
        raise LookupError(
            f"there is no deployment {Deployment.DEPART.address}; `lanes up` makes it"
        )
    scheduled = await write_schedules(client, submit, stored.versions, keep=keep)
    offered = await write_choices(client, forms.values(), {*stored.versions, *keep})
    return scheduled or offered


async def _asking(client: PrefectClient) -> list[DeploymentResponse]:
    """Return the deployments whose forms ask for a workload; a checkout may deploy only some."""
    names = [each.value for each in ASKING]
    return await client.read_deployments(
        flow_filter=FlowFilter(name=FlowFilterName(any_=names)),
        deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=names)),
    )


def _told_of(stored: InForce) -> frozenset[str]:
    return frozenset(
        {
            *map(slug_of, stored.versions.values()),
            *stored.versions,
            *(each.workload for each in stored.unreadable),
        }
    )

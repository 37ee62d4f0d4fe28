"""What waits for the batch lane, and the right to submit it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lanes.batch.batch import BatchKind
from lanes.errors import LanesError
from lanes.store.batch import ready_work
from lanes.store.signals import Role, RoleLock
from tasks.connections import Connections
from tasks.reconcile import reconcile_unresolved

WAIT_S = 600.0


@asynccontextmanager
async def sole_submitter(at: Connections) -> AsyncIterator[None]:
    """Hold the right to create batches, after reconciling the batches that an earlier submitter left unresolved.

    Raises:
        LanesError: another submitter took longer than ten minutes.
    """
    async with RoleLock(at.db.url, Role.SUBMITTER) as role:
        if not await role.take_over(within_s=WAIT_S):
            raise LanesError(
                "another run has been submitting for ten minutes; see its log, then run depart again"
            )
        await reconcile_unresolved(at)
        yield


async def waiting_kinds(at: Connections, workload: str | None) -> list[BatchKind]:
    """The workloads and versions with work to submit."""
    return await at.db.run(ready_work.waiting_kinds, workload, now=await at.db.now())

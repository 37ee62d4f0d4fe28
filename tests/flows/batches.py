"""One-step helpers for the batch lane: submit waiting work, end it at the provider and collect it, as both flows do."""

from anthropic_standin.testing import Endpoint
from lanes.batch.batch import BatchKind, OpenBatch
from lanes.store.batch import batches, ready_work
from tasks import collect
from tasks.connections import Connections
from tasks.send_batch import send_batch


async def kind(at: Connections, workload: str | None = None) -> BatchKind:
    """Return the only kind of work that waits to depart."""
    (only,) = await at.db.run(ready_work.list_waiting_kinds, workload, now=await at.db.now())
    return only


async def submit(at: Connections, workload: str | None = None) -> int:
    """Submit the waiting work as one batch and return its number of items."""
    return await send_batch(at, await kind(at, workload))


async def end(at: Connections, endpoint: Endpoint) -> OpenBatch:
    """Return the newest open batch once it has ended at the provider and has been polled."""
    batch = (await at.db.run(batches.open_batches))[-1]
    assert batch.provider_batch_id is not None
    endpoint.ended(batch.provider_batch_id)
    assert await collect.poll(at, batch)
    return batch


async def submit_and_end(
    at: Connections, endpoint: Endpoint, workload: str | None = None
) -> OpenBatch:
    """Submit the waiting work and return the batch once it has ended."""
    await submit(at, workload)
    return await end(at, endpoint)


async def collect_all(at: Connections, endpoint: Endpoint) -> None:
    """Collect every open batch that the provider has, once it has ended."""
    for batch in await at.db.run(batches.open_batches):
        if batch.provider_batch_id is not None:
            endpoint.ended(batch.provider_batch_id)
            assert await collect.poll(at, batch)
            await collect.bring_home(at, batch)

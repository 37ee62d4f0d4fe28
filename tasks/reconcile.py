"""Finds out what became of a create that brought no answer. Only the holder of the submitter's role may ask."""

from datetime import timedelta

from prefect.logging import get_run_logger

from lanes.provider import batches as provider
from lanes.reconcile import Finding, Listed, find, since
from lanes.store import batches
from lanes.store.batches import OpenBatch
from tasks.connections import Connections


async def reconcile_unresolved(at: Connections) -> Finding | None:
    """The account's unresolved batch was adopted, released or held, or waits on; None when there is none."""
    unresolved = await at.db.run(batches.unresolved, at.provider.account)
    return None if unresolved is None else await _reconcile(at, unresolved)


async def _reconcile(at: Connections, batch: OpenBatch) -> Finding:
    listed = [
        Listed(each.id, each.requests, each.created_at)
        for each in await provider.created_since(at.client, since(batch.intended_at))
    ]
    owned = await at.db.run(batches.owned_ids, [each.id for each in listed])
    now = await at.db.now()
    grace = timedelta(seconds=at.provider.listing_grace_s)
    found = find(batch.requests, batch.intended_at, listed, owned, grace=grace, now=now)
    match found.finding:
        case Finding.ADOPT:
            assert found.batch_id is not None
            minutes = await at.db.run(batches.expected_minutes, batch.version_id)
            expected = now + timedelta(minutes=minutes)
            await at.db.run(batches.submitted, batch.id, found.batch_id, expected_end_at=expected, now=now)
        case Finding.RELEASE:
            note = f"never created: not listed within {at.provider.listing_grace_s} s; its items are ready again"
            await at.db.run(batches.release, batch.id, note=note, now=now)
        case Finding.HOLD:
            note = "several batches at the provider fit it; say which with `act`: adopt_batch, or resubmit_batch to give it up"
            await at.db.run(batches.hold, batch.id, note=note)
        case Finding.WAIT:
            pass
    get_run_logger().info("batch %d without an answer: %s", batch.id, found.finding)
    return found.finding


async def unconfirmed(at: Connections) -> list[str]:
    """A sentence for each batch that the provider has not confirmed."""
    return [
        f"batch {each.id} of {each.workload}, {each.items} items, is {each.state} since {each.intended_at:%Y-%m-%d %H:%M} UTC"
        for each in await at.db.run(batches.open_batches)
        if each.state in batches.UNCONFIRMED
    ]

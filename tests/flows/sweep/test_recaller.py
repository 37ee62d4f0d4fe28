"""The recaller: a batch is cancelled at the provider once nobody waits for any of its items."""

from datetime import timedelta

from anthropic_standin.testing import Endpoint
from lanes.store.batch import batches, ready_work
from lanes.words import Lane
from tasks import collect
from tasks.connections import Connections
from tasks.send_batch import send_batch
from tasks.sweep.recaller import Recaller
from tests.flows.conftest import Sender


async def test_a_batch_whose_items_were_all_withdrawn_is_cancelled_and_costs_only_what_had_run(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    endpoint.fault("batch_request", "stall", match="b.")
    await sender.items("a", lane=Lane.BATCH, payload={"text": "a."})
    await sender.items("b", lane=Lane.BATCH, payload={"text": "b."})
    (kind,) = await at.db.run(ready_work.waiting_kinds, None, now=await at.db.now())
    await send_batch.fn(at, kind)
    await sender.rows("select lanes.cancel('letters', key) from lanes.item")
    await Recaller(at.db).turn(await at.db.now())
    (batch,) = await at.db.run(batches.open_batches)
    assert batch.cancel_at is not None
    assert batch.provider_batch_id is not None
    assert not await collect.poll(at, batch)
    endpoint.ended(batch.provider_batch_id)
    assert await collect.poll(at, batch)
    assert await collect.bring_home(at, batch) == 2
    tries = await sender.rows("select key, outcome from lanes.attempt_log")
    assert ("b", "canceled") in tries
    assert await sender.rows("select count(*) from lanes.spend") == [(tries.count(("a", "valid")),)]


def test_it_looks_once_a_minute() -> None:
    assert Recaller.duty.every == timedelta(minutes=1)

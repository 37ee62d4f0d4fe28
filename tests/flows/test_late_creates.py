"""A create that is answered after its work was released, wherever a process dies."""

from contextlib import suppress
from typing import Any

import pytest

from anthropic_standin.testing import Endpoint
from lanes.batch.reconcile import BatchFinding
from lanes.provider import batches as provider
from lanes.store.batch import batches, collection
from lanes.words import BatchState, Lane
from tasks import collect
from tasks.connections import Connections
from tasks.reconcile import reconcile_unresolved
from tests.flows.batches import collect_all, submit
from tests.flows.conftest import Sender
from tests.flows.test_batch_lane import KEYS


class Killed(BaseException):
    """The process dies here, without a word."""


async def late_create(at: Connections, sender: Sender, monkeypatch: pytest.MonkeyPatch) -> str:
    """A submitter whose create is answered after its work was released; the provider's id of the batch."""
    real, ids = provider.create, list[str]()

    async def slow(*args: Any, **kwargs: Any) -> provider.ProviderBatch:
        sender.time.passes(seconds=16)
        assert await reconcile_unresolved(at) is BatchFinding.RELEASE
        created = await real(*args, **kwargs)
        ids.append(created.id)
        return created

    monkeypatch.setattr(provider, "create", slow)
    with suppress(Killed):
        await submit(at)
    monkeypatch.setattr(provider, "create", real)
    return ids[0]


# Where the process dies, how often: first the submitter, then collect.
KILLS = {
    "never": (provider, "cancel", 0),
    "before the submitter cancels it": (provider, "cancel", 1),
    "before collect cancels it": (provider, "cancel", 2),
    "before its bill is booked": (collect, "save", 2),
    "before it is closed": (collection, "collected", 1),
}


@pytest.mark.parametrize("killed", KILLS)
async def test_a_create_answered_after_the_release_is_cancelled_and_booked_once_and_its_work_stays_where_it_went(
    at: Connections,
    endpoint: Endpoint,
    sender: Sender,
    monkeypatch: pytest.MonkeyPatch,
    killed: str,
) -> None:
    module, name, times = KILLS[killed]
    real, kills = getattr(module, name), iter(range(times))

    def dies(*args: Any, **kwargs: Any) -> Any:
        if next(kills, None) is not None:
            raise Killed
        return real(*args, **kwargs)

    monkeypatch.setattr(module, name, dies)
    await sender.items(*KEYS, lane=Lane.BATCH)
    endpoint.fault("batch_request", "stall", match="letter k00")
    id_ = await late_create(at, sender, monkeypatch)
    (late,) = await at.db.run(batches.open_batches)
    assert (late.state, late.provider_batch_id) == (BatchState.SUPERSEDED, id_)
    assert await sender.rows("select distinct state, claim_no from lanes.work") == [("ready", 1)]
    for _ in range(2):
        with suppress(Killed):
            await collect.poll(at, late)
    assert endpoint.client().messages.batches.retrieve(id_).processing_status != "in_progress"
    endpoint.reset()
    assert await submit(at) == len(KEYS)
    for _ in range(3):
        with suppress(Killed):
            await collect_all(at, endpoint)
    assert set((await sender.states()).values()) == {"settled"}
    assert await sender.rows("select state from lanes.batch order by id") == [
        ("released",),
        ("collected",),
    ]
    ((booked,),) = await sender.rows("select count(*) from lanes.spend")
    assert booked == endpoint.bill()["responses"]
    shown = "select distinct b.state from lanes.attempt a join lanes.batch b on b.id = a.batch_id where a.shown"
    assert await sender.rows(shown) == [("collected",)]

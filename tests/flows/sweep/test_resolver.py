"""The resolver: an intent whose submitter is gone, and a provider that tells its batches, or does not."""

import pytest

from anthropic_standin.testing import Endpoint
from lanes.store.batch import ready_work
from lanes.store.signals import Role, RoleLock, holder_exists
from lanes.words import Lane
from tasks.connections import Connections
from tasks.send_batch import prepare
from tasks.sweep.errands import Errands
from tasks.sweep.resolver import Resolver
from tests.conftest import NOON
from tests.flows.conftest import Sender, until

SEARCHED = (
    "select searched_at is not null from lanes.batch left join lanes.batch_doubt on batch_id = id"
)


@pytest.fixture
async def intended(at: Connections, sender: Sender) -> None:
    """A batch whose create brought no answer is unresolved."""
    await sender.items("in batch", lane=Lane.BATCH)
    (kind,) = await at.db.run(ready_work.waiting_kinds, None, now=await at.db.now())
    assert await prepare(at, kind, now=await at.db.now())


def asked(endpoint: Endpoint) -> int:
    """How often the provider's list was asked for since it is at fault."""
    return endpoint.control("GET", "faults")["data"][0]["hits"]


@pytest.mark.usefixtures("intended")
async def test_an_intent_whose_submitter_is_gone_is_looked_for(
    at: Connections, errands: Errands, sender: Sender
) -> None:
    await Resolver(at, errands).turn(NOON)
    await errands.done()
    assert await sender.rows(SEARCHED) == [(True,)]


@pytest.mark.usefixtures("intended")
async def test_while_a_submitter_is_at_work_it_is_left_to_it(
    at: Connections, errands: Errands, sender: Sender
) -> None:
    async with RoleLock(at.db.url, Role.SUBMITTER) as submitter:
        assert await submitter.try_take()
        await Resolver(at, errands).turn(NOON)
        await errands.done()
    assert await sender.rows(SEARCHED) == [(False,)]


@pytest.mark.usefixtures("intended")
async def test_a_list_that_hangs_is_asked_for_once_at_a_time_and_its_end_hands_the_role_back(
    at: Connections, endpoint: Endpoint, errands: Errands
) -> None:
    endpoint.fault("batches.list", "latency", latency_s=30)
    resolver = Resolver(at, errands)
    await resolver.turn(NOON)
    await until(lambda: asked(endpoint))
    await resolver.turn(NOON)
    await resolver.turn(NOON)
    assert asked(endpoint) == 1
    assert await at.db.run(holder_exists, Role.SUBMITTER)
    await errands.close()
    async with RoleLock(at.db.url, Role.SUBMITTER) as submitter:
        assert await submitter.take_over(within_s=3)

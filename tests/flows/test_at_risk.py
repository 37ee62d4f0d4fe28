"""Due items that a person bound to batch are never rescued: a look opens an incident while people can still act,
and resolves it once the items are overdue."""

from datetime import timedelta

from lanes.promises.deadlines import CALM_FOR
from lanes.promises.incident import Incident, IncidentState, Promise
from lanes.store import incidents
from lanes.store.batch import ready_work
from lanes.words import Lane
from tasks.connections import Connections
from tasks.send_batch import send_batch
from tests.flows.conftest import Sender
from tests.flows.test_second_look import KEYS, look


async def told(at: Connections, state: IncidentState) -> list[Incident]:
    return await at.db.run(incidents.list_newest, states=[state])


async def test_items_bound_to_a_late_batch_open_an_at_risk_incident_until_they_are_overdue(
    at: Connections, sender: Sender
) -> None:
    due_at = await at.db.now() + timedelta(hours=8)
    await sender.items(*KEYS, lane=Lane.BATCH, due_at=due_at)
    (kind,) = await at.db.run(ready_work.list_waiting_kinds, None, now=await at.db.now())
    await send_batch(at, kind)
    assert (await look(at), await told(at, IncidentState.OPEN)) == (0, [])
    sender.time.passes(minutes=30)
    assert (await look(at), await told(at, IncidentState.OPEN)) == (0, [])
    sender.time.passes(hours=5, minutes=30)
    assert await look(at) == 0
    (of,) = await told(at, IncidentState.OPEN)
    assert (of.promise, of.value, of.why) == (
        Promise.DEADLINE_AT_RISK,
        len(KEYS),
        f"{len(KEYS)} items are bound to batch",
    )
    sender.time.passes(hours=2, minutes=1 + CALM_FOR.total_seconds() / 60)
    assert await look(at) == 0
    assert await told(at, IncidentState.OPEN) == []
    (over,) = await told(at, IncidentState.RESOLVED)
    assert over.id == of.id

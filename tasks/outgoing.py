"""Publishes events out: many in one request, and none is dropped before Prefect took it."""

import httpx
from prefect import get_client
from prefect.events import Event, Resource
from prefect.exceptions import PrefectException
from prefect.logging import get_run_logger

from lanes.store import outbox
from lanes.store.database import Database

MOST = 200  # events in one request


async def publish_events(db: Database) -> int:
    """Every event that waited is with Prefect; their number. An outage of Prefect keeps them for the next time."""
    try:
        return await _publish(db)
    except (httpx.HTTPError, PrefectException) as outage:
        get_run_logger().warning("events wait in the outbox: Prefect does not take them (%s)", outage)
        return 0


async def _publish(db: Database) -> int:
    total = 0
    while True:
        async with db.transaction() as run:
            waiting = await run(outbox.take, MOST)
            if not waiting:
                return total
            await _post([_event(each) for each in waiting])
            await run(outbox.drop, waiting)
        total += len(waiting)
        if len(waiting) < MOST:
            return total


def _event(each: outbox.Outgoing) -> Event:
    resource = Resource.model_validate(
        {"prefect.resource.id": each.resource, "prefect.resource.name": each.resource.removeprefix("lanes.workload.")}
    )
    return Event.model_validate(
        {"id": each.id, "event": each.event, "occurred": each.occurred_at, "resource": resource, "payload": each.payload}
    )


async def _post(events: list[Event]) -> None:
    async with get_client() as client:
        answer = await client.request("POST", "/events", json=[event.model_dump(mode="json") for event in events])
        answer.raise_for_status()

"""A history for a whole stand, written by the product's own functions at a time in the past."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from prefect.logging import disable_run_logger
from pydantic import SecretStr
from sqlalchemy import Connection, func, select

from blocks.provider import Provider
from lanes.batch.batch import BatchKind
from lanes.ids import BatchId
from lanes.routing.route import decide
from lanes.standing.roles import Lock
from lanes.store.batch import batches
from lanes.store.database import Database, clock
from lanes.store.doors import unrouted
from lanes.store.routing import routes
from lanes.store.workload import workloads
from lanes.words import Lane
from lanes.workload.definition import parse
from tasks.connections import Connections, opening
from tasks.send_batch import send_batch
from tests.examples import admit
from tests.running_stand import RunningStand


def published_before(
    stand: RunningStand, workload: str, definition: dict[str, Any], *, days: float
) -> None:
    """Publish a workload in the past; saving the same definition as a block later changes nothing."""
    spec = parse(workload, definition)
    asyncio.run(_as_of(stand, timedelta(days=days), workloads.publish, workload, spec))


def batch_that_left(stand: RunningStand, workload: str, key: str, *, hours: float) -> BatchId:
    """Submit a batch of one item to the provider in the past, and return its id."""
    with disable_run_logger():
        return asyncio.run(_left(stand, workload, key, timedelta(hours=hours)))


async def _left(stand: RunningStand, workload: str, key: str, ago: timedelta) -> BatchId:
    def then(connection: Connection) -> datetime:
        return clock(connection) - ago

    provider = Provider(api_key=SecretStr("x"), base_url=stand.environment["ANTHROPIC_BASE_URL"])
    async with (
        Database(stand.environment["LANES_DATABASE_URL"], clock=then) as db,
        opening(provider) as client,
    ):
        async with db.transaction() as run:
            kind = await run(_waits, workload, key, now=run.now)
        assert await send_batch(Connections(db, client, provider), kind) == 1
        return (await db.run(batches.open_batches))[-1].id


def _waits(connection: Connection, workload: str, key: str, *, now: datetime) -> BatchKind:
    """Admit and route an item to the batch lane, under the lock that keeps the stand's own router out."""
    connection.execute(select(func.pg_advisory_xact_lock(Lock.ROUTING.value)))
    admit(
        connection,
        key,
        now=now,
        workload=workload,
        lane=Lane.BATCH,
        payload={"title": "t", "text": key},
    )
    version = workloads.read_versions(connection)[workload]
    ours = [
        each
        for each in unrouted.lock_received(connection, 10_000, of={workload})
        if each.arrived.key == key
    ]
    decided = [
        (each, version, decide(each.arrived, version, workloads.splits(connection), now=now))
        for each in ours
    ]
    routes.save(connection, decided, now=now)
    return BatchKind(workload, version.id)


def waits_since(stand: RunningStand, workload: str, key: str, *, hours: float) -> None:
    """Let an item wait for the batch lane that was admitted and routed in the past."""
    asyncio.run(_as_of(stand, timedelta(hours=hours), _waits, workload, key))


async def _as_of(
    stand: RunningStand, ago: timedelta, does: Callable[..., Any], *given: Any
) -> None:
    def then(connection: Connection) -> datetime:
        return clock(connection) - ago

    async with (
        Database(stand.environment["LANES_DATABASE_URL"], clock=then) as db,
        db.transaction() as run,
    ):
        await run(does, *given, now=run.now)

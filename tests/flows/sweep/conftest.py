"""Fixtures for sweeps: a database with a chosen clock, and background requests of duties."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Connection

from lanes.store.database import Database
from lanes.words import Lane
from tasks.sweep import BackgroundRequests
from tests.conftest import NOON
from tests.examples import admit, publish, route

Put = Callable[..., Any]


@pytest_asyncio.fixture
async def background(db: Database) -> AsyncIterator[BackgroundRequests]:
    """Yield background requests and close them afterwards."""
    opened = BackgroundRequests()
    yield opened
    await opened.close()


@pytest.fixture
def put(db: Database) -> Put:
    """Return a function that adds items of `letters`, which have waited on a lane since noon."""

    async def items(*keys: str, lane: Lane, **fields: Any) -> None:
        def admitted(connection: Connection) -> None:
            publish(connection, now=NOON)
            admit(connection, *keys, now=NOON, lane=lane, **fields)
            route(connection, now=NOON)

        await db.run(admitted)

    return items

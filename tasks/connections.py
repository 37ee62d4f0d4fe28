"""The blocks a run works with, opened together and closed together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from anthropic import AsyncAnthropic

from blocks.database import Database
from blocks.provider import Provider
from lanes.store import database as store

BLOCK = "lanes"  # the name of the block documents that `lanes up` writes


@dataclass(frozen=True)
class Connections:
    """An open database and an open provider client."""

    db: store.Database
    client: AsyncAnthropic
    provider: Provider


@asynccontextmanager
async def database() -> AsyncIterator[store.Database]:
    """The database of block `lanes`."""
    block = await Database.aload(BLOCK)
    async with block.connect() as db:
        yield db


@asynccontextmanager
async def connections() -> AsyncIterator[Connections]:
    """The database and the provider of the blocks `lanes`."""
    provider = await Provider.aload(BLOCK)
    async with database() as db, provider.connect() as client:
        yield Connections(db, client, provider)

"""The database a run works with. Runs that never ask the provider need not load its client (2 s of CPU)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from blocks.database import DatabaseBlock
from lanes.store.database import Database

BLOCK = "lanes"  # the name of the block documents that `lanes up` writes


@asynccontextmanager
async def database() -> AsyncIterator[Database]:
    """Provide the database of block `lanes`."""
    block = await DatabaseBlock.aload(BLOCK)
    async with block.connect() as db:
        yield db

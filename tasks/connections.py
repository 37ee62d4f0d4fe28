"""What a run that asks the provider works with, opened together and closed together."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from anthropic import AsyncAnthropic

from blocks.provider import Provider
from lanes.store.batch import accounts
from lanes.store.database import Database
from tasks.database import BLOCK, database
from tasks.running import this_run


@dataclass(frozen=True)
class Connections:
    """An open database and an open provider client, and which run works with them."""

    db: Database
    client: AsyncAnthropic
    provider: Provider
    flow_run_id: UUID | None = None


@asynccontextmanager
async def connections() -> AsyncIterator[Connections]:
    """The database and the provider of the blocks `lanes`."""
    gc.freeze()  # what a run imported is searched for garbage no more: a third of the time of its saves went there
    provider = await Provider.aload(BLOCK)
    async with database() as db, provider.connect() as client:
        now, formerly = await db.now(), provider.unnamed_account
        await db.run(accounts.name_account, provider.account, formerly=formerly, now=now)
        yield Connections(db, client, provider, this_run())

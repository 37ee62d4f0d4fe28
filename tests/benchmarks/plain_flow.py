"""The flow that Lanes is compared with: one plain flow run per event, which calls the same endpoint and commits one row."""

import os

import psycopg
from anthropic import AsyncAnthropic
from prefect import flow

from lanes.store.asking import plain_url


@flow(name="plain", persist_result=False)
async def plain(key: str) -> None:
    """Commit the answer to one event."""
    async with AsyncAnthropic(
        base_url=os.environ["ANTHROPIC_BASE_URL"], api_key="x", max_retries=0
    ) as client:
        message = await client.messages.create(
            model="claude-haiku-5-5",
            max_tokens=200,
            messages=[{"role": "user", "content": f"Letter {key}"}],
        )
    async with await psycopg.AsyncConnection.connect(
        plain_url(os.environ["LANES_DATABASE_URL"])
    ) as connection:
        await connection.execute(
            "insert into plain (key, message_id) values (%s, %s)", [key, message.id]
        )

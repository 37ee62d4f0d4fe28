"""The end of a peer's work."""

import asyncio
from typing import LiteralString

import psycopg


async def until_none(url: str, query: LiteralString) -> None:
    """Wait until the count is zero: work of the worker after its last job is not measured."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        while (row := await (await connection.execute(query)).fetchone()) != (0,):
            assert row is not None
            await asyncio.sleep(0.02)

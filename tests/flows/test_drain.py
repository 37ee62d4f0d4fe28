"""Which drain stays warm, and which one reads."""

import asyncio

import pytest
from sqlalchemy import Engine

from lanes.store.signals import Role, RoleLock, holder_exists
from tasks.connections import Connections
from tasks.drain import drain
from tasks.router import Router
from tests.prefect_standin import PrefectStandIn
from tests.store.test_signals import cut


@pytest.mark.parametrize("keep_warm", [0, 1])
async def test_a_standing_drain_stays_warm_only_where_one_is_to_be_kept(
    at: Connections, monkeypatch: pytest.MonkeyPatch, keep_warm: int
) -> None:
    monkeypatch.setenv("LANES_KEEP_WARM", str(keep_warm))
    async with drain(at, standing=True) as opened:
        assert await at.db.run(holder_exists, Role.KEEPER) is bool(keep_warm)
        assert await opened.stays()
        assert await at.db.run(holder_exists, Role.KEEPER) is bool(keep_warm)


async def test_a_reader_whose_connection_died_reads_no_more_once_another_has_its_role(
    at: Connections, pool: Engine, prefect: PrefectStandIn
) -> None:
    async with RoleLock(at.db.url, Role.READER) as one, RoleLock(at.db.url, Role.READER) as other:
        router = Router(at.db, one, asyncio.Event(), busy=lambda: False)
        await router.turn()
        assert router.reads
        cut(pool, Role.READER)
        assert await other.try_take()
        await router.turn()
        assert not router.reads

"""Which drain stays warm."""

import pytest

from lanes.store.signals import Role, holder_exists
from tasks.connections import Connections
from tasks.drain import drain


@pytest.mark.parametrize("keep_warm", [0, 1])
async def test_a_standing_drain_stays_warm_only_where_one_is_to_be_kept(
    at: Connections, monkeypatch: pytest.MonkeyPatch, keep_warm: int
) -> None:
    monkeypatch.setenv("LANES_KEEP_WARM", str(keep_warm))
    async with drain(at, standing=True) as opened:
        assert await at.db.run(holder_exists, Role.KEEPER) is bool(keep_warm)
        assert await opened.stays()
        assert await at.db.run(holder_exists, Role.KEEPER) is bool(keep_warm)

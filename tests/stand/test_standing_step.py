"""The work pools that `lanes up` creates, and the standing runs that it requests: all for new code, else for free roles."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from lanes.settings import Settings
from lanes.stand.local import SERVER
from lanes.stand.steps import ensure_standing_runs, pools
from lanes.stand.worksite import Site
from lanes.standing.roles import STANDING
from lanes.store.signals import RoleLock
from tests.prefect_standin import PrefectStandIn

FLOWS = [each.flow for each in STANDING]


@pytest.fixture
def site(tmp_path: Path, database_url: str, prefect: PrefectStandIn) -> Site:
    """Return a site whose installation brought nothing new."""
    return Site(
        Settings(),
        tmp_path,
        tmp_path,
        database_url=database_url,
        prefect_api_url=prefect.api_url,
        renewed=False,
    )


@pytest_asyncio.fixture
async def held(database_url: str) -> AsyncIterator[None]:
    """Hold every standing role."""
    async with AsyncExitStack() as locks:
        for each in STANDING:
            assert await (
                await locks.enter_async_context(RoleLock(database_url, each.role))
            ).try_take()
        yield


def asked(prefect: PrefectStandIn) -> set[str]:
    return {each.flow for each in prefect.runs}


@pytest.mark.usefixtures("held")
def test_standing_runs_that_hold_their_roles_are_not_replaced(
    site: Site, prefect: PrefectStandIn
) -> None:
    assert ensure_standing_runs(site) == "run on"
    assert asked(prefect) == set()


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("new", [{"renewed": True}, {"started": [SERVER]}], ids=str)
def test_standing_runs_are_replaced_after_new_code_or_a_new_server(
    site: Site, prefect: PrefectStandIn, new: dict[str, object]
) -> None:
    for name, value in new.items():
        setattr(site, name, value)
    ensure_standing_runs(site)
    assert asked(prefect) == set(FLOWS)


def test_a_run_for_each_free_role_is_requested_once(site: Site, prefect: PrefectStandIn) -> None:
    assert ensure_standing_runs(site) == f"asked for {', '.join(FLOWS)}"
    assert ensure_standing_runs(site) == "run on"  # the requested runs are on their way
    assert len(prefect.runs) == len(FLOWS)


@pytest.mark.parametrize(("embeds", "limit"), [(True, 4), (False, 8)])
def test_a_new_pool_of_drains_gets_a_limit_and_a_limit_set_by_a_person_is_kept(
    site: Site, prefect: PrefectStandIn, monkeypatch: pytest.MonkeyPatch, embeds: bool, limit: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    if not embeds:
        site.settings = site.settings.model_copy(update={"prefect_api_url": prefect.api_url})
    prefect.pools.clear()
    assert pools(site) == "created realtime, batch"
    assert prefect.limits == {"realtime": limit}
    prefect.limits["realtime"] = 16
    assert pools(site) == "present"
    assert prefect.limits == {"realtime": 16}

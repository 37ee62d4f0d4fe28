"""Which work pools `lanes up` creates, and which standing runs it asks for: all of new code, else those of free roles."""

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
    """A stand whose installation nothing was new in."""
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
    """Somebody holds every standing role."""
    async with AsyncExitStack() as locks:
        for each in STANDING:
            assert await (
                await locks.enter_async_context(RoleLock(database_url, each.role))
            ).try_take()
        yield


def asked(prefect: PrefectStandIn) -> set[str]:
    return {each.flow for each in prefect.runs}


@pytest.mark.usefixtures("held")
def test_runs_that_hold_their_roles_run_on(site: Site, prefect: PrefectStandIn) -> None:
    assert ensure_standing_runs(site) == "run on"
    assert asked(prefect) == set()


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("new", [{"renewed": True}, {"started": [SERVER]}], ids=str)
def test_what_runs_on_older_source_or_beside_a_new_server_is_taken_over_from(
    site: Site, prefect: PrefectStandIn, new: dict[str, object]
) -> None:
    for name, value in new.items():
        setattr(site, name, value)
    ensure_standing_runs(site)
    assert asked(prefect) == set(FLOWS)


def test_a_role_that_nobody_holds_is_asked_for_once(site: Site, prefect: PrefectStandIn) -> None:
    assert ensure_standing_runs(site) == f"asked for {', '.join(FLOWS)}"
    assert ensure_standing_runs(site) == "run on"  # those are on their way
    assert len(prefect.runs) == len(FLOWS)


def test_a_new_pool_of_drains_has_a_limit_that_stays_as_a_person_sets_it(
    site: Site, prefect: PrefectStandIn
) -> None:
    prefect.pools.clear()
    assert pools(site) == "created realtime, batch"
    assert prefect.limits == {"realtime": 8}
    prefect.limits["realtime"] = 16
    assert pools(site) == "present"
    assert prefect.limits == {"realtime": 16}

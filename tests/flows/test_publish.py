"""Publishing: a changed block is in force as a version, `depart` runs in its window, and forms offer it."""

import asyncio
import time
from uuid import uuid4

import pytest
from prefect import get_client
from sqlalchemy import text

from blocks.provider import Provider
from lanes.settings import Settings
from lanes.store.database import Database
from lanes.store.workload import workloads
from tasks.connections import Connections
from tasks.install import RETIRED, provider_block, remove_retired
from tasks.publish import ASKED_AGAIN_S, VersionsToPrefect, make_known, publish
from tests.examples import spec
from tests.flows.deployed import offered, schema_of
from tests.prefect_standin import PrefectStandIn


@pytest.fixture
def prefect(prefect: PrefectStandIn) -> PrefectStandIn:
    """Return a Prefect server with a block of the workload `letters`."""
    edit(prefect, "letters")
    return prefect


def edit(prefect: PrefectStandIn, name: str, **fields: object) -> None:
    """Save the block, as a person does in the UI."""
    prefect.blocks[name] = spec(**fields).model_dump(mode="json")


def windows(prefect: PrefectStandIn) -> dict[str, str]:
    """Return when `depart` runs, by workload."""
    return {
        each["parameters"]["departure"]["workload"]: each["schedule"]["cron"]
        for each in prefect.schedules.get("depart", [])
    }


async def test_a_workload_created_in_the_ui_has_its_schedule_once_it_is_published(
    at: Connections, prefect: PrefectStandIn
) -> None:
    published = await publish(at.db)
    assert (set(published.versions), published.untold) == ({"letters"}, None)
    assert windows(prefect) == {"letters": "0 22,23,0,1,2,3,4,5 * * *"}


async def test_an_edited_window_replaces_its_schedule_without_a_gap(
    at: Connections, prefect: PrefectStandIn
) -> None:
    await publish(at.db)
    edit(prefect, "letters", off_peak_start="01:30", off_peak_end="03:00")
    asked = len(prefect.requests)
    await publish(at.db)
    assert windows(prefect) == {"letters": "30 1,2 * * *"}
    written = [
        each.split("/")[2:] for each in prefect.requests[asked:] if "schedules" in each.split("/")
    ]
    # The new schedule is created before the old one is deleted.
    assert [len(each) for each in written] == [1, 2]


async def test_no_schedule_is_written_to_prefect_while_no_window_differs(
    at: Connections, prefect: PrefectStandIn
) -> None:
    await publish(at.db)
    before = prefect.schedule_writes
    assert before == 1
    for patience_s in (60, 60, 90):  # another version, with the same window
        edit(prefect, "letters", patience_s=patience_s)
        await publish(at.db)
    assert prefect.schedule_writes == before


async def test_a_schedule_that_a_person_added_remains(
    at: Connections, prefect: PrefectStandIn
) -> None:
    by_hand = {
        "id": str(uuid4()),
        "deployment_id": str(uuid4()),
        "active": True,
        "slug": None,
        "schedule": {"cron": "0 12 * * *", "timezone": "UTC"},
        "parameters": {"departure": {"workload": "noon"}},
    }
    prefect.schedules["depart"] = [by_hand]
    await publish(at.db)
    assert set(windows(prefect)) == {"noon", "letters"}


@pytest.mark.slow
async def test_an_unreadable_workload_keeps_its_schedule_and_a_removed_workload_loses_it(
    at: Connections, database_url: str, prefect: PrefectStandIn
) -> None:
    edit(prefect, "gone")
    edit(prefect, "broken")
    await publish(at.db)
    del prefect.blocks["gone"], prefect.blocks["broken"]

    def spoil(connection: object) -> None:
        connection.execute(text("update lanes.version set spec = '{}' where workload = 'broken'"))  # pyright: ignore[reportAttributeAccessIssue]
        connection.execute(text("update lanes.workload set version_id = null where name = 'gone'"))  # pyright: ignore[reportAttributeAccessIssue]

    await at.db.run(spoil)
    # A newer release cannot read the version.
    async with Database(database_url) as newer:
        published = await publish(newer)
    assert [each.workload for each in published.problems] == ["broken"]
    assert set(windows(prefect)) == {"letters", "broken"}


@pytest.mark.parametrize("trouble", ["hangs", "refuses"])
@pytest.mark.parametrize("writing", ["write_schedules", "write_choices"])
async def test_a_version_is_in_force_even_if_prefect_could_not_be_updated_in_time(
    at: Connections,
    prefect: PrefectStandIn,
    monkeypatch: pytest.MonkeyPatch,
    trouble: str,
    writing: str,
) -> None:
    async def writes(*_: object, **__: object) -> None:
        if trouble == "refuses":
            raise ConnectionError("no")
        await asyncio.sleep(60)

    monkeypatch.setattr(f"tasks.publish.{writing}", writes)
    began = time.monotonic()
    published = await publish(at.db, VersionsToPrefect(within_s=0.3))
    assert time.monotonic() - began < 10
    assert set(await at.db.run(workloads.read_versions)) == set(published.versions) == {"letters"}
    assert "off-peak schedules" in (published.untold or "")


def deployed(prefect: PrefectStandIn, *flows: str) -> None:
    """Deploy these flows: their forms follow from the flows, and offer nothing."""
    prefect.forms |= {flow: schema_of(flow) for flow in flows}


async def test_forms_offer_each_workload_once_it_is_published(
    at: Connections, prefect: PrefectStandIn
) -> None:
    deployed(prefect, "depart", "pause", "migrate")
    await publish(at.db)
    assert {flow: offered(form) for flow, form in prefect.forms.items()} == {
        "depart": ["letters"],
        "pause": ["letters"],
        "migrate": ["letters"],
    }
    edit(prefect, "bills")
    await publish(at.db)
    assert offered(prefect.forms["pause"]) == ["bills", "letters"]


FORMS = "deployments/filter"


@pytest.mark.slow
async def test_no_form_is_written_while_all_are_current_and_one_request_checks_them(
    at: Connections, prefect: PrefectStandIn
) -> None:
    deployed(prefect, "replay", "depart", "pause")
    await publish(at.db)
    assert sorted(prefect.form_writes) == ["depart", "pause", "replay"]
    asked = len(prefect.requests)
    edit(prefect, "letters", patience_s=5)  # another version of the same workload
    await publish(at.db)
    assert len(prefect.form_writes) == 3
    assert [each for each in prefect.requests[asked:] if each.startswith("deployments/")] == [FORMS]


@pytest.mark.parametrize("flow", ["replay", "depart"])
async def test_a_form_that_was_deployed_again_alone_offers_the_choices_of_the_others(
    at: Connections, prefect: PrefectStandIn, flow: str
) -> None:
    deployed(prefect, "replay", "depart", "pause")
    await publish(at.db)
    deployed(prefect, flow)  # as `prefect deploy --name` does
    await publish(at.db)
    assert offered(prefect.forms[flow]) == ["letters"]
    assert len(prefect.form_writes) == 4


async def test_a_frequent_publisher_asks_prefect_again_after_changes_and_otherwise_seldom(
    at: Connections, prefect: PrefectStandIn
) -> None:
    deployed(prefect, "depart")
    told = VersionsToPrefect()

    async def asked() -> int:
        before = prefect.requests.count(FORMS)
        await publish(at.db, told)
        return prefect.requests.count(FORMS) - before

    assert await asked() == 2  # the second request finds what the first one wrote
    assert await asked() == 0
    edit(prefect, "bills")
    assert (await asked(), offered(prefect.forms["depart"])) == (2, ["bills", "letters"])
    edit(prefect, "bills", off_peak_start="01:30", off_peak_end="03:00")
    assert (await asked(), windows(prefect)["bills"]) == (2, "30 1,2 * * *")
    assert await asked() == 0
    deployed(prefect, "depart")
    told.at -= ASKED_AGAIN_S
    assert (await asked(), offered(prefect.forms["depart"])) == (2, ["bills", "letters"])


async def test_an_update_that_prefect_refused_is_repeated_by_the_next_publication(
    at: Connections, prefect: PrefectStandIn
) -> None:
    deployed(prefect, "depart")
    told = VersionsToPrefect()
    prefect.refused_forms = {"depart"}
    assert (await publish(at.db, told)).untold
    prefect.refused_forms = set()
    assert (await publish(at.db, told)).untold is None
    assert offered(prefect.forms["depart"]) == ["letters"]


async def test_a_form_that_prefect_does_not_change_is_named_and_blocks_no_other_form(
    at: Connections, prefect: PrefectStandIn
) -> None:
    """A person saved a parameter of its deployment that the form would no longer offer."""
    deployed(prefect, "replay", "depart", "pause")
    prefect.refused_forms = {"pause"}
    untold = (await publish(at.db)).untold or ""
    assert "form `pause`: " in untold
    assert "'gone' is not one of ['letters']" in untold
    assert "replay" not in untold
    assert offered(prefect.forms["replay"]) == offered(prefect.forms["depart"]) == ["letters"]
    assert windows(prefect).keys() == {"letters"}


async def test_a_partial_deployment_gets_its_choices_and_a_missing_depart_is_reported(
    at: Connections, prefect: PrefectStandIn
) -> None:
    deployed(prefect, "pause", "depart")
    prefect.undeployed = {"migrate", "replay"}
    assert (await publish(at.db)).untold is None
    assert offered(prefect.forms["pause"]) == ["letters"]
    prefect.undeployed = {"depart"}
    assert "there is no deployment depart/depart; `lanes up` makes it" in (
        (await publish(at.db)).untold or ""
    )


async def test_a_late_publisher_with_fewer_workloads_removes_no_choice_and_no_schedule(
    at: Connections, prefect: PrefectStandIn
) -> None:
    deployed(prefect, "depart", "pause")
    await publish(at.db)
    less = await at.db.run(workloads.read_in_force)
    edit(prefect, "bills")
    await publish(at.db)
    async with get_client() as client:
        await make_known(client, at.db, less)
    assert offered(prefect.forms["pause"]) == ["bills", "letters"]
    assert offered(prefect.forms["depart"]) == ["bills", "letters"]
    assert windows(prefect).keys() == {"bills", "letters"}


@pytest.mark.slow
async def test_many_concurrent_publishers_lose_no_choice(
    at: Connections, prefect: PrefectStandIn
) -> None:
    deployed(prefect, "depart", "pause", "replay")
    names = ["bills", "letters", "notes", "orders"]

    async def one(name: str) -> None:
        edit(prefect, name)
        await publish(at.db)

    await asyncio.gather(*map(one, names))
    assert {flow: offered(form) for flow, form in prefect.forms.items()} == {
        "depart": names,
        "pause": names,
        "replay": names,
    }
    assert sorted(windows(prefect)) == names
    assert len(prefect.schedules["depart"]) == len(names)


async def test_an_unreadable_workload_is_still_offered(
    at: Connections, database_url: str, prefect: PrefectStandIn
) -> None:
    deployed(prefect, "depart")
    edit(prefect, "broken")
    await publish(at.db)
    del prefect.blocks["broken"]
    spoil = text("update lanes.version set spec = '{}' where workload = 'broken'")
    await at.db.run(lambda connection: connection.execute(spoil))
    # A newer release cannot read the version.
    async with Database(database_url) as newer:
        await publish(newer)
    assert offered(prefect.forms["depart"]) == ["broken", "letters"]


class SavedMeanwhile(dict[str, dict[str, object]]):
    """Blocks, one of which another process saves and publishes while they are read for the first time."""

    def __init__(
        self, now: dict[str, dict[str, object]], then: dict[str, dict[str, object]]
    ) -> None:
        super().__init__(now)
        self._then, self.looks = then, 0

    def items(self):  # pyright: ignore[reportIncompatibleMethodOverride]
        self.looks += 1
        read = list(super().items())
        self.update(self._then)
        return read


async def test_a_workload_with_an_unknown_provider_block_is_refused_and_its_neighbour_published(
    at: Connections, prefect: PrefectStandIn
) -> None:
    edit(prefect, "bills", provider="eu")
    published = await publish(at.db)
    assert set(published.versions) == {"letters"}
    (problem,) = published.problems
    assert problem.problems == [
        'provider: there is no block "Lanes provider/eu"; create it, or name another'
    ]
    prefect.provider_blocks["eu"] = {}
    published = await publish(at.db)
    assert (set(published.versions), published.problems) == ({"bills", "letters"}, [])


async def test_a_block_that_is_saved_while_it_is_read_is_in_force_as_it_was_saved_last(
    at: Connections, prefect: PrefectStandIn
) -> None:
    await publish(at.db)
    old, new = (spec(**fields).model_dump(mode="json") for fields in ({}, {"patience_s": 5}))
    async with at.db.transaction() as run:
        await run(workloads.publish, "letters", spec(patience_s=5), now=run.now)
    prefect.blocks = SavedMeanwhile({"letters": old}, {"letters": new})
    published = await publish(at.db)
    assert published.versions["letters"].spec.patience_s == 5
    assert prefect.blocks.looks == 3  # the last read finds nothing new


async def test_blocks_are_read_once_while_none_of_them_differs(
    at: Connections, prefect: PrefectStandIn
) -> None:
    await publish(at.db)
    prefect.blocks = SavedMeanwhile(dict(prefect.blocks), {})
    await publish(at.db)
    assert prefect.blocks.looks == 1


async def test_a_deployment_of_an_earlier_release_is_removed_once(prefect: PrefectStandIn) -> None:
    async with get_client() as client:
        await remove_retired(client)
        await remove_retired(client)
    assert prefect.undeployed == set(RETIRED)


NEAR = "http://127.0.0.1:8080"
FAR = "https://api.anthropic.com"


def given(key: str, **variables: str) -> Settings:
    return Settings.model_validate({"ANTHROPIC_API_KEY": key, **variables})


def test_settings_that_people_made_in_the_provider_block_survive_another_install() -> None:
    first = provider_block(given("old", ANTHROPIC_BASE_URL=FAR), None)
    edited = {"most_calls": 7, "poll_s": 5, "account": "research", "login": "user:password"}
    present = Provider.model_validate({**first.model_dump(), **edited, "api_key": "old"})
    again = provider_block(given("new", ANTHROPIC_BASE_URL=FAR), present)
    assert again.api_key.get_secret_value() == "new"
    assert (again.most_calls, again.poll_s, again.account) == (7, 5, "research")
    assert again.login is not None
    assert again.login.get_secret_value() == "user:password"
    assert again.listing_grace_s == first.listing_grace_s


def test_settings_for_the_stand_in_do_not_remain_for_a_real_provider() -> None:
    near = provider_block(given("stand-in", ANTHROPIC_BASE_URL=NEAR), None)
    assert (near.poll_s, near.listing_grace_s, near.create_within_s) == (1, 5, 30)
    far = provider_block(given("real"), near)
    assert (far.base_url, far.account) == (FAR, "api.anthropic.com")
    assert (far.poll_s, far.listing_grace_s, far.create_within_s) == (30, 600, 600)
    assert provider_block(given("stand-in", ANTHROPIC_BASE_URL=NEAR), far) == near

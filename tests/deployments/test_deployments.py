"""The objects that an operator finds in Prefect, read back from a server that `lanes up` set up."""

from datetime import timedelta
from typing import Any

import pytest

from lanes.mainjob.samples import WORKLOADS
from lanes.realtime.drains import ARRIVALS_THROTTLE, CALLS_THROTTLE
from lanes.stand.info import load_info
from tasks.publish import ASKING
from tests.flows.deployed import entrypoints
from tests.running_stand import RunningStand, cli, data
from tests.waiting import until

pytestmark = pytest.mark.slow

POOLS = {name: "realtime" if name == "answer" else "batch" for name in entrypoints()}


def deployment(stand: RunningStand, name: str) -> dict[str, Any]:
    return stand.prefect.get(f"deployments/name/{name}/{name}").raise_for_status().json()


@pytest.mark.parametrize(("name", "pool"), POOLS.items())
def test_every_deployment_is_described_tagged_and_in_its_pool(
    stand: RunningStand, name: str, pool: str
) -> None:
    found = deployment(stand, name)
    assert found["work_pool_name"] == pool
    assert found["description"].startswith("**")
    assert "lanes" in found["tags"]
    assert found["entrypoint"] == entrypoints()[name]


CHOOSING = [each.value for each in ASKING]
FORMS = [*CHOOSING, "answer", "report", "tidy"]


@pytest.mark.parametrize("name", FORMS)
def test_every_field_of_a_run_form_has_a_title_and_a_description(
    stand: RunningStand, name: str
) -> None:
    schema = deployment(stand, name)["parameter_openapi_schema"]
    for model in schema["definitions"].values():
        for field in model["properties"].values():
            assert field["title"]
            assert field["description"]


@pytest.mark.parametrize("name", CHOOSING)
def test_every_form_with_a_workload_field_offers_the_published_workloads(
    stand: RunningStand, name: str
) -> None:
    models = deployment(stand, name)["parameter_openapi_schema"]["definitions"].values()
    (choice,) = [
        each["properties"]["workload"] for each in models if "workload" in each["properties"]
    ]
    assert {"tickets", "archive"} <= set(choice["enum"])


def test_prefect_rejects_an_unknown_workload_and_the_flow_refuses_it_by_name(
    stand: RunningStand,
) -> None:
    asked = f"deployments/{deployment(stand, 'depart')['id']}/create_flow_run"
    unknown = {"parameters": {"departure": {"workload": "nobody"}}}
    refused = stand.prefect.post(asked, json=unknown)
    assert (refused.status_code, "'nobody' is not one of" in refused.text) == (409, True)
    run = (
        stand.prefect.post(asked, json={**unknown, "enforce_parameter_schema": False})
        .raise_for_status()
        .json()
    )

    def state() -> Any:
        found = stand.prefect.get(f"flow_runs/{run['id']}").raise_for_status().json()
        return found["state_type"] == "FAILED" and found["state"]

    ended = until(state, what="the refusal")
    assert (ended["name"], ended["message"]) == (
        "Refused",
        'there is no workload "nobody"; correct the name, or publish it',
    )


def test_prefect_accepts_the_default_values_of_a_form(stand: RunningStand) -> None:
    for name in ("depart", "migrate"):
        found = deployment(stand, name)
        schema = found["parameter_openapi_schema"]
        untouched = {parameter: of["default"] for parameter, of in schema["properties"].items()}
        said = stand.prefect.post(
            "ui/schemas/validate", json={"schema": schema, "values": untouched}
        ).raise_for_status()
        assert said.json()["valid"], said.text


def test_no_block_type_of_lanes_has_a_logo_url(stand: RunningStand) -> None:
    types = stand.prefect.post("block_types/filter", json={"limit": 200}).json()
    assert {each["logo_url"] for each in types if each["slug"].startswith("lanes-")} == {None}


def test_depart_has_an_active_schedule_in_utc_for_each_sample_workload(stand: RunningStand) -> None:
    schedules = deployment(stand, "depart")["schedules"]
    of = {each["slug"]: each["parameters"]["departure"]["workload"] for each in schedules}
    assert all(slug.startswith(f"{workload}-".replace("_", "-")) for slug, workload in of.items())
    assert set(WORKLOADS) <= set(of.values())  # other tests publish workloads on this stand
    assert all(
        each["active"] and each["schedule"]["timezone"] == "UTC"
        for each in schedules
        if of[each["slug"]] in WORKLOADS
    )


@pytest.mark.parametrize(
    ("name", "event", "throttle"),
    [
        ("lanes-answer-on-arrivals", "lanes.item.arrived", ARRIVALS_THROTTLE),
        ("lanes-answer-on-waiting-work", "lanes.work.waiting", CALLS_THROTTLE),
    ],
)
def test_arrivals_and_waiting_work_trigger_answer_each_with_its_own_throttle(
    stand: RunningStand, name: str, event: str, throttle: timedelta
) -> None:
    found = deployment(stand, "answer")
    automations = (
        stand.prefect.post("automations/filter", json={"limit": 200}).raise_for_status().json()
    )
    (owned,) = [each for each in automations if each["name"] == name]
    trigger, (action,) = owned["trigger"], owned["actions"]
    assert (trigger["expect"], trigger["within"]) == ([event], throttle.total_seconds())
    assert action["deployment_id"] == found["id"]
    assert set(action["parameters"]["wake"]) == {"event_id"}


def test_a_second_up_attaches_and_duplicates_no_automation_schedule_or_block(
    stand: RunningStand,
) -> None:
    def counts() -> tuple[int, int, int]:
        automations = stand.prefect.post("automations/filter", json={"limit": 200}).json()
        blocks = stand.prefect.post("block_documents/filter", json={"limit": 200}).json()
        return len(automations), len(deployment(stand, "depart")["schedules"]), len(blocks)

    before = counts()
    again = cli(stand.asked, "up", "--json")
    assert again.returncode == 0, again.stderr
    assert data(again)["started"] == []
    assert load_info(stand.home) == stand.info
    assert counts() == before


def test_every_field_of_a_block_has_a_title_and_a_description(stand: RunningStand) -> None:
    types = stand.prefect.post("block_types/filter", json={"limit": 200}).json()
    ours = {each["id"]: each["slug"] for each in types if each["slug"].startswith("lanes-")}
    kinds = ("workload", "playbook", "database", "provider", "slack-channel")
    assert {f"lanes-{kind}" for kind in kinds} <= set(ours.values())
    schemas = stand.prefect.post("block_schemas/filter", json={"limit": 200}).json()
    for schema in schemas:
        if schema["block_type_id"] in ours:
            for name, field in schema["fields"]["properties"].items():
                assert field.get("title"), name
                assert field.get("description"), name


def test_block_documents_show_neither_the_api_key_nor_the_database_url(stand: RunningStand) -> None:
    documents = stand.prefect.post("block_documents/filter", json={"limit": 200}).json()
    said = str([each["data"] for each in documents])
    assert "local-stand-in" not in said
    assert stand.environment["LANES_DATABASE_URL"] not in said


def test_a_valid_edit_becomes_a_version_and_an_invalid_edit_opens_an_incident(
    stand: RunningStand,
) -> None:
    documents = stand.prefect.post("block_documents/filter", json={"limit": 200}).json()
    block = next(each for each in documents if each["name"] == "archive")
    in_force = "select v.number from lanes.workload w join lanes.version v on v.id = w.version_id where w.name = 'archive'"
    before = stand.value(in_force)

    def edit(**fields: Any) -> None:
        body = {"data": {**block["data"], **fields}, "merge_existing_data": False}
        stand.prefect.patch(f"block_documents/{block['id']}", json=body).raise_for_status()

    def crons() -> set[str]:
        schedules = deployment(stand, "depart")["schedules"]
        return {
            s["schedule"]["cron"]
            for s in schedules
            if s["parameters"]["departure"]["workload"] == "archive"
        }

    edit(patience_s=33, off_peak_start="01:30", off_peak_end="03:00")
    until(lambda: stand.value(in_force) == before + 1, within_s=30, what="the new version")
    until(lambda: crons() == {"30 1,2 * * *"}, within_s=30, what="the schedule of the new window")
    known = "select count(*) from lanes.version where workload = 'archive'"
    met = "select count(*) from lanes.incident_log where promise = 'workload_invalid' and state = 'open'"
    versions = stand.value(known)
    edit(patience_s=-5, urgent_when="a &&")
    until(lambda: stand.value(met), within_s=30, what="the router's look at the invalid edit")
    assert (stand.value(in_force), stand.value(known)) == (before + 1, versions)
    edit(**block["data"])
    until(lambda: stand.value(in_force) == before, within_s=30, what="the first version again")
    assert stand.value(known) == versions

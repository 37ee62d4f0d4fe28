"""The pages and forms of deployments in Prefect's UI: their texts, links and order, and optional inputs."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import yaml
from prefect.utilities.schema_tools.validation import ValidationError, validate
from pydantic import ValidationError as Invalid

from blocks.database import DatabaseBlock
from blocks.provider import Provider
from blocks.slack_channel import SlackChannel
from blocks.workload import PlaybookBlock, Workload
from lanes.cli import app
from lanes.report import incident
from lanes.report.links import DETAILS, REPORT
from lanes.standing.runs import Deployment
from lanes.workload.form import BESIDE, offer_workloads
from tasks.approval import ReplayApproval, RolloutApproval
from tasks.publish import ASKING
from tests.flows.deployed import fields, flow_of, offered, schema_of

DEPLOYMENTS = yaml.safe_load((Path(__file__).parents[2] / "prefect.yaml").read_text())[
    "deployments"
]
ORDERS = {
    "advise": ["workload", "days", "items_per_month", "correction_usd"],
    "answer": ["standing", "event_id"],
    **{
        each: ["workload", "who", "why"]
        for each in ("hold_rollout", "abort_rollout", "promote_rollout", "accept_quality")
    },
    **{each: ["workload", "replay", "who", "why"] for each in ("pause", "resume")},
    **{
        each: ["workload", "generation", "ask_first", "who", "why"]
        for each in ("promote", "demote")
    },
    "drop": ["workload", "generation", "who", "why"],
    **{
        each: ["workload", "key", "who", "why"]
        for each in ("cancel", "forget", "explain", "preview")
    },
    "extend_rollout": ["workload", "hours", "who", "why"],
    "decide_proposal": [
        "workload",
        "proposal",
        "action",
        "playbook",
        "percents",
        "hold_hours",
        "who",
        "why",
    ],
    "retry": ["workload", "keys", "who", "why"],
    "job": ["workload", "job", "action", "who", "why"],
    "label": ["workload", "key", "expected", "who", "why"],
    "end_split": ["workload", "consumer", "who", "why"],
    "remove_budget": ["workload", "consumer", "period", "who", "why"],
    "decide_batch": ["workload", "batch", "action", "provider_batch", "sure", "who", "why"],
    "handle_incident": ["workload", "incident", "action", "hours", "who", "why"],
    "migrate": ["workload", "playbook", "file", "consumer", "version", "who", "why"],
    "replay": [
        "workload",
        "version",
        "from_position",
        "to_position",
        "since",
        "until",
        "key",
        "where",
        "only",
        "answered_by",
        "force",
        "lane",
        "shadow",
        "depart",
        "who",
        "why",
    ],
    "report": ["since", "hours"],
    "set_budget": ["workload", "consumer", "period", "zone", "hard_usd", "soft_usd", "who", "why"],
    "set_overhead": ["workload", "lane", "kind", "monthly_usd", "from_date", "who", "why"],
    "set_split": ["workload", "percent", "consumer", "who", "why"],
    "depart": ["workload"],
    "tidy": ["refused_days", "amendments_days", "labels_days", "reads_days", "webhooks_days"],
}
NOTHING_GIVEN: dict[str, dict[str, Any]] = {
    "promote": {"action": {"workload": "letters", "generation": None, "who": "ada", "why": "so"}},
    "advise": {"question": {"workload": "letters", "items_per_month": None}},
    "answer": {"wake": {"event_id": None}},
    "migrate": {"order": {"workload": None}},
    "replay": {
        "reading": {
            "workload": "letters",
            "version": None,
            "from_position": None,
            "to_position": None,
            "since": None,
            "until": None,
            "answered_by": None,
        }
    },
    "report": {"period": {"since": None}},
    "set_budget": {
        "budget": {
            "workload": "letters",
            "soft_usd": None,
            "hard_usd": None,
            "who": "ada",
            "why": "so",
        }
    },
    "set_overhead": {
        "overhead": {
            "workload": "*",
            "lane": "batch",
            "kind": "engineering",
            "monthly_usd": 9,
            "from_date": None,
            "who": "ada",
            "why": "so",
        }
    },
    "depart": {"departure": {"workload": None}},
}
CHOOSING = [each.value for each in ASKING]  # the forms that ask for a workload
CHECKOUT = Path(__file__).parents[2]
DECLARED = {
    each["name"]: each
    for each in yaml.safe_load((CHECKOUT / "prefect.yaml").read_text())["deployments"]
}
TAGS = {tag for each in DECLARED.values() for tag in each["tags"]}
SOURCE = "\n".join(
    file.read_text()
    for room in ("lanes", "tasks")
    for file in sorted((CHECKOUT / room).rglob("*.py"))
)
LINK = re.compile(r"\]\(([^)]+)\)")


def stored(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema as Prefect's Postgres returns it: jsonb orders keys by their length."""
    text = json.dumps(schema)
    return json.loads(
        text,
        object_pairs_hook=lambda pairs: dict(
            sorted(pairs, key=lambda each: (len(each[0]), each[0]))
        ),
    )


def shown(model: Mapping[str, Any]) -> list[str]:
    """Return the fields in the order in which the UI shows them."""
    properties = stored(model)["properties"]
    return sorted(properties, key=lambda name: properties[name].get("position", 0))


BLOCKS = {
    each.__name__: each for each in (DatabaseBlock, PlaybookBlock, Provider, SlackChannel, Workload)
}
APPROVAL = RolloutApproval.with_initial_data(description="Go on?").model_json_schema()


def form_of(name: str) -> Mapping[str, Any]:
    """Return the form of a block, of the approval, or of a deployment."""
    if name == "approval":
        return APPROVAL
    return BLOCKS[name].model_json_schema() if name in BLOCKS else schema_of(name)


@pytest.mark.parametrize("deployment", [each["name"] for each in DEPLOYMENTS])
def test_the_workload_is_first_and_who_and_why_are_last(deployment: str) -> None:
    models = schema_of(deployment)["definitions"]
    assert [shown(each) for each in models.values()] == (
        [ORDERS[deployment]] if deployment in ORDERS else []
    )


def test_blocks_and_approvals_keep_their_order_too() -> None:
    of_replay = ReplayApproval.with_initial_data(description="Promote it?").model_json_schema()
    assert [shown(each) for each in (APPROVAL, of_replay)] == 2 * [
        ["approve", "decline", "who", "why"]
    ]
    assert shown(form_of("SlackChannel")) == [
        "bot_token",
        "channel",
        "channels",
        "webhook_url",
        "api_url",
    ]
    workload = form_of("Workload")
    assert shown(workload)[:3] == ["description", "instructions", "output_schema"]
    assert shown(workload["definitions"]["Promises"])[:2] == [
        "batch_max_minutes",
        "batch_max_failure_percent",
    ]


@pytest.mark.parametrize("form", [*(each["name"] for each in DEPLOYMENTS), *BLOCKS, "approval"])
def test_every_field_has_a_title_and_a_description_and_none_is_a_union_with_none(form: str) -> None:
    for name, field in fields(form_of(form)):
        of_model = "$ref" in field  # its own description is shown
        assert field["title"], name
        assert of_model or field["description"], name
        assert "anyOf" not in field, name
        assert of_model or "type" in field, name
        assert field.get("default", "") is not None, name


@pytest.mark.parametrize("deployment", NOTHING_GIVEN)
def test_callers_that_pass_none_for_optional_inputs_are_accepted(deployment: str) -> None:
    given = NOTHING_GIVEN[deployment]
    validate(given, schema_of(deployment), raise_on_error=True)
    assert flow_of(deployment).validate_parameters(given)


def test_bounds_apply_to_optional_inputs() -> None:
    given = NOTHING_GIVEN["promote"]["action"] | {"generation": 0}
    with pytest.raises(ValidationError, match="generation"):
        validate({"action": given}, schema_of("promote"), raise_on_error=True)


@pytest.mark.parametrize(
    ("switched", "approved"),
    [({"approve": True}, True), ({"decline": True}, False), ({"approve": False}, False)],
)
def test_one_switch_of_the_approval_is_an_answer(switched: dict[str, bool], approved: bool) -> None:
    signed = {**switched, "who": "ada", "why": "well"}
    validate(signed, APPROVAL, raise_on_error=True)
    assert (RolloutApproval(**signed).approve is True) is approved


def test_untouched_switches_are_refused_at_once_and_two_equal_switches_are_no_answer() -> None:
    with pytest.raises(ValidationError):
        validate({"who": "ada", "why": "well"}, APPROVAL, raise_on_error=True)
    for both in (True, False):
        with pytest.raises(Invalid, match="approve or decline"):
            RolloutApproval(approve=both, decline=both, who="ada", why="well")


def test_the_forms_that_are_updated_are_those_that_ask_for_a_workload() -> None:
    asking = [
        each["name"]
        for each in DEPLOYMENTS
        if any(BESIDE in field for _, field in fields(schema_of(each["name"])))
    ]
    assert sorted(asking) == sorted(CHOOSING)


@pytest.mark.parametrize("deployment", CHOOSING)
def test_a_form_offers_the_published_workloads_by_name_and_prefect_refuses_all_others(
    deployment: str,
) -> None:
    schema = offer_workloads(schema_of(deployment), ["letters", "bills"])
    beside = ["*"] if deployment in ("advise", "handle_incident", "set_overhead") else []
    assert offered(schema) == [*beside, "bills", "letters"]
    ((parameter, of),) = schema["properties"].items()
    refused = [
        each.message
        for each in validate({parameter: {"workload": "nobody"}}, schema, ignore_required=True)
        if "is not one of" in each.message
    ]
    assert refused == [f"'nobody' is not one of {offered(schema)}"]
    validate(
        {parameter: {"workload": "letters"}}, schema, raise_on_error=True, ignore_required=True
    )
    if "default" in of:  # what the UI sends for an untouched form
        validate({parameter: of["default"]}, schema, raise_on_error=True)


@pytest.mark.parametrize("deployment", CHOOSING)
def test_choices_follow_the_published_workloads_and_disappear_with_the_last(
    deployment: str,
) -> None:
    bare = offer_workloads(schema_of(deployment), [])
    assert offered(bare) is None
    two = offer_workloads(bare, {"letters", "bills"})
    assert offer_workloads(stored(two), {"bills", "letters"}) == two
    assert offer_workloads(two, []) == bare


@pytest.mark.parametrize("deployment", [each["name"] for each in DEPLOYMENTS])
def test_a_choice_that_may_stay_empty_has_no_default(deployment: str) -> None:
    """The UI shows an empty default as an empty choice, and Prefect refuses it as a choice that is not offered."""
    for _, field in fields(schema_of(deployment)):
        assert BESIDE not in field or "default" not in field


def parts(name: str) -> list[str]:
    """Return the paragraphs of a deployment's description."""
    return DECLARED[name]["description"].strip().split("\n\n")


@pytest.mark.parametrize("name", DECLARED)
def test_a_description_says_what_the_deployment_is_when_to_use_it_and_what_it_makes(
    name: str,
) -> None:
    first, when, makes, *_ = parts(name)
    assert re.fullmatch(r"\*\*[A-Z][^*]+\.\*\* [^\n]+", first)
    assert len(re.findall(r"^- ", when, re.MULTILINE)) == 3
    assert makes.startswith("**Output**: ")
    assert LINK.search(makes)


@pytest.mark.parametrize("name", DECLARED)
def test_every_link_of_a_description_has_a_target(name: str) -> None:
    for link in LINK.findall(DECLARED[name]["description"]):
        at = urlsplit(link)
        asked = dict(parse_qsl(at.query))
        match at.path.split("/")[2:]:
            case ["events"]:
                (event,) = json.loads(asked["events"])
                assert f'"{event}"' in SOURCE or f'"{event.rpartition(".")[2]}"' in SOURCE, link
            case ["runs"]:
                assert asked["tags"] in TAGS, link
            case ["artifacts", "key", key]:
                assert key in (REPORT, DETAILS, incident.OUTAGE_KEY), link
            case ["artifacts"]:
                assert f'f"{asked["name"]}{{' in SOURCE, link
            case ["deployments"]:
                assert any(asked["flowOrDeploymentName"] in each.value for each in Deployment), link
            case _:
                pytest.fail(f"{link} leads to no page that is known here")


@pytest.mark.parametrize("name", DECLARED)
def test_every_command_and_deployment_of_a_description_exists(name: str) -> None:
    for said in re.findall(r"`([^`]+)`", DECLARED[name]["description"]):
        first, *rest = said.split()
        if first == "lanes":
            assert app[rest[0]], said
        else:
            assert first in DECLARED or said in SOURCE, said

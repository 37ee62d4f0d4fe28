"""The forms of the Prefect interface: their order, their words, and that what is optional is an input to leave empty."""

import json
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import ValidationError, validate
from pydantic import ValidationError as Invalid

from blocks.database import Database
from blocks.provider import Provider
from blocks.slack_channel import SlackChannel
from blocks.workload import Workload
from tasks.approval import RolloutApproval

DEPLOYMENTS = yaml.safe_load((Path(__file__).parents[2] / "prefect.yaml").read_text())["deployments"]
ORDERS = {
    "act": [
        "workload", "deed", "percent", "consumer", "period", "zone", "soft_usd", "hard_usd", "lane", "kind", "monthly_usd",
        "from_date", "batch", "provider_batch", "sure", "who", "why",
    ],
    "advise": ["workload", "days", "items_per_month", "correction_usd"],
    "answer": ["standing", "event_id"],
    "migrate": ["workload", "playbook", "file", "consumer", "who", "why"],
    "replay": ["workload", "version", "from_position", "to_position", "submit", "who", "why"],
    "report": ["since", "hours"],
    "submit": ["workload"],
    "tidy": ["refused_days", "reads_days"],
}  # fmt: skip
NOTHING_GIVEN: dict[str, dict[str, Any]] = {
    "act": {
        "action": {
            "workload": "letters",
            "deed": "pause",
            "percent": None,
            "soft_usd": None,
            "hard_usd": None,
            "monthly_usd": None,
            "from_date": None,
            "batch": None,
            "who": "ada",
            "why": "so",
        }
    },
    "advise": {"question": {"workload": "letters", "items_per_month": None}},
    "answer": {"wake": {"event_id": None}},
    "replay": {"reading": {"workload": "letters", "version": None, "from_position": None, "to_position": None}},
    "report": {"period": {"since": None}},
    "submit": {"departure": {"workload": None}},
}


def schema_of(deployment: str) -> dict[str, Any]:
    """The schema of its parameters, as Prefect computes and stores it."""
    flow = getattr(import_module(f"flows.{deployment}"), deployment)
    return parameter_schema(flow).model_dump()


def stored(schema: Mapping[str, Any]) -> dict[str, Any]:
    """As Prefect's Postgres gives it back: jsonb orders keys by their length."""
    text = json.dumps(schema)
    return json.loads(text, object_pairs_hook=lambda pairs: dict(sorted(pairs, key=lambda each: (len(each[0]), each[0]))))


def shown(model: Mapping[str, Any]) -> list[str]:
    """The fields in the order in which the interface shows them."""
    properties = stored(model)["properties"]
    return sorted(properties, key=lambda name: properties[name].get("position", 0))


def fields(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every field of the form, those of nested models too."""
    for model in (schema, *schema.get("definitions", {}).values()):
        yield from model.get("properties", {}).items()


BLOCKS = {each.__name__: each for each in (Database, Provider, SlackChannel, Workload)}
APPROVAL = RolloutApproval.with_initial_data(description="Go on?").model_json_schema()


def form_of(name: str) -> Mapping[str, Any]:
    """That of a block, of the approval, or of a deployment."""
    if name == "approval":
        return APPROVAL
    return BLOCKS[name].model_json_schema() if name in BLOCKS else schema_of(name)


@pytest.mark.parametrize("deployment", [each["name"] for each in DEPLOYMENTS])
def test_the_workload_comes_first_and_who_and_why_come_last(deployment: str) -> None:
    models = schema_of(deployment)["definitions"]
    assert [shown(each) for each in models.values()] == ([ORDERS[deployment]] if deployment in ORDERS else [])


def test_blocks_and_the_approval_keep_their_order_too() -> None:
    assert shown(APPROVAL) == ["approve", "decline", "who", "why"]
    assert shown(form_of("SlackChannel")) == ["bot_token", "channel", "webhook_url", "api_url"]
    workload = form_of("Workload")
    assert shown(workload)[:3] == ["description", "instructions", "output_schema"]
    assert shown(workload["definitions"]["Promises"])[:2] == ["batch_max_minutes", "batch_max_failure_percent"]


@pytest.mark.parametrize("form", [*(each["name"] for each in DEPLOYMENTS), *BLOCKS, "approval"])
def test_every_field_has_words_and_none_is_a_choice_between_a_type_and_none(form: str) -> None:
    for name, field in fields(form_of(form)):
        of_model = "$ref" in field  # its own description is shown
        assert field["title"], name
        assert of_model or field["description"], name
        assert "anyOf" not in field, name
        assert of_model or "type" in field, name
        assert field.get("default", "") is not None, name


@pytest.mark.parametrize("deployment", NOTHING_GIVEN)
def test_callers_that_name_none_for_what_is_optional_are_still_taken(deployment: str) -> None:
    given = NOTHING_GIVEN[deployment]
    validate(given, schema_of(deployment), raise_on_error=True)
    flow = getattr(import_module(f"flows.{deployment}"), deployment)
    assert flow.validate_parameters(given)


def test_bounds_hold_for_what_is_optional() -> None:
    with pytest.raises(ValidationError, match="batch"):
        validate({"action": NOTHING_GIVEN["act"]["action"] | {"batch": 0}}, schema_of("act"), raise_on_error=True)


@pytest.mark.parametrize(
    ("switched", "approved"), [({"approve": True}, True), ({"decline": True}, False), ({"approve": False}, False)]
)
def test_one_switch_of_the_approval_is_an_answer(switched: dict[str, bool], approved: bool) -> None:
    signed = {**switched, "who": "ada", "why": "well"}
    validate(signed, APPROVAL, raise_on_error=True)
    assert (RolloutApproval(**signed).approve is True) is approved


def test_switches_that_nobody_touched_are_refused_at_once_and_both_are_no_answer() -> None:
    with pytest.raises(ValidationError):
        validate({"who": "ada", "why": "well"}, APPROVAL, raise_on_error=True)
    for both in (True, False):
        with pytest.raises(Invalid, match="approve or decline"):
            RolloutApproval(approve=both, decline=both, who="ada", why="well")

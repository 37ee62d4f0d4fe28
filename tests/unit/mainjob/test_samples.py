"""The ready-made workloads are consistent with their own items, schema and rules."""

import json
import re
from typing import Any

import cel
import pytest
from jsonschema import Draft202012Validator

from lanes.mainjob.samples import (
    WORKLOADS,
    sample_amendments,
    sample_appeals,
    sample_items,
    sample_workloads,
)

EXAMPLE = re.compile(
    r"<example>\n<input>(.*?)</input>\n<output>(.*?)</output>\n</example>", re.DOTALL
)
NAMES = pytest.mark.parametrize("name", WORKLOADS)


def enums(workload: dict[str, Any]) -> dict[str, list[str]]:
    properties = workload["output_schema"]["properties"]
    return {field: schema["enum"] for field, schema in properties.items() if "enum" in schema}


def examples(workload: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (text, json.loads(output)) for text, output in EXAMPLE.findall(workload["instructions"])
    ]


def context(item: dict[str, Any]) -> dict[str, Any]:
    """Return the rules' view of an item on its arrival."""
    return {
        "payload": item["payload"],
        "age_s": item.get("age_days", 0) * 86400.0,
        "due_in_s": item.get("due_in_s"),
        "consumer": item["consumer"],
    }


@pytest.mark.parametrize(
    ("name", "fewest", "most"), [("tickets", 190, 220), ("archive", 55, 65), ("moderation", 55, 65)]
)
def test_a_workload_has_about_the_promised_number_of_items(
    name: str, fewest: int, most: int
) -> None:
    assert fewest <= len(sample_items(name)) <= most


def test_items_of_an_unknown_workload_are_refused_with_the_known_names() -> None:
    with pytest.raises(ValueError, match="tickets, archive, moderation"):
        sample_items("letters")


@NAMES
def test_a_workload_has_the_name_of_its_file(name: str) -> None:
    assert sample_workloads()[name]["name"] == name


@NAMES
def test_keys_and_texts_are_unique(name: str) -> None:
    items = sample_items(name)
    assert len({item["key"] for item in items}) == len(items)
    assert len({item["payload"]["text"] for item in items}) == len(items)


@NAMES
def test_every_item_has_a_label_for_every_enum_of_the_schema(name: str) -> None:
    allowed = enums(sample_workloads()[name])
    for item in sample_items(name):
        assert item["label"].keys() == allowed.keys(), item["key"]
        assert all(value in allowed[field] for field, value in item["label"].items()), item["key"]


@NAMES
def test_every_label_occurs_among_the_items(name: str) -> None:
    items = sample_items(name)
    for field, values in enums(sample_workloads()[name]).items():
        assert {item["label"][field] for item in items} == set(values)


@NAMES
def test_the_schema_is_valid_and_closed(name: str) -> None:
    schema = sample_workloads()[name]["output_schema"]
    Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) == set(schema["properties"])


@NAMES
def test_the_instructions_describe_every_label_once(name: str) -> None:
    workload = sample_workloads()[name]
    described = re.findall(r"^- (\w+): \S.*$", workload["instructions"], re.MULTILINE)
    assert sorted(described) == sorted(
        label for values in enums(workload).values() for label in values
    )


def test_the_examples_satisfy_the_schema_and_cover_every_label() -> None:
    workload = sample_workloads()["tickets"]
    shown = examples(workload)
    assert 8 <= len(shown) <= 12
    for _, output in shown:
        Draft202012Validator(workload["output_schema"]).validate(output)
    for field, values in enums(workload).items():
        assert {output[field] for _, output in shown} == set(values)


def test_no_sample_ticket_appears_in_the_instructions() -> None:
    instructions = sample_workloads()["tickets"]["instructions"]
    assert not [
        item["key"] for item in sample_items("tickets") if item["payload"]["text"] in instructions
    ]


@NAMES
def test_fields_to_compare_are_fields_of_the_answer(name: str) -> None:
    workload = sample_workloads()[name]
    assert set(workload["compare_fields"]) <= set(workload["output_schema"]["properties"])


@NAMES
def test_each_rule_is_true_for_some_items_and_false_for_others(name: str) -> None:
    workload = sample_workloads()[name]
    for rule in ("urgent_when", "batch_when"):
        program = cel.compile(workload[rule])
        answers = {program.execute(context(item)) for item in sample_items(name)}
        assert answers == {True, False}, rule


@NAMES
def test_no_item_is_both_urgent_and_for_the_batch_lane(name: str) -> None:
    workload = sample_workloads()[name]
    urgent, batch = (cel.compile(workload[rule]) for rule in ("urgent_when", "batch_when"))
    assert not [
        i["key"]
        for i in sample_items(name)
        if urgent.execute(context(i)) and batch.execute(context(i))
    ]


def test_nearly_all_urgent_tickets_go_to_real_time_and_words_alone_add_few_others() -> None:
    """The two missed tickets name no urgency: a broken machine, and an amount that was sent four times."""
    program, items = (
        cel.compile(sample_workloads()["tickets"]["urgent_when"]),
        sample_items("tickets"),
    )
    caught = {item["key"]: program.execute(context(item)) for item in items}
    assert [
        item["key"]
        for item in items
        if item["label"]["urgency"] == "high" and not caught[item["key"]]
    ] == ["T-0005", "T-0129"]
    letters = [
        item
        for item in items
        if item["payload"]["channel"] in ("email", "app") and "due_in_s" not in item
    ]
    by_words = [item for item in letters if caught[item["key"]]]
    assert len(by_words) >= 6
    assert len([item for item in by_words if item["label"]["urgency"] != "high"]) <= 1


@pytest.mark.parametrize(
    "said",
    [
        "URGENT: where is it?",
        "Needed Friday",
        "I need it Today",
        "Bitte HEUTE noch",
        "Stop the return!",
    ],
)
def test_words_of_urgency_count_in_any_case(said: str) -> None:
    program = cel.compile(sample_workloads()["tickets"]["urgent_when"])
    item = {"payload": {"text": said, "channel": "email"}, "consumer": "support-desk"}
    assert program.execute(context(item)) is True
    assert program.execute(context({**item, "consumer": "weekly-digest"})) is False


@pytest.mark.parametrize("said", ["A papaya!", "Yesterday it worked", "I can unlock it myself"])
def test_urgent_words_inside_other_words_do_not_count(said: str) -> None:
    program = cel.compile(sample_workloads()["tickets"]["urgent_when"])
    assert (
        program.execute(context({"payload": {"text": said}, "consumer": "support-desk"})) is False
    )


def test_late_data_amends_real_time_items_and_changes_their_labels() -> None:
    for name, late in sample_amendments().items():
        workload, items = (
            sample_workloads()[name],
            {item["key"]: item for item in sample_items(name)},
        )
        urgent = cel.compile(workload["urgent_when"])
        assert workload["mode"] == "lambda"
        for each in late:
            before = items[each["key"]]
            assert urgent.execute(context(before)) is True
            assert each["payload"]["text"].startswith(before["payload"]["text"])
            assert each["label"] != before["label"]
            assert all(value in enums(workload)[field] for field, value in each["label"].items())


def test_appeals_may_wait_for_a_batch_and_have_keys_of_their_own() -> None:
    for name, appeals in sample_appeals().items():
        workload, keys = sample_workloads()[name], {item["key"] for item in sample_items(name)}
        assert workload["split_percent"] == 0
        for each in appeals:
            rules = (cel.compile(workload[rule]) for rule in ("urgent_when", "batch_when"))
            assert [rule.execute(context({**each, "due_in_s": 26.0})) for rule in rules] == [
                False,
                False,
            ]
            assert each["key"] not in keys


def test_the_burst_of_comments_fills_several_calls() -> None:
    workload, items = sample_workloads()["moderation"], sample_items("moderation")
    burst = [item for item in items if item["consumer"] == "page"]
    assert workload["buffer_s"] > 0
    assert len(burst) >= 4 * workload["realtime_pack"] > 4
    assert 1 < len(items) - len(burst) <= workload["batch_pack"]


def test_the_ticket_rules_are_false_for_a_payload_without_text() -> None:
    workload = sample_workloads()["tickets"]
    bare = {"payload": {}, "age_s": 0.0, "due_in_s": None}
    for rule in ("urgent_when", "batch_when"):
        for consumer in (None, "support-desk"):
            assert cel.compile(workload[rule]).execute({**bare, "consumer": consumer}) is False


def test_some_customers_write_two_to_five_messages() -> None:
    customers = [item["entity"] for item in sample_items("tickets")]
    returning = {customer for customer in customers if customers.count(customer) > 1}
    assert len(returning) >= 5
    assert all(customers.count(customer) <= 5 for customer in returning)

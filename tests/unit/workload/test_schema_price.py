"""Checks of answers and inputs: a limited number of steps for any schema and any answer."""

from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given

from lanes.errors import SpecInvalid
from lanes.workload import answer_check
from lanes.workload.answer_check import MOST_STEPS, AnswerCheck, SchemaCosts, check_affordable
from lanes.workload.definition import content_hash
from lanes.workload.schemas import SchemaFault, check_input_price
from tests.examples import spec
from tests.unit.strategies import any_json

DOUBLING = {
    "type": "object",
    "properties": {"x": {"$ref": "#/$defs/a"}},
    "$defs": {
        "a": {"anyOf": [{"$ref": "#/$defs/b"}, {"$ref": "#/$defs/b"}]},
        "b": {
            "type": "object",
            "properties": {"x": {"$ref": "#/$defs/a"}},
            "additionalProperties": False,
        },
    },
}
TREE = {
    "type": "object",
    "properties": {"root": {"$ref": "#/$defs/node"}},
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "left": {"$ref": "#/$defs/node"},
                "right": {"$ref": "#/$defs/node"},
            },
            "additionalProperties": False,
        }
    },
}
SOUND: list[dict[str, Any]] = [
    {},
    {"type": "object"},
    {
        "type": "object",
        "properties": {"text": {"type": ["string", "null"], "description": "x"}},
        "required": ["text"],
    },
    {
        "type": "object",
        "properties": {"pattern": {"type": "string"}},
        "additionalProperties": False,
    },
    {
        "type": "object",
        "properties": {"tags": {"type": "array", "items": {"enum": ["$ref"]}}},
        "$comment": "x",
    },
]
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"type": "array"}, "the root must have"),
    ({"properties": {"text": {"type": "string"}}}, "the root must have"),
    ({"type": "object", "required": "text"}, "not of type 'array'"),
    (
        {"type": "object", "properties": {"text": {"pattern": "a+"}}},
        r'"pattern" is not checked at the doors; .*perties/text',
    ),
    ({"type": "object", "properties": {"text": {"$ref": "#"}}}, r'"\$ref" is not checked'),
    ({"type": "object", "anyOf": [{"required": ["a"]}]}, '"anyOf" is not checked'),
    ({"type": "object", "properties": {"text": True}}, "write a schema instead of true"),
    (
        {"type": "object", "additionalProperties": {"type": "string"}},
        '"additionalProperties" is true or false',
    ),
]


def nested(name: str, levels: int, innermost: Any = 1) -> Any:
    value = innermost
    for _ in range(levels):
        value = {name: value}
    return value


def test_a_schema_that_doubles_its_work_with_each_level_is_not_applied_to_a_deep_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check = AnswerCheck(DOUBLING)
    assert check.first_fault(nested("x", 5, {})) is None
    monkeypatch.setattr(check, "_first", None)  # calling it would fail
    fault = check.first_fault(nested("x", 60))
    assert fault is not None
    assert "too large or too deep to be checked" in fault.message


def test_a_tree_of_many_levels_is_checked() -> None:
    check = AnswerCheck(TREE)
    assert check.first_fault({"root": nested("left", 90, {"name": "leaf"})}) is None
    fault = check.first_fault({"root": nested("left", 90, {"nam": "leaf"})})
    assert fault is not None
    assert fault.keyword == "additionalProperties"


def test_the_steps_of_a_deep_tree_are_limited_and_those_of_a_doubling_schema_are_not() -> None:
    tree, doubling = SchemaCosts(TREE), SchemaCosts(DOUBLING)
    assert tree.steps[90] < 2_000
    assert doubling.steps[30] > MOST_STEPS


def test_a_fault_that_jsonschema_does_not_word_names_its_place_and_rule() -> None:
    schema = {
        "type": "object",
        "properties": {"notes": {"type": "array", "items": {"type": "string", "maxLength": 3}}},
        "patternProperties": {"^x": {"type": "integer"}},
    }
    check = AnswerCheck(schema)
    fault = check.first_fault({"notes": ["a", "long"], "x1": 1})
    assert fault is not None
    assert (fault.path, fault.keyword, fault.value) == (("notes", 1), "maxLength", 3)
    fault = check.first_fault({"notes": [], "x1": "no"})
    assert fault is not None
    assert (fault.path, fault.keyword, fault.value) == (("x1",), "type", "integer")


def test_a_large_answer_is_judged_without_jsonschema(monkeypatch: pytest.MonkeyPatch) -> None:
    check = AnswerCheck(
        {"type": "object", "properties": {"a": {"items": {"type": "string"}, "uniqueItems": True}}}
    )
    monkeypatch.setattr(check, "_second", None)
    fault = check.first_fault({"a": [str(number) for number in range(20_000)] + ["7"]})
    assert fault is not None
    assert fault.keyword == "uniqueItems"


@pytest.mark.parametrize("wanted", ["^(a+)+$", "^(([a-z])+.)+[A-Z]([a-z])+$", "(x+x+)+y"])
def test_a_pattern_with_nested_repetition_is_checked_against_27_letters(wanted: str) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": wanted}}}
    check_affordable(schema)
    fault = AnswerCheck(schema).first_fault({"a": "a" * 27 + "!"})
    assert fault is not None
    assert fault.keyword == "pattern"


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (
            {"pattern": "^(?=a)b"},
            "refers back, which takes exponential time; write it without (at properties/a)",
        ),
        ({"pattern": r"(.)\1"}, "looks around or refers back"),
        ({"pattern": "(a{300}){300}"}, "compiles to more than 64 KiB; use smaller repetitions"),
        ({"patternProperties": {"(?!b)": {"type": "string"}}}, "looks around or refers back"),
        (
            {"enum": [str(number) for number in range(4_000)]},
            "more than 3,000 values; write a smaller schema",
        ),
        ({"$ref": "#/$defs/loop"}, "leads back to itself without going into the answer"),
    ],
)
def test_a_schema_that_cannot_be_checked_in_bounded_time_is_refused(
    rules: dict[str, Any], said: str
) -> None:
    schema = {
        "type": "object",
        "properties": {"a": rules},
        "$defs": {"loop": {"allOf": [{"$ref": "#/$defs/loop"}]}},
    }
    with pytest.raises(SchemaFault) as caught:
        check_affordable(schema)
    assert said in str(caught.value)


@given(any_json())
def test_values_are_counted_equally_with_and_without_their_levels(answer: Any) -> None:
    assert answer_check._values(answer) == answer_check._measure(answer)[0]


@pytest.mark.slow
def test_the_checker_never_reports_more_faults_than_the_computed_steps() -> None:
    """Count faults instead of time: the checker takes at most a microsecond per step, here about a hundredth of that."""
    for levels in range(1, 12):
        answer = nested("x", levels)
        faults = list(jsonschema_rs.Draft202012Validator(DOUBLING).iter_errors(answer))
        assert len(faults) <= SchemaCosts(DOUBLING).of(answer)


@pytest.mark.parametrize("schema", SOUND)
def test_an_input_schema_that_the_doors_can_check_is_published(schema: dict[str, Any]) -> None:
    assert spec(input_schema=schema).input_schema == schema


@pytest.mark.parametrize(("schema", "said"), WRONG)
def test_an_input_schema_that_the_doors_cannot_check_is_refused_with_its_place(
    schema: dict[str, Any], said: str
) -> None:
    with pytest.raises(SpecInvalid, match=said):
        spec(input_schema=schema)


def test_an_empty_input_schema_does_not_change_the_content_hash() -> None:
    assert content_hash(spec()) == content_hash(spec(input_schema={}))
    assert content_hash(spec()) != content_hash(spec(input_schema={"type": "object"}))


def test_a_schema_that_costs_the_database_too_much_is_refused_when_it_is_published() -> None:
    check_input_price(
        {"type": "object", "properties": {"a": {"enum": [str(number) for number in range(500)]}}}
    )
    with pytest.raises(
        SchemaFault, match='"enum" has more than 500 values; say them in the instructions instead'
    ):
        check_input_price(
            {
                "type": "object",
                "properties": {"a": {"enum": [str(number) for number in range(501)]}},
            }
        )

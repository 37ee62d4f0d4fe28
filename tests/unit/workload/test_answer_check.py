"""What is let through at once is what `jsonschema` takes, and the plain schemas are let through at once."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from lanes.workload.answer_check import AnswerCheck, sure_check
from tests.examples import SCHEMA
from tests.unit.strategies import any_json

NAMES = st.sampled_from(["a", "b", "c"])
SIZE = st.integers(0, 3)
BOUND = st.integers(-2, 3) | st.floats(-2, 3)
RULES: dict[str, st.SearchStrategy[Any]] = {
    "type": st.sampled_from(["object", "array", "string", "boolean", "null", "integer", "number"]),
    "enum": st.lists(st.sampled_from(["a", "b", "", 1, True, None]), max_size=3),
    "required": st.lists(NAMES, max_size=2, unique=True),
    "additionalProperties": st.booleans(),
    "minLength": SIZE, "maxLength": SIZE, "minItems": SIZE, "maxItems": SIZE,
    "minimum": BOUND, "maximum": BOUND, "exclusiveMinimum": BOUND, "exclusiveMaximum": BOUND,
    "format": st.sampled_from(["date", "email"]), "pattern": st.just("^a"), "const": st.just("a"), "uniqueItems": st.just(True),
}  # fmt: skip
PLAIN = st.fixed_dictionaries({}, optional=RULES)
SCHEMAS = st.recursive(
    PLAIN,
    lambda inner: (
        st.builds(lambda of, **rules: of | rules, PLAIN, properties=st.dictionaries(NAMES, inner, max_size=3), items=inner)
        | st.builds(lambda properties: {"type": "object", "properties": properties}, st.dictionaries(NAMES, inner, max_size=3))
    ),
    max_leaves=4,
)
TEXTS = NAMES | st.sampled_from(["", "aaaa", "2026-02-31"])
ANSWERS = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 4) | st.floats(-3, 4) | st.sampled_from([1.0, 10**400]) | TEXTS,
    lambda each: st.lists(each, max_size=3) | st.dictionaries(NAMES, each, max_size=3),
)


@given(SCHEMAS, st.lists(ANSWERS | any_json(TEXTS), min_size=1, max_size=8))
def test_what_is_let_through_at_once_satisfies_the_schema(schema: dict[str, Any], answers: list[Any]) -> None:
    check = sure_check(schema)
    if check is not None:
        assert all(Draft202012Validator(schema).is_valid(answer) for answer in answers if check(answer))


@given(SCHEMAS, ANSWERS)
def test_the_first_fault_is_the_one_that_jsonschema_names(schema: dict[str, Any], answer: Any) -> None:
    first = next(iter(Draft202012Validator(schema).iter_errors(answer)), None)
    found = AnswerCheck(schema).first_fault(answer)
    assert (found and (found.message, found.absolute_path)) == (first and (first.message, first.absolute_path))


ORDER = {
    "type": "object",
    "properties": {
        "id": {"type": "integer", "minimum": 1, "description": "its number"},
        "total": {"type": "number"},
        "lines": {"type": "array", "items": {"type": "string", "maxLength": 9}, "minItems": 1},
        "paid": {"type": "boolean"},
        "day": {"type": "string", "format": "date"},
    },
    "required": ["id", "lines"],
}


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        (SCHEMA, {"category": "a", "note": "ok"}),
        (ORDER, {"id": 7, "total": 1.5, "lines": ["one"], "paid": True, "day": "today"}),
    ],
)
def test_a_right_answer_to_a_plain_schema_is_let_through_at_once(schema: dict[str, Any], answer: Any) -> None:
    check = sure_check(schema)
    assert check is not None
    assert check(answer)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"type": "string"}}},
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "^a"}}},
        {"properties": {"a": {"type": "string"}}},
        {"type": ["object", "null"]}, {"type": "string", "enum": [1]},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "string", "minLength": True}, {"type": "object", "required": "a"}, {"type": "array", "items": False}, True,
    ],
)  # fmt: skip
def test_a_schema_with_other_rules_is_left_to_jsonschema(schema: Any) -> None:
    assert sure_check(schema) is None

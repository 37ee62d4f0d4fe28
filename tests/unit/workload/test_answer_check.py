"""Checks of answers: they agree with `jsonschema` except where `jsonschema` deviates from the standard."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from lanes.workload.answer_check import AnswerCheck
from tests.examples import SCHEMA
from tests.unit.strategies import any_json

NAMES = st.sampled_from(["a", "b", "c"])
SIZE = st.integers(0, 3)
BOUND = st.integers(-2, 3) | st.floats(-2, 3)
VALUES = st.sampled_from(["a", "b", "", 1, 1.0, 0, True, False, None, [], [1], {}, {"a": 1.0}])
RULES: dict[str, st.SearchStrategy[Any]] = {
    "type": st.sampled_from(
        ["object", "array", "string", "boolean", "null", "integer", "number", ["object", "null"]]
    ),
    "enum": st.lists(VALUES, max_size=3),
    "const": VALUES,
    "required": st.lists(NAMES, max_size=2, unique=True),
    "dependentRequired": st.just({"a": ["b"]}),
    "additionalProperties": st.booleans(),
    "unevaluatedProperties": st.booleans(),
    "minProperties": SIZE,
    "maxProperties": SIZE,
    "minLength": SIZE,
    "maxLength": SIZE,
    "minItems": SIZE,
    "maxItems": SIZE,
    "uniqueItems": st.booleans(),
    "minimum": BOUND,
    "maximum": BOUND,
    "exclusiveMinimum": BOUND,
    "exclusiveMaximum": BOUND,
    "multipleOf": st.sampled_from([1, 2, 3, 0.5]),
    "pattern": st.sampled_from(["^a", "^[a-c]+", "\\d", "(a|b)b*"]),
    "format": st.sampled_from(["date", "email"]),
    "$ref": st.just("#/$defs/text"),
    "title": st.just("of it"),
}
PLAIN = st.fixed_dictionaries({}, optional=RULES)
PARTS = st.recursive(
    PLAIN | st.booleans(),
    lambda inner: st.builds(
        lambda of, more: of | more,
        PLAIN,
        st.fixed_dictionaries(
            {},
            optional={
                "properties": st.dictionaries(NAMES, inner, max_size=3),
                "items": inner,
                "additionalProperties": inner,
                "prefixItems": st.lists(inner, min_size=1, max_size=2),
                "contains": inner,
                "propertyNames": inner,
                "not": inner,
                "anyOf": st.lists(inner, min_size=1, max_size=2),
                "oneOf": st.lists(inner, min_size=1, max_size=2),
                "allOf": st.lists(inner, min_size=1, max_size=2),
                "if": inner,
                "then": inner,
                "else": inner,
            },
        ),
    ),
    max_leaves=4,
)
SCHEMAS = PARTS.map(lambda part: {"allOf": [part], "$defs": {"text": {"type": "string"}}})
TEXTS = NAMES | st.sampled_from(["", "aaaa", "2026-02-31", "7"])
NUMBERS = st.integers(-3, 4) | st.floats(-3, 4) | st.sampled_from([1.0, 2**63, -(2**64), 10**400])
ANSWERS = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda each: st.lists(each, max_size=3) | st.dictionaries(NAMES, each, max_size=3),
)


@pytest.mark.slow
@given(SCHEMAS, ANSWERS | any_json(TEXTS))
def test_the_first_fault_is_the_one_that_jsonschema_names(
    schema: dict[str, Any], answer: Any
) -> None:
    try:
        first = next(iter(Draft202012Validator(schema).iter_errors(answer)), None)
    except OverflowError:  # jsonschema divides a number beyond all floats
        return
    found = AnswerCheck(schema).first_fault(answer)
    assert (found and (found.message, found.path)) == (
        first and (first.message, tuple(first.absolute_path))
    )


ORDER = {
    "type": "object",
    "properties": {
        "id": {"type": "integer", "minimum": 1, "description": "its number"},
        "total": {"type": "number", "multipleOf": 0.01},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}, "minItems": 1},
        "paid": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
        "day": {"type": "string", "format": "date", "pattern": "^[^\\W_]+$"},
    },
    "required": ["id", "lines"],
    "$defs": {"line": {"type": "string", "maxLength": 9}},
}


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        (SCHEMA, {"category": "a", "note": "ok"}),
        (ORDER, {"id": 7, "total": 0.07, "lines": ["one"], "paid": None, "day": "today"}),
    ],
)
def test_a_valid_answer_never_reaches_jsonschema(
    schema: dict[str, Any], answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Draft202012Validator, "iter_errors", None)
    assert AnswerCheck(schema).first_fault(answer) is None


@pytest.mark.parametrize("wanted", ["(?P<twice>a)(?P=twice)", "^(?=.*a)b", "(a{200}){200}", "("])
def test_a_stored_schema_with_a_pattern_that_is_not_linear_accepts_no_answer_and_says_why(
    wanted: str,
) -> None:
    fault = AnswerCheck({"type": "object", "properties": {"a": {"pattern": wanted}}}).first_fault(
        {"a": "aa"}
    )
    assert fault is not None
    assert "the schema cannot be checked in bounded time (the pattern" in fault.message


@pytest.mark.parametrize(
    ("rules", "value"),
    [
        ({"multipleOf": 0.1}, 0.3),  # floats do not divide evenly, decimals do
        ({"multipleOf": 0.1}, 10**400),
        ({"pattern": "^\\D$"}, "\N{ARABIC-INDIC DIGIT THREE}"),  # \d, \w and \s match only ASCII
        ({"pattern": "^\\W$"}, "\N{LATIN SMALL LETTER E WITH ACUTE}"),
    ],
)
def test_an_answer_that_is_valid_by_the_standard_is_accepted(
    rules: dict[str, Any], value: Any
) -> None:
    assert (
        AnswerCheck({"type": "object", "properties": {"a": rules}}).first_fault({"a": value})
        is None
    )


@pytest.mark.parametrize(
    ("rules", "value"),
    [({"pattern": "^a$"}, "a\n"), ({"pattern": "^\\d$"}, "\N{ARABIC-INDIC DIGIT THREE}")],
)
def test_a_pattern_is_matched_as_the_standard_says(rules: dict[str, Any], value: Any) -> None:
    fault = AnswerCheck({"type": "object", "properties": {"a": rules}}).first_fault({"a": value})
    assert fault is not None
    assert (fault.path, fault.keyword, fault.value) == (("a",), "pattern", rules["pattern"])


def test_a_schema_with_a_remote_reference_cannot_be_checked() -> None:
    check = AnswerCheck({"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:9/a"}}})
    fault = check.first_fault({"a": 1})
    assert fault is not None
    assert "cannot be checked" in fault.message

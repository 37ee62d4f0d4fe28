"""Schemas that can be published: exactly those that a request can carry, compared with the conversion of the SDK."""

from typing import Any

import pytest
from anthropic import transform_schema
from hypothesis import assume, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from lanes.provider.requests import Question, parameters
from lanes.words import Lane
from lanes.workload.schemas import check_askable, check_output_schema, self_contained
from tests.examples import version

values = (
    st.none()
    | st.booleans()
    | st.integers(0, 3)
    | st.sampled_from(["a", "b"])
    | st.just([1])
    | st.just({"a": 1})
)
types = st.sampled_from(
    ["object", "array", "string", "integer", "null", ["string", "null"], ["object"]]
)


REFERENCES = st.sampled_from(
    ["#", "#/$defs/other", "#/properties/x", "#/properties/x/not", "#/properties/y/items"]
)


def larger(part: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some, named = (
        st.lists(part, min_size=1, max_size=2),
        st.dictionaries(st.sampled_from(["x", "y"]), part, max_size=2),
    )
    enum = st.lists(values, min_size=1, max_size=2)
    fields = {
        "type": types,
        "properties": named,
        "items": part,
        "anyOf": some,
        "oneOf": some,
        "allOf": some,
        "enum": enum,
        "const": values,
        "$defs": named,
        "$ref": REFERENCES,
        "not": part,
        "description": st.just("d"),
    }
    return st.fixed_dictionaries({}, optional=fields)


parts = st.recursive(st.booleans() | st.fixed_dictionaries({"type": types}), larger, max_leaves=6)


def raises(check: Any, schema: dict[str, Any]) -> bool:
    try:
        check(schema)
    except Exception:
        return True
    return False


@given(st.dictionaries(st.sampled_from(["x", "y"]), parts, min_size=1, max_size=2), parts)
def test_a_schema_can_be_published_if_and_only_if_it_can_be_sent(
    properties: dict[str, Any], other: Any
) -> None:
    schema = {"type": "object", "properties": properties, "$defs": {"other": other}}
    assume(not raises(check_output_schema, schema))
    assert raises(check_askable, schema) == raises(
        lambda each: transform_schema(self_contained(each)), schema
    )


OBJECT = {"type": "object", "additionalProperties": False}
NODE = {
    **OBJECT,
    "properties": {
        "name": {"type": "string"},
        "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
    },
}
REFERRING: dict[str, dict[str, Any]] = {
    "the root itself": NODE,
    "a property": {
        **OBJECT,
        "properties": {"a": {"type": "integer"}, "b": {"$ref": "#/properties/a"}},
    },
    "a part that recurs": {
        **OBJECT,
        "properties": {
            "tree": {
                **OBJECT,
                "properties": {"left": {"$ref": "#/properties/tree"}, "leaf": {"type": "integer"}},
            }
        },
    },
    "a definition": {
        **OBJECT,
        "properties": {"a": {"$ref": "#/$defs/number"}},
        "$defs": {"number": {"type": "integer"}},
    },
    "a definition of a definition": {
        **OBJECT,
        "properties": {"a": {"$ref": "#/$defs/one"}},
        "$defs": {
            "one": {**OBJECT, "properties": {"b": {"$ref": "#/$defs/two"}}},
            "two": {"type": "integer"},
        },
    },
    "a name with a slash": {
        **OBJECT,
        "properties": {"a": {"$ref": "#/$defs/x~1y"}},
        "$defs": {"x/y": {"type": "integer"}},
    },
    "a name with a tilde": {
        **OBJECT,
        "properties": {"a": {"$ref": "#/$defs/x~0y"}},
        "$defs": {"x~y": {"type": "integer"}},
    },
    "a name with percents": {
        **OBJECT,
        "properties": {"a b": {"type": "integer"}, "c": {"$ref": "#/properties/a%20b"}},
    },
    "a keyword that is not sent": {
        **OBJECT,
        "properties": {"a": {"$ref": "#/definitions/number"}},
        "definitions": {"number": {"type": "integer"}},
    },
    "a keyword that is renamed": {
        **OBJECT,
        "properties": {
            "a": {"oneOf": [{"type": "integer"}]},
            "b": {"$ref": "#/properties/a/oneOf/0"},
        },
    },
    "an anchor": {
        **OBJECT,
        "properties": {"a": {"$ref": "#here"}},
        "$defs": {"n": {"type": "integer", "$anchor": "here"}},
    },
    "a name that is taken": {
        **OBJECT,
        "properties": {
            "a": {"type": "integer"},
            "b": {"$ref": "#/properties/a"},
            "c": {"$ref": "#/$defs/part1"},
        },
        "$defs": {"part1": {"type": "string"}},
    },
    "a property that is called like a reference": {
        **OBJECT,
        "properties": {"$ref": {"type": "integer"}, "b": {"$ref": "#/properties/$ref"}},
    },
}


@pytest.mark.parametrize("questions", [1, 2])
@pytest.mark.parametrize("name", REFERRING)
def test_a_reference_keeps_its_meaning_in_a_single_request_and_in_a_pack(
    name: str, questions: int
) -> None:
    schema = REFERRING[name]
    asked = [Question(str(number), {"text": "x"}) for number in range(questions)]
    sent = parameters(version(output_schema=schema), Lane.BATCH, asked)["output_config"]["format"][
        "schema"
    ]
    answers = (
        {each: value}
        for each in schema["properties"]
        for value in (1, "one", None, {"left": {"leaf": "x"}}, {})
    )
    for answer in ({}, *answers):
        given = {"answers": [{"id": "0", "answer": answer}]} if questions > 1 else answer
        assert Draft202012Validator(sent).is_valid(given) == Draft202012Validator(schema).is_valid(
            answer
        ), answer

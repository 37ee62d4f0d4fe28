"""A schema is published exactly if a request can carry it: compared with what the SDK makes of it."""

from typing import Any

from anthropic import transform_schema
from hypothesis import assume, given
from hypothesis import strategies as st

from lanes.workload.output_schema import check_askable, check_output_schema

values = st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["a", "b"]) | st.just([1]) | st.just({"a": 1})
types = st.sampled_from(["object", "array", "string", "integer", "null", ["string", "null"], ["object"]])


def larger(part: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some, named = st.lists(part, min_size=1, max_size=2), st.dictionaries(st.sampled_from(["x", "y"]), part, max_size=2)
    enum = st.lists(values, min_size=1, max_size=2)
    fields = {
        "type": types, "properties": named, "items": part, "anyOf": some, "oneOf": some, "allOf": some, "enum": enum,
        "const": values, "$defs": named, "$ref": st.just("#"), "not": part, "description": st.just("d"),
    }  # fmt: skip
    return st.fixed_dictionaries({}, optional=fields)


parts = st.recursive(st.booleans() | st.fixed_dictionaries({"type": types}), larger, max_leaves=6)


def raises(check: Any, schema: dict[str, Any]) -> bool:
    try:
        check(schema)
    except Exception:
        return True
    return False


@given(st.dictionaries(st.sampled_from(["x", "y"]), parts, min_size=1, max_size=2), parts)
def test_a_schema_can_be_published_exactly_if_it_can_be_sent(properties: dict[str, Any], other: Any) -> None:
    schema = {"type": "object", "properties": properties, "$defs": {"other": other}}
    assume(not raises(check_output_schema, schema))
    assert raises(check_askable, schema) == raises(transform_schema, schema)

"""Columns for the fields of an output, by its schema; no field is lost."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.report.listing import OutputColumns


def schema(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


TEXT = {"type": "string"}
ADDRESS = schema(city=TEXT, zip=TEXT)


def test_each_schema_field_is_a_column_and_fields_of_an_object_have_its_name_as_prefix() -> None:
    columns = OutputColumns(
        [schema(category=TEXT, address=ADDRESS, tags={"type": "array", "items": TEXT})]
    )
    assert columns.names == ["category", "address.city", "address.zip", "tags"]
    output = {"tags": ["x", "y"], "address": {"city": "Bonn", "zip": "53111"}, "category": "a"}
    assert columns.cells(output) == ["a", "Bonn", "53111", ["x", "y"]]
    assert columns.rest(output) == {}


def test_a_missing_field_of_an_output_is_an_empty_cell() -> None:
    columns = OutputColumns([schema(category=TEXT, address=ADDRESS)])
    for output in ({}, {"category": None, "address": None}, {"address": {}}):
        assert columns.cells(output) == [None, None, None]
        assert columns.rest(output) == {}


def test_fields_that_the_schema_does_not_name_are_returned_as_the_rest() -> None:
    columns = OutputColumns([schema(category=TEXT, address=ADDRESS)])
    output = {"category": "a", "why": "it says so", "address": {"city": "Bonn", "floor": 2}}
    assert columns.rest(output) == {"why": "it says so", "address": {"floor": 2}}
    assert columns.rest({"address": "Bonn"}) == {"address": "Bonn"}


def test_fields_of_earlier_versions_follow_the_fields_of_the_current_version() -> None:
    columns = OutputColumns(
        [schema(category=TEXT, address=ADDRESS), schema(topic=TEXT, category=TEXT, address=TEXT)]
    )
    assert columns.names == ["category", "address.city", "address.zip", "topic", "address"]
    assert columns.cells({"address": {"city": "Bonn"}}) == [None, "Bonn", None, None, None]
    assert columns.cells({"address": "Bonn"}) == [None, None, None, None, "Bonn"]
    assert columns.rest({"address": "Bonn"}) == {}


@pytest.mark.parametrize(
    "field",
    [
        {"$ref": "#/$defs/address"},
        {"anyOf": [{"$ref": "#/$defs/address"}, {"type": "null"}]},
        {"oneOf": [{"type": "null"}, ADDRESS]},
    ],
)
def test_a_reference_is_resolved_and_a_nullable_field_has_the_columns_of_its_other_type(
    field: dict[str, Any],
) -> None:
    assert OutputColumns([{**schema(address=field), "$defs": {"address": ADDRESS}}]).names == [
        "address.city",
        "address.zip",
    ]


def test_a_recursive_schema_ends_and_a_field_of_several_types_is_one_column() -> None:
    node = schema(name=TEXT, next={"$ref": "#/$defs/node"})
    columns = OutputColumns(
        [
            {
                **schema(first={"$ref": "#/$defs/node"}, either={"anyOf": [TEXT, ADDRESS]}),
                "$defs": {"node": node},
            }
        ]
    )
    assert columns.names == ["first.name", "first.next", "either"]


def test_a_name_with_a_dot_in_it_is_quoted() -> None:
    columns = OutputColumns([{"type": "object", "properties": {"a.b": TEXT, "a": schema(b=TEXT)}}])
    assert columns.names == ['"a.b"', "a.b"]
    assert columns.cells({"a.b": "1", "a": {"b": "2"}}) == ["1", "2"]


NAMES = st.sampled_from(["a", "b", "c"])
SCHEMAS = st.recursive(
    st.just(TEXT),
    lambda inner: st.dictionaries(NAMES, inner, min_size=1).map(lambda fields: schema(**fields)),
    max_leaves=6,
)
OUTPUTS = st.recursive(st.integers(), lambda inner: st.dictionaries(NAMES, inner), max_leaves=6)


def put(into: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        into = into.setdefault(name, {})
    into[path[-1]] = value


@pytest.mark.slow
@given(
    schemas=st.lists(
        st.dictionaries(NAMES, SCHEMAS, min_size=1).map(lambda fields: schema(**fields)),
        min_size=1,
        max_size=2,
    ),
    output=st.dictionaries(NAMES, OUTPUTS),
)
def test_the_cells_and_the_rest_together_are_the_whole_output(
    schemas: list[dict[str, Any]], output: dict[str, Any]
) -> None:
    columns = OutputColumns(schemas)
    again = columns.rest(output)
    for path, value in zip(columns.paths, columns.cells(output), strict=True):
        if value is not None:
            put(again, path, value)
    assert without_empty(again) == without_empty(output)


def without_empty(value: Any) -> Any:
    """Return the value without empty objects, which no cell can show."""
    if not isinstance(value, dict):
        return value
    kept = {name: without_empty(each) for name, each in value.items()}
    return {name: each for name, each in kept.items() if each != {}}

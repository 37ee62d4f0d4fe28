"""Which schemas a workload may have for its inputs."""

from typing import Any

import pytest

from lanes.errors import SpecInvalid
from lanes.workload.definition import content_hash
from lanes.workload.schemas import SchemaFault, check_input_price
from tests.examples import spec

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


@pytest.mark.parametrize("schema", SOUND)
def test_what_the_doors_can_check_is_published(schema: dict[str, Any]) -> None:
    assert spec(input_schema=schema).input_schema == schema


@pytest.mark.parametrize(("schema", "said"), WRONG)
def test_what_the_doors_cannot_check_is_refused_with_its_place(
    schema: dict[str, Any], said: str
) -> None:
    with pytest.raises(SpecInvalid, match=said):
        spec(input_schema=schema)


def test_a_version_from_before_input_schemas_is_known_again() -> None:
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

"""The differences between two definitions, field by field, without false differences."""

from typing import Any

import pytest
from hypothesis import example, given
from rich.text import Text

from lanes.commands.publish import MOST_LINES
from lanes.commands.publish import difference_lines as lines
from lanes.workload.definition import (
    ABSENT,
    BlockState,
    FieldDifference,
    beyond_defaults,
    compare,
    content_hash,
    differences,
)
from lanes.workload.version import Spec, Version
from tests.examples import SCHEMA, spec, version
from tests.unit.strategies import some_json


def with_default(value: Any) -> Spec:
    return spec(
        output_schema={"type": "object", "properties": {"a": {"type": "object", "default": value}}}
    )


def as_stored(value: Any) -> Any:
    """Return the same JSON with every whole number as an integer."""
    if isinstance(value, dict):
        return {key: as_stored(each) for key, each in value.items()}
    if isinstance(value, list):
        return [as_stored(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def shown(*found: FieldDifference) -> list[str]:
    return [line.plain for line in lines(found) if isinstance(line, Text)]


def test_each_field_and_each_part_of_the_schema_and_promises_is_a_separate_difference() -> None:
    schema = {
        **SCHEMA,
        "properties": {"category": {"type": "string", "enum": ["b"]}, "n": {"type": "integer"}},
    }
    changed = spec(patience_s=5, output_schema=schema, promises={"realtime_p95_s": 3})
    assert differences(spec(), changed) == [
        FieldDifference("output_schema.properties.category.enum", ["a", "b"], ["b"]),
        FieldDifference("output_schema.properties.note", {"type": "string"}, ABSENT),
        FieldDifference("output_schema.properties.n", ABSENT, {"type": "integer"}),
        FieldDifference("patience_s", 60, 5),
        FieldDifference("promises.realtime_p95_s", 5.0, 3.0),
    ]


@pytest.mark.slow
@given(some_json(), some_json())
@example({"a": 1}, {"a": True})
@example({"a": [0]}, {"a": [False]})
@example({"a": {}}, {"a": []})
@example({"a": None}, {})
@example({"a": "1"}, {"a": 1})
def test_two_definitions_differ_exactly_if_their_content_does(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert bool(differences(with_default(one), with_default(other))) == (
        content_hash(with_default(as_stored(one))) != content_hash(with_default(as_stored(other)))
    )
    assert differences(with_default(one), with_default(dict(reversed(one.items())))) == []


@pytest.mark.parametrize("pair", [(1, 1.0), (1e23, 10**23), (0.5, 0.50), (10**300, 1e300)])
def test_a_number_is_the_same_in_any_notation_of_a_database(pair: tuple[Any, Any]) -> None:
    assert differences(with_default(pair[0]), with_default(pair[1])) == []


def test_a_new_definition_lists_only_the_fields_that_differ_from_their_defaults() -> None:
    own = spec(weight=3, patience_s=60, promises={"realtime_p95_s": 9, "batch_max_minutes": 120})
    said = {each.field: each.after for each in beyond_defaults(own)}
    assert said == {
        "instructions": "Sort the letter.",
        "output_schema": SCHEMA,
        "weight": 3,
        "promises.realtime_p95_s": 9.0,
    }


def test_a_text_is_compared_by_lines_and_a_list_by_added_and_removed_values() -> None:
    before, after = (
        "".join(f"{n}\n" for n in range(9)),
        "".join(f"{n}\n" for n in range(9) if n != 4) + "new\n",
    )
    assert shown(FieldDifference("instructions", before, after)) == [
        "  instructions:",
        "    ...",
        "      3",
        "    - 4",
        "      5",
        "    ...",
        "      8",
        "    + new",
    ]
    assert shown(FieldDifference("enum", ["a", "b"], ["b", "c"])) == [
        "  enum:",
        '    - "a"',
        '    + "c"',
    ]
    assert shown(FieldDifference("enum", ["a", "b"], ["b", "a"])) == [
        '  enum: ["a", "b"] -> ["b", "a"]'
    ]
    assert shown(FieldDifference("weight", 1, 2)) == ["  weight: 1 -> 2"]
    assert shown(FieldDifference("instructions", "a\n", "a")) == [
        "  instructions: the end of a line"
    ]
    assert shown(FieldDifference("x", ABSENT, "\x1b[31mred")) == ['  x: + "\\u001b[31mred"']
    long = shown(FieldDifference("enum", [], [*range(MOST_LINES + 7)]))
    assert (len(long), long[-1]) == (MOST_LINES + 2, "    ... and 7 lines more")


def data(**fields: Any) -> dict[str, Any]:
    return spec(**fields).model_dump(mode="json")


@pytest.mark.parametrize(
    ("in_force", "block", "said", "nothing"),
    [
        (version(), data(), BlockState.SAME, True),
        (version(weight=2), data(), BlockState.SAME, False),
        (version(weight=2), data(weight=2), BlockState.BEHIND, False),
        (version(), data(weight=2), BlockState.EDITED, False),
        (version(weight=2), data(weight=3), BlockState.EDITED, False),
        (version(), data() | {"weight": 900}, BlockState.INVALID, False),
        (version(), {}, BlockState.INVALID, False),
        (version(), None, BlockState.MISSING, False),
        (None, None, BlockState.MISSING, False),
        (None, data(), BlockState.SAME, False),
        (None, data(weight=2), BlockState.EDITED, False),
    ],
)
def test_nothing_differs_only_if_version_and_block_both_equal_the_definition(
    in_force: Version | None, block: dict[str, Any] | None, said: BlockState, nothing: bool
) -> None:
    found = compare("letters", spec(), in_force, block)
    assert (found.block, found.nothing_differs) == (said, nothing)

"""An input that breaks its workload's input schema is refused at every door, with the path; its neighbours are admitted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text

from lanes.doors.filedoor import Layout
from lanes.doors.item import Amendment
from lanes.store.doors import items
from lanes.store.doors.items import admit_file
from lanes.words import Lane
from tests.conftest import NOON
from tests.examples import publish, submission
from tests.store.tries import rows

SCHEMA = {
    "type": "object",
    "properties": {
        "text": {"type": "string", "minLength": 1},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}},
    },
    "required": ["text"],
    "additionalProperties": False,
}
RIGHT, WRONG = {"text": "fine"}, {"texxt": "misspelt"}
SAID = 'payload.text is missing: the input_schema of workload "letters" asks for it'


@pytest.fixture
def letters(connection: Connection) -> Connection:
    publish(connection, now=NOON, input_schema=SCHEMA)
    return connection


def by_submit(connection: Connection) -> str:
    ask = text("select lanes.submit('letters', cast(:payload as jsonb), :key)")
    wrong = connection.execute(ask, {"payload": json.dumps(WRONG), "key": "wrong"}).scalar_one()
    assert (
        connection.execute(ask, {"payload": json.dumps(RIGHT), "key": "right"}).scalar_one()
        == "accepted"
    )
    return wrong


def by_submit_item(connection: Connection) -> str:
    ask = text(
        "select told.outcome from unnest(cast(:keys as text[]), cast(:payloads as jsonb[])) given (key, payload), "
        "lanes.submit_item('letters', given.payload, given.key) told"
    )
    given = {"keys": ["right", "wrong"], "payloads": [json.dumps(RIGHT), json.dumps(WRONG)]}
    right, wrong = connection.execute(ask, given).scalars()
    assert right == "accepted"
    return wrong


def by_submit_many(connection: Connection) -> str:
    given = json.dumps([{"key": "wrong", "payload": WRONG}, {"key": "right", "payload": RIGHT}])
    ask = text(
        "select outcome, detail from lanes.submit_many('letters', cast(:rows as jsonb)) order by place"
    )
    (wrong, detail), (right, _) = connection.execute(ask, {"rows": given})
    assert detail == SAID
    assert right == "accepted"
    return wrong


def by_list(door: str) -> Callable[[Connection], str]:
    def admit(connection: Connection) -> str:
        asked = [submission("wrong", payload=WRONG), submission("right", payload=RIGHT)]
        wrong, right = items.admit(connection, asked, door=door, now=NOON)
        assert (wrong.detail, right.outcome) == (SAID, "accepted")
        return wrong.outcome

    return admit


DOORS = [by_submit, by_submit_item, by_submit_many, by_list("client"), by_list("event")]


@pytest.mark.parametrize("door", DOORS)
def test_an_input_that_breaks_the_schema_is_refused_and_its_neighbour_admitted(
    letters: Connection, door: Callable[[Connection], str]
) -> None:
    assert door(letters) == "schema_mismatch"
    assert [each.key for each in rows(letters, "item")] == ["right"]
    (refused,) = rows(letters, "rejected_log")
    assert (refused.key, refused.reason, refused.detail) == ("wrong", "schema_mismatch", SAID)
    assert json.loads(refused.content) == WRONG


def test_a_line_of_a_file_that_breaks_the_schema_is_refused(pool: Engine, tmp_path: Path) -> None:
    with pool.begin() as connection:
        publish(connection, now=NOON, input_schema=SCHEMA)
    file = tmp_path / "letters.jsonl"
    file.write_text(f"{json.dumps(WRONG)}\n{json.dumps(RIGHT)}\n")
    (told,) = admit_file(pool, file, "letters", Layout(), now=NOON)
    assert dict(told.outcomes) == {"schema_mismatch": 1, "accepted": 1}
    assert [(each.reason, each.detail) for each in told.bad] == [("schema_mismatch", SAID)]


def test_an_amendment_that_breaks_the_schema_leaves_its_item_as_it_was(letters: Connection) -> None:
    items.admit(letters, [submission("k", payload=RIGHT)], door="client", now=NOON)
    told = items.amend(letters, Amendment("letters", "k", WRONG), door="client", now=NOON)
    assert (told.outcome, told.detail) == ("schema_mismatch", SAID)
    by_sql = text("select lanes.amend('letters', 'k', cast(:wrong as jsonb))")
    assert letters.execute(by_sql, {"wrong": json.dumps(WRONG)}).scalar_one() == "schema_mismatch"
    assert [each.payload for each in rows(letters, "item")] == [RIGHT]


def test_an_input_that_an_earlier_version_admitted_is_a_duplicate_when_sent_again(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    known = [submission("known", payload=WRONG), submission("other", payload=WRONG)]
    items.admit(connection, known, door="event", now=NOON)
    late = Amendment("letters", "known", {"texxt": "late"}, "event-2")
    assert items.amend(connection, late, door="event", now=NOON).outcome == "amended"
    publish(connection, now=NOON, input_schema=SCHEMA)
    changed = submission("other", payload={"texxt": "something else"})
    again = items.admit(
        connection, [known[0], changed, submission("new", payload=WRONG)], door="event", now=NOON
    )
    assert [each.outcome for each in again] == ["duplicate", "schema_mismatch", "schema_mismatch"]
    assert by_submit_again(connection) == "duplicate"
    assert items.amend(connection, late, door="event", now=NOON).outcome == "duplicate"
    assert [each.key for each in rows(connection, "rejected_log")] == ["other", "new"]


def by_submit_again(connection: Connection) -> str:
    ask = text("select lanes.submit('letters', cast(:payload as jsonb), 'known')")
    return connection.execute(ask, {"payload": json.dumps(WRONG)}).scalar_one()


def test_only_the_valid_one_of_two_inputs_with_the_same_key_is_admitted(
    letters: Connection,
) -> None:
    asked = [submission("k", payload=WRONG), submission("k", payload=RIGHT)]
    assert [each.outcome for each in items.admit(letters, asked, door="client", now=NOON)] == [
        "schema_mismatch",
        "accepted",
    ]


def test_the_newest_version_decides_and_without_a_schema_any_payload_is_accepted(
    letters: Connection,
) -> None:
    publish(letters, now=NOON)
    (told,) = items.admit(
        letters, [submission("k", payload=WRONG, lane=Lane.BATCH)], door="client", now=NOON
    )
    assert told.outcome == "accepted"


FAULTS: list[tuple[dict[str, Any], Any, str]] = [
    ({"type": "string"}, 1, "payload must be string, not number"),
    ({"type": ["string", "null"]}, True, "payload must be string or null, not boolean"),
    ({"type": "integer"}, 1.5, "payload must be integer, not number"),
    ({"enum": ["a", 1]}, "b", "payload is none of the values in its enum"),
    ({"const": {"a": 1}}, {"a": 2}, "payload is not the value that const asks for"),
    ({"required": ["a"]}, {}, "payload.a is missing"),
    (
        {"properties": {"a": {"items": {"minLength": 2}}}},
        {"a": ["ab", "c"]},
        "payload.a[1] must have 2 characters or more",
    ),
    ({"additionalProperties": False}, {"x" * 99: 1}, f"payload.{'x' * 40} is not allowed"),
    ({"minItems": 2}, [1], "payload must have 2 elements or more"),
    ({"maxItems": 1}, [1, 2], "payload must have 1 elements or fewer"),
    ({"maxLength": 1}, "äö", "payload must have 1 characters or fewer"),
    ({"minimum": 2}, 1, "payload must be 2 or more"),
    ({"maximum": 2}, 3, "payload must be 2 or less"),
    ({"exclusiveMinimum": 2}, 2, "payload must be more than 2"),
    ({"exclusiveMaximum": 2}, 2, "payload must be less than 2"),
]


def fault(connection: Connection, schema: Any, value: Any) -> str | None:
    ask = text("select lanes.schema_fault(cast(:schema as jsonb), cast(:value as jsonb))")
    return connection.execute(
        ask, {"schema": json.dumps(schema), "value": json.dumps(value)}
    ).scalar_one()


@pytest.mark.parametrize(("schema", "value", "said"), FAULTS)
def test_a_fault_names_the_path_and_the_rule(
    connection: Connection, schema: dict[str, Any], value: Any, said: str
) -> None:
    assert fault(connection, schema, value) == said


NAMES = st.sampled_from(["a", "b"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.5, 1.0, -2.0])
    | st.sampled_from(["", "a", "ää"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=6,
)
TYPES = st.sampled_from(["object", "array", "string", "number", "integer", "boolean", "null"])
SMALL = st.integers(0, 2)


def schemas(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES | st.lists(TYPES, min_size=1, max_size=2, unique=True),
            "enum": st.lists(VALUES, min_size=1, max_size=3),
            "const": VALUES,
            "properties": st.dictionaries(NAMES, inner, max_size=2),
            "required": st.lists(NAMES, unique=True),
            "additionalProperties": st.booleans(),
            "items": inner,
            "minItems": SMALL,
            "maxItems": SMALL,
            "minLength": SMALL,
            "maxLength": SMALL,
            "minimum": SMALL,
            "maximum": SMALL,
            "exclusiveMinimum": SMALL,
            "exclusiveMaximum": SMALL,
        },
    )


SCHEMAS = st.recursive(st.fixed_dictionaries({}, optional={"type": TYPES}), schemas, max_leaves=4)


@given(schema=SCHEMAS, value=VALUES)
def test_the_database_validates_like_json_schema(
    connection: Connection, schema: dict[str, Any], value: Any
) -> None:
    right = jsonschema.Draft202012Validator(schema).is_valid(value)
    assert (fault(connection, schema, value) is None) is right

"""How large a payload is, for the database as for Python."""

import json
from typing import Any

import pytest
from sqlalchemy import Connection, literal, select
from sqlalchemy.dialects.postgresql import JSONB

from lanes import json_data
from lanes.store.payload import characters, octets


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"text": "plain"},
        {"text": 'quoted "twice"\n\t\\ and / so', "empty": ""},
        {"text": "für 🎉", "n": 12, "share": 0.25, "yes": True, "no": False, "nothing": None},
        {"nested": {"list": [1, [2, {"three": "3"}], []]}, "b": 1, "a": 2},
        {"control": "\x01\x1f\x7f"},
    ],
)
def test_the_database_counts_what_python_counts(
    connection: Connection, value: dict[str, Any]
) -> None:
    stored = literal(json.dumps(value)).cast(JSONB)
    row = connection.execute(
        select(characters(stored).label("characters"), octets(stored).label("octets"))
    ).one()
    assert row.characters == json_data.characters(value)
    assert row.octets == len(json.dumps(value, ensure_ascii=False).encode())

"""Rows that are sent as a document and arrive unchanged, whatever they contain."""

import math
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, column, literal, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError

from lanes.store.statements import Row, rows_of, split, split_records
from lanes.store.tables import attempt, correction, revision
from lanes.words import Lane, Outcome
from tests.conftest import NOON
from tests.unit.strategies import TEXT, some_json

MOMENTS = st.timedeltas(timedelta(days=-9_000), timedelta(days=9_000)).map(lambda by: NOON + by)
ATTEMPTS = st.fixed_dictionaries(
    {
        "work_id": st.integers(1, 2**63 - 1),
        "claim_no": st.integers(0, 2**31 - 1),
        "outcome": st.sampled_from(Outcome),
        "lane": st.sampled_from(Lane),
        "error": st.none() | TEXT,
        "shown": st.booleans(),
        "started_at": MOMENTS,
        "cost_usd": st.decimals(0, 10**9, places=10),
        "flow_run_id": st.none() | st.uuids(),
    }
)


def arrived(connection: Connection, table: Any, rows: list[Row]) -> list[Row]:
    return [dict(row._mapping) for row in connection.execute(select(*rows_of(table, rows).c))]


@given(rows=st.lists(ATTEMPTS, min_size=1, max_size=4))
def test_numbers_amounts_times_words_and_texts_arrive_exactly(
    connection: Connection, rows: list[Row]
) -> None:
    assert arrived(connection, attempt, rows) == rows


def together(connection: Connection, table: Any, rows: list[Row]) -> list[Row]:
    """Return the rows as they arrive when the values they have in common are sent once."""
    names = dict.fromkeys(name for row in rows for name in row)
    given = split_records([column(name, table.c[name].type) for name in names])
    return [dict(row._mapping) for row in connection.execute(given, split(rows))]


@given(
    rows=st.lists(ATTEMPTS, min_size=1, max_size=4),
    alike=st.sets(st.sampled_from(["work_id", "outcome", "error", "cost_usd"])),
)
def test_values_that_rows_have_in_common_arrive_with_each_row(
    connection: Connection, rows: list[Row], alike: set[str]
) -> None:
    rows = [{**row, **{name: rows[0][name] for name in alike}} for row in rows]
    assert together(connection, attempt, rows) == rows


def test_a_column_that_only_some_rows_have_is_null_in_the_others(connection: Connection) -> None:
    rows: list[Row] = [{"error": "a"}, {"claim_no": 1}, {"error": "a"}]
    assert together(connection, attempt, rows) == [
        {"error": None, "claim_no": None, **row} for row in rows
    ]


def test_json_values_that_python_considers_equal_remain_distinct(connection: Connection) -> None:
    rows: list[Row] = [{"payload": {"a": each}} for each in (1, True, 1.0)]
    assert [repr(row) for row in together(connection, revision, rows)] == [
        repr(row) for row in rows
    ]


@given(payloads=st.lists(some_json() | st.integers(-(10**300), 10**300), min_size=1, max_size=3))
def test_json_in_a_document_arrives_as_it_does_alone_even_beyond_64_bits(
    connection: Connection, payloads: list[Any]
) -> None:
    alone = [connection.execute(select(literal(each, JSONB))).scalar_one() for each in payloads]
    assert [
        row["payload"]
        for row in arrived(connection, revision, [{"payload": each} for each in payloads])
    ] == alone


def test_lists_arrive_as_lists(connection: Connection) -> None:
    rows: list[Row] = [
        {"changed_fields": ["a", 'b"c\\,{}', ""], "distance": 0.1},
        {"changed_fields": [], "distance": math.pi},
    ]
    assert arrived(connection, correction, rows) == rows


def test_a_time_of_another_zone_arrives_as_the_same_moment(connection: Connection) -> None:
    there = NOON.astimezone(ZoneInfo("Asia/Kathmandu"))
    assert arrived(connection, attempt, [{"started_at": there}]) == [{"started_at": NOON}]


@pytest.mark.parametrize("text", ["a\x00b", "\ud800"])
def test_text_that_postgres_cannot_store_is_refused(connection: Connection, text: str) -> None:
    with pytest.raises((DBAPIError, UnicodeEncodeError)):
        arrived(connection, attempt, [{"error": text}])


def test_a_value_that_a_document_cannot_represent_is_refused(connection: Connection) -> None:
    with pytest.raises(TypeError, match="a value of the type bytes cannot travel"):
        arrived(connection, attempt, [{"error": b"x"}])

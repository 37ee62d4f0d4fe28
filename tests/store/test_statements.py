"""Rows that travel as a document arrive as they were, whatever they hold."""

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
def test_numbers_money_moments_words_and_texts_are_exact(
    connection: Connection, rows: list[Row]
) -> None:
    assert arrived(connection, attempt, rows) == rows


def together(connection: Connection, table: Any, rows: list[Row]) -> list[Row]:
    """As they arrive where what they say alike travels once."""
    names = dict.fromkeys(name for row in rows for name in row)
    given = split_records([column(name, table.c[name].type) for name in names])
    return [dict(row._mapping) for row in connection.execute(given, split(rows))]


@given(
    rows=st.lists(ATTEMPTS, min_size=1, max_size=4),
    alike=st.sets(st.sampled_from(["work_id", "outcome", "error", "cost_usd"])),
)
def test_what_rows_say_alike_arrives_with_each_of_them(
    connection: Connection, rows: list[Row], alike: set[str]
) -> None:
    rows = [{**row, **{name: rows[0][name] for name in alike}} for row in rows]
    assert together(connection, attempt, rows) == rows


def test_what_only_some_rows_name_is_null_in_the_others(connection: Connection) -> None:
    rows: list[Row] = [{"error": "a"}, {"claim_no": 1}, {"error": "a"}]
    assert together(connection, attempt, rows) == [
        {"error": None, "claim_no": None, **row} for row in rows
    ]


def test_json_is_never_alike_because_python_takes_one_for_true(connection: Connection) -> None:
    rows: list[Row] = [{"payload": {"a": each}} for each in (1, True, 1.0)]
    assert [repr(row) for row in together(connection, revision, rows)] == [
        repr(row) for row in rows
    ]


@given(payloads=st.lists(some_json() | st.integers(-(10**300), 10**300), min_size=1, max_size=3))
def test_json_arrives_as_it_does_by_itself_numbers_beyond_64_bits_included(
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


def test_a_moment_of_another_zone_is_the_same_moment(connection: Connection) -> None:
    there = NOON.astimezone(ZoneInfo("Asia/Kathmandu"))
    assert arrived(connection, attempt, [{"started_at": there}]) == [{"started_at": NOON}]


@pytest.mark.parametrize("text", ["a\x00b", "\ud800"])
def test_text_that_postgres_does_not_take_is_refused(connection: Connection, text: str) -> None:
    with pytest.raises((DBAPIError, UnicodeEncodeError)):
        arrived(connection, attempt, [{"error": text}])


def test_what_has_no_form_in_a_document_is_refused(connection: Connection) -> None:
    with pytest.raises(TypeError, match="a value of the type bytes cannot travel"):
        arrived(connection, attempt, [{"error": b"x"}])

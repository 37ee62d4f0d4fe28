"""What SQL reads of a version stands in columns: of one that is published, and of one from before there were any."""

import json
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, inspect, text

from lanes.store import schema
from lanes.store.tables import SCHEMA as LANES
from lanes.store.workload import workloads
from lanes.workload.version import Spec, Version
from tests.conftest import NOON
from tests.examples import SCHEMA, publish, spec
from tests.store.older import as_migrated_to
from tests.store.tries import row

OTHERWISE = {
    "mode": "lambda",
    "realtime_model": "claude-opus-5-5",
    "batch_model": "claude-sonnet-5-5",
    "max_failures": 7,
    "give_up_after_h": 3,
    "batch_expected_minutes": 77,
    "confidence": 0.8,
    "compare_fields": ["category"],
    "dedupe": "content",
    "max_payload_kib": 9,
    "announces": "summary",
    "promises": {"realtime_p95_s": 2.5},
    "input_schema": {"type": "object", "required": ["text"]},
}
NEWER = ("announces", "confidence", "input_schema")
FIRST = {
    field: value for field, value in OTHERWISE.items() if field not in NEWER
}  # what a release before them published
BARE = {"instructions": "Sort.", "output_schema": SCHEMA}
BROKEN = {
    "mode": "sideways",
    "realtime_model": 5,
    "batch_model": None,
    "max_failures": "many",
    "give_up_after_h": 1.5,
    "batch_expected_minutes": 1e99,
    "compare_fields": "category",
    "dedupe": ["key"],
    "max_payload_kib": {},
    "promises": {"realtime_p95_s": "NaN"},
}


def columns(connection: Connection, of: str) -> dict[str, Any]:
    """What stands of the workload's version beside its spec."""
    own = {"id", "workload", "number", "hash", "spec", "published_at"}
    return {
        name: value
        for name, value in row(connection, "version", workload=of)._mapping.items()
        if name not in own
    }


def said(of: Spec) -> dict[str, Any]:
    """The same as the spec says it."""
    names = [*OTHERWISE.keys() - {"promises"}, "realtime_p95_s"]
    said = {name: getattr(of.promises if name == "realtime_p95_s" else of, name) for name in names}
    return {**said, "input_schema": of.input_schema or None}


@pytest.fixture
def before(pool: Engine) -> Engine:
    """The database as it was when a version had no columns for SQL."""
    with pool.begin() as connection:
        as_migrated_to(connection, "0015")
        assert "mode" not in {
            each["name"] for each in inspect(connection).get_columns("version", LANES)
        }
    return pool


def store(pool: Engine, name: str, kept: dict[str, Any]) -> None:
    """An earlier release published the workload with that definition."""
    with pool.begin() as connection:
        connection.execute(
            text("""
            with named as (insert into lanes.workload (name, created_at) values (:name, :now) returning name),
            made as (insert into lanes.version (workload, number, hash, spec, published_at)
                     select name, 1, 'h', cast(:spec as jsonb), :now from named returning id)
            select id from made
            """),
            {"name": name, "spec": json.dumps(kept), "now": NOON},
        )
        connection.execute(
            text(
                "update lanes.workload w set version_id = v.id from lanes.version v where v.workload = name"
            )
        )


def test_publishing_writes_what_sql_reads(connection: Connection) -> None:
    letters = publish(connection, now=NOON, **OTHERWISE)
    assert columns(connection, "letters") == said(letters.spec)
    plain = publish(connection, "plain", now=NOON)
    assert columns(connection, "plain") == said(plain.spec)


def test_an_older_version_has_what_it_says_and_else_the_defaults(
    before: Engine, database_url: str
) -> None:
    store(before, "whole", spec(**FIRST).edited())
    store(before, "bare", BARE)
    schema.upgrade(database_url)
    with before.begin() as connection:
        found: dict[str, Version] = workloads.in_force(connection)
        assert (
            columns(connection, "whole")
            == said(found["whole"].spec)
            == said(spec(**FIRST, announces="each"))
        )
        assert columns(connection, "bare") == said(found["bare"].spec) == said(Spec.stored(BARE))


def test_a_version_that_nobody_can_read_has_the_defaults(before: Engine, database_url: str) -> None:
    store(before, "broken", BROKEN)
    store(before, "empty", {})
    schema.upgrade(database_url)
    with before.begin() as connection:
        assert [each.workload for each in workloads.read_in_force(connection).unreadable] == [
            "broken",
            "empty",
        ]
        assert (
            columns(connection, "broken") == columns(connection, "empty") == said(Spec.stored(BARE))
        )

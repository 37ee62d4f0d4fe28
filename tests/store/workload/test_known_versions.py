"""The cache of versions, bounded and separate for each engine, and the columns of a version that SQL reads."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, event

from lanes.ids import VersionId
from lanes.store.workload import workloads
from lanes.workload.version import Spec, Version
from tests.conftest import NOON
from tests.examples import publish, spec
from tests.store.tries import row

OTHERWISE = {
    "mode": "lambda",
    "realtime_model": "claude-opus-5-5",
    "batch_model": "claude-sonnet-5-5",
    "provider": "eu",
    "max_failures": 7,
    "give_up_after_h": 3,
    "batch_expected_minutes": 77,
    "confidence": 0.8,
    "compare_fields": ["category"],
    "dedupe": "content",
    "max_payload_kib": 9,
    "announces": "summary",
    "promises": {"realtime_p95_s": 2.5},
    "review_share": 0.05,
    "input_schema": {"type": "object", "required": ["text"]},
}


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """Collect the statements that the engine executes meanwhile."""
    said: list[str] = []

    def hear(*given: object) -> None:
        said.append(str(given[2]))

    event.listen(engine, "before_cursor_execute", hear)
    yield said
    event.remove(engine, "before_cursor_execute", hear)


@pytest.fixture
def letters(pool: Engine) -> list[Version]:
    """Publish three versions of one workload."""
    with pool.begin() as connection:
        return [publish(connection, now=NOON, patience_s=seconds) for seconds in (1, 2, 3)]


def test_a_version_is_read_once_for_all_connections_of_an_engine(
    pool: Engine, letters: list[Version]
) -> None:
    ids = [each.id for each in letters]
    with pool.connect() as first, statements(pool) as said:
        assert workloads.versions(first, ids) == {each.id: each for each in letters}
        assert len(said) == 1
    with pool.connect() as second, statements(pool) as said:
        assert workloads.versions(second, ids) == {each.id: each for each in letters}
        assert workloads.one(second, ids[0]) == letters[0]
        assert said == []
        assert workloads.read_versions(second) == {"letters": letters[2]}
        assert ["spec" in each for each in said] == [False]


def test_versions_are_cached_separately_for_each_engine(
    pool: Engine, letters: list[Version], database_url: str
) -> None:
    other = create_engine(database_url)
    with pool.connect() as connection, other.connect() as elsewhere, statements(other) as said:
        for reader in (connection, elsewhere):
            assert workloads.one(reader, letters[0].id) == letters[0]
        assert len(said) == 1
    other.dispose()


def test_the_cache_keeps_the_most_recent_versions_and_larger_reads_still_succeed(
    connection: Connection, letters: list[Version]
) -> None:
    one, two, three = (each.id for each in letters)

    def asked(*ids: VersionId) -> int:
        with statements(connection.engine) as said:
            assert workloads.read_cached_versions(connection, ids, most=2).versions.keys() == set(
                ids
            )
        return len(said)

    assert [asked(one, two), asked(one), asked(three)] == [1, 0, 1]
    assert [asked(one, three), asked(two)] == [0, 1]
    assert asked(one, two, three) == 1


def test_a_rolled_back_version_is_not_mistaken_for_the_next_version(
    pool: Engine, letters: list[Version]
) -> None:
    with pool.connect() as failing:
        lost = publish(failing, now=NOON, patience_s=4)
        assert workloads.read_versions(failing) == {"letters": lost}
        failing.rollback()
    with pool.begin() as connection:
        assert workloads.read_versions(connection) == {"letters": letters[2]}
        kept = publish(connection, now=NOON, patience_s=5)
        assert workloads.read_versions(connection) == {"letters": kept}


def columns(connection: Connection, of: str) -> dict[str, Any]:
    """Return the columns of the workload's version that repeat parts of its spec."""
    own = {"id", "workload", "number", "hash", "spec", "published_at"}
    return {
        name: value
        for name, value in row(connection, "version", workload=of)._mapping.items()
        if name not in own
    }


def said(of: Spec) -> dict[str, Any]:
    """Return the same values, read from the spec."""
    names = [*OTHERWISE.keys() - {"promises"}, "realtime_p95_s"]
    said = {name: getattr(of.promises if name == "realtime_p95_s" else of, name) for name in names}
    return {**said, "input_schema": of.input_schema or None}


def test_publishing_writes_the_columns_that_sql_reads(connection: Connection) -> None:
    letters = publish(connection, now=NOON, **OTHERWISE)
    assert columns(connection, "letters") == said(letters.spec)
    plain = publish(connection, "plain", now=NOON)
    assert columns(connection, "plain") == said(plain.spec)


def test_a_definition_that_no_longer_sets_announces_gets_the_default(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, announces="each")
    assert not workloads.is_in_force(connection, "letters", spec())
    assert publish(connection, now=NOON).number == 2
    assert workloads.is_in_force(connection, "letters", spec(announces="realtime"))

"""What SQL reads of a version stands in columns."""

from typing import Any

from sqlalchemy import Connection

from lanes.store.workload import workloads
from lanes.workload.version import Spec
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


def test_publishing_writes_what_sql_reads(connection: Connection) -> None:
    letters = publish(connection, now=NOON, **OTHERWISE)
    assert columns(connection, "letters") == said(letters.spec)
    plain = publish(connection, "plain", now=NOON)
    assert columns(connection, "plain") == said(plain.spec)


def test_a_definition_that_no_longer_says_each_has_the_default(connection: Connection) -> None:
    publish(connection, now=NOON, announces="each")
    assert not workloads.is_in_force(connection, "letters", spec())
    assert publish(connection, now=NOON).number == 2
    assert workloads.is_in_force(connection, "letters", spec(announces="realtime"))

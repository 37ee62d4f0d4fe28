"""Golden sets given with a first version: the version answers the set before it is in force."""

from typing import Any

import pytest
from sqlalchemy import Connection

from lanes.doors.filedoor import FileLine
from lanes.errors import UnknownWorkload
from lanes.statistics import shares
from lanes.statistics.shares import SampleShare
from lanes.store.batch import ready_work
from lanes.store.workload import golden, workloads
from lanes.store.workload.golden import PublishOptions
from lanes.units import share
from lanes.words import GoldenState
from tests.conftest import NOON
from tests.examples import SCHEMA, admit, publish, route, spec
from tests.store.tries import row, rows
from tests.store.workload.test_golden import KEYS, MOVED, add, answer, in_force, line, newest, offer


def first(connection: Connection, *lines: FileLine, **fields: Any) -> list[golden.GoldenLine]:
    """Add a golden set together with the first definition."""
    given = {"spec": spec(**fields), "who": "ada", "now": NOON}
    return golden.add(connection, "letters", lines or [line(key) for key in KEYS], **given)


def test_a_first_version_is_in_force_once_it_has_answered_its_golden_set_at_any_score(
    connection: Connection,
) -> None:
    assert {each.outcome for each in first(connection)} == {"added"}
    for _ in range(2):
        golden.publish(connection, "letters", spec(), now=NOON)
    assert workloads.current(connection, "letters") is None
    assert newest(connection).sentence == (
        "version 1 is a candidate: 0 of 12 golden items answered by the batch lane; it comes into force automatically "
        "once all are answered. Until then items are refused: no version is in force"
    )
    assert {each.version_id for each in rows(connection, "work")} == {newest(connection).version_id}
    # No schedule covers a candidate.
    assert ready_work.list_pressing(connection, now=NOON) == ["letters"]
    assert golden.decide(connection, now=NOON) == []
    answer(connection, 1, *KEYS[:3])
    (run,) = golden.decide(connection, now=NOON)
    assert (run.state, in_force(connection)) == (GoldenState.PASSED, 1)
    low, high = shares.bounds(SampleShare(3, 12), alpha=0.01)
    assert run.sentence == (
        f"version 1 answered 3 of 12 golden items right (99 % bounds of its accuracy: {share(low)} to {share(high)})"
    )


def test_items_sent_before_a_first_version_is_in_force_are_logged_as_rejected(
    connection: Connection,
) -> None:
    first(connection)
    golden.publish(connection, "letters", spec(), now=NOON)
    admit(connection, "early", now=NOON)
    assert row(connection, "rejected_log").reason == "unknown_workload"
    answer(connection, 1, *KEYS)
    golden.decide(connection, now=NOON)
    admit(connection, "early", now=NOON)
    route(connection, now=NOON)
    assert row(connection, "item_status").state == "routed"


def test_another_first_version_replaces_the_candidate_and_force_puts_one_in_force(
    connection: Connection,
) -> None:
    first(connection)
    golden.publish(connection, "letters", spec(), now=NOON)
    offer(connection)
    assert [each.state for each in rows(connection, "golden_run", "id")] == ["replaced", "running"]
    assert workloads.current(connection, "letters") is None
    offer(connection, PublishOptions(force=True))
    assert in_force(connection) == 2
    assert {each.state for each in rows(connection, "work")} == {"canceled"}


def test_a_golden_set_given_with_a_definition_must_fit_that_definition(
    connection: Connection,
) -> None:
    narrow = {"type": "object", "properties": {"text": {"maxLength": 9}}}
    told = first(
        connection, line("a"), line("longer"), line("b", {"category": "z"}), input_schema=narrow
    )
    assert [each.outcome for each in told] == ["added", "schema_mismatch", "label_mismatch"]
    with pytest.raises(UnknownWorkload, match="--golden-set"):
        add(connection, line("a"))
    publish(connection, now=NOON)
    turned = {**SCHEMA, "properties": {"category": {"type": "string", "enum": ["b", "z"]}}}
    given = first(connection, line("a", {"category": "z"}), output_schema=turned)
    assert [each.outcome for each in given] == ["replaced"]
    assert offer(connection, output_schema=turned) == MOVED

"""Limits of what senders can store: input beyond a limit is refused or counted, never dropped silently."""

import json
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from lanes.doors.item import Amendment, Refusal
from lanes.json_data import LARGEST_LABEL, why_unfit_label
from lanes.report import details
from lanes.store.doors import items
from lanes.store.report import snapshot
from tests.conftest import NOON, later
from tests.examples import admit, publish, submission
from tests.store.tries import events, rows

QUOTA = 1000  # refusals stored per source and day, as in lanes.refuse


def refuse(
    connection: Connection, number: int, *, door: str = "client", at: datetime = NOON
) -> None:
    """Send `number` inputs of an unknown workload to this door."""
    items.admit(
        connection, [submission(f"k{n}", "ghosts") for n in range(number)], door=door, now=at
    )


def kept(connection: Connection, door: str = "client") -> tuple[int, list[tuple[str, int]]]:
    """Return the number of stored refusals of a door, and the day and count of each row that counts others."""
    found = connection.execute(
        text("select * from lanes.rejected_log where source = :door"), {"door": door}
    ).all()
    counted = sorted((each.position, each.times) for each in found if each.reason == "only_counted")
    return len(found) - len(counted), counted


# -- refusals


@pytest.mark.slow
def test_refusals_beyond_the_quota_of_a_source_and_day_are_counted_in_one_row(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    refuse(connection, QUOTA + 7)
    assert kept(connection) == (QUOTA, [("2026-11-24", 7)])
    refuse(connection, 5, at=later(hours=3))
    assert kept(connection) == (QUOTA, [("2026-11-24", 12)])
    refuse(connection, 3, door="sql")
    assert kept(connection, "sql") == (3, [])
    refuse(connection, 4, at=later(days=1))
    assert kept(connection) == (QUOTA + 4, [("2026-11-24", 12)])
    assert len(events(connection, "lanes.item.rejected")) == QUOTA + 7 + 5 + 3 + 4, (
        "each sender is told all the same"
    )


@pytest.mark.slow
def test_a_neighbour_of_an_input_that_is_only_counted_is_admitted(connection: Connection) -> None:
    publish(connection, now=NOON)
    refuse(connection, QUOTA)
    many = [submission("a"), submission("b", "ghosts"), submission("c")]
    told = items.admit(connection, many, door="client", now=NOON)
    assert [each.outcome for each in told] == ["accepted", "unknown_workload", "accepted"]


@pytest.mark.slow
def test_an_input_that_describes_no_item_counts_towards_the_quota(connection: Connection) -> None:
    lines = ["{" * 70_000, *["{"] * (QUOTA + 1)]
    bad = [
        Refusal("letters", f"f.jsonl:{n}", "broken_line", "it is not JSON", line)
        for n, line in enumerate(lines)
    ]
    items.refuse(connection, bad, door="f.jsonl", now=NOON)
    assert kept(connection, "f.jsonl") == (QUOTA, [("2026-11-24", 2)])
    assert (
        connection.execute(text("select max(length(content)) from lanes.rejected")).scalar_one()
        == 65_536
    )


@pytest.mark.slow
def test_the_report_includes_refusals_that_were_only_counted(connection: Connection) -> None:
    publish(connection, now=NOON)
    refuse(connection, QUOTA + 7)
    report = snapshot.take(connection, since=NOON, now=later(hours=1))
    assert {(each.workload, each.reason, each.inputs) for each in report.refusals} == {
        ("ghosts", "unknown_workload", QUOTA),
        ("unknown", "only_counted", 7),
    }
    assert details.refusals(report).note == details.ONLY_COUNTED


@pytest.mark.slow
def test_a_sender_over_its_quota_with_an_open_transaction_delays_no_other(pool: Engine) -> None:
    with pool.begin() as setup:
        refuse(setup, QUOTA + 1)
    with pool.connect() as one, pool.connect() as two:
        refuse(one, 1)
        two.execute(text("set lock_timeout = '2s'"))
        refuse(two, 2)
        two.commit()
        one.commit()
    with pool.connect() as after:
        found, counted = kept(after)
    assert (found, sum(times for _, times in counted), len(counted)) == (QUOTA, 4, 2)


# -- labels


def label(connection: Connection, expected: Any, source: str = "desk", key: str = "a") -> str:
    asked = text("select lanes.label('letters', :key, cast(:expected as jsonb), :source)")
    return connection.execute(
        asked, {"key": key, "expected": json.dumps(expected), "source": source}
    ).scalar_one()


def test_every_door_enforces_the_largest_size_of_a_label(connection: Connection) -> None:
    publish(connection, now=NOON)
    admit(connection, "a", "b", now=NOON)
    frame = len(json.dumps({"category": ""}))
    fits, large = ({"category": "ä" * ((LARGEST_LABEL - frame) // 2 + more)} for more in (0, 1))
    assert (label(connection, fits), label(connection, large)) == ("labeled", "label_too_large")
    assert (why_unfit_label(fits), why_unfit_label(large)) == (
        None,
        "the label has 65,538 bytes; a label has up to 65,536",
    )
    told = items.label(
        connection, "letters", {"a": large, "b": {"category": "bill"}}, source="file.jsonl"
    )
    assert told == {"a": "label_too_large", "b": "labeled"}


def test_an_item_has_labels_of_at_most_100_sources_and_each_may_change_its_own(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    admit(connection, "a", "b", now=NOON)
    assert {
        label(connection, {"category": "bill"}, f"source {number}") for number in range(100)
    } == {"labeled"}
    assert label(connection, {"category": "bill"}, "one more") == "too_many_labels"
    assert label(connection, {"category": "other"}, "source 7") == "labeled"
    assert label(connection, {"category": "bill"}, "one more", key="b") == "labeled"


# -- amendments


def amend(connection: Connection, key: str, number: int) -> str:
    asked = Amendment("letters", key, {"text": str(number)})
    return items.amend(connection, asked, door="client", now=later(seconds=number)).outcome


def test_an_item_has_at_most_1000_revisions_and_its_neighbour_can_be_amended(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    admit(connection, "a", "b", now=NOON)
    assert amend(connection, "a", 1) == "amended"
    connection.execute(
        text(
            "insert into lanes.revision (item_id, number, payload, source, received_at)"
            " select id, 1000, '{}', 'client', :now from lanes.item where key = 'a'"
        ),
        {"now": NOON},
    )
    assert amend(connection, "a", 2) == "too_many_amendments"
    assert amend(connection, "b", 3) == "amended"
    (refused,) = rows(connection, "rejected_log")
    assert (refused.key, refused.reason) == ("a", "too_many_amendments")
    assert (
        "has 1,000 revisions, the most that are kept; submit it under another key" in refused.detail
    )


@pytest.mark.slow
def test_at_most_100_amendments_wait_for_an_unknown_item(connection: Connection) -> None:
    publish(connection, now=NOON)
    assert {amend(connection, "a", number) for number in range(100)} == {"waiting"}
    assert amend(connection, "a", 100) == "too_many_amendments"
    assert amend(connection, "b", 101) == "waiting"
    admit(connection, "a", now=NOON)
    assert amend(connection, "a", 102) == "amended"


@pytest.mark.slow
def test_at_most_10000_amendments_of_a_workload_wait(connection: Connection) -> None:
    publish(connection, now=NOON)
    publish(connection, "bills", now=NOON)
    connection.execute(
        text(
            "insert into lanes.amendment (workload, key, payload, source, received_at)"
            " select 'letters', n::text, '{}', 'client', :now from generate_series(1, 10000) n"
        ),
        {"now": NOON},
    )
    assert amend(connection, "a", 1) == "too_many_amendments"
    other = items.amend(connection, Amendment("bills", "a", {}), door="client", now=NOON)
    assert other.outcome == "waiting"


# -- reads


@pytest.mark.slow
def test_at_most_1000_reads_of_an_item_are_recorded(connection: Connection) -> None:
    publish(connection, now=NOON)
    admit(connection, "a", "b", now=NOON)
    taken = "select count(*) from generate_series(1, 1100) n, lateral lanes.read_result('letters', 'a', 'r' || n, now()) r"
    connection.execute(text(taken))
    connection.execute(text("select * from lanes.read_result('letters', 'b', 'r')"))
    counted = (
        "select i.key, count(*) from lanes.read r join lanes.item i on i.id = r.item_id group by 1"
    )
    assert dict(connection.execute(text(counted)).tuples().all()) == {"a": 1000, "b": 1}

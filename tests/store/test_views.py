"""The views that Grafana, Metabase and psql read: stable names and correct rows."""

import re
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, text

from lanes.money.estimates import Estimates
from lanes.store.doors import items
from lanes.words import Lane, Outcome
from lanes.workload.version import Version
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import A, B, claim, claimed_item, row, rows, save, submit, tried

COLUMNS = {
    "item_status": "workload key lane state route_reason received_at due_at answered_at settled_at attempts cost_usd",
    "current_results": "workload key output standing generation lane created_at",
    "route_log": "workload key lane reason explanation realtime_usd batch_usd decided_at",
    "attempt_log": "workload key lane purpose attempt outcome error request_id batch_id model input_tokens output_tokens "
    "cache_read_tokens cache_write_tokens cost_usd latency_ms started_at ended_at",
    "spend": "message_id workload lane purpose model batch_id items input_tokens output_tokens cache_read_tokens "
    "cache_write_tokens cost_usd price_version billed_at",
    "batch_status": "batch_id provider_batch_id workload model state requests items succeeded invalid errored canceled "
    "expired missing submitted_at expected_end_at ended_at collected_at items_per_minute_until_ended "
    "items_per_minute_until_collected",
    "correction_log": "workload key generation provisional_output authoritative_output changed_fields distance corrected_at",
    "rejected_log": "workload source position reason content rejected_at",
    "accuracy": "workload lane version field labels share low high",
    "lane_latency": "workload lane minute items p50_s p95_s p99_s error_rate",
    "routing_mix": "workload hour reason lane items share",
}


@pytest.mark.parametrize("view", COLUMNS)
def test_a_view_has_the_columns_that_its_readers_rely_on(connection: Connection, view: str) -> None:
    found = connection.execute(text(f"select * from lanes.{view}")).keys()
    assert set(COLUMNS[view].split()) <= set(found)
    assert rows(connection, view) == []


COUNTED = {
    "attempt_log": ("outcome", {"attempt"}),
    "correction_log": ("changed_fields", {"correction"}),
    "revision_log": ("source", {"revision", "amendment"}),
    "route_log": ("reason", {"route"}),
}


@pytest.mark.parametrize("view", COUNTED)
def test_counting_rows_of_a_log_reads_no_table_that_the_query_does_not_need(
    connection: Connection, view: str
) -> None:
    column, tables = COUNTED[view]
    query = f"explain (format yaml) select {column}, count(*) from lanes.{view} group by 1"
    plan = connection.execute(text(query)).scalar_one()
    assert set(re.findall(r'Relation Name: "(\w+)"', plan)) == tables, plan


# -- item_status


def received(connection: Connection, letters: Version) -> None:
    admit(connection, "k", now=NOON)


def routed(connection: Connection, letters: Version) -> None:
    admit(connection, "k", now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)


def working(connection: Connection, letters: Version) -> None:
    claimed_item(connection)


def working_in_a_batch(connection: Connection, letters: Version) -> None:
    admit(connection, "k", now=NOON)
    route(connection, now=NOON)
    submit(connection, letters)


def answered(connection: Connection, letters: Version) -> None:
    save(connection, tried(claimed_item(connection)))


def answered_and_working(connection: Connection, letters: Version) -> None:
    answered(connection, letters)
    submit(connection, letters)


def settled(connection: Connection, letters: Version) -> None:
    answered(connection, letters)
    batch_id, (work,) = submit(connection, letters)
    save(connection, tried(work), batch_id=batch_id)


def failed(connection: Connection, letters: Version) -> None:
    save(connection, tried(claimed_item(connection), Outcome.POISON))


def canceled(connection: Connection, letters: Version) -> None:
    claimed_item(connection)
    items.cancel(connection, "letters", "k")


@pytest.mark.parametrize(
    ("reached", "state"),
    [
        (received, "received"),
        (routed, "routed"),
        (working, "working"),
        (working_in_a_batch, "working"),
        (answered, "answered"),
        (answered_and_working, "answered"),
        (settled, "settled"),
        (failed, "failed"),
        (canceled, "canceled"),
    ],
)
def test_item_status_shows_the_state_of_an_item(
    connection: Connection, reached: Callable[[Connection, Version], None], state: str
) -> None:
    reached(connection, publish(connection, now=NOON, mode="lambda"))
    assert row(connection, "item_status").state == state


def test_item_status_sums_the_attempts_and_names_the_newest_route(connection: Connection) -> None:
    letters = publish(connection, now=NOON)
    admit(connection, "k", now=NOON, due_at=later(hours=9))
    status = row(connection, "item_status")
    assert (status.lane, status.route_reason, status.attempts, status.cost_usd) == (
        None,
        None,
        0,
        0,
    )
    route(connection, now=NOON)
    batch_id, (work,) = submit(connection, letters)
    save(connection, tried(work, Outcome.INVALID), batch_id=batch_id)
    connection.execute(
        text("""
        insert into lanes.route (item_id, version_id, lane, reason, explanation, realtime_usd, batch_usd, decided_at)
        select item_id, version_id, 'realtime', 'fallback', 'late', realtime_usd, batch_usd, :now from lanes.route
        """),
        {"now": later(hours=1)},
    )
    assert row(connection, "item_status").lane == "batch"  # where its work is
    connection.execute(text("update lanes.work set state = 'failed'"))
    status = row(connection, "item_status")
    assert (status.lane, status.route_reason, status.attempts) == ("realtime", "fallback", 1)
    assert (status.received_at, status.due_at) == (NOON, later(hours=9))
    assert status.cost_usd == row(connection, "spend").cost_usd > 0
    assert len(rows(connection, "route_log")) == 2


# -- routes and latency


def test_route_log_shows_the_estimated_cost_on_each_lane(connection: Connection) -> None:
    letters = publish(
        connection,
        now=NOON,
        realtime_model="claude-sonnet-5-5",
        batch_model="claude-opus-5-5",
        batch_pack=20,
    )
    admit(connection, "k", now=NOON, payload={"text": "x" * 400})
    route(connection, now=NOON)
    logged, expected = (
        row(connection, "route_log"),
        Estimates(NOON).of(letters, len('{"text": ""}') + 400),
    )
    assert (logged.realtime_usd, logged.batch_usd) == (expected.realtime, expected.batch)
    assert logged.decided_at == NOON


def test_lane_latency_counts_answers_and_failed_attempts_by_minute(connection: Connection) -> None:
    publish(connection, now=NOON)
    admit(connection, *(f"k{n}" for n in range(5)), now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    for seconds, work in enumerate(claim(connection), 1):
        outcome = Outcome.VALID if seconds < 5 else Outcome.INVALID
        save(
            connection, tried(work, outcome, at=later(seconds=seconds)), now=later(seconds=seconds)
        )
    (again,) = claim(connection, now=later(seconds=70))
    save(connection, tried(again, at=later(seconds=70)), now=later(seconds=70))
    first, second = rows(connection, "lane_latency", "minute")
    assert (first.workload, first.lane, first.minute, first.items) == (
        "letters",
        "realtime",
        NOON,
        4,
    )
    assert (first.p50_s, first.p95_s, first.p99_s) == pytest.approx((2.5, 3.85, 3.97), rel=0.02)
    assert (second.minute, second.items, second.error_rate, first.error_rate) == (
        later(minutes=1),
        1,
        0,
        0.2,
    )
    assert second.p50_s == pytest.approx(70, rel=0.02)


def test_lane_latency_shows_a_minute_with_only_failures(connection: Connection) -> None:
    publish(connection, now=NOON)
    save(connection, tried(claimed_item(connection), Outcome.ERRORED))
    only = row(connection, "lane_latency")
    assert (only.items, only.p95_s, only.error_rate) == (0, None, 1)


def test_routing_mix_shares_sum_to_one_for_each_workload_and_hour(connection: Connection) -> None:
    publish(connection, now=NOON, split_percent=50)
    publish(connection, "invoices", now=NOON)
    admit(connection, *(f"k{n}" for n in range(20)), now=NOON)
    admit(connection, "urgent", now=NOON, urgent=True)
    admit(connection, "i", now=NOON, workload="invoices")
    route(connection, now=later(minutes=59))
    admit(connection, "next", now=later(minutes=61), urgent=True)
    route(connection, now=later(minutes=61))
    mix = rows(
        connection, "routing_mix", "workload, hour, items desc", workload="letters", hour=NOON
    )
    assert sum(each.items for each in mix) == 21
    assert sum(each.share for each in mix) == pytest.approx(1)
    assert {(each.reason, each.lane) for each in mix} == {
        ("split", "batch"),
        ("split", "realtime"),
        ("urgent", "realtime"),
    }
    assert next(each.share for each in mix if each.reason == "urgent") == pytest.approx(1 / 21)
    (alone,) = rows(connection, "routing_mix", hour=later(hours=1))
    assert (alone.items, alone.share) == (1, 1)


# -- accuracy


def labeled(connection: Connection, right: int, wrong: int) -> None:
    """Create items answered `a`; label `right` of them `a` and `wrong` of them `b`."""
    publish(connection, now=NOON)
    admit(connection, *(f"k{n}" for n in range(right + wrong)), now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    save(connection, *(tried(work) for work in claim(connection, places=1_000)))
    expected = {f"k{n}": A if n < right else B for n in range(right + wrong)}
    items.label(connection, "letters", expected, source="ada")


@pytest.mark.parametrize(
    ("right", "wrong"), [(1, 0), (0, 1), (7, 3), (20, 0), (0, 20), (50, 50), (99, 1)]
)
def test_accuracy_has_the_wilson_interval(connection: Connection, right: int, wrong: int) -> None:
    labeled(connection, right, wrong)
    found = row(connection, "accuracy")
    assert (found.workload, found.lane, found.version, found.field) == (
        "letters",
        "realtime",
        1,
        "category",
    )
    assert (found.labels, found.share) == (right + wrong, right / (right + wrong))
    from scipy.stats import binomtest  # takes most of a second, and only this test needs it

    expected = binomtest(right, right + wrong).proportion_ci(0.95, method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-5)
    assert 0 <= found.low <= found.high <= 1


def test_accuracy_compares_the_lanes_on_the_same_labels(connection: Connection) -> None:
    letters = publish(connection, now=NOON, mode="lambda")
    save(connection, tried(claimed_item(connection), output=A))
    batch_id, (work,) = submit(connection, letters)
    save(connection, tried(work, output=B), batch_id=batch_id)
    items.label(connection, "letters", {"k": B}, source="ada")
    assert {each.lane: each.share for each in rows(connection, "accuracy")} == {
        "realtime": 0,
        "batch": 1,
    }


def test_accuracy_is_separate_for_each_version_and_field(connection: Connection) -> None:
    publish(connection, now=NOON)
    save(connection, tried(claimed_item(connection, "one"), output={"category": "a", "note": "x"}))
    publish(connection, now=NOON, instructions="Sort it better.")
    save(connection, tried(claimed_item(connection, "two"), output={"category": "b"}))
    expected = {"category": "a", "note": "x"}
    items.label(connection, "letters", {"one": expected, "two": expected}, source="ada")
    found = {
        (each.version, each.field): (each.labels, each.share)
        for each in rows(connection, "accuracy")
    }
    assert found == {
        (1, "category"): (1, 1),
        (1, "note"): (1, 1),
        (2, "category"): (1, 0),
        (2, "note"): (1, 0),
    }


def test_a_labeled_field_that_is_missing_in_the_answer_counts_as_wrong(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    save(connection, tried(claimed_item(connection)))
    items.label(connection, "letters", {"k": {"note": "x"}}, source="ada")
    missed = row(connection, "accuracy")
    assert (missed.field, missed.labels, missed.share) == ("note", 1, 0)


def test_labels_without_an_answer_do_not_count_in_accuracy(connection: Connection) -> None:
    publish(connection, now=NOON)
    admit(connection, "k", now=NOON)
    items.label(connection, "letters", {"k": A}, source="ada")
    assert rows(connection, "accuracy") == []

"""The figures behind the report, read from the tables."""

from dataclasses import replace
from decimal import Decimal

import pytest
from sqlalchemy import Connection, Engine

from lanes.doors.item import Amendment
from lanes.promises.assessment import Assessment
from lanes.promises.incident import Promise
from lanes.realtime.circuit import Fault
from lanes.report.snapshot import Snapshot
from lanes.routing.shedding import Shed
from lanes.routing.split import Split
from lanes.store import incidents
from lanes.store.asking import ask_by_driver
from lanes.store.batch import collection
from lanes.store.doors import items
from lanes.store.realtime import outages
from lanes.store.replays import replays
from lanes.store.report import snapshot
from lanes.store.rollouts import rollout_moves
from lanes.store.routing import second_look
from lanes.store.workload import workloads
from lanes.words import Lane, Outcome, Signature, Verdict
from tests.conftest import NOON, later
from tests.examples import admit, publish, route, submission
from tests.rollouts import begin
from tests.store.advice.test_proposals import decide, late, refresh, seed
from tests.store.tries import A, B, claim, row, rows, save, submit, tried


def test_a_snapshot_of_an_empty_database_is_empty(connection: Connection) -> None:
    assert snapshot.take(connection, since=NOON, now=NOON) == Snapshot(taken_at=NOON, since=NOON)


@pytest.mark.slow
def test_a_snapshot_of_items_without_answers_has_no_latency_and_no_attempts(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    admit(connection, "a", now=NOON)
    seen = snapshot.take(connection, since=NOON, now=NOON)
    assert [(each.state, each.items) for each in seen.states] == [("received", 1)]
    assert (seen.lanes, seen.costs, seen.minutes) == ([], [], [])
    route(connection, now=NOON)
    (lane,) = snapshot.take(connection, since=NOON, now=NOON).lanes
    assert (lane.items, lane.answered, lane.p50_s, lane.attempts, lane.usd_per_1000) == (
        1,
        0,
        None,
        0,
        None,
    )


@pytest.fixture
def lived_in(connection: Connection) -> Connection:
    """Create a Lambda workload with one item of each outcome, answered 1, 2, 3 ... seconds after noon."""
    letters = publish(connection, now=NOON, mode="lambda", max_failures=1)
    admit(connection, "old", now=later(days=-1), lane=Lane.REALTIME)
    admit(connection, "agreed", "corrected", "open", "confirmed", now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    for seconds, work in enumerate(claim(connection)):
        save(connection, tried(work, at=later(seconds=seconds)), now=later(seconds=seconds))
    batch_id, works = submit(connection, letters, now=later(minutes=1))
    for work in works:
        if work.key == "open":
            continue
        outcome = Outcome.INVALID if work.key == "confirmed" else Outcome.VALID
        save(
            connection,
            tried(work, outcome, B if work.key == "corrected" else A, at=later(minutes=30)),
            now=later(minutes=30),
            batch_id=batch_id,
        )
    admit(connection, "poisoned", "lost", now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    for work in claim(connection, now=later(minutes=31)):
        lost = Outcome.UNKNOWN if work.key == "lost" else Outcome.POISON
        save(
            connection,
            tried(work, lost, at=later(minutes=31), bound_usd=Decimal("0.01")),
            now=later(minutes=31),
        )
    items.admit(connection, [submission("g", "ghosts")], door="client", now=NOON)
    items.label(connection, "letters", {"corrected": B}, source="ada")
    return connection


def test_a_snapshot_counts_each_outcome_within_its_period(lived_in: Connection) -> None:
    seen = snapshot.take(lived_in, since=NOON, now=later(hours=1))
    assert {each.state: each.items for each in seen.states} == {
        "settled": 3,
        "answered": 1,
        "failed": 2,
    }
    assert [(each.lane, each.reason, each.items) for each in seen.routes] == [
        ("realtime", "pinned", 7)
    ]
    assert [(each.compared, each.corrected, each.agreement) for each in seen.agreement] == [
        (3, 1, pytest.approx(2 / 3))
    ]
    assert {each.key: each.reason.split(":")[0] for each in seen.failures} == {
        "poisoned": "poison",
        "lost": "unknown",
        "confirmed": "invalid",
    }
    assert [(each.workload, each.reason, each.inputs) for each in seen.refusals] == [
        ("ghosts", "unknown_workload", 1)
    ]
    assert seen.workloads == ["letters"]
    assert {(each.lane, each.share) for each in seen.accuracy} == {("realtime", 0), ("batch", 1)}


def test_a_snapshot_measures_both_lanes(lived_in: Connection) -> None:
    lanes = {
        each.lane: each for each in snapshot.take(lived_in, since=NOON, now=later(hours=1)).lanes
    }
    realtime, batch = lanes[Lane.REALTIME], lanes[Lane.BATCH]
    assert (realtime.items, realtime.answered, realtime.attempts, realtime.failed_attempts) == (
        6,
        4,
        6,
        2,
    )
    assert (realtime.p50_s, realtime.failure_share) == (
        pytest.approx(2.5, rel=0.02),
        pytest.approx(1 / 3),
    )
    assert (batch.items, batch.answered, batch.answers, batch.attempts, batch.failed_attempts) == (
        0,
        0,
        2,
        3,
        1,
    )
    assert batch.p50_s == pytest.approx(1_800, rel=0.02)
    assert (realtime.answers, realtime.busy_s) == (4, 31 * 60)
    assert realtime.per_minute == pytest.approx(4 / 31)


def test_the_throughput_of_a_batch_counts_its_whole_run_and_not_the_burst_at_its_end(
    connection: Connection,
) -> None:
    letters = publish(connection, now=NOON)
    admit(connection, *(f"k{n}" for n in range(50)), now=NOON)
    route(connection, now=NOON)
    batch_id, works = submit(connection, letters)
    at = later(minutes=10)
    save(
        connection,
        *(tried(each, at=at)._replace(started_at=NOON) for each in works),
        now=at,
        batch_id=batch_id,
    )
    (lane,) = snapshot.take(connection, since=NOON, now=at).lanes
    assert (lane.answered, lane.items, lane.answers, lane.busy_s) == (50, 50, 50, 600)
    assert lane.per_minute == 5


def test_a_replay_is_booked_aside_and_changes_no_lane_figure_or_saving(
    lived_in: Connection,
) -> None:
    before = snapshot.take(lived_in, since=NOON, now=later(hours=1))
    letters = workloads.read_versions(lived_in)["letters"]
    lived_in.exec_driver_sql(
        """
        insert into lanes.work (item_id, workload, version_id, lane, purpose, revision, generation, state, ready_at, rank_at,
                                waits_since)
        select id, workload, %(version)s, 'batch', 'replay', 0, 1, 'ready', received_at, received_at, received_at
          from lanes.item where key = 'agreed'
        """,
        {"version": letters.id},
    )
    batch_id, works = submit(lived_in, letters, now=later(minutes=40), account="other")
    (work,) = [each for each in works if each.purpose == "replay"]
    save(lived_in, tried(work, at=later(minutes=50)), now=later(minutes=50), batch_id=batch_id)
    after = snapshot.take(lived_in, since=NOON, now=later(hours=1))
    assert after.lanes == before.lanes
    (was,), (costs,) = before.costs, after.costs
    assert costs.aside_usd > was.aside_usd == 0
    assert replace(costs, aside_usd=was.aside_usd) == was


def test_a_snapshot_shows_the_accuracy_of_its_period(lived_in: Connection) -> None:
    assert snapshot.take(lived_in, since=later(minutes=1), now=later(hours=1)).accuracy == []
    (batch, realtime) = sorted(
        snapshot.take(lived_in, since=NOON, now=later(hours=1)).accuracy, key=lambda each: each.lane
    )
    for each in (batch, realtime):
        of = row(lived_in, "accuracy", lane=each.lane)
        assert (each.labels, each.share, each.low, each.high) == (
            of.labels,
            of.share,
            of.low,
            of.high,
        )


def test_the_cost_of_a_snapshot_is_the_bill_for_the_items_of_its_period(
    lived_in: Connection,
) -> None:
    seen = snapshot.take(lived_in, since=NOON, now=later(hours=1))
    (costs,) = seen.costs
    billed = sum(
        (each.cost_usd for each in rows(lived_in, "attempt_log") if each.key != "old"), Decimal(0)
    )
    assert costs.actual_usd == seen.actual_usd == billed.quantize(Decimal("0.000001"))
    assert costs.unknown_usd == Decimal("0.02")
    assert 0 < costs.all_batch_usd < costs.all_realtime_usd
    assert sum(each.cost_usd for each in seen.lanes) == billed


@pytest.mark.slow
def test_a_snapshot_lists_open_batches_of_any_age(lived_in: Connection) -> None:
    batch_id = row(lived_in, "batch_status").batch_id
    (listed,) = snapshot.take(lived_in, since=later(days=1), now=later(days=2)).batches
    assert (listed.batch_id, listed.state, listed.items, listed.succeeded, listed.invalid) == (
        batch_id,
        "submitted",
        5,
        3,
        1,
    )
    collection.mark_ended(lived_in, batch_id, at=later(hours=1), now=later(hours=1))
    collection.mark_collected(lived_in, batch_id, now=later(hours=1))
    assert snapshot.take(lived_in, since=later(days=1), now=later(days=2)).batches == []
    assert len(snapshot.take(lived_in, since=NOON, now=later(days=2)).batches) == 1


def test_a_snapshot_has_a_point_for_each_minute_of_each_lane(lived_in: Connection) -> None:
    minutes = snapshot.take(lived_in, since=NOON, now=later(hours=1)).minutes
    assert [(each.lane, each.minute, each.items) for each in minutes] == [
        ("realtime", NOON, 5),
        ("batch", later(minutes=30), 3),
    ]


@pytest.mark.slow
def test_a_snapshot_lists_rollouts_and_incidents_that_are_open_or_ended_in_its_period(
    lived_in: Connection,
) -> None:
    of = begin(lived_in, now=NOON)
    slow = Assessment(Promise.BATCH_SLOW, "letters", Verdict.FAILED, 180, 120, 1, "slow", "batch 1")
    incidents.open(lived_in, slow, now=NOON)
    seen = snapshot.take(lived_in, since=later(days=1), now=later(days=2))
    assert [each.id for each in seen.rollouts] == [of.id]
    assert [(each.promise, each.state) for each in seen.incidents] == [("batch_slow", "open")]
    rollout_moves.abort(lived_in, "letters", who="ada", why="enough", now=later(hours=1))
    incidents.resolve(
        lived_in, Promise.BATCH_SLOW, "letters", "batch 1", sentence="over", now=later(hours=1)
    )
    assert len(snapshot.take(lived_in, since=NOON, now=later(days=2)).rollouts) == 1
    assert len(snapshot.take(lived_in, since=NOON, now=later(days=2)).incidents) == 1
    later_on = snapshot.take(lived_in, since=later(days=1), now=later(days=2))
    assert (later_on.rollouts, later_on.incidents) == ([], [])


def test_a_snapshot_lists_only_open_proposals(connection: Connection) -> None:
    seed(connection, "nightly", "weekly")
    first, second = refresh(connection, late("nightly"), late("weekly")).proposed
    decide(connection, first, "decline")
    (kept,) = snapshot.take(connection, since=NOON, now=later(days=3)).proposals
    assert (kept.id, kept.consumer, kept.saving_usd) == (
        second.id,
        "weekly",
        second.figures.saving_usd,
    )


def test_a_snapshot_shows_splits_calls_and_advice(lived_in: Connection) -> None:
    workloads.set_split(lived_in, Split("letters", "desk", 2_500), who="ada", why="trial", now=NOON)
    seen = snapshot.take(lived_in, since=NOON, now=later(hours=1))
    assert {(each.consumer, each.basis_points) for each in seen.splits} >= {("desk", 2_500)}
    billed = {each.lane: (each.calls, each.items) for each in seen.calls}
    assert billed[Lane.BATCH] == (4, 4)
    assert [(each.workload, each.evidence and each.evidence.items) for each in seen.advice] == [
        ("letters", 7)
    ]


def test_a_snapshot_counts_late_data_and_replays(lived_in: Connection) -> None:
    for key in ("agreed", "unheard-of"):
        asked = Amendment("letters", key, {"text": "late"}, None)
        items.amend(lived_in, asked, door="client", now=later(hours=1))
    replays.begin(
        lived_in,
        "letters",
        version_no=None,
        first=None,
        last=None,
        by=Signature("ada", "a test", later(hours=1)),
    )
    seen = snapshot.take(lived_in, since=NOON, now=later(hours=2))
    assert [(each.applied, each.waiting) for each in seen.amendments] == [(1, 1)]
    assert [(each.generation, each.state, each.answered) for each in seen.replays] == [
        (1, "running", 0)
    ]


@pytest.mark.slow
def test_a_snapshot_by_the_driver_equals_the_one_by_sqlalchemy(
    pool: Engine, database_url: str
) -> None:
    with pool.begin() as connection:
        publish(connection, now=NOON)
        admit(connection, "a", "b", now=NOON, lane=Lane.REALTIME)
        route(connection, now=NOON)
        save(
            connection,
            *(tried(each, at=later(seconds=3)) for each in claim(connection)),
            now=later(seconds=3),
        )
        begin(connection, now=NOON)
        incidents.record(
            connection,
            [Assessment(Promise.REALTIME_SLOW, "letters", Verdict.FAILED, 7.5, 5, 40, "Slow.")],
            now=NOON,
        )
        fault = Fault("529", 3, later(seconds=9), later(seconds=9))
        outages.record_fault(connection, "acme", "claude-haiku-5-5", fault, now=later(seconds=9))
    with pool.begin() as connection:
        taken = snapshot.take(connection, since=NOON, now=later(hours=1))
    with ask_by_driver(database_url) as ask:
        assert snapshot.take_through(ask, since=NOON, now=later(hours=1)) == taken
    assert (len(taken.lanes), len(taken.rollouts), len(taken.incidents), len(taken.advice)) == (
        1,
        1,
        2,
        1,
    )
    assert [(each.model, each.state) for each in taken.circuits] == [
        ("claude-haiku-5-5", "resting")
    ]


def test_a_snapshot_shows_the_count_reason_saving_and_duration_of_shed_items(
    connection: Connection,
) -> None:
    letters = publish(connection, now=NOON, split_percent=100)
    admit(connection, *"abc", now=NOON)
    route(connection, now=NOON)
    waiting = sorted(
        second_look.queue_tail(connection, ["letters"], now=NOON).waiting, key=lambda each: each.id
    )
    for minute, each in enumerate(waiting[:2]):
        second_look.shed(connection, {each.id: Shed(f"reason {minute}")}, now=later(minutes=minute))
    batch_id, (first, _) = submit(connection, letters, now=later(minutes=2))
    save(connection, tried(first, at=later(minutes=31)), now=later(minutes=31), batch_id=batch_id)
    (seen,) = snapshot.take(connection, since=NOON, now=later(hours=1)).sheds
    (route_of_one, *_) = rows(connection, "route", reason="shed")
    assert (seen.workload, seen.items, seen.looked_at, seen.answered) == ("letters", 2, 2, 1)
    assert seen.saved_usd == 2 * (route_of_one.realtime_usd - route_of_one.batch_usd) > 0
    assert (seen.p50_s, seen.p95_s) == (31 * 60, 31 * 60)
    assert seen.why == "reason 1"

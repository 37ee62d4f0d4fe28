"""Outages: one incident per provider outage; it explains delays and failures during it and ends when work is served."""

from dataclasses import replace
from datetime import datetime

import pytest
from sqlalchemy import Connection, Engine, create_engine, text

from lanes.promises.assessment import REALTIME, Assessment
from lanes.promises.breaches import frozen, unknown_model
from lanes.promises.incident import Promise
from lanes.promises.judge import assess
from lanes.realtime.circuit import Fault
from lanes.realtime.health import ACCOUNT, Standstill
from lanes.store import incidents
from lanes.store.figures import measurements
from lanes.store.realtime import circuits, outages
from lanes.store.workload import workloads
from lanes.words import Lane, Outcome, Verdict
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import claim, claimed_item, rows, save, tried

MODEL = "claude-haiku-5-5"
BUDGET = (
    "insert into lanes.budget (workload, consumer, period, zone, hard_usd, refused_at, refused_usd, who, why, set_at)"
    " values ('letters', {consumer}, 'day', 'UTC', 1, {refused}, 2, 'ann', 'test', :now)"
)


def down(connection: Connection, *, now: datetime, calls: int = 3, model: str = MODEL) -> None:
    outages.record_fault(connection, "acme", model, Fault("529", calls, now, now), now=now)


def slow_lane(workload: str = "letters") -> Assessment:
    """Return a breach that an outage of the real-time lane explains."""
    said = "It is slow."
    return Assessment(
        Promise.REALTIME_SLOW, workload, Verdict.FAILED, 90, 20, 30, said, standstill=REALTIME
    )


def told(connection: Connection) -> list[str]:
    """Return the promises whose incidents have a Slack post, sent or queued."""
    rows = connection.execute(
        text(
            "select i.promise from lanes.slack_post p join lanes.incident i on i.id = p.incident_id order by i.id"
        )
    )
    return list(rows.scalars())


def judged(connection: Connection, *, now: datetime) -> set[tuple[str, str]]:
    """Open and end incidents as `watch` does; return the promise and state of each."""
    seen = measurements.measure(connection, now=now)
    incidents.record(connection, assess(workloads.read_versions(connection), seen, now), now=now)
    outages.end(connection, now=now)
    return {(each.promise, each.state) for each in rows(connection, "incident_log")}


def asked(connection: Connection, outcome: Outcome, *, at: datetime) -> None:
    for each in claim(connection, now=at):
        save(connection, tried(each, outcome, at=at), now=at)


def test_an_outage_on_one_of_several_hosts_names_that_host(database_url: str, pool: Engine) -> None:
    hosts = [
        create_engine(database_url, connect_args={"application_name": f"lanes drain@{host}:1"})
        for host in ("ham", "fra")
    ]
    at = iter(later(seconds=n) for n in range(0, 60, 20))

    def faulted(host: str) -> str:
        now = next(at)
        fault = Fault("connection refused", 3, now, now, host=host)
        with pool.begin() as connection:
            outages.record_fault(connection, "acme", MODEL, fault, now=now)
            return rows(connection, "incident_log")[-1].sentence

    named = "All of them were made on host ham, none on another: check its network."
    with hosts[0].connect():
        assert named not in faulted("ham")  # there is no other host
        with hosts[1].connect():
            assert named in faulted("ham")
            assert named not in faulted("fra")
    for each in hosts:
        each.dispose()


@pytest.mark.slow
def test_delays_during_an_outage_are_reported_as_one_incident(connection: Connection) -> None:
    publish(connection, now=NOON, promises={"realtime_p95_s": 1})
    admit(connection, *(f"k{n}" for n in range(30)), now=NOON, lane="realtime")
    route(connection, now=NOON)
    down(connection, now=later(seconds=5))
    asked(connection, Outcome.UNSERVED, at=later(seconds=60))
    assert judged(connection, now=later(seconds=90)) == {
        ("provider_down", "open"),
        ("realtime_slow", "open"),
    }
    slow, provider = sorted(
        rows(connection, "incident_log"), key=lambda each: each.promise == "provider_down"
    )
    assert (slow.parent_id, provider.parent_id) == (provider.incident_id, None)
    assert told(connection) == ["provider_down"]


@pytest.mark.slow
def test_faults_count_as_failures_only_after_a_later_answer(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, promises={"realtime_p95_s": 60})
    admit(connection, *(f"k{n}" for n in range(30)), now=NOON, lane="realtime")
    route(connection, now=NOON)
    *served, last = claim(connection, now=later(seconds=1))
    served, faulted = served[:14], served[14:]
    save(connection, *(tried(each, at=later(seconds=2)) for each in served), now=later(seconds=2))
    for each in faulted:
        save(connection, tried(each, Outcome.UNSERVED, at=later(seconds=3)), now=later(seconds=3))
    assert judged(connection, now=later(seconds=4)) == set()
    save(connection, tried(last, at=later(seconds=5)), now=later(seconds=5))
    assert judged(connection, now=later(seconds=6)) == {("realtime_failing", "open")}


@pytest.mark.slow
def test_an_outage_ends_when_its_work_is_answered_and_its_late_answers_send_no_message(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    admit(connection, *(f"k{n}" for n in range(30)), now=NOON, lane="realtime")
    route(connection, now=NOON)
    down(connection, now=later(seconds=5))
    first, *others = claim(connection, now=later(seconds=200))
    save(connection, tried(first, at=later(seconds=202)), now=later(seconds=202))
    assert judged(connection, now=later(seconds=203)) == {
        ("provider_down", "open"),
        ("realtime_slow", "open"),
    }
    save(
        connection, *(tried(each, at=later(seconds=204)) for each in others), now=later(seconds=204)
    )
    assert judged(connection, now=later(seconds=205)) == {
        ("provider_down", "resolved"),
        ("realtime_slow", "open"),
    }
    assert judged(connection, now=later(seconds=206)) == {
        ("provider_down", "resolved"),
        ("realtime_slow", "resolved"),
    }
    assert told(connection) == ["provider_down"]


def test_an_incident_that_outlasts_its_parent_is_reported_when_the_parent_ends(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    down(connection, now=NOON)
    slow = slow_lane()
    incidents.record(connection, [slow], now=later(seconds=5))
    for second in (6, 7):
        incidents.record(connection, [replace(slow, value=second + 90)], now=later(seconds=second))
        assert told(connection) == ["provider_down"]
    save(
        connection,
        tried(claimed_item(connection, "one"), at=later(seconds=9)),
        now=later(seconds=9),
    )
    outages.end(connection, now=later(seconds=10))
    assert told(connection) == ["provider_down"]
    for second in (11, 12):
        assert incidents.record(connection, [slow], now=later(seconds=second)).opened == []
        assert told(connection) == ["provider_down", "realtime_slow"]
    # The incident is independent now: an inconclusive verdict no longer ends it.
    unsure = replace(slow, verdict=Verdict.INCONCLUSIVE)
    assert incidents.record(connection, [unsure], now=later(seconds=13)).resolved == []


@pytest.mark.parametrize(
    ("verdict", "ends"),
    [(Verdict.PASSED, True), (Verdict.INCONCLUSIVE, True), (Verdict.ERROR, False)],
)
def test_an_incident_that_no_longer_fails_when_its_parent_ends_is_never_reported(
    connection: Connection, verdict: Verdict, ends: bool
) -> None:
    publish(connection, now=NOON)
    down(connection, now=NOON)
    slow = slow_lane()
    (id_,) = incidents.record(connection, [slow], now=later(seconds=5)).opened
    afterwards = replace(slow, verdict=verdict, value=19)
    assert incidents.record(connection, [afterwards], now=later(seconds=6)).resolved == []
    save(
        connection,
        tried(claimed_item(connection, "one"), at=later(seconds=9)),
        now=later(seconds=9),
    )
    outages.end(connection, now=later(seconds=10))
    assert incidents.record(connection, [afterwards], now=later(seconds=11)).resolved == (
        [id_] if ends else []
    )
    assert told(connection) == ["provider_down"]


def test_incidents_that_no_outage_explains_are_reported_at_once(connection: Connection) -> None:
    publish(connection, now=NOON)
    publish(connection, "others", now=NOON, realtime_model="claude-sonnet-5-5")
    down(connection, now=NOON)
    failed = Assessment(Promise.ITEMS_FAILED, "letters", Verdict.FAILED, 2, 0, 2, "Two are poison.")
    slow = slow_lane("others")
    incidents.record(connection, [failed, slow], now=later(seconds=5))
    assert told(connection) == ["provider_down", "items_failed", "realtime_slow"]


@pytest.mark.slow
def test_an_outage_explains_failed_items_only_if_they_were_given_up_unanswered(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, give_up_after_h=1)
    admit(connection, "a", "b", now=NOON, lane="realtime")
    route(connection, now=NOON)
    down(connection, now=later(minutes=5))
    hopeless = outages.claim_hopeless(connection, Lane.REALTIME, now=later(hours=2))
    save(connection, *hopeless, now=later(hours=2))
    assert ("items_failed", "open") in judged(connection, now=later(hours=2, seconds=1))
    assert told(connection) == ["provider_down"]
    poison = claimed_item(connection, "c", now=later(hours=2))
    save(
        connection,
        tried(poison, Outcome.POISON, at=later(hours=2, seconds=2), error="400"),
        now=later(hours=2, seconds=2),
    )
    judged(connection, now=later(hours=2, seconds=3))
    assert told(connection) == ["provider_down", "items_failed"]


@pytest.mark.slow
def test_a_lane_that_is_slow_after_the_outage_breaks_its_promise_again(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    down(connection, now=NOON)
    save(
        connection,
        tried(claimed_item(connection, "first"), at=later(seconds=9)),
        now=later(seconds=9),
    )
    assert judged(connection, now=later(seconds=10)) == {("provider_down", "resolved")}
    admit(connection, *(f"k{n}" for n in range(30)), now=later(seconds=20), lane="realtime")
    route(connection, now=later(seconds=20))
    asked(connection, Outcome.VALID, at=later(seconds=100))
    assert ("realtime_slow", "open") in judged(connection, now=later(seconds=101))


def test_an_answer_before_the_last_fault_does_not_end_the_outage(connection: Connection) -> None:
    publish(connection, now=NOON)
    down(connection, now=NOON)
    save(
        connection,
        tried(claimed_item(connection, "one"), at=later(seconds=5)),
        now=later(seconds=5),
    )
    down(connection, now=later(seconds=9), calls=4)
    assert judged(connection, now=later(seconds=10)) == {("provider_down", "open")}


def waits(connection: Connection, *, shed: bool = False) -> None:
    """Let an item wait in real time since before an outage that begins at noon, or shed it."""
    publish(connection, now=later(minutes=-1))
    admit(connection, "a", now=later(minutes=-1), lane="realtime")
    route(connection, now=later(minutes=-1))
    down(connection, now=NOON)
    if shed:
        connection.execute(text("update lanes.work set lane = 'batch'"))


def test_an_outage_ends_after_ten_minutes_when_all_waiting_work_was_shed(
    connection: Connection,
) -> None:
    waits(connection, shed=True)
    assert judged(connection, now=later(minutes=10)) == {("provider_down", "open")}
    assert judged(connection, now=later(minutes=11)) == {("provider_down", "resolved")}
    (only,) = rows(connection, "incident_log")
    assert only.sentence.startswith("No work waits for it")
    assert circuits.open_circuits(connection, "acme") == {}


def test_an_outage_stays_open_while_work_waits_even_without_calls(
    connection: Connection,
) -> None:
    waits(connection)
    assert judged(connection, now=later(hours=5)) >= {("provider_down", "open")}
    connection.execute(text("update lanes.workload set paused_at = :now"), {"now": NOON})
    assert judged(connection, now=later(hours=5)) >= {("provider_down", "resolved")}


@pytest.mark.slow
def test_an_outage_lasts_exactly_as_long_as_work_of_any_version_needs_its_model(
    connection: Connection,
) -> None:
    waits(connection)
    publish(connection, now=NOON, realtime_model="claude-sonnet-5-5")
    admit(connection, "new", now=NOON, lane="realtime")
    route(connection, now=NOON)
    assert judged(connection, now=later(hours=5)) >= {("provider_down", "open")}
    connection.execute(text("update lanes.work set state = 'done' where version_id = 1"))
    assert judged(connection, now=later(hours=5)) >= {("provider_down", "resolved")}


@pytest.mark.parametrize(
    ("keeps", "state"),
    [
        ("select", "open"),
        ("update lanes.work set purpose = 'shadow' where state = 'ready'", "resolved"),
        (BUDGET.format(refused="'2026-01-01'", consumer="null"), "open"),
        (BUDGET.format(refused=":now", consumer="null"), "resolved"),
        (BUDGET.format(refused=":now", consumer="'mail'"), "open"),
        (
            BUDGET.format(refused="null", consumer="null").replace("'UTC', 1", "'UTC', 0"),
            "resolved",
        ),
    ],
    ids=[
        "an item",
        "a shadow",
        "an item whose budget refused long ago",
        "no money",
        "no money of one consumer",
        "no money, and nobody asked for any",
    ],
)
def test_shadow_work_and_work_without_budget_do_not_keep_an_outage_open(
    connection: Connection, keeps: str, state: str
) -> None:
    waits(connection)
    answered = claimed_item(connection, "b")
    connection.execute(
        text("update lanes.work set state = 'ready' where id <> :id"),
        {"id": answered.claim.work_id},
    )
    save(connection, tried(answered, at=later(seconds=9)), now=later(seconds=9))
    connection.execute(text(keeps), {"now": NOON})
    outages.end(connection, now=later(seconds=10))
    (only,) = rows(connection, "incident_log")
    assert only.state == state


def test_a_closed_circuit_still_explains_the_delays_of_work_that_was_not_asked_yet(
    connection: Connection,
) -> None:
    waits(connection)
    slow = slow_lane()
    circuits.record_answer(connection, "acme", MODEL, began_at=later(seconds=9))
    incidents.record(connection, [slow], now=later(seconds=10))
    assert told(connection) == ["provider_down"]


def test_repeated_faults_open_one_incident_and_update_its_value(connection: Connection) -> None:
    for seconds in range(20):
        down(connection, now=later(seconds=seconds), calls=seconds)
    (only,) = rows(connection, "incident_log")
    assert (only.workload, only.subject, only.value) == ("*", "acme", 19)


@pytest.mark.slow
def test_an_outage_of_two_models_is_one_incident_that_ends_when_both_answer(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    publish(connection, "others", now=NOON, realtime_model="claude-sonnet-5-5")
    down(connection, now=NOON)
    down(connection, now=NOON, model="claude-sonnet-5-5")
    (only,) = rows(connection, "incident_log")
    assert only.sentence.startswith(
        "claude-haiku-5-5 and claude-sonnet-5-5 answered none of the last 6 real-time calls"
    )
    save(
        connection,
        tried(claimed_item(connection, "one"), at=later(seconds=9)),
        now=later(seconds=9),
    )
    assert judged(connection, now=later(seconds=10)) == {("provider_down", "open")}
    other = claimed_item(connection, "two", workload="others")
    save(connection, tried(other, at=later(seconds=19)), now=later(seconds=19))
    assert judged(connection, now=later(seconds=20)) == {("provider_down", "resolved")}


@pytest.mark.parametrize(
    ("lane", "also_told"), [(Lane.REALTIME, []), (Lane.BATCH, ["deadline_missed"])]
)
def test_a_real_time_outage_explains_missed_due_times_of_real_time_work_only(
    connection: Connection, lane: Lane, also_told: list[str]
) -> None:
    publish(connection, now=NOON, promises={"realtime_p95_s": 0})
    admit(connection, *(f"k{n}" for n in range(30)), now=NOON, lane=lane, due_at=later(minutes=1))
    route(connection, now=NOON)
    down(connection, now=later(seconds=5))
    assert ("deadline_missed", "open") in judged(connection, now=later(minutes=2))
    assert told(connection) == ["provider_down", *also_told]


def test_a_drains_notice_of_an_outage_has_the_start_and_the_value_of_its_incident(
    connection: Connection,
) -> None:
    down(connection, now=NOON)
    down(connection, now=later(seconds=90), calls=9)
    incidents.open(connection, frozen("acme", 12, "402"), now=later(minutes=5))
    for workload in ("letters", "bills"):
        incidents.open(
            connection, unknown_model(workload, "claude-none", 2, "404"), now=later(minutes=6)
        )
    local = [
        Standstill(whom, later(minutes=7), 2, "529")
        for whom in (MODEL, ACCOUNT, "claude-none", "claude-opus-5-5")
    ]
    model, account, refused, unknown = outages.complete_standstills(connection, "acme", local)
    (incident,) = rows(connection, "incident_log", promise="provider_down")
    assert (
        (model.since, model.bad)
        == (incident.opened_at, f"{incident.value:g} calls")
        == (NOON, "9 calls")
    )
    assert (account.since, account.bad) == (later(minutes=5), "12 items")
    assert (refused.since, refused.bad) == (later(minutes=6), "4 items")
    assert unknown == local[3]

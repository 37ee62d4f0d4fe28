"""Incidents end when their subject is gone, and one cause sends one message whatever it delays."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from sqlalchemy import Connection, Engine, text

from lanes.money.budget import Budget, Period
from lanes.promises.breaches import frozen, unknown_model
from lanes.promises.deadlines import CALM_FOR
from lanes.promises.incident import Incident, IncidentState, Promise
from lanes.promises.judge import assess
from lanes.store import incidents, webhooks
from lanes.store.batch import doubts
from lanes.store.doors import emptying
from lanes.store.figures import measurements
from lanes.store.money import budgets, ledger
from lanes.store.promises import recording
from lanes.store.realtime import outages
from lanes.store.workload import workloads
from lanes.words import Lane
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.promises.test_briefings import TOLD
from tests.store.tries import claim, row, rows, save, tried

MODEL = "claude-haiku-5-5"
ALL_DAY = {"off_peak_start": "00:00", "off_peak_end": "00:00"}


def look(connection: Connection, **after: float) -> set[tuple[str, str]]:
    """Open and end incidents as `watch` does at that time after noon; return the promise and state of each."""
    now = later(**after)
    open_before = recording.list_open(connection)
    judged = assess(
        workloads.read_versions(connection), measurements.measure(connection, now=now), now
    )
    incidents.record(connection, judged, now=now)
    recording.end_gone(connection, judged, open_before, now=now)
    recording.thaw(connection, now=now)
    outages.end(connection, now=now)
    return {(each.promise, each.state) for each in rows(connection, "incident_log")}


def told(connection: Connection) -> list[str]:
    """Return the promises whose incidents have a Slack post, sent or queued."""
    query = "select i.promise from lanes.slack_post p join lanes.incident i on i.id = p.incident_id order by i.id"
    return list(connection.execute(text(query)).scalars())


def broken(connection: Connection, promise: Promise) -> Incident:
    """Run the promise's scene and return its open incident; other incidents of the scene do not matter."""
    publish(connection, now=later(days=-1))
    TOLD[promise].happens(connection)
    of = next(
        each
        for each in incidents.list_newest(connection, states=[IncidentState.OPEN])
        if each.promise == promise
    )
    look(connection)
    assert state(connection, of) == "open"
    return of


def state(connection: Connection, of: Incident) -> str:
    return row(connection, "incident_log", incident_id=of.id).state


def cancel(connection: Connection) -> None:
    """Cancel every item as its owner, and recall the work that batches hold."""
    connection.execute(
        text("select lanes.cancel(workload, key, :now) from lanes.item"), {"now": NOON}
    )
    doubts.recall(connection, now=NOON)


def pause(connection: Connection) -> None:
    workloads.pause(connection, "letters", since=NOON)


def correct(connection: Connection) -> None:
    publish(connection, now=NOON, instructions="Sort the letter by its sender.")


def forget(connection: Connection) -> None:
    for key in connection.execute(text("select key from lanes.item")).scalars().all():
        emptying.forget(connection, "letters", key, now=NOON)


def abort(connection: Connection) -> None:
    connection.execute(
        text("update lanes.rollout set state = 'aborted', ended_at = :now"), {"now": NOON}
    )


def remove_budget(connection: Connection) -> None:
    budgets.remove(connection, "letters", None, Period.DAY, now=NOON)


def remove_block(connection: Connection) -> None:
    incidents.record_invalid(connection, [], now=NOON)


def nothing_at_risk(connection: Connection) -> None:
    recording.record_at_risk(connection, [], now=NOON + CALM_FOR)


def no_role_taken(connection: Connection) -> None:
    recording.record_taken_roles(connection, now=NOON)


def agrees(connection: Connection) -> None:
    ledger.record_differences(connection, {}, now=NOON)


def webhook_removed(connection: Connection) -> None:
    to = webhooks.find(connection, "crm")
    assert to is not None
    webhooks.remove(connection, to, now=NOON)


GONE: list[tuple[Promise, Callable[[Connection], None], dict[str, float]]] = [
    (Promise.BATCH_SLOW, cancel, {}),
    (Promise.BATCH_FAILING, correct, {"minutes": 15}),
    (Promise.BATCH_INVALID, correct, {"minutes": 15}),
    (Promise.BATCH_UNCLEAR, cancel, {}),
    (Promise.BATCH_INCOMPLETE, cancel, {}),
    (Promise.BATCH_NEVER_STARTED, cancel, {}),
    (Promise.BATCH_NEVER_STARTED, pause, {}),
    (Promise.COLLECT_STOPPED, cancel, {}),
    (Promise.REALTIME_SLOW, pause, {}),
    (Promise.REALTIME_SLOW, cancel, {"minutes": 30}),
    (Promise.REALTIME_FAILING, pause, {}),
    (Promise.REALTIME_FAILING, cancel, {"minutes": 30}),
    (Promise.AUTHORITATIVE_FAILED, forget, {}),
    (Promise.ITEMS_FAILED, cancel, {}),
    (Promise.WORKLOAD_INVALID, remove_block, {}),
    (Promise.PROVIDER_DOWN, cancel, {"minutes": 17}),
    (Promise.APPROVAL_WAITS, abort, {}),
    (Promise.PROVIDER_FROZEN, cancel, {}),
    (Promise.PROVIDER_FROZEN, pause, {}),
    (Promise.BUDGET, remove_budget, {}),
    (Promise.DEADLINE_MISSED, pause, {}),
    (Promise.DEADLINE_MISSED, cancel, {"minutes": 70}),
    (Promise.DEADLINE_AT_RISK, nothing_at_risk, {}),
    (Promise.ROLE_TAKEN, no_role_taken, {}),
    (Promise.FEED_SILENT, pause, {}),
    (Promise.RULE_RAISES, correct, {}),
    (Promise.ROUTING_SHIFTED, pause, {}),
    (Promise.ROUTING_SHIFTED, correct, {"minutes": 15}),
    (Promise.GUARDS_FIRE, pause, {}),
    (Promise.CHANCE_WRONG, correct, {}),
    (Promise.READ_LATE, pause, {}),
    (Promise.BILL_DIFFERS, agrees, {}),
    (Promise.WEBHOOK_GONE, webhook_removed, {}),
    (Promise.QUALITY_DRIFT, correct, {}),
    (Promise.MODEL_CHANGED, correct, {}),
]


def test_every_promise_has_an_ending_case() -> None:
    assert {each for each, _, _ in GONE} == set(Promise)


@pytest.mark.long_cases
@pytest.mark.parametrize(
    ("promise", "goes", "after"), GONE, ids=lambda each: getattr(each, "__name__", None)
)
def test_the_incident_of_a_promise_ends_when_its_subject_is_gone(
    connection: Connection,
    promise: Promise,
    goes: Callable[[Connection], None],
    after: dict[str, float],
) -> None:
    of = broken(connection, promise)
    goes(connection)
    look(connection, **after)
    assert state(connection, of) == "resolved"


def test_an_incident_opened_during_a_measurement_is_not_ended_by_it(pool: Engine) -> None:
    with pool.begin() as watch:
        open_before = recording.list_open(watch)
        seen = measurements.measure(watch, now=NOON)
        with pool.begin() as collect:
            publish(collect, now=later(days=-1))
            TOLD[Promise.BATCH_INCOMPLETE].happens(collect)
        judged = assess(workloads.read_versions(watch), seen, NOON)
        incidents.record(watch, judged, now=NOON)
        assert recording.end_gone(watch, judged, open_before, now=NOON) == []
        assert row(watch, "incident_log", promise="batch_incomplete").state == "open"


@pytest.mark.slow
def test_a_refusal_stays_open_while_it_blocks_items_and_its_value_counts_them(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    publish(connection, "others", now=NOON)
    admit(connection, "a", now=NOON, lane=Lane.REALTIME)
    admit(connection, "b", now=NOON, lane=Lane.BATCH, workload="others")
    route(connection, now=NOON)
    incidents.open(connection, frozen("acme", 1, "401: bad key"), now=NOON)
    look(connection, days=365)
    assert row(connection, "incident_log", promise="provider_frozen").value == 2
    connection.execute(
        text("select lanes.cancel(workload, key, :now) from lanes.item"), {"now": later(days=365)}
    )
    look(connection, days=365)
    assert row(connection, "incident_log", promise="provider_frozen").state == "resolved"


@pytest.mark.slow
def test_an_answer_ends_the_accounts_refusal_and_only_its_own_workloads_model_refusal(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, batch_model="claude-opus-5-5")
    publish(connection, "others", now=NOON)
    admit(connection, *(f"k{n}" for n in range(3)), now=NOON, lane=Lane.REALTIME)
    admit(connection, "o", now=NOON, lane=Lane.REALTIME, workload="others")
    route(connection, now=NOON)
    for breach in (
        frozen("acme", 1, "402"),
        unknown_model("letters", MODEL, 3, "404"),
        unknown_model("others", MODEL, 1, "404"),
        unknown_model("letters", "claude-opus-5-5", 1, "404"),
    ):
        incidents.open(connection, breach, now=NOON)
    admit(connection, "for a batch", now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    first = next(each for each in claim(connection, now=NOON) if each.key == "k0")
    save(connection, tried(first, at=later(minutes=1)), now=later(minutes=1))
    look(connection, minutes=2)
    frozen_still = rows(connection, "incident_log", state="open", promise="provider_frozen")
    still = {(each.workload, each.subject) for each in frozen_still}
    assert still == {("others", f"model {MODEL}"), ("letters", "model claude-opus-5-5")}


def wrong_key(connection: Connection) -> None:
    """Give three workloads due real-time and batch items; the provider refuses the account from noon on."""
    for name in ("letters", "bills", "notes"):
        publish(connection, name, now=NOON, promises={"realtime_p95_s": 30}, **ALL_DAY)
        admit(
            connection,
            *(f"r{n}" for n in range(30)),
            now=NOON,
            workload=name,
            lane=Lane.REALTIME,
            due_at=later(minutes=5),
        )
        admit(
            connection,
            *(f"b{n}" for n in range(30)),
            now=NOON,
            workload=name,
            lane=Lane.BATCH,
            due_at=later(minutes=50),
        )
    route(connection, now=NOON)
    incidents.open(connection, frozen("acme", 30, "401: bad key"), now=later(seconds=1))


@pytest.mark.slow
def test_one_wrong_key_sends_one_message_for_both_lanes_and_all_workloads(
    connection: Connection,
) -> None:
    wrong_key(connection)
    for minute in range(0, 180, 10):
        look(connection, minutes=minute)
    found = rows(connection, "incident_log", state="open")
    assert {each.promise for each in found} == {
        "provider_frozen",
        "realtime_slow",
        "batch_never_started",
        "deadline_missed",
    }
    (cause,) = (each for each in found if each.promise == "provider_frozen")
    assert (cause.workload, cause.severity, cause.value) == ("*", "critical", 180)
    assert {each.parent_id for each in found if each is not cause} == {cause.incident_id}
    assert told(connection) == ["provider_frozen"]


@pytest.mark.slow
def test_delays_caused_by_a_refusal_end_without_a_message_and_later_delays_send_one(
    connection: Connection,
) -> None:
    wrong_key(connection)
    look(connection, minutes=60)
    for each in claim(connection, now=later(minutes=61), places=1000):
        save(connection, tried(each, at=later(minutes=62)), now=later(minutes=62))
    for minute in (63, 64, 90):
        look(connection, minutes=minute)
    assert row(connection, "incident_log", promise="provider_frozen").state == "resolved"
    assert told(connection) == ["provider_frozen"]
    admit(connection, *(f"late{n}" for n in range(30)), now=later(minutes=95), lane=Lane.REALTIME)
    route(connection, now=later(minutes=95))
    look(connection, minutes=100)
    assert "realtime_slow" in told(connection)


@pytest.mark.slow
def test_a_used_up_budget_explains_the_delays_of_its_own_workload_only(
    connection: Connection,
) -> None:
    wrong_key(connection)
    connection.execute(text("delete from lanes.slack_post"))
    connection.execute(text("delete from lanes.incident"))
    nothing = Budget("letters", None, Period.DAY, "UTC", None, Decimal(0))
    budgets.put(connection, nothing, who="ann", why="test", now=NOON)
    look(connection, minutes=80)
    found = rows(connection, "incident_log", workload="letters")
    assert {each.promise for each in found} == {
        "budget",
        "realtime_slow",
        "batch_never_started",
        "deadline_missed",
    }
    (cause,) = (each for each in found if each.promise == "budget")
    assert {each.parent_id for each in found if each is not cause} == {cause.incident_id}
    # There is one for each of the two workloads that have money.
    assert told(connection).count("realtime_slow") == 2


@pytest.mark.slow
def test_a_refused_model_explains_only_the_delays_of_work_for_that_model(
    connection: Connection,
) -> None:
    publish(
        connection,
        now=NOON,
        realtime_model="claude-opus-5-5",
        promises={"realtime_p95_s": 30},
        **ALL_DAY,
    )
    admit(connection, *(f"r{n}" for n in range(30)), now=NOON, lane=Lane.REALTIME)
    admit(connection, *(f"b{n}" for n in range(30)), now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    incidents.open(connection, unknown_model("letters", "claude-opus-5-5", 30, "404"), now=NOON)
    look(connection, minutes=30)
    assert told(connection) == ["provider_frozen"]
    look(connection, minutes=80)
    assert told(connection) == ["provider_frozen", "batch_never_started"]

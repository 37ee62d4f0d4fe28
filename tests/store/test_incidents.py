"""Incidents in the database, one open per breach, announced in the same transaction, and measurements of the promises;
one file because each is seen from the incident that it opens."""

import itertools
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Connection, text

from lanes.money.budget import Budget, Period
from lanes.promises import assessment
from lanes.promises.assessment import Assessment
from lanes.promises.breaches import invalid_workload
from lanes.promises.incident import (
    TERMS,
    IncidentChanges,
    IncidentState,
    Promise,
    Severity,
    SlackPost,
    SlackStep,
    next_step,
)
from lanes.promises.judge import assess
from lanes.settling.outcome import Judgment
from lanes.store import incidents
from lanes.store.asking import through
from lanes.store.figures import measurements
from lanes.store.money import budgets
from lanes.store.promises import slack_outbox
from lanes.store.report import facts
from lanes.store.settling import decisions
from lanes.store.workload import workloads
from lanes.words import Lane, Outcome, Verdict
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import claim, claimed_item, events, home, row, rows, save, submit, tried

BREACH = Assessment(Promise.REALTIME_SLOW, "letters", Verdict.FAILED, 7.5, 5, 40, "It is slow.")
KEPT = replace(BREACH, verdict=Verdict.PASSED, value=1, sentence="It is fast again.")


def test_a_breach_opens_one_incident_and_a_new_figure_updates_that_incident(
    connection: Connection,
) -> None:
    first = incidents.record(connection, [BREACH], now=NOON)
    again = incidents.record(
        connection, [replace(BREACH, value=9, sentence="It is slower.")], now=later(minutes=1)
    )
    assert (len(first.opened), again.opened) == (1, [])
    log = row(connection, "incident_log")
    seen = (log.incident_id, log.promise, log.workload, log.severity)
    assert seen == (first.opened[0], "realtime_slow", "letters", "warning")
    assert (log.state, log.value, log.limit_value, log.opened_at, log.resolved_at) == (
        "open",
        9,
        5,
        NOON,
        None,
    )
    (told,) = events(connection, incidents.OPENED)
    assert told.resource == "lanes.workload.letters"
    assert told.payload["incident_id"] == first.opened[0]


def test_a_kept_promise_resolves_its_incident_and_the_next_breach_opens_another(
    connection: Connection,
) -> None:
    (first,) = incidents.record(connection, [BREACH], now=NOON).opened
    assert incidents.record(connection, [KEPT], now=later(minutes=15)).resolved == [first]
    assert incidents.record(connection, [KEPT], now=later(minutes=16)).resolved == []
    log = row(connection, "incident_log")
    assert (log.state, log.value, log.resolved_at) == ("resolved", 7.5, later(minutes=15))
    assert log.sentence == "It is fast again."
    assert len(events(connection, incidents.RESOLVED)) == 1
    (second,) = incidents.record(connection, [BREACH], now=later(minutes=17)).opened
    assert second == first + 1


@pytest.mark.parametrize(
    ("kept", "minutes"),
    [
        (KEPT, 15),
        (replace(KEPT, verdict=Verdict.INCONCLUSIVE, samples=0, quiet=True), 15),
        (replace(KEPT, verdict=Verdict.INCONCLUSIVE, quiet=True), 120),
        (replace(KEPT, limit=0), 0),
    ],
    ids=["below its limit", "nothing happens", "too few to be sure", "no longer promised"],
)
def test_an_incident_resolves_after_a_delay_that_depends_on_the_evidence(
    connection: Connection, kept: Assessment, minutes: float
) -> None:
    (first,) = incidents.record(
        connection, [BREACH, replace(BREACH, workload="bills")], now=NOON
    ).opened[:1]
    if minutes:
        assert incidents.record(connection, [kept], now=later(minutes=minutes - 0.1)).resolved == []
    assert incidents.record(connection, [kept], now=later(minutes=minutes)).resolved == [first]
    assert row(connection, "incident_log", workload="bills").state == "open"


@pytest.mark.slow
def test_a_report_lists_every_open_incident_and_only_the_newest_resolved_ones(
    connection: Connection,
) -> None:
    breaches = [replace(BREACH, workload=f"letters-{number}") for number in range(70)]
    incidents.record(connection, breaches, now=NOON)
    incidents.record(
        connection,
        [replace(each, verdict=Verdict.PASSED, value=1) for each in breaches[:10]],
        now=later(hours=1),
    )
    found = facts.incidents(through(connection), NOON, most=4)
    assert [each.state for each in found].count(IncidentState.OPEN) == 60
    assert [each.workload for each in found[60:]] == [
        "letters-9",
        "letters-8",
        "letters-7",
        "letters-6",
    ]
    assert found[0].workload == "letters-69"
    assert len(facts.incidents(through(connection), later(hours=1), most=4)) == 60


def test_an_inconclusive_verdict_neither_opens_nor_resolves_an_incident(
    connection: Connection,
) -> None:
    unsure = replace(BREACH, verdict=Verdict.INCONCLUSIVE, samples=3)
    assert incidents.record(connection, [unsure], now=NOON) == IncidentChanges()
    incidents.record(connection, [BREACH], now=NOON)
    assert incidents.record(connection, [unsure], now=later(minutes=1)) == IncidentChanges()


def test_the_severity_of_an_open_incident_rises_and_never_falls(connection: Connection) -> None:
    for value, severity in ((7.5, "warning"), (20, "critical"), (7.5, "critical")):
        incidents.record(connection, [replace(BREACH, value=value)], now=NOON)
        assert row(connection, "incident_log").severity == severity


def test_a_digest_incident_enters_the_slack_outbox_once_its_severity_rises(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    terms = {
        **TERMS,
        Promise.REALTIME_SLOW: replace(TERMS[Promise.REALTIME_SLOW], mildest=Severity.DIGEST),
    }
    monkeypatch.setattr(assessment, "TERMS", terms)
    incidents.record(connection, [BREACH], now=NOON)
    assert row(connection, "incident_log").severity == "digest"
    assert rows(connection, "slack_post") == []
    incidents.record(connection, [replace(BREACH, value=20)], now=later(minutes=1))
    assert row(connection, "incident_log").severity == "critical"
    incidents.record(connection, [BREACH], now=later(minutes=2))
    assert row(connection, "incident_log").severity == "critical"
    assert len(rows(connection, "slack_post")) == 1


def test_exactly_the_invalid_workloads_have_an_open_incident(connection: Connection) -> None:
    one, two = (
        invalid_workload("one", ["a: wrong"]),
        invalid_workload("two", ["b: wrong", "c: wrong"]),
    )
    incidents.record_invalid(connection, [one, two], now=NOON)
    incidents.record_invalid(connection, [two], now=later(minutes=1))
    states = {each.workload: each.state for each in rows(connection, "incident_log")}
    assert states == {"one": "resolved", "two": "open"}
    assert [
        each.workload for each in incidents.list_newest(connection, states=[IncidentState.OPEN])
    ] == ["two"]


def test_an_incident_that_cannot_be_stored_affects_no_other(connection: Connection) -> None:
    poisoned = replace(BREACH, workload="bills", sentence="It says \x00.")
    last = replace(BREACH, workload="notes")
    recorded = incidents.record(connection, [BREACH, poisoned, last], now=NOON)
    assert [each.workload for each in rows(connection, "incident_log")] == ["letters", "notes"]
    assert len(recorded.opened) == 2
    assert "realtime_slow of bills" in "".join(recorded.refused)
    ended = [replace(each, verdict=Verdict.PASSED, value=1) for each in (BREACH, last)]
    ended[0] = replace(ended[0], sentence="\x00")
    recorded = incidents.record(connection, ended, now=later(hours=1))
    assert (len(recorded.resolved), len(recorded.refused)) == (1, 1)
    incidents.record_invalid(
        connection, [invalid_workload("one", ["\x00"]), invalid_workload("two", ["b"])], now=NOON
    )
    assert row(connection, "incident_log", workload="two").state == "open"


def test_a_slow_batch_opens_an_incident_that_resolves_once_the_batch_is_collected(
    connection: Connection,
) -> None:
    version = publish(connection, now=NOON)
    admit(connection, "a", "b", now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    batch_id, _ = submit(connection, version)
    assert evaluate(connection, hours=3).opened
    log = row(connection, "incident_log")
    assert (log.promise, log.subject, log.value, log.limit_value) == (
        "batch_slow",
        f"batch {batch_id}",
        180,
        120,
    )
    assert evaluate(connection, hours=4).opened == []
    home(connection, batch_id, now=later(hours=5))
    assert evaluate(connection, hours=99).resolved == [log.incident_id]


@pytest.mark.slow
def test_realtime_latency_counts_answers_and_overdue_items_but_no_failed_or_paused_ones(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    claimed = claimed_item(connection, "answered")
    save(connection, tried(claimed, at=later(seconds=4)), now=later(seconds=4))
    failed = claimed_item(connection, "retried", now=NOON)
    save(connection, tried(failed, at=later(seconds=9)), now=later(seconds=9))
    connection.execute(text("update lanes.item set failure = 'given up' where key = 'retried'"))
    admit(connection, "batched", now=NOON, lane=Lane.BATCH)
    admit(connection, "waits", now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    admit(connection, "unrouted", now=NOON)
    (seen,) = measurements.measure(connection, now=later(seconds=5)).realtime
    assert (seen.answered, seen.late, seen.p95_s, seen.tried[0]) == (1, 0, 4, (0, 2))
    (seen,) = measurements.measure(connection, now=later(seconds=60)).realtime
    assert (seen.answered, seen.late) == (1, 2)
    assert seen.p95_s == 60
    workloads.pause(connection, "letters", since=NOON)
    paused = measurements.measure(connection, now=later(seconds=60))
    assert (paused.realtime, paused.paused) == ([], frozenset({"letters"}))


def test_items_given_up_count_as_slow_and_the_oldest_waiting_item_is_measured(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, max_failures=1)
    for key in ("gone", "batched"):
        save(
            connection,
            tried(claimed_item(connection, key), Outcome.ERRORED, error="down"),
            now=later(seconds=30),
        )
    assert row(connection, "item", key="gone").failed_at == later(seconds=30)
    admit(connection, "waits", now=later(seconds=10), lane=Lane.REALTIME)
    route(connection, now=later(seconds=10))
    connection.execute(
        text("""
        insert into lanes.route (item_id, version_id, lane, reason, explanation, realtime_usd, batch_usd, decided_at)
        select r.item_id, r.version_id, 'batch', 'split', '', 0, 0, r.decided_at
          from lanes.route r join lanes.item i on i.id = r.item_id where i.key = 'batched'
        """)
    )
    (seen,) = measurements.measure(connection, now=later(seconds=70)).realtime
    assert (seen.answered, seen.late, seen.given_up, seen.waits_s) == (0, 1, 1, 60)
    assert seen.p95_s is not None
    assert 60 < seen.p95_s <= 70
    connection.execute(
        text("update lanes.item set canceled_at = failed_at where failed_at is not null")
    )
    (seen,) = measurements.measure(connection, now=later(seconds=70)).realtime
    assert (seen.given_up, seen.p95_s) == (0, 60)


def test_the_waiting_time_of_a_retried_item_starts_at_its_retry(connection: Connection) -> None:
    publish(connection, now=NOON, max_failures=1)
    save(connection, tried(claimed_item(connection), Outcome.ERRORED, error="down"), now=NOON)
    assert decisions.retry(connection, "letters", None, now=later(days=1)) == ["k"]
    (seen,) = measurements.measure(connection, now=later(days=1, seconds=4)).realtime
    assert (seen.late, seen.given_up) == (0, 0)
    (seen,) = measurements.measure(connection, now=later(days=1, seconds=90)).realtime
    assert (seen.late, seen.waits_s) == (1, 90)
    (again,) = claim(connection, now=later(days=1))
    save(connection, tried(again, at=later(days=1, seconds=3)), now=later(days=1, seconds=3))
    (seen,) = measurements.measure(connection, now=later(days=1, seconds=4)).realtime
    assert (seen.answered, seen.p95_s) == (1, 3)


def test_an_unrouted_item_that_is_bound_to_batch_counts_as_waiting_for_a_batch(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    admit(connection, "a", now=NOON, lane=Lane.BATCH)
    (seen,) = measurements.measure(connection, now=later(hours=1)).waiting
    assert (seen.items, seen.ready_since) == (1, NOON)


def test_work_left_behind_by_a_submitted_batch_opens_an_incident(connection: Connection) -> None:
    hours = {"off_peak_start": "11:00", "off_peak_end": "18:00"}
    version = publish(connection, now=NOON, **hours)
    admit(connection, "left", now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    submit(connection, version, now=later(hours=1, seconds=20))
    admit(connection, *(f"k{number}" for number in range(50)), now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    assert evaluate(connection, hours=1, minutes=10).opened == []
    assert evaluate(connection, hours=1, minutes=10, seconds=30).opened
    log = row(connection, "incident_log")
    assert log.promise == "batch_never_started"
    assert "50 items wait" in log.sentence


def test_failed_attempts_are_counted_in_each_window_that_has_them(connection: Connection) -> None:
    publish(connection, now=NOON)
    claimed = claimed_item(connection)
    save(connection, tried(claimed, Outcome.ERRORED, error="down"), now=NOON)
    (again,) = claim(connection, now=later(minutes=1))
    save(connection, tried(again, at=later(minutes=1)), now=later(minutes=1))
    (seen,) = measurements.measure(connection, now=later(minutes=2)).realtime
    assert [tuple(each) for each in seen.tried] == [(0, 1), *[(1, 2)] * 5]
    (seen,) = measurements.measure(connection, now=later(minutes=6)).realtime
    assert [tuple(each) for each in seen.tried][:2] == [(0, 0), (0, 1)]


def test_batch_work_waits_since_it_was_ready_and_a_released_batch_does_not_count(
    connection: Connection,
) -> None:
    version = publish(connection, now=NOON)
    admit(connection, "a", now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    (seen,) = measurements.measure(connection, now=later(hours=1)).waiting
    assert (seen.items, seen.ready_since, seen.last_intended_at) == (1, NOON, None)
    submit(connection, version, now=later(hours=1))
    assert measurements.measure(connection, now=later(hours=1)).waiting == []
    admit(connection, "b", now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    (seen,) = measurements.measure(connection, now=later(hours=1)).waiting
    assert seen.last_intended_at == later(hours=1)
    connection.execute(text("update lanes.batch set state = 'released'"))
    (seen,) = measurements.measure(connection, now=later(hours=1)).waiting
    assert seen.last_intended_at is None


def test_an_authoritative_pass_that_fails_for_good_opens_an_incident_for_an_hour(
    connection: Connection,
) -> None:
    version = publish(connection, now=NOON, mode="lambda", max_failures=1)
    save(connection, tried(claimed_item(connection)), now=NOON)
    batch_id, members = submit(connection, version)
    refused = tried(members[0], Outcome.POISON)._replace(
        judged=Judgment(Outcome.POISON, error="too strange")
    )
    save(connection, refused, batch_id=batch_id, now=NOON)
    home(connection, batch_id)
    assert evaluate(connection, minutes=1).opened
    log = row(connection, "incident_log")
    assert (log.promise, log.value) == ("authoritative_failed", 1)
    assert "too strange" in log.sentence
    assert evaluate(connection, minutes=62).resolved == [log.incident_id]


def test_the_slack_outbox_remembers_an_attempt_with_an_unknown_outcome(
    connection: Connection,
) -> None:
    (incident_id,) = incidents.record(connection, [BREACH], now=NOON).opened
    (post,) = slack_outbox.list_due(connection, edits=True, now=NOON)
    assert (post.incident.id, post.posted_state, post.unsure) == (incident_id, None, False)
    slack_outbox.begin(connection, incident_id, posts=Severity.WARNING, now=NOON)
    assert slack_outbox.list_due(connection, edits=True, now=later(seconds=30)) == []
    (post,) = slack_outbox.list_due(connection, edits=True, now=later(seconds=61))
    assert (post.unsure, post.attempts) == (True, 1)
    slack_outbox.record_posted(
        connection, post.incident, channel="C1", ts="1.2", now=later(seconds=61)
    )
    assert slack_outbox.list_due(connection, edits=True, now=later(seconds=62)) == []
    (post,) = posts(connection)
    assert (post.ts, post.posted_state, post.unsure) == ("1.2", IncidentState.OPEN, False)
    assert post.posted_severity == Severity.WARNING
    assert slack_outbox.channels(connection) == ["C1"]


CHANGED = (
    "state = 'open'",
    "state = 'resolved', resolved_at = opened_at",
    "severity = 'critical'",
    "value = 9.3",
    "value = 9.4",
    "value = 0",
    "samples = 50",
    "samples = 51",
    "samples = 0",
    "handling = 'acknowledged', handled_at = opened_at, handled_until = opened_at + interval '1 day'",
    "handling = 'acknowledged', handled_at = opened_at + interval '1 s', handled_until = opened_at + interval '1 day'",
    "handling = 'silenced', handled_at = opened_at + interval '1 s', handled_until = opened_at + interval '270 s'",
    "handling = 'silenced', handled_at = opened_at, handled_until = opened_at + interval '1 day'",
)
SAID = (
    "posted_state = 'open'",
    "posted_state = null",
    "posted_state = 'open', ts = null",
    "posted_state = 'resolved'",
    "posted_state = 'open', posted_severity = null",
    "posted_state = 'open', last_error = 'Prefect could not be asked'",
)


@pytest.mark.slow
def test_the_slack_outbox_offers_exactly_the_incidents_with_a_next_step(
    connection: Connection,
) -> None:
    incidents.record(connection, [BREACH], now=NOON)
    (post,) = slack_outbox.list_due(connection, edits=True, now=NOON)
    slack_outbox.record_posted(connection, post.incident, channel="C1", ts="1.2", now=NOON)
    for changed, said in itertools.product(CHANGED, SAID):
        with connection.begin_nested() as as_it_was:
            connection.execute(text(f"update lanes.incident set {changed}"))
            connection.execute(text(f"update lanes.slack_post set {said}"))
            (post,) = posts(connection)
            for edits, minutes in itertools.product((True, False), (4, 5)):
                now = later(minutes=minutes)
                offered = slack_outbox.list_due(connection, edits=edits, now=now)
                told = next_step(post, edits=edits, now=now) is not SlackStep.NOTHING
                assert bool(offered) == told, (changed, said, edits, minutes)
            as_it_was.rollback()


def test_the_incident_that_changed_first_is_posted_first(connection: Connection) -> None:
    for minute, workload in enumerate(("old", "mended", "new")):
        incidents.record(
            connection, [replace(BREACH, workload=workload)], now=later(minutes=minute)
        )
    told = next(
        each
        for each in slack_outbox.list_due(connection, edits=True, now=later(hours=1))
        if each.incident.id == 2
    )
    slack_outbox.record_posted(
        connection, told.incident, channel="C1", ts="1.2", now=later(minutes=2)
    )
    incidents.record(connection, [replace(KEPT, workload="mended")], now=later(minutes=30))
    due = slack_outbox.list_due(connection, edits=True, now=later(hours=1))
    assert [each.incident.workload for each in due] == ["old", "new", "mended"]


def test_only_open_incidents_stay_in_the_slack_outbox_without_slack(connection: Connection) -> None:
    other = replace(BREACH, workload="bills")
    incidents.record(connection, [BREACH, other], now=NOON)
    incidents.record(connection, [KEPT], now=later(minutes=15))
    slack_outbox.drop_untold(connection)
    assert [
        post.incident.workload for post in slack_outbox.list_due(connection, edits=True, now=NOON)
    ] == ["bills"]


def posts(connection: Connection) -> list[SlackPost]:
    """Return every incident with the state that was posted to Slack."""
    return [
        slack_outbox.read_post(each) for each in connection.execute(slack_outbox.select_posts())
    ]


def evaluate(connection: Connection, **later_by: float) -> IncidentChanges:
    now = NOON + timedelta(**later_by)
    seen = measurements.measure(connection, now=now)
    return incidents.record(
        connection, assess(workloads.read_versions(connection), seen, now), now=now
    )


def test_an_item_that_fell_back_to_a_batch_counts_as_late_until_it_is_answered(
    connection: Connection,
) -> None:
    letters = publish(
        connection,
        now=NOON,
        mode="lambda",
        max_failures=1,
        split_percent=100,
        promises={"realtime_p95_s": 30},
    )
    save(connection, tried(claimed_item(connection, lane=None), Outcome.INVALID))
    (seen,) = measurements.measure(connection, now=later(seconds=20)).realtime
    assert seen.late == 0
    (seen,) = measurements.measure(connection, now=later(hours=3)).realtime
    assert (seen.answered, seen.late) == (0, 1)
    batch_id, (work,) = submit(connection, letters, now=later(hours=3))
    (seen,) = measurements.measure(connection, now=later(hours=4)).realtime
    assert seen.late == 1
    save(connection, tried(work, at=later(hours=4)), batch_id=batch_id, now=later(hours=4))
    (seen,) = measurements.measure(connection, now=later(hours=4)).realtime
    assert seen.late == 0


def test_items_that_their_consumers_budget_cannot_pay_do_not_count_as_waiting_for_a_batch(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, off_peak_start="11:00", off_peak_end="18:00")
    for consumer in ("mail", "app"):
        budgets.put(
            connection,
            Budget("letters", consumer, Period.DAY, "UTC", None, Decimal(consumer == "app")),
            who="ann",
            why="test",
            now=NOON,
        )
    admit(connection, "a", "b", now=NOON, lane=Lane.BATCH, consumer="mail")
    route(connection, now=NOON)
    admit(connection, "unrouted", now=NOON, lane=Lane.BATCH, consumer="mail")
    evaluate(connection, hours=3)
    assert [(each.promise, each.subject) for each in rows(connection, "incident_log")] == [
        ("budget", "day budget of mail")
    ]
    admit(connection, "c", now=NOON, lane=Lane.BATCH, consumer="app")
    route(connection, now=NOON)
    evaluate(connection, hours=4)
    never = row(connection, "incident_log", promise="batch_never_started")
    assert never.sentence.startswith("1 item waits for the batch lane")

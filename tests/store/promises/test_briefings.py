"""The message to the person on call: for every promise it has each part, or says why not: one file because no promise may
be forgotten."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, text

from lanes.batch.batch import Tally
from lanes.errors import SpecInvalid
from lanes.ids import BatchId
from lanes.money.bill import BillDifference, BillKey, Tokens
from lanes.money.budget import Budget, Period
from lanes.promises import breaches
from lanes.promises.batches import incomplete
from lanes.promises.breaches import ForeignHolder, frozen, invalid_workload
from lanes.promises.briefing import Briefing
from lanes.promises.deadlines import AtRisk
from lanes.promises.decisions import GUARDS
from lanes.promises.incident import Incident, IncidentState, Promise
from lanes.promises.judge import assess
from lanes.realtime.circuit import Fault
from lanes.report import incident as incident_page
from lanes.slack.wording import IncidentPages, SlackMessage, message
from lanes.standing.roles import Role
from lanes.store import incidents, webhooks
from lanes.store.batch import doubts
from lanes.store.figures import measurements, quality
from lanes.store.money import budgets, ledger
from lanes.store.promises import briefings, causes, recording
from lanes.store.realtime import outages
from lanes.store.workload import workloads
from lanes.text import capitalize, cell
from lanes.webhooks import USUAL
from lanes.words import Lane, Outcome
from lanes.workload.definition import parse
from tests.conftest import NOON, later
from tests.examples import SCHEMA, admit, publish, route
from tests.slack_standin import invalid, shown
from tests.store import tries
from tests.store.arrivals import arrived
from tests.store.tries import claim, claimed_item, home, intend, row, save, submit, tried

UI = "http://prefect.example"
DRAIN, COLLECT, SUBMIT, ROLLOUT = (UUID(int=number) for number in range(1, 5))
BLOCK = UUID(int=9)
INTERNAL = "the provider answered 500: Internal server error"
PAGES = IncidentPages(
    artifact="/v2/artifacts/artifact/7", form="/v2/deployments/deployment/8/run?parameters=%7B%7D"
)


def evaluated(connection: Connection, now: datetime = NOON) -> None:
    """Judge the promises as `watch` does."""
    seen = measurements.measure(connection, now=now)
    incidents.record(connection, assess(workloads.read_versions(connection), seen, now), now=now)


def opened(connection: Connection, promise: Promise) -> Incident:
    """Return the newest incident of the promise."""
    return next(
        each
        for each in incidents.list_newest(connection, states=list(IncidentState))
        if each.promise == promise
    )


def answered(
    connection: Connection,
    prefix: str,
    number: int,
    *,
    at: datetime,
    took_s: float = 1,
    due_at: datetime | None = None,
    output: dict[str, Any] | None = None,
    model: str = "claude-haiku-5-5",
) -> None:
    """Answer `number` items at that time, received `took_s` before."""
    keys = [f"{prefix}{each}" for each in range(number)]
    begun = at - timedelta(seconds=took_s)
    admit(connection, *keys, now=begun, lane=Lane.REALTIME, due_at=due_at)
    route(connection, now=begun)
    save(
        connection,
        *(
            tried(each, at=at, output=output, response=tries.said(model=model))
            for each in claim(connection, now=begun)
        ),
        now=at,
        flow_run_id=DRAIN,
    )


def failed(
    connection: Connection, prefix: str, errors: list[str], *, at: datetime = NOON, **how: Any
) -> None:
    """Let one item per error fail with that error at that time."""
    admit(
        connection, *(f"{prefix}{each}" for each in range(len(errors))), now=at, lane=Lane.REALTIME
    )
    route(connection, now=at)
    claims = [each for each in claim(connection, now=at) if each.key.startswith(prefix)]
    attempts = [
        tried(each, Outcome.ERRORED, at=at, error=error)
        for each, error in zip(claims, errors, strict=True)
    ]
    save(connection, *attempts, now=at, flow_run_id=DRAIN, **how)


def waiting(
    connection: Connection,
    lane: Lane = Lane.REALTIME,
    at: datetime = NOON,
    workload: str = "letters",
) -> None:
    """Add three waiting items: one overdue, one due in an hour, one without a due time."""
    for key, due_at in {
        "overdue": later(minutes=-5),
        "due": later(hours=1),
        "whenever": None,
    }.items():
        admit(connection, f"{key}-{lane}", now=at, lane=lane, due_at=due_at, workload=workload)
    route(connection, now=at)


def a_batch(connection: Connection, outcomes: list[Outcome], *, at: datetime) -> int:
    """Submit a batch with one item per outcome at that time, collect it an hour later, and return its id."""
    version = workloads.read_versions(connection)["letters"]
    # Withdraw the items that returned from an earlier batch.
    connection.execute(text("update lanes.work set state = 'canceled' where state = 'ready'"))
    word = uuid4().hex[:6]
    admit(connection, *(f"{word}-{each}" for each in range(len(outcomes))), now=at, lane=Lane.BATCH)
    route(connection, now=at)
    batch_id, work = submit(connection, version, now=at)
    back_at = at + timedelta(hours=1)
    ends = zip(work, outcomes, strict=True)
    attempts = [
        tried(each, end, at=back_at, error=None if end is Outcome.VALID else f"it is {end}")
        for each, end in ends
    ]
    save(connection, *attempts, batch_id=batch_id, now=back_at, flow_run_id=COLLECT)
    home(connection, batch_id, now=back_at)
    connection.execute(
        text("update lanes.batch set flow_run_id = :run where id = :id"),
        {"run": SUBMIT, "id": batch_id},
    )
    return batch_id


def realtime_slow(connection: Connection) -> None:
    answered(connection, "before", 25, at=later(minutes=-20), took_s=2)
    answered(connection, "slow", 25, at=later(seconds=-10), took_s=20)
    failed(connection, "bad", [INTERNAL] * 2, at=later(seconds=-9))
    waiting(connection)
    evaluated(connection)


def realtime_failing(connection: Connection) -> None:
    answered(connection, "before", 27, at=later(minutes=-20))
    failed(connection, "early", [INTERNAL] * 3, at=later(minutes=-20))
    answered(connection, "good", 10, at=later(minutes=-1))
    errors = [f"the provider answered 529: Overloaded (request req_{n})" for n in range(12)] + [
        INTERNAL
    ] * 5
    failed(connection, "bad", errors, at=later(seconds=-10))
    waiting(connection)
    evaluated(connection)


def batch_slow(connection: Connection) -> None:
    a_batch(connection, [Outcome.VALID], at=later(hours=-9))
    batch_id = _open_batch(connection)
    connection.execute(
        text("update lanes.batch set processed = 1 where id = :id"), {"id": batch_id}
    )
    evaluated(connection)


def _open_batch(connection: Connection) -> int:
    waiting(connection, Lane.BATCH, at=later(hours=-3))
    batch_id, _ = submit(
        connection, workloads.read_versions(connection)["letters"], now=later(hours=-3)
    )
    connection.execute(
        text("update lanes.batch set flow_run_id = :run where id = :id"),
        {"run": SUBMIT, "id": batch_id},
    )
    return batch_id


def batch_failing(connection: Connection) -> None:
    a_batch(connection, [Outcome.VALID] * 24 + [Outcome.EXPIRED], at=later(hours=-9))
    a_batch(
        connection,
        [Outcome.VALID] * 20 + [Outcome.EXPIRED] * 9 + [Outcome.CANCELED],
        at=later(hours=-4),
    )
    evaluated(connection)


def batch_invalid(connection: Connection) -> None:
    a_batch(connection, [Outcome.VALID] * 25, at=later(hours=-9))
    a_batch(
        connection,
        [Outcome.VALID] * 20 + [Outcome.INVALID] * 9 + [Outcome.TRUNCATED],
        at=later(hours=-4),
    )
    evaluated(connection)


def batch_unclear(connection: Connection) -> None:
    doubts.tell(
        connection,
        BatchId(_open_batch(connection)),
        "several batches at the provider fit it",
        now=NOON,
    )


def batch_incomplete(connection: Connection) -> None:
    batch_id = a_batch(
        connection, [Outcome.VALID, Outcome.MISSING, Outcome.MISSING], at=later(hours=-4)
    )
    incidents.open(
        connection,
        incomplete("letters", BatchId(batch_id), Tally(3, 3, 2), flow_run_id=COLLECT),
        now=NOON,
    )


def batch_never_started(connection: Connection) -> None:
    publish(connection, now=later(days=-1), off_peak_start="00:00", off_peak_end="00:00")
    waiting(connection, Lane.BATCH, at=later(hours=-5))
    version = workloads.read_versions(connection)["letters"]
    refused, _ = intend(connection, version, now=later(hours=-4))
    connection.execute(
        text(
            "update lanes.batch set flow_run_id = :run, state = 'released', note = 'refused: no credit' where id = :id"
        ),
        {"run": SUBMIT, "id": refused},
    )
    connection.execute(
        text("update lanes.work set state = 'ready', batch_id = null where state = 'submitted'")
    )
    evaluated(connection)


def collect_stopped(connection: Connection) -> None:
    _open_batch(connection)
    for minutes in range(-12, 1, 2):
        evaluated(connection, now=later(minutes=minutes))


def authoritative_failed(connection: Connection) -> None:
    publish(connection, now=later(days=-1), mode="lambda", max_failures=1)
    answered(connection, "k", 2, at=later(hours=-3))
    batch_id, work = submit(
        connection, workloads.read_versions(connection)["letters"], now=later(hours=-2)
    )
    broken = "the answer breaks the schema at category: 'category' is a required property"
    save(
        connection,
        *(tried(each, Outcome.INVALID, at=later(minutes=-9), error=broken) for each in work),
        batch_id=batch_id,
        now=later(minutes=-9),
        flow_run_id=COLLECT,
    )
    home(connection, batch_id, now=later(minutes=-9))
    evaluated(connection)


def items_failed(connection: Connection) -> None:
    publish(connection, now=later(days=-1), max_failures=1)
    failed(connection, "old", [INTERNAL], at=later(minutes=-90))
    failed(connection, "bad", [INTERNAL] * 4, at=later(minutes=-9))
    evaluated(connection)


def workload_invalid(connection: Connection) -> None:
    waiting(connection)
    with pytest.raises(SpecInvalid) as raised:
        parse(
            "letters",
            {
                "instructions": "Sort.",
                "output_schema": SCHEMA,
                "urgent_when": "payload.n ==\n  && true",
            },
        )
    breach = invalid_workload("letters", raised.value.problems, block_id=BLOCK)
    incidents.record_invalid(connection, [breach], now=NOON)


def provider_down(connection: Connection) -> None:
    failed(connection, "bad", ["the provider answered 529: Overloaded"] * 3, at=later(seconds=-9))
    waiting(connection)
    why = "the provider answered 529: Overloaded"
    outages.record_fault(
        connection,
        "acme",
        "claude-haiku-5-5",
        Fault(why, 3, NOON, NOON),
        flow_run_id=DRAIN,
        now=NOON,
    )
    at = later(minutes=6)
    outages.record_fault(
        connection, "acme", "claude-haiku-5-5", Fault(why, 9, at, at), flow_run_id=DRAIN, now=at
    )


def approval_waits(connection: Connection) -> None:
    connection.execute(
        text("""
        insert into lanes.rollout (playbook, content, workload, state, step, step_started_at, routes_before, share_before,
                                   started_by, why, started_at, flow_run_id)
        values ('p', '{}', 'letters', 'waiting_approval', 0, :now, 0, 0, 'me', 'why', :now, :run)
        """),
        {"now": NOON, "run": ROLLOUT},
    )
    request = breaches.ApprovalRequest("letters", 1, "p", 0, 2, 5, "real-time", 60)
    asks = breaches.approval_waits(request, "every gate passed at 5 %", waited_minutes=0)
    incidents.open(connection, asks, now=NOON)


def provider_frozen(connection: Connection) -> None:
    waiting(connection)
    why = "the provider answered 402: Your credit balance is too low"
    incidents.open(connection, frozen("acme", 3, why, flow_run_id=DRAIN), now=NOON)


def budget(connection: Connection) -> None:
    allowed = Budget("letters", None, Period.DAY, "UTC", None, Decimal("0.003"))
    budgets.put(connection, allowed, who="ada", why="test", now=NOON)
    answered(connection, "paid", 25, at=later(minutes=-1))
    waiting(connection)
    evaluated(connection)


def deadline_missed(connection: Connection) -> None:
    answered(connection, "before", 24, at=later(minutes=-100), due_at=later(minutes=-90))
    answered(
        connection, "late", 7, at=later(minutes=-9), due_at=later(minutes=-9, seconds=-1), took_s=60
    )
    answered(connection, "good", 20, at=later(minutes=-8), due_at=later(hours=2))
    waiting(connection, at=later(minutes=-7))
    evaluated(connection)


def deadline_at_risk(connection: Connection) -> None:
    _open_batch(connection)
    recording.record_at_risk(
        connection, [AtRisk("letters", 1, 1, later(hours=1), 0.25, 0.95, 5_400)], now=NOON
    )


def changed(connection: Connection, **now_said: Any) -> None:
    """Answer forty items as the reference of their version, and forty later ones differently."""
    publish(connection, now=later(days=-1), promises={"quality_reference_answers": 40})
    for at, said in ((-30, {}), (-9, now_said)):
        answered(connection, f"at{at}-", 40, at=later(minutes=at), **said)
        quality.fold(connection, now=later(minutes=at))
    evaluated(connection)


def quality_drift(connection: Connection) -> None:
    changed(connection, output={"category": "b"})


def model_changed(connection: Connection) -> None:
    changed(connection, model="claude-haiku-5-5-turned")


def role_taken(connection: Connection) -> None:
    waiting(connection)
    holder = ForeignHolder(Role.ROUTER, 4711, "grafana", "psql", "10.0.0.7")
    incidents.open(connection, breaches.role_taken(Role.ROUTER, [holder]), now=NOON)


def feed_silent(connection: Connection) -> None:
    arrived(connection, until=later(hours=-3))
    evaluated(connection)


def rule_raises(connection: Connection) -> None:
    publish(connection, now=later(hours=-3), urgent_when="payload.amount > 100")
    admit(connection, "a1", "a2", now=later(hours=-2))
    route(connection, now=later(hours=-2))
    evaluated(connection)


def counted_hours(connection: Connection, before: dict[str, int], now: dict[str, int]) -> None:
    """Write routing figures by reason for the same hours of the week before, and for this hour and the one before.

    Date the version and its split long before that.
    """
    long_ago = {"at": later(days=-60)}
    connection.execute(text("update lanes.version set published_at = :at"), long_ago)
    connection.execute(text("update lanes.split set set_at = :at"), long_ago)
    for day in range(8):
        for reason, n in (before if day else now).items():
            lane = Lane.BATCH if reason in GUARDS else Lane.REALTIME
            connection.execute(
                text("""
                insert into lanes.figure (grain, at, workload, version_id, lane, kind, word, n)
                select 'hour', at, name, version_id, :lane, 'route', :reason, :n
                  from lanes.workload, unnest(cast(:hours as timestamptz[])) at
                """),
                {
                    "lane": lane,
                    "reason": reason,
                    "n": n,
                    "hours": [later(days=-day), later(days=-day, hours=-1)],
                },
            )


def routing_shifted(connection: Connection) -> None:
    waiting(connection)
    counted_hours(connection, {"split": 950, "urgent": 50}, {"split": 650, "urgent": 350})
    evaluated(connection)


def guards_fire(connection: Connection) -> None:
    waiting(connection)
    counted_hours(connection, {"split": 990}, {"split": 700, "capacity": 300})
    evaluated(connection)


def chance_wrong(connection: Connection) -> None:
    publish(connection, now=later(days=-1))
    for number in range(12):
        admit(connection, f"k{number}", now=later(hours=-2), lane=Lane.BATCH)
        route(connection, now=later(hours=-2))
        version = workloads.read_versions(connection)["letters"]
        submit(connection, version, now=later(hours=-2), account=f"a{number}")
    connection.execute(text("update lanes.batch set stated_back_at = :at"), {"at": later(hours=-1)})
    evaluated(connection)


def read_late(connection: Connection) -> None:
    waiting(connection)
    connection.execute(
        text("""
        insert into lanes.figure_spread (grain, at, workload, consumer, kind, buckets, counts)
        values ('day', :day, 'letters', 'digest', 'read',
                array[lanes.figure_bucket(interval '5 s'), lanes.figure_bucket(interval '2 h')], array[10, 90])
        """),
        {"day": later(hours=-12)},
    )
    evaluated(connection)


def bill_differs(connection: Connection) -> None:
    key = BillKey(later(days=-1), "claude-haiku-5-5", Lane.REALTIME)
    said = "1,000 input tokens ($0.001) more than the ledger (from 14:00)"
    ledger.record_differences(connection, {"": [BillDifference(key, Tokens(), said)]}, now=NOON)


def webhook_gone(connection: Connection) -> None:
    about = {"host": "https://crm.example.com", "types": list(USUAL), "workload": None}
    may = {"allows_private": False, "sends_outputs": False}
    webhooks.add(connection, name="crm", consumer=None, **about, **may, now=NOON)
    to = webhooks.find(connection, "crm")
    assert to is not None
    webhooks.change(connection, to.id, holder="h", lease_until=later(hours=1))
    page = webhooks.WebhookPage(to, [], [], 0)
    replies = {1: webhooks.WebhookReply("HTTP 410", gone=True)}
    assert webhooks.save(connection, page, replies, holder="h", now=NOON)


@dataclass(frozen=True)
class ScenarioMessage:
    """The message that a scene must produce: its causes, stake and trend, and the places it leads to."""

    happens: Callable[[Connection], None]
    why: tuple[str, ...]
    stake: str
    trend: str
    do: str  # a command, or the label of the form
    run: UUID | None = None
    sample: str | None = None
    lacks: tuple[str, ...] = ()  # parts that the message leaves out, with the reason it gives


WAITING = "unanswered items, 1 of them overdue; the nearest is due <!date^"
TOLD = {
    Promise.REALTIME_SLOW: ScenarioMessage(
        realtime_slow,
        (
            "2x the provider answered 500: Internal server error",
            "in 27 attempts of the last 15 min",
        ),
        f"5 {WAITING}",
        "Rising: 20 s, from 2.0 s in the 15 minutes before",
        "Move its traffic",
        DRAIN,
        "bad1",
    ),
    Promise.REALTIME_FAILING: ScenarioMessage(
        realtime_failing,
        (
            "12x the provider answered 529: Overloaded",
            "5x the provider answered 500",
            "in 30 attempts of the last 15 min",
        ),
        f"20 {WAITING}",
        "Rising: 57 %, from 10 % in the 15 minutes before",
        "lanes pause letters",
        DRAIN,
        "bad0",
    ),
    Promise.BATCH_SLOW: ScenarioMessage(
        batch_slow,
        ("The provider has finished 1 of 3 requests, and gives no reason.",),
        f"3 {WAITING}",
        "Grows with time, until the batch is home; the batch before took 60 min",
        "lanes batches",
        SUBMIT,
        "overdue-batch",
    ),
    Promise.BATCH_FAILING: ScenarioMessage(
        batch_failing,
        ("10x it is expired", "1x it is canceled", "in 55 attempts of the last 24 h"),
        "10 unanswered items",
        "Rising: 33 %, from 4 % in batch 1",
        "lanes pause letters",
        COLLECT,
    ),
    Promise.BATCH_INVALID: ScenarioMessage(
        batch_invalid,
        ("9x it is invalid", "1x it is truncated"),
        "10 unanswered items",
        "Rising: 33 %, from 0 % in batch 1",
        "Edit the workload",
        COLLECT,
    ),
    Promise.BATCH_UNCLEAR: ScenarioMessage(
        batch_unclear,
        ("several batches at the provider fit it",),
        f"3 {WAITING}",
        "Steady: it keeps its items until a person decides",
        "Decide about the batch",
        SUBMIT,
        "overdue-batch",
    ),
    Promise.BATCH_INCOMPLETE: ScenarioMessage(
        batch_incomplete,
        ("2x it is missing",),
        "0 unanswered items",
        "Steady: a batch is counted once",
        "lanes explain",
        COLLECT,
    ),
    Promise.BATCH_NEVER_STARTED: ScenarioMessage(
        batch_never_started,
        ("- batch 1 is released: refused: no credit",),
        f"3 {WAITING}",
        "Grows with time, until a batch leaves",
        "Let it depart now",
        SUBMIT,
        "overdue-batch",
    ),
    Promise.COLLECT_STOPPED: ScenarioMessage(
        collect_stopped,
        ("No run of collect is known that failed, and its work pool is ready.",),
        f"3 {WAITING}",
        "Grows with time, until a run of `collect` looks at them",
        "Let it collect now",
        None,
        "overdue-batch",
        lacks=("No run: no run of `collect` is known that began",),
    ),
    Promise.AUTHORITATIVE_FAILED: ScenarioMessage(
        authoritative_failed,
        ("2x the answer breaks the schema at category: 'category' is a required property",),
        "0 unanswered items; 2 provisional answers uncorrected",
        "Rising: 2 items, from 0 items in the hour before",
        "lanes explain letters",
        COLLECT,
        "k1",
    ),
    Promise.ITEMS_FAILED: ScenarioMessage(
        items_failed,
        ("5x errored: the provider answered 500: Internal server error (after 1 failed attempt)",),
        "5 unanswered items",
        "Rising: 4 items in the last hour, from 1 item in the hour before",
        "lanes retry letters --all",
        DRAIN,
        "bad3",
    ),
    Promise.WORKLOAD_INVALID: ScenarioMessage(
        workload_invalid,
        ("urgent_when, line 2, column 3: extraneous input '&&'",),
        f"3 {WAITING}",
        "Steady: it stays so until the block is corrected",
        "Edit the workload",
        lacks=("No run: no run is at fault", "No sample item: it is about a block"),
    ),
    Promise.PROVIDER_DOWN: ScenarioMessage(
        provider_down,
        ("3x the provider answered 529: Overloaded",),
        f"6 {WAITING}",
        "Rising: 9 calls, from 3 calls when it opened",
        "lanes doctor",
        DRAIN,
        "bad2",
    ),
    Promise.APPROVAL_WAITS: ScenarioMessage(
        approval_waits,
        ("Nothing failed: a person was asked.",),
        "No item waits for the answer",
        "",
        "Answer it (Resume)",
        ROLLOUT,
        lacks=("No sample item: it is about a rollout",),
    ),
    Promise.PROVIDER_FROZEN: ScenarioMessage(
        provider_frozen,
        ("the provider answered 402: Your credit balance is too low",),
        f"3 {WAITING}",
        "It has just begun",
        "lanes doctor",
        DRAIN,
        "overdue-realtime",
    ),
    Promise.BUDGET: ScenarioMessage(
        budget,
        ("Nothing failed: the query below shows what it was spent on.",),
        f"3 {WAITING}",
        "It has just begun",
        "lanes budget letters",
        None,
        "overdue-realtime",
    ),
    Promise.DEADLINE_MISSED: ScenarioMessage(
        deadline_missed,
        (
            "7x missed on realtime, reason pinned",
            "1x waits still on realtime, reason pinned",
            "in 8 missed due times",
        ),
        f"3 {WAITING}",
        "Rising: 29 %, from 0 % in the hour before",
        "Ask for more confidence",
        None,
        "overdue-realtime",
        lacks=("No run: no run is at fault",),
    ),
    Promise.DEADLINE_AT_RISK: ScenarioMessage(
        deadline_at_risk,
        (
            "1 item is bound to batch; 1 item would not be answered in real time either: it needs 90 min for what waits there",
        ),
        f"3 {WAITING}",
        "It has just begun",
        "Move its traffic",
        None,
        "overdue-batch",
        lacks=("No run: no run is at fault",),
    ),
    Promise.QUALITY_DRIFT: ScenarioMessage(
        quality_drift,
        ("Nothing failed: the answers themselves changed.",),
        "No item waits",
        "It has just begun",
        "Accept the new answers",
        None,
        "at-9-",
        lacks=("No run: no run is at fault",),
    ),
    Promise.MODEL_CHANGED: ScenarioMessage(
        model_changed,
        ("Nothing failed: the provider names another model, tier, place or speed.",),
        "No item waits",
        "It has just begun",
        "lanes accept-quality letters",
        None,
        "at-9-",
        lacks=("No run: no run is at fault",),
    ),
    Promise.ROLE_TAKEN: ScenarioMessage(
        role_taken,
        ('held by session 4711 of user grafana (application "psql", address 10.0.0.7)',),
        f"3 {WAITING}",
        "Steady: the role stays taken until that session ends",
        "lanes doctor",
        lacks=("No run: no run is at fault", "No sample item: it is about a session"),
    ),
    Promise.FEED_SILENT: ScenarioMessage(
        feed_silent,
        ("Nothing failed in Lanes: its sender sends nothing, or does not reach a door.",),
        "No item waits because of it: none came",
        "Grows with time, until an item arrives",
        "Pause it",
        lacks=("No run: no run is at fault", "No sample item: it is about items that did not come"),
    ),
    Promise.RULE_RAISES: ScenarioMessage(
        rule_raises,
        ("urgent_when: `payload.amount > 100` reads 'amount', which this item lacks",),
        "2 unanswered items",
        "It has just begun",
        "Edit the workload",
        None,
        "a1",
        lacks=("No run: no run is at fault",),
    ),
    Promise.ROUTING_SHIFTED: ScenarioMessage(
        routing_shifted,
        ("Nothing was changed on purpose: the items themselves changed.",),
        f"3 {WAITING}",
        "It has just begun",
        "lanes why letters",
        None,
        "overdue-realtime",
    ),
    Promise.GUARDS_FIRE: ScenarioMessage(
        guards_fire,
        ("Nothing was changed on purpose within a day.",),
        f"3 {WAITING}",
        "It has just begun",
        "lanes why letters",
        None,
        "overdue-realtime",
    ),
    Promise.CHANCE_WRONG: ScenarioMessage(
        chance_wrong,
        ("Batches took longer than those before them.",),
        "12 unanswered items",
        "It has just begun",
        "Ask for more confidence",
        None,
        lacks=("No run: no run is at fault",),
    ),
    Promise.READ_LATE: ScenarioMessage(
        read_late,
        ("Nothing failed: its readers come later.",),
        f"3 {WAITING}",
        "It has just begun",
        "lanes proposals --workload letters",
        None,
        "overdue-realtime",
    ),
    Promise.BILL_DIFFERS: ScenarioMessage(
        bill_differs,
        ("Nothing failed: the sentence above names what differs",),
        "No item waits for it",
        "Steady: it is compared once a day",
        "Compare again",
        None,
        lacks=("No run: no run is at fault", "No sample item: it is about all responses"),
    ),
    Promise.WEBHOOK_GONE: ScenarioMessage(
        webhook_gone,
        ("Its receiver said so",),
        "No item waits for it",
        "Steady: nothing is sent until the receiver takes a test event",
        "lanes webhooks test crm",
        None,
        lacks=("No run: no run is at fault", "No sample item: it is about a receiver"),
    ),
}


def told(
    connection: Connection, promise: Promise, *, now: datetime = NOON, **how: str
) -> tuple[Incident, Briefing, SlackMessage]:
    publish(connection, now=later(days=-1))
    TOLD[promise].happens(connection)
    of = opened(connection, promise)
    briefing = briefings.brief(connection, of, now=now, **how)
    return of, briefing, message(of, briefing, PAGES, ui_url=UI)


def test_every_promise_has_a_scene() -> None:
    assert set(TOLD) == set(Promise)


@pytest.mark.long_cases
@pytest.mark.parametrize("promise", Promise)
def test_a_message_has_each_part_or_says_why_the_part_is_missing(
    connection: Connection, promise: Promise
) -> None:
    then = TOLD[promise]
    of, _, said = told(connection, promise)
    assert invalid(said.blocks) is None
    read = shown(said.blocks)
    asks = promise is Promise.APPROVAL_WAITS  # an approval has no severity and no trend
    figures = (
        ("*Waiting since*\n<!date^",)
        if asks
        else ("*Since*\n<!date^", "*How bad*\n", f"*Trend*\n{then.trend}")
    )
    for part in (
        of.sentence[:100].replace("`", ""),
        *figures,
        str(of.severity) if not asks else "",
        *then.why,
    ):
        assert part in read, (part, read)
    assert f"*At stake*\n{then.stake}" in read, read
    assert "What to do" in read
    assert then.do in read, read
    assert f"{UI}{PAGES.artifact}" in read
    if then.run is not None:
        assert f"{UI}/v2/runs/flow-run/{then.run}" in read, read
    if "No sample item" not in " ".join(then.lacks):
        assert f"lanes explain letters {then.sample or ''}" in read, read
    for reason in then.lacks:
        assert reason in read, read
    for part, known in {"No run": then.run, "No artifact": True}.items():
        assert (part not in read) == bool(known), read


@pytest.mark.long_cases
@pytest.mark.parametrize("promise", Promise)
def test_the_incident_page_in_prefect_shows_the_same_facts_as_the_message(
    connection: Connection, promise: Promise
) -> None:
    of, briefing, _ = told(connection, promise)
    page = incident_page.render(of, briefing, now=NOON)
    assert incident_page.headline(of) in page
    for cause in briefing.causes:
        assert cell(cause.error, most=400) in page
    assert f"| Trend | {cell(capitalize(briefing.trend))} |" in page
    assert (briefing.sample is None) or f"lanes explain letters {briefing.sample.key}" in page
    over = replace(
        of, state=IncidentState.RESOLVED, resolved_at=later(hours=1), sentence="It is over."
    )
    page = incident_page.render(over, briefing, now=later(hours=1))
    for absent in ("Trend", "What to do"):
        assert absent not in page
    for cause in briefing.causes:
        assert cell(cause.error, most=400) in page


@pytest.mark.long_cases
@pytest.mark.parametrize("promise", Promise)
def test_the_message_of_an_ended_incident_keeps_its_cause(
    connection: Connection, promise: Promise
) -> None:
    of, briefing, _ = told(connection, promise)
    incidents.record_briefing(connection, of.id, briefing.model_dump(mode="json"))
    incidents.resolve(
        connection, promise, of.workload, of.subject, sentence="It is over.", now=later(hours=2)
    )
    over = opened(connection, promise)
    kept = Briefing.model_validate(over.briefing)
    assert kept == briefing
    said = message(over, kept, PAGES, ui_url=UI)
    assert invalid(said.blocks) is None
    for part in TOLD[promise].why:
        assert part in shown(said.blocks)
    assert "How bad" not in shown(said.blocks)


@pytest.mark.slow
def test_the_briefing_of_an_ended_incident_counts_only_causes_from_its_own_time(
    connection: Connection,
) -> None:
    publish(connection, now=later(days=-1))
    realtime_failing(connection)
    of = opened(connection, Promise.REALTIME_FAILING)
    incidents.resolve(
        connection,
        Promise.REALTIME_FAILING,
        "letters",
        sentence="It is over.",
        now=later(minutes=1),
    )
    failed(connection, "afterwards", ["something else"] * 30, at=later(minutes=2))
    briefing = briefings.brief(
        connection, replace(opened(connection, Promise.REALTIME_FAILING)), now=later(days=3)
    )
    assert of.id == opened(connection, Promise.REALTIME_FAILING).id
    assert [each.times for each in briefing.causes] == [12, 5]


def test_the_incident_of_a_corrected_block_says_what_was_wrong(connection: Connection) -> None:
    workload_invalid_of(connection)
    incidents.record_invalid(connection, [], now=later(minutes=1))
    over = opened(connection, Promise.WORKLOAD_INVALID)
    assert over.sentence.startswith(
        'The block of workload "letters" can be published again; it could not because of urgent_w'
    )
    assert "line 2, column 3: extraneous input '&&'" in over.sentence


def workload_invalid_of(connection: Connection) -> None:
    publish(connection, now=later(days=-1))
    workload_invalid(connection)


def test_an_invalid_blocks_incident_starts_with_the_error_and_links_to_the_block(
    connection: Connection,
) -> None:
    workload_invalid_of(connection)
    of = opened(connection, Promise.WORKLOAD_INVALID)
    assert of.sentence.startswith("urgent_when, line 2, column 3: extraneous input '&&' expecting")
    said = message(of, briefings.brief(connection, of, now=NOON), IncidentPages(), ui_url=UI)
    assert f"[Edit the workload] {UI}/v2/blocks/block/{BLOCK}/edit" in shown(said.blocks)


@pytest.mark.slow
def test_the_causes_in_a_message_do_not_repeat_payload_text(connection: Connection) -> None:
    publish(connection, now=later(days=-1), max_failures=1)
    secret = "Winterbourne"
    for number in range(25):
        item = claimed_item(
            connection, f"k{number}", payload={"text": f"Dear {secret}"}, now=later(seconds=-5)
        )
        error = f"the provider answered 400: messages.0: no {secret} please"
        save(connection, tried(item, Outcome.POISON, error=error), flow_run_id=DRAIN)
    evaluated(connection)
    for promise in (Promise.REALTIME_FAILING, Promise.ITEMS_FAILED):
        of = opened(connection, promise)
        said = message(of, briefings.brief(connection, of, now=NOON), PAGES, ui_url=UI)
        assert secret not in f"{said.text} {said.blocks}"
        assert "25x" in shown(said.blocks)
        assert "the provider answered 400" in shown(said.blocks)


@pytest.mark.slow
def test_a_cause_lookup_that_times_out_is_reported_and_leaves_the_other_parts_intact(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(connection: Connection, *_: object, **__: object) -> None:
        connection.execute(text("select pg_sleep(5)"))

    monkeypatch.setattr(causes, "find", slow)
    _, briefing, said = told(connection, Promise.REALTIME_FAILING, within="50ms")
    assert briefing.unexplained == "it could not be looked up (QueryCanceled)"
    assert briefing.failed_lookup == briefing.unexplained
    assert "It could not be looked up (QueryCanceled)." in shown(said.blocks)
    assert briefing.stake is not None
    assert briefing.trend.startswith("rising")
    # The transaction continues.
    assert row(connection, "incident_log", promise="realtime_failing").state == "open"


@pytest.mark.slow
def test_a_slow_lane_without_errors_is_explained_by_the_missing_drain(
    connection: Connection,
) -> None:
    publish(connection, now=later(days=-1))
    answered(connection, "slow", 25, at=later(seconds=-10), took_s=20)
    evaluated(connection)
    of = opened(connection, Promise.REALTIME_SLOW)
    assert (
        briefings.brief(connection, of, now=NOON).unexplained
        == "no drain runs: nothing claims what waits"
    )


@pytest.mark.slow
def test_a_first_failure_says_that_too_few_earlier_attempts_exist_for_a_trend(
    connection: Connection,
) -> None:
    publish(connection, now=later(days=-1))
    failed(connection, "bad", [INTERNAL] * 25, at=later(seconds=-10))
    evaluated(connection)
    trend = briefings.brief(
        connection, opened(connection, Promise.REALTIME_FAILING), now=NOON
    ).trend
    assert trend == "not known: 0 attempts in the 15 minutes before are too few to compare with"

"""Statements over partial indexes that run often on one connection, where the server reuses one generic plan."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, func, select, text

from lanes.ids import VersionId, WorkId
from lanes.money.pack_size import PackPlace
from lanes.packing import Claim
from lanes.promises.assessment import Assessment
from lanes.promises.breaches import invalid_workload
from lanes.promises.incident import IncidentState, Promise
from lanes.realtime.circuit import Fault
from lanes.store import incidents, work
from lanes.store.asking import through
from lanes.store.batch import batches, doubts
from lanes.store.figures import due
from lanes.store.money import sharing
from lanes.store.promises import recording, slack_outbox
from lanes.store.realtime import circuits, load, outages
from lanes.store.replays import replays
from lanes.store.report import facts
from lanes.store.rollouts import rollouts
from lanes.store.routing import second_look
from lanes.store.tables import slack_post
from lanes.store.workload.accounts import LaneAccount
from lanes.words import Lane, Verdict
from tests.conftest import NOON, later
from tests.databases import Databases
from tests.examples import publish

MANY = 20  # runs of one statement: its generic plan is used from the sixth run at the latest
BREACH = Assessment(Promise.BATCH_SLOW, "letters", Verdict.FAILED, 180, 120, 1, "It is slow.")
SHED = {"letters": (1, Decimal(0))}
BEHIND = {"workloads": ["letters"], "due": [NOON], "ids": [0], "until": later(hours=1)}
PACKED = VersionId(1), PackPlace("letters", Lane.REALTIME, "claude-haiku-5-5")
KEPT = replace(BREACH, verdict=Verdict.PASSED, sentence="It came back.")


@pytest.fixture
def prepared_after() -> int:
    """Return the default of psycopg: a statement is prepared on its sixth run."""
    return 5


@pytest.fixture
def connection(
    prepared_after: int, databases: Databases, own_database_url: str
) -> Iterator[Connection]:
    """Open a connection whose statements are prepared and planned generically, for tables that never had rows."""
    engine: Engine = create_engine(
        databases.as_superuser(own_database_url), connect_args={"prepare_threshold": prepared_after}
    )
    with engine.connect() as opened:
        opened.execute(text("load 'auto_explain'"))
        for setting in (
            "plan_cache_mode = force_generic_plan",
            "enable_seqscan = off",
            "enable_bitmapscan = off",
        ):
            opened.execute(text(f"set {setting}"))
        yield opened
    engine.dispose()


def claimed(connection: Connection, **within: Any) -> None:
    bounds, how = work.ClaimBounds(**within), {"worker": "me", "lease": timedelta(minutes=1)}
    work.claim(connection, Lane.REALTIME, {"letters": 3}, within=bounds, now=NOON, **how)


def plans(connection: Connection, of: Callable[[Connection], Any]) -> str:
    """Return the plans with which the server ran the statements of a query."""
    said: list[str] = []
    driver: Any = connection.connection.driver_connection
    driver.add_notice_handler(lambda notice: said.append(notice.message_primary))
    for name, value in {"log_min_duration": "0", "log_level": "notice"}.items():
        connection.execute(text(f"set auto_explain.{name} = '{value}'"))
    of(connection)
    connection.execute(text("set auto_explain.log_min_duration = '-1'"))
    return "\n".join(said)


@pytest.mark.parametrize("prepared_after", [0, 5])
def test_many_breaches_open_as_many_incidents_on_one_connection(connection: Connection) -> None:
    for number in range(MANY):
        incidents.open(connection, replace(BREACH, subject=f"batch {number}"), now=NOON)
    assert len(incidents.list_newest(connection, states=[IncidentState.OPEN])) == MANY
    assert connection.execute(select(func.count()).select_from(slack_post)).scalar() == MANY


def test_many_items_and_many_lists_are_admitted_on_one_connection(connection: Connection) -> None:
    publish(connection, now=NOON)
    one = text("select lanes.submit('letters', cast(:payload as jsonb), :key)")
    many = text("select outcome from lanes.submit_many('letters', cast(:rows as jsonb))")
    for number in range(MANY):
        wanted = ["accepted", "duplicate", "malformed", "key_conflict"][number % 4]
        payload = {
            "accepted": "{}",
            "duplicate": "{}",
            "malformed": "[]",
            "key_conflict": '{"n": 1}',
        }[wanted]
        key = f"k{number // 4}"
        assert connection.execute(one, {"payload": payload, "key": key}).scalar_one() == wanted
        rows = f'[{{"payload": {payload}, "key": "of a list, {key}"}}, {{"payload": {{}}}}]'
        assert connection.execute(many, {"rows": rows}).scalars().all() == [wanted, "accepted"]


STATEMENTS: dict[str, tuple[Callable[[Connection], Any], str]] = {
    "an incident opens": (lambda c: incidents.open(c, BREACH, now=NOON), "uq_incident_open"),
    "breaches are recorded": (
        lambda c: incidents.record(c, [BREACH], now=NOON),
        "uq_incident_open",
    ),
    "kept promises are recorded": (
        lambda c: incidents.record(c, [BREACH, KEPT], now=NOON),
        "uq_incident_open",
    ),
    "an incident ends": (
        lambda c: incidents.resolve(c, BREACH.promise, "letters", sentence="Over.", now=NOON),
        "uq_incident_open",
    ),
    "invalid blocks are recorded": (
        lambda c: incidents.record_invalid(c, [invalid_workload("one", ["a: wrong"])], now=NOON),
        "uq_incident_open",
    ),
    "a freeze thaws": (lambda c: recording.thaw(c, now=NOON), "uq_incident_open"),
    "open incidents are listed": (
        lambda c: facts.incidents(through(c), later(days=-1), most=9),
        "= 'open'",
    ),
    "what Slack must be told": (
        lambda c: slack_outbox.list_due(c, edits=True, now=NOON),
        "ix_slack_post_due",
    ),
    "what Slack was not told": (slack_outbox.list_untold, "DISTINCT FROM 'resolved'"),
    "what waits": (lambda c: work.read_waiting(c, Lane.REALTIME, now=NOON), "ix_work_claimable"),
    "what waits and is urgent": (
        lambda c: work.read_waiting(c, Lane.REALTIME, now=NOON),
        "ix_work_urgent",
    ),
    "the backlog": (lambda c: load.backlog(c, Lane.REALTIME, now=NOON), "ix_work_claimable"),
    "claims": (
        lambda c: work.claim(
            c, Lane.REALTIME, {"letters": 3}, worker="me", lease=later() - NOON, now=NOON
        ),
        "ix_work_claimable",
    ),
    "claims in turns": (lambda c: claimed(c, turns={"shop": 1}), "ix_work_turn"),
    "claims of what presses": (lambda c: claimed(c, pressing=True), "ix_work_pressing"),
    "whose work waits": (lambda c: work.read_waiting_consumers(c, {"letters": ""}), "ix_work_turn"),
    "how long a queue is": (
        lambda c: second_look.queue_lengths(c, ["letters"], now=NOON),
        "ix_work_claimable",
    ),
    "the end of a queue": (
        lambda c: second_look.queue_tail(c, ["letters"], now=NOON),
        "ix_work_claimable",
    ),
    "what becomes of what is shed": (
        lambda c: facts.sheds(through(c), SHED, since=NOON),
        "ix_route_shed",
    ),
    "what is overdue": (
        lambda c: due.read_outcomes(through(c), since=later(days=-1), now=NOON),
        "ix_work_due_of_workload",
    ),
    "what is overdue and claimed": (
        lambda c: due.read_outcomes(through(c), since=later(days=-1), now=NOON),
        "ix_work_claimed",
    ),
    "what is overdue and not routed": (
        lambda c: due.read_outcomes(through(c), since=later(days=-1), now=NOON),
        "ix_item_received",
    ),
    "what is overdue though it was rescued": (
        lambda c: due.read_outcomes(through(c), since=later(days=-1), now=NOON),
        "ix_work_unrescued",
    ),
    "renewed claims": (
        lambda c: work.renew(c, [Claim(WorkId(1), 1)], lease=later() - NOON, now=NOON),
        "pk_work",
    ),
    "lost claims": (lambda c: work.list_abandoned(c, now=NOON), "ix_work_claimed"),
    "an outage begins": (
        lambda c: outages.record_fault(
            c, "acme", "claude-haiku-5-5", Fault("529", 3, NOON, NOON), now=NOON
        ),
        "uq_outage_open",
    ),
    "circuits of an account": (lambda c: circuits.open_circuits(c, "acme"), "uq_outage_open"),
    "circuits that are not closed": (
        lambda c: circuits.list_not_closed(c, now=NOON),
        "uq_outage_open",
    ),
    "what packing did": (
        lambda c: sharing.evidence(through(c), [PACKED], {}, now=NOON),
        "ix_pack_check_compared",
    ),
    "what was asked alone twice": (
        lambda c: sharing.evidence(through(c), [PACKED], {}, now=NOON),
        "ix_pack_check_repeated",
    ),
    "batches to look for": (
        lambda c: doubts.to_search(c, "acme", now=NOON),
        "uq_batch_unresolved_requests",
    ),
    "open batches": (batches.open_batches, "'{collected,released}'"),
    "what is due of the batch lane": (
        lambda c: second_look.due_items(c, until=later(hours=1), now=NOON),
        "ix_work_due_of_workload",
    ),
    "how much is due of the batch lane": (
        lambda c: second_look.due_numbers(c, until=later(hours=1), now=NOON),
        "ix_work_due_of_workload",
    ),
    "what is due behind that": (
        lambda c: c.execute(text(second_look.BEHIND), BEHIND).all(),
        "ix_work_due_of_workload",
    ),
    "what is bound to batch and due": (
        lambda c: second_look.due_bound_items(c, until=later(hours=1), now=NOON),
        "ix_work_due_of_workload",
    ),
    "the queues of real time": (
        lambda c: load.snapshot(c, LaneAccount("acme"), now=NOON),
        "ix_work_claimable",
    ),
    "what real time is asking": (
        lambda c: load.snapshot(c, LaneAccount("acme"), now=NOON),
        "ix_work_claimed",
    ),
    "batches that nobody wants": (lambda c: doubts.recall(c, now=NOON), "ix_work_submitted"),
    "ended replays": (lambda c: replays.finish(c, now=NOON), "uq_generation_open"),
    "the open rollout": (lambda c: rollouts.read_open(c, "letters"), "uq_rollout_open"),
    "open rollouts": (rollouts.list_open, "uq_rollout_open"),
}


@pytest.mark.parametrize(("of", "plan"), STATEMENTS.values(), ids=STATEMENTS)
def test_a_statement_that_ran_often_still_uses_its_partial_index(
    connection: Connection, of: Callable[[Connection], Any], plan: str
) -> None:
    """Find the index in the plan or, where a scan by id is cheaper on an empty table, the condition of the index."""
    publish(connection, now=NOON)
    for _ in range(MANY):
        of(connection)
    assert plan in plans(connection, of)

"""Queries of the sweep and the promises, run every few seconds, which read only current rows however long the history is:
one file because a history of that length is made once."""

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from psycopg import sql
from sqlalchemy import Connection, Engine, create_engine, event, text

from lanes.batch.batch import BatchKind
from lanes.ids import GenerationId, IncidentId, ItemId, VersionId
from lanes.promises.incident import EVERYBODY, Incident, Promise
from lanes.realtime.circuit import Fault
from lanes.routing.second_look import DoubtfulItem
from lanes.settling.listing import BEGIN, END, ListingPlace, ListingQuery, ResultRequest
from lanes.stand.postgres import Running
from lanes.store import asking, work
from lanes.store.advice.advice import evidence
from lanes.store.batch import batches, doubts, ready_work
from lanes.store.doors import emptying, items, unrouted
from lanes.store.figures import due, measurements
from lanes.store.money import budgets, caching
from lanes.store.promises import briefings, causes, recording
from lanes.store.realtime import load, outages
from lanes.store.replays import promotions, replays
from lanes.store.report import snapshot
from lanes.store.report.snapshot import MOST_LABELS
from lanes.store.rollouts import rollout_measures
from lanes.store.routing import mix, routes, second_look, turnarounds
from lanes.store.routing.second_look import QueuePlace
from lanes.store.settling import jobs, results, story, writing
from lanes.store.settling.listing import LOOKED_AT, NEWEST_FIRST, OLDEST_FIRST, ListingOrder, page
from lanes.store.settling.results import Gap, News
from lanes.store.workload import candidates
from lanes.store.workload.accounts import LaneAccount
from lanes.words import ItemState, Lane, Reason
from tests.conftest import NOON, later
from tests.examples import incident_of, publish, spec, version
from tests.rollouts import ERRORS, begin, playbook, step
from tests.store.tries import explained, lock_for_batch

UNPAID = {
    "now": later(days=1),
    "recent": NOON,
    "unpaid_workloads": ["letters"],
    "unpaid_consumers": ["mail"],
}
pytestmark = pytest.mark.slow  # a history takes seconds to write
HISTORIES = [100_000, 1_000_000]
_numbers = itertools.count(1)
TYPES = {datetime: "timestamptz", timedelta: "interval", int: "integer"}
PLANS = pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])

FILL = """
with item as (
  insert into lanes.item (workload, key, payload, content_hash, occurred_at, received_at, source, position, due_at,
                          answered_at, settled_at, failed_at, failure, job_id, consumer)
  select 'letters', 'k' || n, '{"text": "letter"}', '', at, at, 'sql', n,
         case when n % 3 = 0 then at + interval '1 hour' end,
         case when n <= :history then at end, case when n <= :history and n % 1000 > 0 then at end,
         case when n <= :history and n % 1000 = 0 then at end, case when n % 1000 = 0 then 'broken' end,
         case when n > :history - 1000 then 1 when n % (:history / 100) = 0 then 2 end,
         case when n > :history / 2 and n % 2 = 0 then 'desk' end
    from (select n, :now - (:history - n) * interval '30 days' / :history as at from generate_series(1, :history + 2000) n) each
  returning id, position, received_at, due_at),
done as (
  insert into lanes.work (item_id, workload, version_id, lane, purpose, revision, generation, state, ready_at, rank_at, due_at,
                          claim_no, waits_since, lease_until)
  select id, 'letters', :version, (case when position % 2 = 0 then 'batch' else 'realtime' end),
         (case when purpose = 1 then 'replay' else 'answer' end), 0, purpose,
         (case when purpose = 1 then 'done' when position <= :history then 'done'
               when position % 100 = 1 then 'claimed' else 'ready' end),
         :now, received_at + interval '1 minute', due_at, 1, received_at,
         case when position > :history and position % 100 = 1 and purpose = 0 then :now + interval '5 minutes' end
    from item, generate_series(0, 1) purpose
   where purpose = 0 or position % 20 = 0 and position <= 102000  -- a replay of the oldest
  returning id, item_id, lane, purpose, generation, state, waits_since),
route as (
  insert into lanes.route (item_id, version_id, lane, reason, explanation, realtime_usd, batch_usd, decided_at, probability)
  select id, :version, (case when position % 2 = 0 then 'batch' else 'realtime' end),
         (case when position % 10 < 7 then 'split' else 'urgent' end), 'bucket 1', 0.001, 0.0005, received_at,
         case when position % 3 = 0 then 0.97 end
    from item order by position),
attempt as (
  insert into lanes.attempt (work_id, item_id, version_id, claim_no, workload, lane, purpose, outcome, model, input_tokens,
                             output_tokens, cache_read_tokens, cache_write_tokens, cost_usd, bound_usd, shown, latency_ms,
                             started_at, ended_at)
  select id, item_id, :version, 1, 'letters', lane, purpose, 'valid', 'm', 1, 1, 0, 0, 0.001, 0, true, 1, waits_since,
         waits_since
    from done where state = 'done')
insert into lanes.result (item_id, work_id, version_id, lane, standing, generation, revision, output, created_at)
select item_id, id, :version, lane, 'authoritative', generation, 0, '{}', waits_since from done where state = 'done'
"""


@pytest.fixture(scope="module", params=HISTORIES, ids="{:,} items".format)
def items_of_history(request: pytest.FixtureRequest) -> int:
    """Return the number of finished items in the history."""
    return request.param


# As many figures as ten days of minutes have, for each kind and grain that is folded.
FIGURES = """
insert into lanes.figure (grain, at, workload, lane, purpose, kind, word, n)
select distinct grain, date_trunc(grain, at, 'UTC'), 'letters', lane, purpose, kind, word, 1
  from generate_series(cast(:now as timestamptz) - interval '10 days', :now, interval '1 minute') at
 cross join (values ('minute'), ('hour'), ('day')) g (grain)
 cross join (values ('route', 'batch', null, 'split'), ('attempt', 'realtime', 'answer', 'valid'),
                    ('try', 'batch', 'answer', 'valid'), ('item', 'batch', null, 'settled'),
                    ('answer', 'batch', null, 'authoritative')) k (kind, lane, purpose, word)
"""


# One job with the newest items, most of which wait, and one job whose items lie far apart.
JOBS = """
insert into lanes.job (name, workload, received, settled, created_at)
values ('new', 'letters', 3000, 1000, :now), ('wide', 'letters', 100, 100, :now)
"""


@pytest.fixture(scope="module")
def old(postgres: Running, items_of_history: int) -> Iterator[Engine]:
    """Create a database with a history of 30 days, 2,000 waiting items and a replay."""
    admin = create_engine(postgres.url("postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(
            text("create database test_plans template lanes owner lanes_stand strategy file_copy")
        )
    pool = create_engine(postgres.url("test_plans"))
    with pool.begin() as connection:
        letters = publish(connection, now=later(days=-30))
        publish(connection, "bills", now=later(days=-30))
        # Without triggers: they would fill figure_delta, which no process folds here.
        connection.execute(text("set local session_replication_role = replica"))
        connection.execute(
            text(FILL), {"now": NOON, "version": letters.id, "history": items_of_history}
        )
        connection.execute(text(FIGURES), {"now": NOON})
        connection.execute(
            text("""
            insert into lanes.generation (workload, number, version_id, state, from_position, to_position, cursor_position,
                                          items, who, why, created_at)
            values ('letters', 1, :version, 'running', 1, :last, :last, 5100, 'w', 'y', :now)
            """),
            {"version": letters.id, "last": items_of_history + 2000, "now": NOON},
        )
        connection.execute(text(JOBS), {"now": NOON})
    with pool.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze"))
    yield pool
    pool.dispose()
    with admin.connect() as connection:
        connection.execute(text("drop database test_plans with (force)"))
    admin.dispose()


@pytest.fixture
def history(old: Engine, plans: str) -> Iterator[Connection]:
    """Open a transaction with the given plan cache mode; it is rolled back at the end."""
    with old.connect() as connection:
        connection.execute(text(f"set local plan_cache_mode = {plans}"))
        yield connection
        connection.rollback()


def read(connection: Connection, ask: Callable[[], Any]) -> dict[str, int]:
    """Return how many rows of each table the statements of `ask` read, including the rows that they filter out."""
    caught: list[tuple[str, Any]] = []

    def catch(
        conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> None:
        caught.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", catch)
    ask()
    event.remove(connection, "before_cursor_execute", catch)
    rows = Counter[str]()
    for statement, given in caught:
        _count(_run(connection, statement, given or {}, name=f"asked_{next(_numbers)}"), rows)
    return rows


def _run(
    connection: Connection, statement: str, given: dict[str, Any], *, name: str
) -> dict[str, Any]:
    """Return the plan of a prepared statement with its actual row counts."""
    names = [each for each in given if f"%({each})s" in statement]
    types = ", ".join(TYPES.get(type(given[each]), "unknown") for each in names)
    text_ = statement % {each: f"${place}" for place, each in enumerate(names, 1)}
    driver: Any = connection.connection.driver_connection
    values = ", ".join(sql.Literal(given[each]).as_string(driver) for each in names)
    connection.exec_driver_sql(
        f"prepare {name} {f'({types})' if names else ''} as {text_}".replace("%", "%%")
    )
    told = connection.exec_driver_sql(
        f"explain (analyze, format json) execute {name} {f'({values})' if names else ''}".replace(
            "%", "%%"
        )
    ).scalar_one()
    return told[0]["Plan"]


def _count(plan: dict[str, Any], rows: Counter[str]) -> None:
    removed = sum(number for what, number in plan.items() if what.startswith("Rows Removed"))
    if "Relation Name" in plan and plan["Node Type"] != "ModifyTable":
        rows[plan["Relation Name"]] += round((plan["Actual Rows"] + removed) * plan["Actual Loops"])
    elif plan["Node Type"] == "Bitmap Index Scan":
        rows[plan["Index Name"]] += round(plan["Actual Rows"] * plan["Actual Loops"])
    for each in plan.get("Plans", []):
        _count(each, rows)


def reads_on(connection: Connection) -> None:
    """Let a follower read on from a place near the end, with an old gap."""
    news = News(connection, "letters")
    for tail in news._tails.values():
        tail.high, tail.gaps = tail.high - 10, [Gap(5, 9)]
    news.read(connection)


def rescues_what_is_late(connection: Connection) -> None:
    """Rescue all due work that waits for a batch."""
    late = second_look.due_items(connection, until=later(hours=2), now=NOON)
    assert second_look.rescue(
        connection, [DoubtfulItem(each, 0.03, "it is late") for each in late], now=NOON
    )


def tells_of_what_is_bound(connection: Connection) -> None:
    """Bind all due work that waits for a batch to the batch lane, and query it."""
    late = [
        each.work_id for each in second_look.due_items(connection, until=later(hours=2), now=NOON)
    ]
    connection.execute(
        text("update lanes.work set binds = 'batch' where id = any(:ids)"), {"ids": late}
    )
    told = second_look.due_bound_items(connection, until=later(hours=12), now=NOON)
    assert sum(each.items for each in told) == len(late) > 0


def caches(connection: Connection) -> None:
    """Evaluate what the cache of the version did on both lanes since a month ago."""
    since, letters = later(days=-29), version()
    for lane in Lane:
        begun = "insert into lanes.caching values (:version, :lane, 'all', '', 0.2, :since, :since) on conflict do nothing"
        connection.execute(text(begun), {"version": letters.id, "lane": lane, "since": since})
        caching.weigh(connection, letters, lane, now=NOON)


YORE = later(days=-30)
BEHIND = {"workloads": ["letters"], "due": [NOON], "ids": [0], "until": later(hours=2)}
SLOW = {"measure": "p95_s", "max": 2, "at_least": 2}
AN_HOUR_AGO = "cast(:now as timestamptz) - interval '1 hour'"
NEWEST = ListingPlace(later(days=1), ItemId(2**31 - 1))
MIDDLE = ListingPlace(later(days=-15), ItemId(50_000))
BIG = ("item", "work", "attempt", "result", "route")


@PLANS
@pytest.mark.parametrize(
    ("ask", "most"),
    [
        # Once when all work is overdue, once when all work is due later.
        (lambda c: ready_work.list_pressing(c, now=NOON), 100),
        (lambda c: ready_work.list_pressing(c, now=later(days=-29)), 100),
        (lambda c: work.list_abandoned(c, now=later(minutes=1)), 200),
        (lambda c: work.list_abandoned(c, now=later(minutes=9)), 200),
        (lambda c: load.backlog(c, Lane.REALTIME, now=later(days=1)), 3_000),
        (lambda c: outages.claim_hopeless(c, Lane.REALTIME, now=NOON), 6_000),
        (lambda c: outages.claim_hopeless(c, Lane.BATCH, now=later(days=9)), 9_000),
        (
            lambda c: c.execute(text(measurements.FAILED), {"failed_since": later(days=-1)}).all(),
            100,
        ),
        (lambda c: c.execute(text(measurements.WAITING), UNPAID).all(), 3_000),
        (lambda c: c.execute(text("select * from lanes.replay_log")).all(), 30_000),
        (lambda c: replays.finish(c, now=NOON), 100),
        (lambda c: replays.shadow(c, now=NOON), 100),
        (lambda c: promotions.hold(c, now=NOON), 100),
        (jobs.fold, 100),
        (lambda c: jobs.finish(c, now=later(days=1)), 5_000),
        (lambda c: jobs.list_unfinished(c, most=9, now=NOON), 25_000),
        (lambda c: replays.open_work(c, replays.get(c, GenerationId(1))), 6_000),
        (lambda c: work.read_waiting(c, Lane.BATCH, now=later(days=1)), 3_000),
        (lambda c: second_look.queue_tail(c, ["letters"], now=NOON), 1_600),
        (lambda c: second_look.queue_lengths(c, ["letters"], now=NOON), 1_100),
        (
            lambda c: second_look.queue_tail(
                c, ["letters"], before=QueuePlace(later(minutes=1), 0), now=NOON
            ),
            100,
        ),
        (
            lambda c: routes.free_to_move(
                c,
                dict.fromkeys(
                    each.id for each in second_look.queue_tail(c, ["letters"], now=NOON).waiting
                ),
                off=Lane.REALTIME,
                once=(Reason.SHED,),
            ),
            4_000,
        ),
        (lambda c: ready_work.list_waiting_kinds(c, None, now=later(days=1)), 3_000),
        (lambda c: items.apply_waiting(c, now=NOON), 100),
        (lambda c: unrouted.has_received(c), 100),
        (lambda c: recording.thaw(c, now=NOON), 3_000),
        (lambda c: outages.end(c, now=NOON), 3_000),
        (
            lambda c: outages.record_fault(
                c, "acme", "claude-haiku-5-5", Fault("529", 3, NOON, YORE), now=NOON
            ),
            100,
        ),
        (lambda c: page(c, ListingQuery("letters"), onwards=MIDDLE), 8 * LOOKED_AT),
        (
            lambda c: page(c, ListingQuery("letters"), onwards=MIDDLE, order=NEWEST_FIRST),
            8 * LOOKED_AT,
        ),
        (lambda c: page(c, ListingQuery("bills"), onwards=BEGIN), 10),
        (
            lambda c: page(c, ListingQuery("letters", since=later(hours=-1)), onwards=BEGIN),
            16 * LOOKED_AT,
        ),
        (
            lambda c: page(
                c, ListingQuery("letters", since=NOON), onwards=NEWEST, order=NEWEST_FIRST
            ),
            8 * LOOKED_AT,
        ),
        (reads_on, 100),
        (lambda c: emptying.delete_refused(c, before=later(days=-9)), 100),
        (lambda c: emptying.delete_reads(c, before=later(days=-9)), 100),
        (
            lambda c: emptying.empty_some(c, {"letters": NOON}, after=50_000, now=NOON),
            16 * emptying.LOOKED_AT,
        ),
        # The rows of the replay, whatever the length of the history.
        (lambda c: snapshot.take(c, since=later(days=-30), now=later(days=1)), 35_000),
        (lambda c: evidence(c, "letters", since=later(days=-30), now=later(days=1)), 3_000),
        (
            lambda c: turnarounds.read_calibrations(
                asking.through(c), since=later(days=-30), now=later(days=1)
            ),
            10_000,
        ),
        (
            lambda c: turnarounds.read_calibrations(
                asking.through(c), since=later(hours=-1), now=NOON
            ),
            10_000,
        ),
        (
            lambda c: c.execute(
                text(f"select * from lanes.lane_latency where minute = {AN_HOUR_AGO}"),
                {"now": NOON},
            ).all(),
            0,
        ),
        (
            lambda c: c.execute(
                text(f"select * from lanes.routing_mix where hour = {AN_HOUR_AGO}"), {"now": NOON}
            ).all(),
            0,
        ),
        (lambda c: measurements.measure(c, now=NOON), 9_000),
        (
            lambda c: mix.periods(asking.through(c), "letters", since=later(days=-1), until=NOON),
            500,
        ),
        (lambda c: snapshot.take(c, since=later(hours=-24), now=NOON), 35_000),
        (lambda c: c.execute(text("select * from lanes.accuracy")).all(), 0),
        (
            lambda c: work.claim(
                c, Lane.REALTIME, {"letters": 50}, worker="w", lease=timedelta(minutes=5), now=NOON
            ),
            400,
        ),
        (lambda c: work.read_waiting(c, Lane.REALTIME, now=later(days=1)), 3_000),
        (
            lambda c: lock_for_batch(c, BatchKind("letters", VersionId(1)), limit=50, now=NOON),
            400,
        ),
        (lambda c: batches.count_outstanding(c, "letters", now=NOON), 9_000),
        (
            lambda c: story.look(
                c, {"letters": [f"k{n}" for n in range(1, 60_000, 300)]}, now=NOON
            ),
            1_000,
        ),
        (lambda c: unrouted.lock_received(c, 500), 100),
        (
            lambda c: results.take(
                c, [ResultRequest("letters", f"k{n}", "desk") for n in range(1, 60_000, 300)]
            ),
            1_000,
        ),
        (lambda c: load.list_tries(c, "letters", now=NOON), 4 * load.MOST_TRIES),
        (lambda c: budgets.statuses(c, now=NOON), 0),
        (
            lambda c: c.execute(
                text(due.BY_WORKLOAD), {"since": later(hours=-1), "now": later(days=1)}
            ).all(),
            9_000,
        ),
        (
            lambda c: due.read_outcomes(
                asking.through(c), since=later(days=-30), now=later(days=1)
            ),
            9_000,
        ),
        (lambda c: second_look.due_items(c, until=later(hours=2), now=NOON), 800),
        (lambda c: second_look.due_numbers(c, until=later(hours=2), now=NOON), 800),
        (lambda c: c.execute(text(second_look.BEHIND), BEHIND).all(), 900),
        (tells_of_what_is_bound, 1_800),
        (rescues_what_is_late, 6_000),
        (lambda c: load.snapshot(c, LaneAccount("acme"), now=NOON), 2_500),
        (lambda c: doubts.recall(c, now=NOON), 100),
        (caches, 100),
    ],
    ids=[
        "pressing",
        "pressing_by_due_time",
        "abandoned",
        "abandoned_all",
        "backlog",
        "hopeless",
        "hopeless_batch",
        "failed",
        "waiting",
        "replay_log",
        "replays_finished",
        "shadows of replays",
        "paused replays",
        "counts of jobs",
        "done jobs",
        "open jobs",
        "open_work_of_a_replay",
        "workloads_waiting",
        "end_of_a_queue",
        "length_of_a_queue",
        "rest_of_a_queue",
        "shed",
        "kinds_waiting",
        "amendments",
        "received",
        "thaw",
        "outages",
        "who_is_answered",
        "page",
        "page_before",
        "page of another workload",
        "pages since a moment",
        "pages since a moment, newest first",
        "news",
        "refused_of_long_ago",
        "reads_of_long_ago",
        "emptied",
        "snapshot",
        "evidence",
        "calibration",
        "calibration_of_an_hour",
        "lane_latency",
        "routing_mix",
        "promises",
        "why",
        "snapshot_of_a_day",
        "accuracy",
        "claimed",
        "workloads_waiting_in_real_time",
        "locked_for_a_batch",
        "departure",
        "awaited",
        "received_to_route",
        "results_waited_for",
        "tries",
        "budgets",
        "due",
        "due_by_reason",
        "late",
        "number_of_late",
        "behind_late",
        "bound",
        "rescued",
        "load",
        "unwanted",
        "cache",
    ],
)
def test_a_frequent_query_reads_the_waiting_rows_and_not_the_history(
    history: Connection, items_of_history: int, ask: Callable[[Connection], Any], most: int
) -> None:
    rows = read(history, lambda: ask(history))
    assert sum(rows[table] for table in BIG) <= most, dict(rows)
    assert not any(rows[table] >= items_of_history // 2 for table in rows), dict(rows)


OF_VIEWS = {
    "item_status by key": "select * from lanes.item_status where workload = 'letters' and key = 'k50000'",
    "newest items": "select * from lanes.item_status where workload = 'letters' order by received_at desc limit 50",
    "items of none": "select * from lanes.item_status where workload = 'bills' order by received_at desc limit 50",
    "failed items": "select * from lanes.item_status where workload = 'letters' and state = 'failed'"
    " order by received_at desc limit 5",
    "attempts of an item": "select * from lanes.attempt_log where workload = 'letters' and key = 'k50000'",
    "attempts of an hour": f"select * from lanes.attempt_log where ended_at > {AN_HOUR_AGO}",
    "routes of an item": "select * from lanes.route_log where workload = 'letters' and key = 'k50000'",
    "results of an hour": f"select * from lanes.current_results where workload = 'letters' and created_at > {AN_HOUR_AGO}",
}


@pytest.mark.parametrize("plans", ["force_custom_plan"])
@pytest.mark.parametrize("query", OF_VIEWS.values(), ids=OF_VIEWS)
def test_a_view_query_for_an_item_or_an_hour_does_not_read_the_history(
    history: Connection, items_of_history: int, query: str
) -> None:
    rows = read(
        history, lambda: history.execute(text(query), {"now": NOON} if ":now" in query else {})
    )
    assert sum(rows[table] for table in BIG) <= 20_000, dict(rows)
    assert not any(rows[table] >= items_of_history // 4 for table in rows), dict(rows)


# The statements of a function appear in no plan: the statistics of the transaction count their reads.
OF_FUNCTIONS = {
    "an item of a tenant": "own_item('letters', 'k98000')",
    "a tenant's items of an hour": f"own_items_since({AN_HOUR_AGO})",
    "a tenant's answers of an hour": f"own_results_since({AN_HOUR_AGO})",
    "a tenant's corrections of an hour": f"own_corrections_since({AN_HOUR_AGO})",
}
READ = """
select relname, seq_tup_read + idx_tup_fetch as n from pg_stat_xact_user_tables
 where schemaname = 'lanes' and seq_tup_read + idx_tup_fetch > 0
"""
CORRECTED = """
insert into lanes.correction (item_id, generation, provisional_id, authoritative_id, changed_fields, distance, corrected_at)
select item_id, 0, id, id, '{}', 1, :now from lanes.result order by id desc limit 100
"""


@PLANS
@pytest.mark.parametrize("call", OF_FUNCTIONS.values(), ids=OF_FUNCTIONS)
def test_a_function_for_new_rows_of_a_tenant_does_not_read_the_history(
    history: Connection, call: str
) -> None:
    history.execute(text("set local session_replication_role = replica"))
    history.execute(text("insert into lanes.tenant values (session_user, 'desk')"))
    history.execute(text(CORRECTED), {"now": NOON})
    history.execute(text("analyze lanes.correction"))
    before = Counter(dict(history.execute(text(READ)).tuples().all()))
    query, given = f"select * from lanes.{call}", {"now": NOON} if ":now" in call else {}
    for _ in range(7):  # from the sixth run on, the plan may be generic
        history.execute(text(query), given)
    rows = Counter(dict(history.execute(text(READ)).tuples().all())) - before
    assert 0 < sum(rows[table] for table in BIG) <= 7 * 20_000, dict(rows)


LABELS = """
insert into lanes.label (item_id, expected, source, labeled_at, workload)
select * from (select id, cast('{"category": "a"}' as jsonb), 'team', received_at, workload from lanes.item
                where answered_at is not null order by id desc limit 30000) newest order by id
"""


@PLANS
def test_a_report_compares_only_the_newest_labels(history: Connection) -> None:
    history.execute(text("set local session_replication_role = replica"))
    history.execute(text(LABELS))
    history.execute(text("analyze lanes.label"))
    given = {"since": later(days=-30), "most": MOST_LABELS}
    rows = read(history, lambda: history.execute(text(snapshot.ACCURACY), given).all())
    assert MOST_LABELS <= rows["result"] <= MOST_LABELS * 1.2, dict(rows)
    assert rows["label"] <= MOST_LABELS * 2.2, dict(rows)


@PLANS
def test_view_accuracy_compares_only_the_newest_labels(history: Connection) -> None:
    history.execute(text("set local session_replication_role = replica"))
    history.execute(text(LABELS))
    history.execute(text("analyze lanes.label"))
    found: list[int] = []
    rows = read(
        history,
        lambda: found.extend(history.execute(text("select labels from lanes.accuracy")).scalars()),
    )
    assert sum(found) == 5_000
    assert rows["label"] <= 11_000, dict(rows)
    assert rows["result"] <= 6_000, dict(rows)


@PLANS
@pytest.mark.parametrize("consumer", [None, "desk"])
def test_a_gate_on_a_split_reads_the_routes_since_its_step_began_and_not_the_history(
    history: Connection, items_of_history: int, consumer: str | None
) -> None:
    """Start the step an hour ago: since then fewer than 2,000 items arrived, the waiting ones included."""
    begun = begin(history, playbook(step(50, ERRORS, SLOW)), consumer=consumer)
    before = history.execute(
        text("select max(id) from lanes.route where decided_at < :since"),
        {"since": later(hours=-1)},
    ).scalar_one()
    at = replace(begun, step_started_at=later(hours=-1), routes_before=before)
    rows = read(history, lambda: rollout_measures.take(history, at, now=NOON))
    assert rows["route"] > 20, dict(rows)
    assert sum(rows[table] for table in BIG) <= 16_000, dict(rows)
    assert not any(rows[table] >= items_of_history // 5 for table in rows), dict(rows)


@PLANS
def test_a_gate_on_a_version_reads_the_routes_since_its_step_began_and_not_the_history(
    history: Connection, items_of_history: int
) -> None:
    candidates.store(history, "letters", spec(patience_s=7), now=NOON)
    candidate = candidates.find(history, "letters")
    assert candidate is not None
    book = playbook(step(50, ERRORS, SLOW), step(100), direction="version")
    begun = begin(history, book, version=candidate.number)
    before = history.execute(
        text("select max(id) from lanes.route where decided_at < :since"),
        {"since": later(hours=-1)},
    ).scalar_one()
    at = replace(
        begun, version=begun.version_before, step_started_at=later(hours=-1), routes_before=before
    )
    rows = read(history, lambda: rollout_measures.take(history, at, now=NOON))
    assert rows["route"] > 20, dict(rows)
    assert sum(rows[table] for table in BIG) <= 30_000, dict(rows)
    assert not any(rows[table] >= items_of_history // 5 for table in rows), dict(rows)


STOOD = """
insert into lanes.figure (grain, at, workload, lane, kind, word, n)
select distinct grain, date_trunc(grain, at, 'UTC'), 'letters', 'batch', 'item', word, number
  from generate_series(cast(:now as timestamptz), cast(:now as timestamptz) + interval '20 hours', interval '1 hour') at
 cross join (values ('hour'), ('day')) g (grain)
 cross join (values ('open', 1), ('answered', 0)) w (word, number)
"""


@PLANS
@pytest.mark.parametrize("since", [None, YORE, later(hours=-1)])
@pytest.mark.parametrize(("begin", "order"), [(BEGIN, OLDEST_FIRST), (END, NEWEST_FIRST)])
def test_a_page_of_items_in_a_state_skips_hours_without_an_item_in_that_state(
    history: Connection, since: datetime | None, begin: ListingPlace, order: ListingOrder
) -> None:
    history.execute(text("set local session_replication_role = replica"))
    history.execute(text(STOOD), {"now": NOON})

    def first(state: ItemState) -> int:
        wanted = ListingQuery("letters", [state], since)
        return len(page(history, wanted, onwards=begin, order=order).items)

    for none in ItemState.ANSWERED, ItemState.CANCELED:
        rows = read(history, lambda state=none: first(state))
        assert first(none) == sum(rows[table] for table in BIG) == 0, dict(rows)
    rows = read(history, lambda: first(ItemState.ROUTED))
    assert first(ItemState.ROUTED) > 1_000
    assert sum(rows[table] for table in BIG) <= 20 * LOOKED_AT, dict(rows)


UNROUTED = """
insert into lanes.item (workload, key, payload, content_hash, occurred_at, received_at, source, due_at, urgent)
select 'letters', 'archived ' || n, cast('{}' as jsonb), '', :now, :now, 'sql',
       cast(:now as timestamptz) + (1 - n) * interval '1 minute', n % 2 = 1
  from generate_series(0, 20000) n
"""


SHED = """
insert into lanes.route (id, item_id, version_id, lane, reason, explanation, realtime_usd, batch_usd, decided_at)
overriding system value  -- before all others, so that only who asks for what was shed meets them
select -id, id, 1, 'batch', 'shed', 'no model answers', 0, 0, :now from lanes.item order by id limit 20000
"""


@PLANS
def test_a_large_unrouted_archive_is_read_only_in_part_and_hides_no_overdue_item(
    history: Connection,
) -> None:
    history.execute(text("set local session_replication_role = replica"))
    history.execute(text(UNROUTED), {"now": NOON})  # all but the first were due when they arrived
    given = {"since": later(hours=-1), "now": later(minutes=2)}
    assert [row.overdue for row in history.execute(text(due.BY_WORKLOAD), given)] == [1]
    rows = read(history, lambda: history.execute(text(due.BY_WORKLOAD), given).all())
    assert rows["item"] <= 4 * due.MOST, dict(rows)


@PLANS
def test_a_gate_reads_the_sheds_of_its_own_items_only(history: Connection) -> None:
    begun = begin(history, playbook(step(50, ERRORS, SLOW)))
    before = history.execute(
        text("select max(id) from lanes.route where decided_at < :since"),
        {"since": later(hours=-1)},
    ).scalar_one()
    history.execute(text("set local session_replication_role = replica"))
    history.execute(text(SHED), {"now": NOON})
    at = replace(begun, step_started_at=later(hours=-1), routes_before=before)
    rows = read(history, lambda: rollout_measures.take(history, at, now=NOON))
    assert 20 < rows["route"] <= 10_000, dict(rows)


BATCHES = """
insert into lanes.batch (nonce, account, workload, version_id, model, state, requests, items, bytes, body_hash, intended_at,
                         submitted_at, ended_at, collected_at)
select 'old' || n, 'acme', 'letters', :version, 'claude-haiku-5-5', 'collected', 10, 10, 1, '', at, at, at, at
  from (select n, :now - n * interval '2 hours' as at from generate_series(1, 20000) n) each
"""


@PLANS
def test_turnarounds_are_read_from_the_batches_of_the_last_28_days_only(
    history: Connection,
) -> None:
    history.execute(text("set local session_replication_role = replica"))
    history.execute(text(BATCHES), {"now": NOON, "version": 1})
    rows = read(history, lambda: turnarounds.read(asking.through(history), now=NOON))
    assert rows["batch"] <= 28 * 12 + 1, dict(rows)


@PLANS
@pytest.mark.parametrize("fresh", [True, False])
def test_a_save_finds_its_rows_by_primary_key(history: Connection, fresh: bool) -> None:
    plan = explained(history, writing.statement(fresh=fresh), name=f"saving_{next(_numbers)}")
    assert {name for name in ("pk_work", "pk_item") if f"Index Scan using {name}" in plan} == {
        "pk_work",
        "pk_item",
    }
    assert not re.findall("Seq Scan on (work|item|attempt|result|response)", plan)
    joins = [
        line for line in plan.splitlines() if "Join Filter" in line and "provisional_of" not in line
    ]
    assert joins == []  # a nested loop over the rows of a save is quadratic


def of_history(promise: Promise) -> Incident:
    """Make an incident that has been open for an hour, with the history around it."""
    down = promise in (Promise.PROVIDER_DOWN, Promise.PROVIDER_FROZEN)
    subject = {Promise.PROVIDER_FROZEN: "acme", Promise.PROVIDER_DOWN: "acme"}.get(
        promise, "batch 1"
    )
    return incident_of(
        promise,
        EVERYBODY if down else "letters",
        subject if promise in ABOUT_ONE else "",
        id=IncidentId(1),
        value=50,
        samples=100,
        unit="percent",
        sentence="It is bad.",
        opened_at=later(hours=-1),
    )


ABOUT_ONE = (
    Promise.BATCH_SLOW,
    Promise.BATCH_UNCLEAR,
    Promise.BATCH_INCOMPLETE,
    Promise.PROVIDER_FROZEN,
    Promise.PROVIDER_DOWN,
)


@PLANS
@pytest.mark.parametrize("promise", Promise)
def test_the_causes_and_figures_of_an_incident_are_found_without_reading_the_history(
    history: Connection, items_of_history: int, promise: Promise
) -> None:
    """Allow reads of the newest 5,000 attempts with their items, and of the waiting work."""
    of = of_history(promise)
    outages.record_fault(
        history, "acme", "claude-haiku-5-5", Fault("529", 3, NOON, NOON), now=later(hours=-1)
    )
    for find, most in (
        (causes.find, 6_000),
        (briefings.find_stake, 12_000),
        (briefings.find_trend, 11_000),
    ):
        rows = read(history, lambda find=find: find(history, of, now=NOON))
        assert sum(rows[table] for table in BIG) <= most, (find.__module__, dict(rows))
        assert not any(rows[table] >= items_of_history // 2 for table in rows), dict(rows)

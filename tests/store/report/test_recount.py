"""The report of a month equals a recount of its facts, folded or not."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection, create_engine, text

from lanes.store.database import clock
from lanes.store.figures import folding
from lanes.store.report import snapshot
from tests.benchmarks import history
from tests.databases import Databases

ITEMS = 2_000
LANES = """
select i.workload, l.lane, count(distinct i.id) filter (where s.lane = l.lane) as items,
       (select count(*) from lanes.result r join lanes.item o on o.id = r.item_id
         where r.lane = l.lane and o.workload = i.workload and o.received_at >= :since) as answers,
       (select percentile_cont(0.95) within group (order by extract(epoch from r.created_at - o.received_at))
          from lanes.result r join lanes.item o on o.id = r.item_id
         where r.lane = l.lane and o.workload = i.workload and o.received_at >= :since) as p95_s,
       (select count(*) from lanes.attempt a join lanes.item o on o.id = a.item_id
         where a.lane = l.lane and o.workload = i.workload and o.received_at >= :since) as attempts,
       (select coalesce(sum(a.cost_usd), 0) from lanes.attempt a join lanes.item o on o.id = a.item_id
         where a.lane = l.lane and o.workload = i.workload and o.received_at >= :since) as cost_usd
  from lanes.item i join lanes.item_status s on s.workload = i.workload and s.key = i.key
 cross join (values ('realtime'), ('batch')) l (lane)
 where i.received_at >= :since
 group by 1, 2
"""
COSTS = """
select i.workload, l.lane, sum(r.realtime_usd) as realtime_usd, sum(r.batch_usd) as batch_usd,
       (select sum(a.cost_usd) / sum(case a.lane when 'realtime' then e.realtime_usd else e.batch_usd end)
          from lanes.attempt a join lanes.route e on e.item_id = a.item_id join lanes.item o on o.id = a.item_id
         where o.workload = i.workload and o.received_at >= :since and a.outcome = 'valid' and a.lane = l.lane) as scale
  from lanes.item i join lanes.route r on r.item_id = i.id cross join (values ('realtime'), ('batch')) l (lane)
 where i.received_at >= :since
 group by 1, 2
"""
CONSUMERS = """
select i.consumer, count(*) as routed,
       count(*) filter (where r.reason in ('urgent', 'urgent_rule', 'deadline', 'overdue')) as demanded,
       count(*) filter (where r.reason = 'batch_rule' or r.reason = 'pinned' and r.lane = 'batch') as deferred,
       count(*) filter (where r.lane = 'realtime') as realtime,
       count(*) filter (where r.lane = 'realtime' and i.answered_at is not null and d.read_at is not null) as reads
  from lanes.item i join lanes.route r on r.item_id = i.id left join lanes.read d on d.item_id = i.id
 where i.workload = :workload and i.received_at >= :since and i.canceled_at is null
 group by 1
"""
BATCHES = """
select workload, count(*) as batches, count(*) filter (where state in ('ended', 'collected')) as ended, sum(items) as items,
       sum(items) filter (where state in ('ended', 'collected')) as carried,
       sum(succeeded + invalid + errored + canceled + expired + missing) as returned,
       sum(invalid + errored + expired + missing) as failed,
       extract(epoch from sum(ended_at - submitted_at) filter (where state in ('ended', 'collected'))) as took_s,
       percentile_cont(0.95) within group (order by extract(epoch from ended_at - submitted_at))
         filter (where state in ('ended', 'collected')) as p95_s
  from lanes.batch where intended_at >= :since group by 1
"""
WAITS = """
select i.workload, count(*) as items,
       percentile_cont(0.95) within group (order by extract(epoch from a.started_at - i.received_at)) as p95_s
  from lanes.attempt a join lanes.item i on i.id = a.item_id
 where a.lane = 'realtime' and a.purpose = 'answer' and a.message_id is not null and a.ended_at >= :since group by 1
"""


@pytest.fixture(scope="module")
def lived(databases: Databases) -> Iterator[tuple[Connection, datetime]]:
    """Yield a database with a month of counted history, and the end of that month; the tests of this file only read it."""
    url = databases.make()
    engine = create_engine(url)
    with engine.connect() as connection:
        history.write(connection, ITEMS)
        now = clock(connection)
        folding.rebuild_here(connection, until=now)
        yield connection, now
    engine.dispose()
    databases.drop(url)


def asked(connection: Connection, query: str, since: datetime, **more: object) -> list:
    return list(connection.execute(text(query), {"since": since, **more}))


@pytest.mark.parametrize(
    "over", [timedelta(days=40), timedelta(days=9, hours=5, minutes=7), timedelta(hours=30)]
)
def test_a_report_of_any_period_equals_a_recount_of_its_facts(
    lived: tuple[Connection, datetime], over: timedelta
) -> None:
    connection, now = lived
    seen = snapshot.take(connection, since=now - over, now=now)
    since = seen.since
    facts = {(each.workload, each.lane): each for each in asked(connection, LANES, since)}
    told = {(each.workload, each.lane.value): each for each in seen.lanes}
    busy = {key for key, each in facts.items() if each.items or each.answers or each.attempts}
    assert told.keys() == busy
    for key, each in told.items():
        fact = facts[key]
        assert (each.items, each.answers, each.attempts) == (
            fact.items,
            fact.answers,
            fact.attempts,
        ), key
        assert each.cost_usd == fact.cost_usd, key
        assert each.p95_s == (
            None if fact.p95_s is None else pytest.approx(float(fact.p95_s), rel=0.05)
        ), key
    for each in asked(connection, COSTS, since):
        (cost,) = [one for one in seen.costs if one.workload == each.workload]
        if each.scale is not None:
            estimated, alone = (
                (each.realtime_usd, cost.all_realtime_usd)
                if each.lane == "realtime"
                else (each.batch_usd, cost.all_batch_usd)
            )
            assert float(alone) == pytest.approx(float(estimated * each.scale), abs=1e-5), each
    states = Counter(
        {
            (each.workload, each.state): each.n
            for each in asked(
                connection,
                """
            select workload, state, count(*) as n from lanes.item_status where received_at >= :since group by 1, 2""",
                since,
            )
        }
    )
    assert Counter({(each.workload, each.state): each.items for each in seen.states}) == states
    routes = {
        (each.workload, each.lane, each.reason): each.n
        for each in asked(
            connection,
            """
        select workload, lane, reason, count(*) as n from lanes.route_log where decided_at >= :since
         group by 1, 2, 3""",
            since,
        )
    }
    assert {
        (each.workload, each.lane.value, each.reason): each.items for each in seen.routes
    } == routes
    calls = {
        (each.workload, each.lane): (each.n, each.tokens)
        for each in asked(
            connection,
            """
        select workload, lane, count(*) as n, sum(input_tokens) as tokens from lanes.spend where billed_at >= :since
         group by 1, 2""",
            since,
        )
    }
    assert {
        (each.workload, each.lane.value): (each.calls, each.input_tokens) for each in seen.calls
    } == calls
    assert (
        sum(each.corrected for each in seen.agreement)
        == asked(
            connection,
            "select count(*) as n from lanes.correction where corrected_at >= :since",
            since,
        )[0].n
    )


def test_the_evidence_of_advice_equals_a_recount_of_its_facts(
    lived: tuple[Connection, datetime],
) -> None:
    connection, now = lived
    since = (now - snapshot.ADVICE_OVER).replace(minute=0, second=0, microsecond=0)
    taken = snapshot.take(connection, since=since, now=now).advice
    advice = {each.workload: each.evidence for each in taken if each.evidence}
    assert advice.keys() == {"tickets", "letters", "archive", "seldom"}
    for workload, found in advice.items():
        of = {"workload": workload}
        consumers = {each.consumer: each for each in found.consumers}
        for each in asked(connection, CONSUMERS, since, **of):
            told = consumers.pop(each.consumer)
            assert (told.routed, told.demanded, told.deferred, told.realtime, told.reads) == tuple(
                each
            )[1:], each
        assert not consumers
        (busiest,) = asked(
            connection,
            """
            select max(n) as n, min(at) as at, sum(n) as items from (
              select date_trunc('minute', received_at) as at, count(*) as n from lanes.item
               where workload = :workload and received_at >= :since and canceled_at is null group by 1) minutes""",
            since,
            **of,
        )
        assert (found.peak_per_minute, found.items) == (busiest.n, busiest.items)
        assert found.days == pytest.approx((now - busiest.at).total_seconds() / 86_400)
        assert len(found.days_arrivals) == (now.date() - busiest.at.date()).days - 1


@pytest.mark.parametrize("over", [timedelta(days=40), timedelta(days=9, hours=5)])
def test_batch_totals_and_real_time_waits_equal_a_recount_of_the_facts(
    lived: tuple[Connection, datetime], over: timedelta
) -> None:
    connection, now = lived
    seen = snapshot.take(connection, since=(now - over).replace(minute=0), now=now)
    batches = {each.workload: each for each in asked(connection, BATCHES, seen.since)}
    assert batches.keys() == {each.workload for each in seen.batch_totals}
    for each in seen.batch_totals:
        fact = batches[each.workload]
        told = (each.batches, each.ended, each.items, each.carried, each.returned, each.failed)
        assert told == (
            fact.batches,
            fact.ended,
            fact.items,
            fact.carried,
            fact.returned,
            fact.failed,
        ), each.workload
        assert each.took_s == pytest.approx(float(fact.took_s), rel=0.02)
        assert each.p95_s == pytest.approx(float(fact.p95_s), rel=0.05)
        assert each.per_minute == pytest.approx(
            float(fact.carried) / float(fact.took_s) * 60, rel=0.02
        )
    waits = {each.workload: each for each in asked(connection, WAITS, seen.since)}
    assert waits.keys() == {each.workload for each in seen.waits}
    for each in seen.waits:
        assert each.items == waits[each.workload].items
        assert each.p95_s == pytest.approx(float(waits[each.workload].p95_s), rel=0.05, abs=0.05)

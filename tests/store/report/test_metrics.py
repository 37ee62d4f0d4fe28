"""Metrics: they agree with the facts, and one statement reads them."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Connection, text

from lanes.store import asking
from lanes.store.figures import folding
from lanes.store.report import metrics
from lanes.store.report.metrics import METRICS, SUM, MetricKind
from lanes.store.settling import traces
from lanes.words import Lane, Outcome
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import claim, save, submit, tried

TEN_MINUTES_LATER = later(minutes=10)
NEXT_MONTH = NOON + timedelta(days=14)
Samples = Mapping[tuple[str, ...], float]


def read(connection: Connection, name: str, *, now: datetime = TEN_MINUTES_LATER) -> Samples:
    found = metrics.read(asking.through(connection), now=now)
    return {tuple(each.labels): each.value for each in found.get(name, [])}


@pytest.fixture
def worked(connection: Connection) -> Connection:
    """Create four items: one answered after three seconds, one without an answer, one in a batch, one not routed."""
    version = publish(connection, now=NOON)
    admit(connection, "quick", "lost", now=NOON, lane=Lane.REALTIME)
    admit(connection, "slow", now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    quick, lost = claim(connection)
    save(
        connection,
        tried(quick, at=later(seconds=3)),
        tried(lost, Outcome.UNKNOWN, at=later(seconds=3), bound_usd=Decimal("0.25")),
        now=later(seconds=3),
    )
    submit(connection, version)
    admit(connection, "new", now=later(minutes=5), urgent=True)
    return connection


def test_counters_count_facts_by_workload_and_lane(worked: Connection) -> None:
    assert read(worked, "lanes_items_received_total") == {("letters",): 3}
    assert read(worked, "lanes_answers_total") == {("letters", "realtime", "authoritative"): 1}
    assert read(worked, "lanes_attempts_total") == {
        ("letters", "realtime", each): each in ("valid", "unknown") for each in Outcome
    }
    assert read(worked, "lanes_spend_unknown_usd_total")["letters", "realtime"] == 0.25
    assert read(worked, "lanes_tokens_total")["letters", "realtime", "input"] == 1_000
    billed = worked.execute(text("select sum(cost_usd)::float8 from lanes.spend")).scalar_one()
    assert read(worked, "lanes_spend_usd_total") == {("letters", "realtime"): billed}


def test_items_are_counted_by_state_without_reading_the_tables_of_items(worked: Connection) -> None:
    assert read(worked, "lanes_items") == {
        ("letters", "realtime", "settled"): 1,
        ("letters", "realtime", "open"): 1,
        ("letters", "batch", "open"): 1,
    }
    assert not re.search(r"lanes\.(item|item_status|result|attempt)\b", metrics.statement())


def test_the_oldest_wait_is_that_of_the_first_item_in_order(worked: Connection) -> None:
    waits = read(worked, "lanes_oldest_waiting_seconds")
    assert waits["letters", "", "true"] == 300
    assert waits["letters", "realtime", "false"] == 600
    assert waits["letters", "realtime", "true"] == 0
    assert len(waits) == 6


REPLAYED = """
insert into lanes.work (item_id, workload, version_id, lane, purpose, revision, generation, state, ready_at, rank_at,
                        waits_since)
select w.item_id, w.workload, w.version_id, 'realtime', 'replay', 0, n, 'ready', :now, :now + interval '9 days', :now
  from lanes.work w cross join generate_series(1, 2000) n where w.state = 'ready' and w.lane = 'realtime'
"""


def test_a_long_replay_does_not_count_as_waiting_or_slow_a_scrape_down(
    worked: Connection,
) -> None:
    worked.execute(text(REPLAYED), {"now": NOON - timedelta(days=1)})
    waits = read(worked, "lanes_oldest_waiting_seconds")
    assert waits["letters", "realtime", "false"] == 600
    worked.execute(text("update lanes.work set state = 'done' where purpose = 'answer'"))
    assert read(worked, "lanes_oldest_waiting_seconds")["letters", "realtime", "false"] == 0
    worked.execute(text("analyze lanes.work"))
    told = worked.execute(text("explain (analyze) select * from lanes.backlog")).scalars().all()
    told = "\n".join(told)
    looked_at = re.findall(r"Scan.* on work .*rows=([\d.]+) loops|Removed by Filter: (\d+)", told)
    assert 0 < max(float(kept or removed) for kept, removed in looked_at) <= 200


def test_an_answer_falls_into_the_buckets_that_hold_its_time(worked: Connection) -> None:
    folding.fold(worked)
    of = read(worked, "lanes_answer_seconds")
    assert {le: n for (_, _, le), n in of.items() if le not in (SUM, "+Inf") and n} == {
        str(float(bound)): 1 for bound in metrics.BOUNDS_S if bound > 3
    }
    assert of["letters", "realtime", "+Inf"] == 1
    assert of["letters", "realtime", SUM] == pytest.approx(3, rel=0.04)


def test_a_counter_resets_each_month_and_keeps_its_labels(worked: Connection) -> None:
    assert read(worked, "lanes_answers_total", now=NEXT_MONTH) == {
        ("letters", "realtime", "authoritative"): 0
    }
    assert read(worked, "lanes_items", now=NEXT_MONTH)["letters", "realtime", "settled"] == 1


def test_an_open_batch_is_counted_with_its_age(worked: Connection) -> None:
    batches = read(worked, "lanes_batches_open")
    assert sum(batches.values()) == 1
    assert len(batches) == 4
    assert read(worked, "lanes_batch_oldest_seconds") == {("letters",): 600}
    assert read(worked, "lanes_batches_late") == {("letters",): 0}
    late = NOON + timedelta(hours=23)
    assert read(worked, "lanes_batches_late", now=late) == {("letters",): 1}


def test_every_role_is_reported_even_when_no_session_holds_it(worked: Connection) -> None:
    held = read(worked, "lanes_roles_held")
    assert held["router",] == 0
    worked.execute(text("select pg_advisory_xact_lock(7016, 10)"))
    assert read(worked, "lanes_roles_held") == {**held, ("router",): 1}
    assert set(read(worked, "lanes_role_holders").values()) == {1}


def test_the_newest_answer_of_a_lane_is_an_example_with_the_trace_of_its_sender(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    sent = {"own": None, "theirs": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    ids = list[str]()
    for place, (key, traceparent) in enumerate(sent.items()):
        admit(connection, key, now=NOON, lane=Lane.REALTIME, traceparent=traceparent)
        route(connection, now=NOON)
        save(connection, *(tried(each, at=later(seconds=3 + place)) for each in claim(connection)))
        (example,) = metrics.examples(asking.through(connection)).values()
        assert (example.seconds, example.at) == (3 + place, later(seconds=3 + place))
        ids.append(example.trace_id)
    own = connection.execute(text("select id from lanes.item where key = 'own'")).scalar_one()
    assert ids[0] == traces.whole(connection, own)[0].ref.trace_id.hex()
    assert ids[1] == "0af7651916cd43dd8448eb211c80319c"


def test_every_metric_follows_the_naming_rules_of_prometheus() -> None:
    names = [each.name for each in METRICS]
    assert len(set(names)) == len(names)
    for each in METRICS:
        assert re.fullmatch(r"lanes_[a-z_]+", each.name)
        assert each.name.endswith("_total") == (each.kind is MetricKind.COUNTER)
        assert each.help.endswith(".")
        assert not {"key", "item", "entity"} & set(each.labels)

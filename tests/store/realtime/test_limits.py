"""The provider's limits as drains share them: the newest reading wins; also the call for a drain and its trigger."""

from datetime import datetime
from fnmatch import fnmatch
from pathlib import Path

import yaml
from sqlalchemy import Connection, text

from lanes.routing.capacity import Limit, LimitKind
from lanes.store import asking
from lanes.store.advice.advice import evidence
from lanes.store.realtime import load
from lanes.store.realtime.load import call_for_drain
from lanes.store.report import facts
from lanes.words import Lane
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import claim, save, tried

MODEL = "claude-haiku-5-5"


def requests(remaining: int, *, at: datetime) -> dict[str, list[Limit]]:
    return {MODEL: [Limit(LimitKind.REQUESTS, 60, remaining, later(minutes=5), at)]}


def left(known: dict[str, list[Limit]]) -> list[float]:
    return [each.remaining for of in known.values() for each in of]


def test_the_newest_reading_of_a_limit_wins_in_any_order_of_writes(connection: Connection) -> None:
    assert left(
        load.exchange_limits(
            connection, "acme", requests(30, at=later(seconds=5)), now=later(seconds=5)
        )
    ) == [30]
    assert left(
        load.exchange_limits(connection, "acme", requests(50, at=NOON), now=later(seconds=6))
    ) == [30]
    assert left(
        load.exchange_limits(
            connection, "acme", requests(10, at=later(seconds=7)), now=later(seconds=7)
        )
    ) == [10]
    assert load.exchange_limits(connection, "other", {}, now=later(seconds=7)) == {}


def test_a_drain_ignores_limits_that_were_read_an_hour_ago(connection: Connection) -> None:
    load.exchange_limits(connection, "acme", requests(30, at=NOON), now=NOON)
    assert load.exchange_limits(connection, "acme", {}, now=later(hours=1)) == {}


def test_the_capacity_table_is_unlogged(connection: Connection) -> None:
    kind = connection.execute(
        text("select relpersistence from pg_class where oid = 'lanes.capacity'::regclass")
    ).scalar_one()
    assert kind == "u"


def test_the_report_and_advice_show_the_limits_and_the_time_to_drain_waiting_work(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    admit(connection, *(f"k{n}" for n in range(40)), now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    save(
        connection,
        *(tried(each, at=later(seconds=2)) for each in claim(connection, places=10)),
        now=later(seconds=2),
    )
    assert facts.capacity(asking.through(connection), now=NOON) == []
    load.exchange_limits(connection, "acme", requests(0, at=later(seconds=2)), now=later(seconds=2))
    (seen,) = facts.capacity(asking.through(connection), now=later(seconds=2))
    assert (seen.account, seen.model, seen.waiting) == ("acme", MODEL, 30)
    assert seen.drain_s == max(30 / (10 / 300), 30)
    (use,) = evidence(connection, "letters", since=NOON, now=later(minutes=2)).limits
    assert (use.name, use.per_minute, use.each, use.told_s) == ("requests", 60, 1, 118)


def test_the_trigger_of_answer_matches_a_call_for_a_drain(
    connection: Connection, checkout: Path
) -> None:
    call_for_drain(connection, ready=3, received=1, now=NOON)
    (said,) = connection.execute(
        text("select event, resource, payload, occurred_at from lanes.event_outbox")
    )
    assert (said.payload, said.occurred_at) == ({"ready": 3, "received": 1}, NOON)
    declared = yaml.safe_load((checkout / "prefect.yaml").read_text())["deployments"]
    triggers = next(each["triggers"] for each in declared if each["name"] == "answer")
    (hears,) = [each for each in triggers if said.event in each["expect"]]
    assert fnmatch(said.resource, hears["match"]["prefect.resource.id"])

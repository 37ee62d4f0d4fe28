"""Measurements for the routing promises, and `lanes why`: counted while items are routed and read from figures alone."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from lanes.cli import app
from lanes.promises.decisions import EARLIER, HOUR
from lanes.promises.incident import EVERYBODY
from lanes.routing.split import Split
from lanes.statistics.shares import SampleShare
from lanes.store import asking
from lanes.store.database import clock
from lanes.store.figures import folding, measurements
from lanes.store.routing import mix
from lanes.store.workload import workloads
from lanes.words import Lane
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.promises.test_briefings import chance_wrong, read_late

NEVER = "payload.amount > 100"


def measured(connection: Connection, **after: float) -> dict[str, Any]:
    return mix.measure_promises(connection, now=later(**after))


def test_a_rule_that_raises_is_counted_by_version_with_its_error_and_its_newest_item(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, urgent_when=NEVER, batch_when="payload.age > 3")
    admit(connection, "a", "b", now=NOON)
    admit(connection, "c", now=NOON, payload={"age": 1, "amount": 3})
    admit(connection, "urgent", now=NOON, urgent=True)
    route(connection, now=NOON)
    admit(connection, "d", now=NOON, payload={"amount": 3})
    route(connection, now=later(minutes=2))
    for _ in range(2):  # from deltas, then from folded figures
        (raised,) = measured(connection, minutes=5)["raised"]
        assert raised[:5] == ("letters", 1, {"urgent_when": 2, "batch_when": 3}, NOON, "d")
        assert "reads 'age', which this item lacks" in raised.errors["batch_when"]
        folding.fold(connection)
    publish(connection, now=later(minutes=6), urgent_when="has(payload.amount)")
    assert measured(connection, minutes=7)["raised"] == []


def test_route_counts_cover_the_newest_twelve_hours_and_the_same_hours_of_earlier_days(
    connection: Connection,
) -> None:
    publish(connection, now=later(days=-60))
    for ago in (*EARLIER, timedelta(days=8), timedelta(0)):
        for at in (NOON - ago - number * HOUR for number in (0, 1, 11, 12)):
            admit(connection, f"{at}", f"{at} urgent", now=at, urgent=True)
            route(connection, now=at)
    folding.fold(connection)
    admit(connection, "now", now=NOON)
    route(connection, now=NOON)
    (routed,) = measured(connection, minutes=30)["routed"]
    assert sorted(routed.hours) == sorted(
        NOON - ago - number * HOUR for ago in (*EARLIER, timedelta(0)) for number in (0, 1, 11)
    )
    assert routed.hours[NOON - HOUR] == {"realtime urgent": 2}
    assert routed.hours[NOON] == {"realtime urgent": 2, "batch split": 1}
    assert routed.change == ""


def test_the_last_deliberate_change_of_routing_is_named(
    connection: Connection,
) -> None:
    publish(connection, now=later(hours=-9))
    split = Split("letters", "app", 3_000)
    workloads.set_split(connection, split, who="ada", why="more", now=later(hours=-2))
    admit(connection, "k", now=NOON)
    route(connection, now=NOON)
    (routed,) = measured(connection)["routed"]
    assert routed.changed_at == later(hours=-2)
    assert routed.change == "the split of consumer app was set to 30 % real-time by ada: more"


def test_late_batches_are_measured_against_stated_times_and_late_reads_by_consumer(
    connection: Connection,
) -> None:
    chance_wrong(connection)
    read_late(connection)
    found = measured(connection)
    assert found["stated"] == {"letters": SampleShare(12, 12)}
    assert found["reads"] == [("letters", "digest", SampleShare(90, 100))]
    workloads.set_split(connection, Split("letters", None, 0), who="ada", why="", now=NOON)
    assert measured(connection, minutes=1)["reads"] == []


@pytest.mark.slow
def test_due_times_missed_in_batch_are_counted_by_route_reason(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    admit(connection, "a", "b", now=NOON, lane=Lane.BATCH, due_at=later(minutes=9))
    admit(connection, "c", now=NOON, lane=Lane.REALTIME, due_at=later(minutes=9))
    route(connection, now=NOON)
    connection.execute(text("update lanes.item set failed_at = :at"), {"at": later(minutes=10)})
    (due,) = measurements.measure(connection, now=later(minutes=20)).due
    assert (due.missed, due.in_realtime, due.in_batch) == (3, 1, {"pinned": [2, 2]})


def happened(connection: Connection, now: datetime = NOON) -> None:
    """Route a day of split items, then a day with urgent ones, and open an outage."""
    publish(connection, now=now - timedelta(days=3))
    for day, urgent in ((-1, 0), (0, 30)):
        at = now + timedelta(days=day, hours=-1)
        keys = [f"{day} {number}" for number in range(100)]
        admit(connection, *keys, now=at, lane=None)
        admit(
            connection,
            *(f"{each} u" for each in keys[:urgent]),
            now=at,
            urgent=True,
            consumer="app",
        )
        route(connection, now=at)
    connection.execute(
        text("""
        insert into lanes.incident (promise, workload, subject, severity, state, value, limit_value, unit, sentence,
                                    opened_at, updated_at)
        values ('provider_down', :all, '', 'critical', 'open', 1, 0, 'calls', 'It answers nothing.', :at, :at)
        """),
        {"all": EVERYBODY, "at": now - timedelta(minutes=30)},
    )


def test_a_period_is_compared_with_the_week_before_or_else_with_the_period_before(
    connection: Connection,
) -> None:
    happened(connection)
    ask, day = asking.through(connection), timedelta(days=1)
    ((since, counts),) = mix.periods(ask, "letters", since=NOON - day, until=NOON).values()
    assert since == NOON - 2 * day
    told = {(each.reason, each.consumer): (each.before, each.now) for each in counts}
    assert told == {("split", ""): (100, 100), ("urgent", "app"): (0, 30)}
    at = later(days=-7, hours=-1)
    admit(connection, "week", now=at)
    route(connection, now=at)
    folding.fold(connection)
    ((since, counts),) = mix.periods(ask, None, since=NOON - day, until=NOON).values()
    assert since == NOON - 8 * day
    assert {each.before for each in counts} == {0, 1}
    assert mix.periods(ask, "none", since=NOON - day, until=NOON) == {}


def test_lanes_why_explains_a_change_of_share_and_lists_the_changes_in_its_period(
    pool: Engine, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pool.begin() as connection:
        happened(connection, clock(connection))
    assert app(["why", "letters"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        "Batch share of letters fell from 100 % to 77 %: 23.1 points by `urgent` from consumer app."
    )
    assert "incident 1: It answers nothing." in out
    assert app(["why", "--since", "1d", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (of,) = told["workloads"]
    assert (of["workload"], of["items_before"], of["items"]) == ("letters", 100, 130)
    assert sum(each["change"] for each in of["parts"]) == pytest.approx(of["now"] - of["before"])
    assert [each["kind"] for each in told["changes"]] == ["incident"]
    assert app(["why", "nothing"]) == 2
    assert app(["why", "--since", "0001-01-01"]) == 0
    assert app(["why", "--since", "2099-01-01"]) == 2
    assert "has not passed yet" in capsys.readouterr().err

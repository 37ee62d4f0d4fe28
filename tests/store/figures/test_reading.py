"""Readers add folded and unfolded figures: a figure is never late, and an open transaction does not delay it."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, text

from lanes.store.figures import folding
from lanes.words import Lane
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import rows

SINCE = "select coalesce(sum(n), 0) from lanes.figures_since('{route}', :since)"


def routed(connection: Connection, since: datetime = NOON) -> int:
    return int(connection.execute(text(SINCE), {"since": since}).scalar_one())


def put(
    connection: Connection, *keys: str, at: datetime = NOON, consumer: str | None = None
) -> None:
    admit(connection, *keys, now=at, lane=Lane.BATCH, consumer=consumer)
    route(connection, now=at)


@pytest.mark.slow
def test_an_open_transaction_delays_neither_the_folder_nor_the_figures_of_others(
    pool: Engine,
) -> None:
    with pool.begin() as connection:
        publish(connection, now=NOON)
    with pool.connect() as caller, pool.connect() as other:
        with caller.begin() as left_open:
            put(caller, "theirs")
            with other.begin():
                admit(other, "ours", now=NOON, lane=Lane.REALTIME)
                other.execute(
                    text("""
                    insert into lanes.route (item_id, version_id, lane, reason, explanation, realtime_usd, batch_usd,
                                             decided_at)
                    select i.id, w.version_id, 'realtime', 'pinned', 'pinned', 1, 1, :now
                      from lanes.item i join lanes.workload w on w.name = i.workload where i.key = 'ours'
                """),
                    {"now": NOON},
                )
            with other.begin():
                assert routed(other) == 1
                assert folding.fold(other) > 0
            with other.begin():
                assert routed(other) == 1
            left_open.commit()
        with other.begin():
            assert routed(other) == 2
            folding.fold(other)
            assert routed(other) == 2


def test_a_second_folder_returns_at_once_while_another_one_folds(pool: Engine) -> None:
    with pool.begin() as connection:
        publish(connection, now=NOON)
        put(connection, "a")
    with pool.connect() as first, pool.connect() as second:
        with first.begin() as folding_on:
            assert folding.fold(first) > 0
            with second.begin():
                assert (folding.fold(second), routed(second)) == (0, 1)
            folding_on.commit()
        with second.begin():
            assert (folding.fold(second), routed(second)) == (0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("folded", [False, True])
def test_a_period_starts_with_its_full_minute_in_folded_and_unfolded_figures(
    connection: Connection, folded: bool
) -> None:
    publish(connection, now=NOON)
    moments = [
        timedelta(days=-40),
        timedelta(days=-2),
        timedelta(hours=-3),
        timedelta(minutes=-2),
        timedelta(seconds=-1),
        timedelta(0),
        timedelta(seconds=59),
        timedelta(minutes=70),
        timedelta(days=1, hours=13),
    ]
    for place, after in enumerate(moments):
        put(connection, f"k{place}", at=NOON + after)
    if folded:
        folding.fold(connection)
    for first, after in enumerate(moments):
        since = NOON + after
        begun = since.replace(second=0, microsecond=0)
        assert routed(connection, since) == sum(NOON + each >= begun for each in moments), first
    assert routed(connection, NOON.replace(hour=0)) == len(moments) - 2
    assert routed(connection, datetime.min.replace(tzinfo=NOON.tzinfo)) == len(moments)


@pytest.mark.slow
def test_consumers_beyond_the_first_fifty_are_counted_together(connection: Connection) -> None:
    publish(connection, now=NOON)
    for number in range(60):
        put(connection, f"k{number}", consumer=f"c{number:02}")
        if number % 7 == 0:
            folding.fold(connection)
    put(connection, "again", consumer="c03")
    put(connection, "late", consumer="c59")
    put(connection, "nobody")
    folding.fold(connection)
    day = {
        each.consumer: each.n
        for each in rows(connection, "figure", "at", kind="asked", grain="day")
    }
    assert len(day) == 52
    assert (day["c03"], day["other"], day[None], sum(day.values())) == (2, 11, 1, 63)
    folding.rebuild_here(connection, until=later(days=1))
    assert {
        each.consumer: each.n
        for each in rows(connection, "figure", "at", kind="asked", grain="day")
    } == day


def test_a_late_fact_counts_in_the_hour_in_which_it_happened(connection: Connection) -> None:
    publish(connection, now=NOON)
    put(connection, "now", at=later(hours=5))
    folding.fold(connection)
    put(connection, "late", at=NOON)
    folding.fold(connection)
    assert [(each.hour, each.items) for each in rows(connection, "routing_mix", "hour")] == [
        (NOON, 1),
        (later(hours=5), 1),
    ]

"""The cost of a foreign open transaction: its snapshot holds vacuum back, and its item is not visible yet."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy import create_engine

from lanes.store.asking import plain_url
from lanes.store.database import clock
from tests.benchmarks.ground import Server
from tests.benchmarks.letters import WORKLOAD, realtime
from tests.benchmarks.realtime_life import RealtimeLife


def ratio(ground: Server, *, items: int, hold_s: float, rounds: int) -> dict[str, float]:
    """Return the rate while a transaction stays open, relative to the rate after as much work without it.

    Items go through their life for the whole time that the transaction is open; then several rounds measure the rate.
    """
    held, led = _rate(ground, items=items, rounds=rounds, hold_s=hold_s)
    free, _ = _rate(ground, items=items, rounds=rounds, lives=led)
    return {
        "held_per_s": held,
        "free_per_s": free,
        "held_ratio": held / free,
        "items_before": led * items,
    }


def _rate(
    ground: Server, *, items: int, rounds: int, hold_s: float | None = None, lives: int = 0
) -> tuple[float, int]:
    """Return the median rate, and how often items went through their life before."""
    url = ground.database(of_lanes=True)
    _publish(url)
    life = RealtimeLife(url)
    if hold_s is None:
        for _ in range(lives):
            life.lead(items)
        rate = statistics.median(items / life.lead(items) for _ in range(rounds))
    else:
        with _open(url):
            began = time.perf_counter()
            while (passed := time.perf_counter() - began) < hold_s:
                took = life.lead(items)
                lives += 1
                print(
                    f"held for {passed:.0f} of {hold_s:g} s: {items / took:,.0f} items a second",
                    flush=True,
                )
            rate = statistics.median(items / life.lead(items) for _ in range(rounds))
    ground.drop(url)
    return rate, lives


@contextmanager
def _open(url: str) -> Iterator[None]:
    """Keep open a snapshot, and an item that is not committed."""
    with psycopg.connect(plain_url(url)) as reader, psycopg.connect(plain_url(url)) as sender:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("select count(*) from lanes.item")
        said = sender.execute(
            "select lanes.submit(%s, '{\"text\": \"mine\"}', 'not committed')", [WORKLOAD]
        ).fetchone()
        assert said == ("accepted",), said
        yield
        reader.rollback()
        sender.rollback()


def _publish(url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        realtime(connection, now=clock(connection))
    engine.dispose()

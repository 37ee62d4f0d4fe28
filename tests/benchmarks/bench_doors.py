"""Admission in one transaction, 20,000 items each way: SQL row by row, a set in SQL, the client, and a bare INSERT.

The bare INSERT fills a table with the columns and the indexes of `lanes.item`, row by row, and what the door checks are its
constraints. Every way is committed, and must have left as many rows as it was given.
"""

import argparse
import math
import time
from collections.abc import Callable
from functools import partial

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb
from sqlalchemy import create_engine

from lanes.client import Lanes
from lanes.store.database import clock, plain_url
from tests.benchmarks.ground import Server, server
from tests.benchmarks.letters import WORKLOAD, payloads, realtime
from tests.benchmarks.rounds import take_turns
from tests.benchmarks.telling import installed, tell

BARE_TABLE = """
create table bare_item (
  like lanes.item including defaults including identity including indexes including constraints,
  foreign key (workload) references lanes.workload (name),
  check (jsonb_typeof(payload) = 'object'),
  check (octet_length(payload::text) <= 256 * 1024),
  check (length(key) between 1 and 512),
  check (length(consumer) between 1 and 512),
  check (length(entity) between 1 and 512))
"""
BARE = """
insert into bare_item (workload, key, payload, content_hash, occurred_at, received_at, source)
select 'letters', %s, given.payload, sha256(convert_to(given.payload::text, 'UTF8')), given.at, given.at, 'sql'
  from (select %s::jsonb as payload, clock_timestamp() as at) given
"""


def insert(url: str, items: int) -> float:
    """Items a second of the bare INSERT."""
    with psycopg.connect(url) as connection:
        connection.execute(BARE_TABLE)
        connection.commit()
        began = time.perf_counter()
        for number, payload in enumerate(payloads(items)):
            connection.execute(BARE, [str(number), Jsonb(payload)], prepare=True)
        connection.commit()
        took = time.perf_counter() - began
        return _rate(connection, "bare_item", items, took)


def submit(url: str, items: int) -> float:
    """Items a second of `lanes.submit`, row by row."""
    with psycopg.connect(url) as connection:
        began = time.perf_counter()
        for number, payload in enumerate(payloads(items)):
            connection.execute("select lanes.submit('letters', %s, %s)", [Jsonb(payload), str(number)], prepare=True)
        connection.commit()
        took = time.perf_counter() - began
        return _rate(connection, "lanes.item", items, took)


def submit_many(url: str, items: int) -> float:
    """Items a second of `lanes.submit_many`, all of them in one set; not a number where there is no such function."""
    with psycopg.connect(url) as connection:
        if connection.execute("select from pg_proc where proname = 'submit_many'").fetchone() is None:
            return math.nan
        rows = [{"key": str(number), "payload": payload} for number, payload in enumerate(payloads(items))]
        began = time.perf_counter()
        connection.execute("select * from lanes.submit_many('letters', %s)", [Jsonb(rows)])
        connection.commit()
        took = time.perf_counter() - began
        return _rate(connection, "lanes.item", items, took)


def client_many(url: str, items: int) -> float:
    """Items a second of the client's `submit_many` within the caller's transaction."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    inputs = [{"key": str(number), "payload": payload} for number, payload in enumerate(payloads(items))]
    try:
        began = time.perf_counter()
        with engine.begin() as connection:
            sent = Lanes(connection).submit_many(WORKLOAD, inputs)
        took = time.perf_counter() - began
        assert {each.outcome for each in sent} == {"accepted"}
    finally:
        engine.dispose()
    with psycopg.connect(url) as connection:
        return _rate(connection, "lanes.item", items, took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    ways = {"insert": insert, "submit": submit, "submit_many": submit_many, "client_many": client_many}
    with server() as ground:
        measured = {name: partial(_in_fresh, ground, way, given.items) for name, way in ways.items()}
        rate = {name: figures["per_s"] for name, figures in take_turns(measured, rounds=given.rounds).items()}
    figures = {f"{name}_per_s": rate[name] for name in ("submit", "submit_many", "client_many")}
    figures["vs_insert"] = rate["submit"] / rate["insert"]
    tell("doors", figures, **vars(given), insert_per_s=round(rate["insert"]), peers=installed("psycopg"))


def _in_fresh(ground: Server, way: Callable[[str, int], float], items: int) -> dict[str, float]:
    """The way measured in a database of its own."""
    url = ground.database(of_lanes=True)
    engine = create_engine(url)
    with engine.begin() as connection:
        realtime(connection, now=clock(connection))
    engine.dispose()
    rate = way(plain_url(url), items)
    ground.drop(url)
    return {"per_s": rate}


def _rate(connection: psycopg.Connection, table: str, items: int, took: float) -> float:
    counted = sql.SQL("select count(*) from {}").format(sql.Identifier(*table.split(".")))
    assert connection.execute(counted).fetchone() == (items,), f"{table} has not the {items} items"
    return items / took


if __name__ == "__main__":
    main()

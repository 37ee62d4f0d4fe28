"""Admission in one transaction, 20,000 items each way: SQL row by row, a set in SQL, the client, and a bare INSERT.

The bare INSERT fills, row by row, a table with the columns and the indexes of `lanes.item`; its constraints check what the door
checks. Row by row means one statement for each item, sent by psycopg's `executemany`, which does not wait for an answer before
it sends the next statement. A second figure shows how long the same statements take where the caller waits for each answer.
Every way is committed, and must have stored as many rows as it was given.
"""

import argparse
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb
from sqlalchemy import create_engine

from lanes.client import Lanes
from lanes.store.asking import plain_url
from lanes.store.database import clock
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
insert into bare_item (workload, payload, content_hash, key, occurred_at, received_at, source)
select 'letters', given.payload, sha256(convert_to(given.payload::text, 'UTF8')), given.key, given.at, given.at, 'sql'
  from (select %s::jsonb as payload, %s as key, clock_timestamp() as at) given
"""
SUBMIT = "select lanes.submit('letters', %s, %s)"
Send = Callable[[psycopg.Cursor, LiteralString, Sequence[Sequence[object]]], None]


def in_a_row(
    cursor: psycopg.Cursor, statement: LiteralString, rows: Sequence[Sequence[object]]
) -> None:
    """Send a statement for each row without waiting."""
    cursor.executemany(statement, rows)


def waiting(
    cursor: psycopg.Cursor, statement: LiteralString, rows: Sequence[Sequence[object]]
) -> None:
    """Send each row's statement after the previous one has been answered."""
    for row in rows:
        cursor.execute(statement, row, prepare=True)


def insert(url: str, items: int, send: Send) -> float:
    """Return the items a second of the bare INSERT, row by row."""
    with psycopg.connect(url) as connection:
        connection.execute(BARE_TABLE)
        connection.commit()
        return _row_by_row(connection, BARE, "bare_item", items, send)


def submit(url: str, items: int, send: Send) -> float:
    """Return the items a second of `lanes.submit`, row by row."""
    with psycopg.connect(url) as connection:
        return _row_by_row(connection, SUBMIT, "lanes.item", items, send)


def _row_by_row(
    connection: psycopg.Connection, statement: LiteralString, table: str, items: int, send: Send
) -> float:
    inputs = payloads(items)
    began = time.perf_counter()
    send(
        connection.cursor(),
        statement,
        [(Jsonb(payload), str(number)) for number, payload in enumerate(inputs)],
    )
    connection.commit()
    return _rate(connection, table, items, time.perf_counter() - began)


def submit_many(url: str, items: int) -> float:
    """Return the items a second of `lanes.submit_many`, all in one set; not a number where the function does not exist."""
    with psycopg.connect(url) as connection:
        if (
            connection.execute("select from pg_proc where proname = 'submit_many'").fetchone()
            is None
        ):
            return math.nan
        rows = [
            {"key": str(number), "payload": payload}
            for number, payload in enumerate(payloads(items))
        ]
        began = time.perf_counter()
        connection.execute("select * from lanes.submit_many('letters', %s)", [Jsonb(rows)])
        connection.commit()
        took = time.perf_counter() - began
        return _rate(connection, "lanes.item", items, took)


def client_many(url: str, items: int) -> float:
    """Return the items a second of the client's `submit_many` within the caller's transaction."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    inputs = [
        {"key": str(number), "payload": payload} for number, payload in enumerate(payloads(items))
    ]
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
    ways = {
        "a bare INSERT, row by row": partial(insert, send=in_a_row),
        "lanes.submit, row by row": partial(submit, send=in_a_row),
        "a bare INSERT, each waited for": partial(insert, send=waiting),
        "lanes.submit, each waited for": partial(submit, send=waiting),
        "lanes.submit_many": submit_many,
        "the client's submit_many": client_many,
    }
    with server() as ground:
        measured = {
            name: partial(_in_fresh, ground, way, given.items) for name, way in ways.items()
        }
        seen = take_turns(measured, rounds=given.rounds)
    rate = {name: figures["per_s"] for name, figures in seen.items()}
    figures = {
        "submit_per_s": rate["lanes.submit, row by row"],
        "submit_many_per_s": rate["lanes.submit_many"],
        "client_many_per_s": rate["the client's submit_many"],
        "vs_insert": rate["lanes.submit, row by row"] / rate["a bare INSERT, row by row"],
    }
    tell("doors", figures, **vars(given), seen=seen, peers=installed("psycopg"))


def _in_fresh(ground: Server, way: Callable[[str, int], float], items: int) -> dict[str, float]:
    """Measure the door in a database of its own."""
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

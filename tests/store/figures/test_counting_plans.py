"""Counting is planned once for a session, perhaps while the tables are empty; its plans hold when they have grown."""

from sqlalchemy import Connection, Engine, text

from lanes.words import Lane
from tests.conftest import NOON
from tests.examples import admit, publish, route
from tests.store.tries import claim, save, tried

CHUNK, CHUNKS = 50, 12
FACTS = ("route", "attempt", "result", "correction")
READ = text("""
select relname, seq_tup_read + coalesce(idx_tup_fetch, 0) as rows
  from pg_stat_xact_user_tables where schemaname = 'lanes' and relname = any (:facts)
""")


def test_a_session_that_counted_while_the_tables_were_empty_never_walks_through_them_later(pool: Engine) -> None:
    with pool.begin() as connection:
        rows = counted(connection)
    assert max(rows.values()) <= 20 * CHUNK * CHUNKS, rows


def counted(connection: Connection) -> dict[str, int]:
    """How many rows of each table were read to count some chunks."""
    publish(connection, now=NOON, mode="lambda")
    for fact in FACTS:
        connection.execute(text(f"analyze lanes.{fact}"))
    for chunk in range(CHUNKS):
        admit(connection, *(f"{chunk}-{n}" for n in range(CHUNK)), now=NOON, lane=Lane.REALTIME)
        route(connection, now=NOON)
        save(connection, *(tried(each) for each in claim(connection)))
    return {row.relname: row.rows for row in connection.execute(READ, {"facts": list(FACTS)})}

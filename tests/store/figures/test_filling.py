"""A database that had no figures yet has them once it is migrated: those of all facts that it holds."""

from sqlalchemy import Engine, inspect, text

from lanes.store import schema
from lanes.store.tables import SCHEMA, metadata
from lanes.words import Lane, Outcome
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.figures.recounting import Recount, stand
from tests.store.older import as_migrated_to
from tests.store.tries import claim, save, submit, tried

BEFORE = "0020"
COLUMNS = """
select string_agg(quote_ident(a.attname), ', ' order by a.attnum)
  from pg_attribute a
  join pg_attribute kept on kept.attrelid = cast('public.' || :name as regclass) and kept.attname = a.attname
 where a.attrelid = cast('lanes.' || :name as regclass) and a.attnum > 0 and not a.attisdropped
"""


def test_the_facts_of_an_older_database_are_counted_when_it_is_migrated(
    pool: Engine, database_url: str
) -> None:
    tables = [each.name for each in metadata.sorted_tables if not each.name.startswith("figure")]
    with pool.begin() as connection:
        letters = publish(connection, now=NOON, mode="lambda")
        admit(
            connection,
            "a",
            "b",
            "c",
            now=NOON,
            lane=Lane.REALTIME,
            consumer="desk",
            due_at=later(hours=9),
        )
        route(connection, now=NOON)
        for each in claim(connection):
            save(
                connection,
                tried(
                    each, Outcome.ERRORED if each.key == "c" else Outcome.VALID, at=later(seconds=3)
                ),
            )
        batch_id, works = submit(connection, letters, now=later(days=1))
        save(
            connection,
            *(tried(each, at=later(days=1)) for each in works),
            now=later(days=1),
            batch_id=batch_id,
        )
        for name in tables:
            connection.execute(text(f"create table public.{name} as table lanes.{name}"))
        as_migrated_to(connection, BEFORE)
        there = set(inspect(connection).get_table_names(SCHEMA))
        for name in (each for each in tables if each in there):
            columns = connection.execute(text(COLUMNS), {"name": name}).scalar_one()
            connection.execute(
                text(
                    f"insert into lanes.{name} ({columns}) overriding system value select {columns} from public.{name}"
                    " on conflict do nothing"
                )
            )
    schema.upgrade(database_url)
    with pool.begin() as connection:
        recounted = Recount(connection)
        assert recounted.figures
        assert stand(connection) == (recounted.figures, recounted.hist)

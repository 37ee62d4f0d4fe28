"""The history that the bench of figures reads could have happened."""

import pytest
from sqlalchemy import Engine, text

from tests.benchmarks import history

ITEMS = 3_000
KEYS = """
select c.conrelid::regclass::text as table, a.attname as column, c.confrelid::regclass::text as named, f.attname as by
  from pg_constraint c
  join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
  join pg_attribute f on f.attrelid = c.confrelid and f.attnum = c.confkey[1]
 where c.contype = 'f' and c.connamespace = 'lanes'::regnamespace and cardinality(c.conkey) = 1
"""
IMPOSSIBLE = {
    "an answer that nobody shows": """
        select count(*) from lanes.item i where (i.result_id is not null) <> (i.answered_at is not null)""",
    "a bill that is no attempt's": """
        select abs((select sum(cost_usd) from lanes.response) - (select sum(cost_usd) from lanes.attempt))""",
    "an item answered before it came": "select count(*) from lanes.item where answered_at < received_at",
    "a settled item with a ready pass": """
        select count(*) from lanes.item i join lanes.work w on w.item_id = i.id
         where i.settled_at is not null and w.state = 'ready'""",
    "something of the future": """
        select count(*) from lanes.attempt where ended_at > now()""",
    "a correction of an equal answer": """
        select count(*) from lanes.correction c join lanes.result p on p.id = c.provisional_id
          join lanes.result a on a.id = c.authoritative_id where p.output = a.output""",
}


def test_a_written_history_breaks_no_key_and_nothing_in_it_is_impossible(pool: Engine) -> None:
    with pool.begin() as connection:
        history.write(connection, ITEMS)
    with pool.begin() as connection:
        for key in connection.execute(text(KEYS)).mappings():
            orphans = connection.execute(
                text(
                    "select count(*) from {table} t where {column} is not null and not exists"
                    " (select from {named} n where n.{by} = t.{column})".format(**key)
                )
            ).scalar_one()
            assert orphans == 0, dict(key)
        assert {
            what: connection.execute(text(asked)).scalar_one() for what, asked in IMPOSSIBLE.items()
        } == dict.fromkeys(IMPOSSIBLE, 0)
        states = (
            connection.execute(text("select distinct state from lanes.item_status")).scalars().all()
        )
        reasons = (
            connection.execute(text("select distinct reason from lanes.route")).scalars().all()
        )
    assert {"settled", "failed", "canceled"} <= set(states)
    assert {"pinned", "urgent", "urgent_rule", "deadline", "batch_rule", "split"} == set(reasons)


@pytest.mark.slow
def test_the_indexes_are_those_of_the_schema_after_a_history_was_written(pool: Engine) -> None:
    made = "select indexdef from pg_indexes where schemaname = 'lanes' order by 1"
    with pool.begin() as connection:
        before = connection.execute(text(made)).scalars().all()
        history.write(connection, 100)
        assert connection.execute(text(made)).scalars().all() == before

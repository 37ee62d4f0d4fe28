"""Attempts of lines that were read twice, in a database from before an attempt existed once."""

from decimal import Decimal

from sqlalchemy import Engine, text

from lanes.store import schema
from tests.conftest import NOON
from tests.store.older import as_migrated_to

BEFORE = """
insert into lanes.workload (name, created_at) values ('letters', :now);
insert into lanes.version (workload, number, hash, spec, published_at) values ('letters', 1, 'h', '{}', :now);
insert into lanes.item (workload, key, payload, content_hash, occurred_at, received_at, source)
select 'letters', 'k' || n, '{}', '', :now, :now, 'sql' from generate_series(1, 3) n;
insert into lanes.batch (nonce, account, workload, version_id, model, state, requests, items, bytes, body_hash, intended_at,
                         succeeded, errored)
values ('n', 'acme', 'letters', 1, 'm', 'collected', 3, 3, 1, 'h', :now, 4, 2);
insert into lanes.work (item_id, workload, version_id, lane, purpose, revision, state, ready_at, rank_at, created_at)
select id, 'letters', 1, 'batch', 'answer', 0, 'done', :now, :now, :now from lanes.item;
insert into lanes.response (message_id, workload, lane, purpose, model, batch_id, items, input_tokens, output_tokens,
                            cache_read_tokens, cache_write_tokens, cost_usd, price_version, billed_at)
values ('m1', 'letters', 'batch', 'answer', 'm', 1, 2, 11, 5, 0, 0, 0.3, 'p', :now),
       ('m2', 'letters', 'batch', 'answer', 'm', 1, 1, 7, 5, 0, 0, 0.2, 'p', :now);
insert into lanes.attempt (work_id, item_id, claim_no, workload, lane, purpose, outcome, message_id, batch_id, model,
                           input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost_usd, bound_usd, shown,
                           latency_ms, started_at, ended_at)
values (1, 1, 1, 'letters', 'batch', 'answer', 'valid', 'm1', 1, 'm', 6, 3, 0, 0, 0.2, 0, true, 1, :now, :now),
       (1, 1, 1, 'letters', 'batch', 'answer', 'valid', 'm1', 1, 'm', 5, 2, 0, 0, 0.1, 0, false, 1, :now, :now),
       (2, 2, 1, 'letters', 'batch', 'answer', 'errored', null, 1, 'm', 0, 0, 0, 0, 0, 0, false, 1, :now, :now),
       (2, 2, 1, 'letters', 'batch', 'answer', 'errored', null, 1, 'm', 0, 0, 0, 0, 0, 0, false, 1, :now, :now),
       (3, 3, 1, 'letters', 'batch', 'answer', 'valid', 'm2', 1, 'm', 7, 5, 0, 0, 0.2, 0, true, 1, :now, :now);
"""


def test_attempts_that_were_written_twice_are_one_and_still_sum_to_the_ledger(
    pool: Engine, database_url: str
) -> None:
    with pool.begin() as connection:
        as_migrated_to(connection, "0004")
        for statement in BEFORE.split(";"):
            if statement.strip():
                connection.execute(text(statement), {"now": NOON})
    schema.upgrade(database_url)
    with pool.begin() as connection:
        kept = connection.execute(
            text(
                "select id, message_id, input_tokens, cost_usd, shown from lanes.attempt order by id"
            )
        )
        assert [tuple(row) for row in kept] == [
            (1, "m1", 11, Decimal("0.3"), True),
            (3, None, 0, 0, False),
            (5, "m2", 7, Decimal("0.2"), True),
        ]
        counts = connection.execute(
            text("select succeeded, errored, items from lanes.batch_status")
        ).one()
        assert tuple(counts) == (2, 1, 3)
        assert list(
            connection.execute(text("select items from lanes.spend order by message_id")).scalars()
        ) == [1, 1]

"""An attempt names the version that was tried, whatever version its work has by now."""

from dataclasses import replace

from sqlalchemy import Connection, Engine, text

from lanes.settling.attempts import Times, poisoned
from lanes.store import schema
from lanes.store.settling import retries
from lanes.words import Lane, Outcome
from lanes.workload.version import Version
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.older import as_migrated_to
from tests.store.tries import claim, claimed_item, row, rows, said, save, submit, tried


def published_anew(connection: Connection) -> Version:
    return publish(connection, now=later(minutes=1), instructions="Sort it otherwise.")


def versions(connection: Connection) -> list[tuple[int, str]]:
    return [(each.version, each.outcome) for each in rows(connection, "attempt_log", "attempt")]


def test_a_retry_with_another_version_leaves_past_attempts_with_theirs(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    save(connection, tried(claimed_item(connection, "k"), Outcome.POISON))
    published_anew(connection)
    assert retries.retry(connection, "letters", None, now=later(minutes=2)) == ["k"]
    (again,) = claim(connection, now=later(minutes=2))
    save(connection, tried(again))
    assert versions(connection) == [(1, "poison"), (2, "valid")]


def test_a_call_that_is_answered_after_a_retry_names_the_version_that_it_asked_with(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    first = claimed_item(connection, "k")
    save(connection, tried(first, Outcome.POISON))
    published_anew(connection)
    retries.retry(connection, "letters", None, now=later(minutes=2))
    (late,) = poisoned([first], "too late", Times(NOON, NOON))
    save(connection, replace(late, response=said()), now=later(minutes=3))
    assert versions(connection) == [(1, "poison"), (1, "poison")]


def test_a_late_result_of_a_batch_names_the_version_of_the_batch(connection: Connection) -> None:
    letters = publish(connection, now=NOON)
    admit(connection, "k", now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    batch_id, (sent,) = submit(connection, letters)
    save(connection, tried(sent, Outcome.POISON), batch_id=batch_id)
    published_anew(connection)
    retries.retry(connection, "letters", None, now=later(minutes=2))
    save(connection, tried(sent, response=said()), batch_id=batch_id, now=later(minutes=3))
    assert versions(connection) == [(1, "poison"), (1, "valid")]


def test_attempts_from_before_they_named_a_version_have_that_of_their_batch_result_or_work(
    pool: Engine, database_url: str
) -> None:
    with pool.begin() as connection:
        as_migrated_to(connection, "0056")
        for statement in BEFORE.split(";\n"):
            connection.execute(text(statement), {"now": NOON})
    schema.upgrade(database_url)
    with pool.begin() as connection:
        named = (
            connection.execute(text("select version_id from lanes.attempt order by id"))
            .scalars()
            .all()
        )
        assert named == [1, 2, 3]
        assert row(connection, "attempt", id=1).shown is False


# Work that has the third version by now: a batch of the first had it, the second answered, the third tried.
BEFORE = """
insert into lanes.workload (name, created_at) values ('letters', :now);
insert into lanes.version (workload, number, hash, spec, published_at, mode, realtime_model, batch_model, max_failures,
                           give_up_after_h, batch_expected_minutes, confidence, compare_fields, dedupe, max_payload_kib,
                           announces, realtime_p95_s)
select 'letters', n, n::text, '{}', :now, 'plain', 'm', 'm', 3, 24, 60, 0.9, '{}', 'key', 64, 'each', 5
  from generate_series(1, 3) n;
insert into lanes.item (workload, key, payload, content_hash, occurred_at, received_at, source)
values ('letters', 'k', '{}', '', :now, :now, 'sql');
insert into lanes.batch (nonce, account, workload, version_id, model, state, requests, items, bytes, body_hash, intended_at)
values ('n', 'acme', 'letters', 1, 'm', 'released', 1, 1, 1, 'h', :now);
insert into lanes.work (item_id, workload, version_id, lane, purpose, revision, state, ready_at, rank_at, created_at)
values (1, 'letters', 3, 'batch', 'answer', 0, 'done', :now, :now, :now);
insert into lanes.result (item_id, work_id, version_id, lane, standing, generation, revision, output, message_id, created_at)
values (1, 1, 2, 'realtime', 'authoritative', 0, 0, '{}', 'm2', :now);
insert into lanes.attempt (work_id, item_id, claim_no, workload, lane, purpose, outcome, message_id, batch_id, model,
                           input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost_usd, bound_usd, shown,
                           latency_ms, started_at, ended_at)
values (1, 1, 1, 'letters', 'batch', 'answer', 'valid', 'm1', 1, 'm', 6, 3, 0, 0, 0.2, 0, false, 1, :now, :now),
       (1, 1, 2, 'letters', 'realtime', 'answer', 'valid', 'm2', null, 'm', 5, 2, 0, 0, 0.1, 0, true, 1, :now, :now),
       (1, 1, 3, 'letters', 'realtime', 'answer', 'errored', null, null, 'm', 0, 0, 0, 0, 0, 0, false, 1, :now, :now)
"""

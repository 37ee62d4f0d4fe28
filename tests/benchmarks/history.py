"""A history of any size, written set by set: items of thirty days, and everything that became of them.

It varies as real traffic does: days and nights, lanes, reasons, consumers, failures, retries, provisional answers and their
authoritative passes, corrections, reads, labels, batches, a job. Items younger than three hours still wait for their batch.
Next to three workloads with many items, `seldom` has a hundred and `idle` none. This module does not write the figures: the
product counts them from these facts.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, text

from lanes.store.database import clock
from lanes.workload.version import Version
from tests.examples import publish

DAYS = 30
SEED = """
create unlogged table public.seed as
with drawn as (
  select n, random() as kind, random() as lane, random() as fate, random() as ms, random() as tried, random() as differs,
         random() as is_read, random() as late,
         cast(:now as timestamptz) - interval '30 days'
           + interval '1 day' * (30.0 * n / :items - 0.1 * sin(2 * pi() * 30.0 * n / :items)) as received_at
    from generate_series(1, cast(:items as int)) n),
sorted as (
  select d.*, case when n % greatest(:items / 100, 2) = 1 then 'seldom' when kind < 0.5 then 'tickets'
                   when kind < 0.8 then 'letters' else 'archive' end as workload
    from drawn d),
routed as (
  select s.*,
         case when workload = 'archive' then case when lane < 0.3 then 'pinned' else 'split' end
              when lane < 0.15 then 'urgent' when lane < 0.25 then 'urgent_rule' when lane < 0.3 then 'deadline'
              when lane > 0.9 then 'batch_rule' else 'split' end as reason,
         case when workload <> 'archive' and lane < 0.65 then 'realtime' else 'batch' end as road
    from sorted s),
timed as (
  select r.*, 300 - 900 * ln(1 - ms) as call_ms,
         date_trunc('hour', received_at) + interval '1 hour' as left_at,
         date_trunc('hour', received_at) + interval '80 minutes'
           + interval '1 minute' * (hashint4(extract(epoch from date_trunc('hour', received_at))::int) % 20) as back_at
    from routed r),
told as (
  select t.*, case when road = 'batch' then back_at else received_at + interval '1 ms' * (40 + call_ms) end as first_at
    from timed t)
select n, workload, received_at, road, reason, call_ms, left_at, back_at, first_at, differs, is_read, late,
       tried > 0.96 as retried,
       case when fate < 0.012 and first_at <= :now then 'failed' when fate > 0.996 then 'canceled'
            when first_at <= :now then 'answered' else 'waiting' end as fate,
       workload = 'tickets' and road = 'realtime' and fate between 0.012 and 0.996 and first_at <= :now as provisional,
       workload = 'tickets' and road = 'realtime' and fate between 0.012 and 0.996 and back_at <= :now as confirmed,
       case workload when 'tickets' then :tickets when 'letters' then :letters when 'archive' then :archive
                     else :seldom end as version_id
  from told t
"""

ITEMS = """
insert into lanes.item (id, workload, key, payload, content_hash, consumer, entity, urgent, pin, due_at, occurred_at,
                        received_at, source, position, result_id, answered_at, settled_at, failed_at, canceled_at, failure,
                        job_id)
overriding system value
select n, workload, 'k' || n, jsonb_build_object('text', 'Letter ' || n || ': where is my parcel?', 'pages', n % 40),
       decode(md5(n::text), 'hex'),
       case n % 7 when 0 then null when 1 then 'desk' when 2 then 'desk' when 3 then 'mail' when 4 then 'app' else 'night' end,
       case when n % 3 = 0 then 'e' || n % 50000 end, reason = 'urgent', case when reason = 'pinned' then 'batch' end,
       case when reason = 'deadline' then received_at + interval '10 minutes' end, received_at, received_at,
       case when workload = 'archive' then 'archive.jsonl' else 'event' end, n,
       case when confirmed then :items + n when fate = 'answered' then n end,
       case when fate = 'answered' then first_at end,
       case when confirmed then back_at when fate = 'answered' and not provisional then first_at end,
       case when fate = 'failed' then first_at end, case when fate = 'canceled' then received_at end,
       case when fate = 'failed' then 'invalid: the answer breaks the schema' end,
       case when workload = 'archive' then 1 end
  from public.seed order by n
"""

JOBS = """
insert into lanes.job (id, name, workload, received, settled, failed, canceled, usd, created_at)
overriding system value
select 1, 'archive', 'archive', count(*), count(*) filter (where fate = 'answered'), count(*) filter (where fate = 'failed'),
       count(*) filter (where fate = 'canceled'), 0.00005 * count(*), min(received_at)
  from public.seed where workload = 'archive'
"""

ROUTES = """
insert into lanes.route (item_id, version_id, lane, reason, explanation, realtime_usd, batch_usd, decided_at)
select n, version_id, road, reason, 'bucket ' || n % 10000 || ' of 10,000 is below the split of 65 % for all consumers',
       0.0001 + n % 10 * 0.00001, 0.00005 + n % 10 * 0.000005, received_at
  from public.seed order by n
"""

BATCHES = """
insert into lanes.batch (id, nonce, account, workload, version_id, model, state, requests, items, bytes, body_hash,
                         provider_batch_id, processed, succeeded, errored, intended_at, submitted_at, expected_end_at,
                         ended_at, collected_at)
overriding system value
select id, md5('nonce' || id), 'bench', workload, version_id, 'claude-haiku-5-5', 'collected', items, items, items * 900,
       md5('body' || id), 'msgbatch_' || id, items, succeeded, items - succeeded, left_at, left_at,
       left_at + interval '1 hour', back_at, back_at
  from public.seed_batch
"""

SEED_BATCHES = """
create unlogged table public.seed_batch as
select row_number() over (order by left_at, workload)::bigint as id, workload, version_id, left_at, back_at,
       count(*)::int as items, count(*) filter (where road = 'realtime' or fate = 'answered')::int as succeeded
  from public.seed
 where confirmed or (road = 'batch' and fate in ('answered', 'failed'))
 group by workload, version_id, left_at, back_at
"""

SEED_WORK = """
create unlogged table public.seed_work as
select s.n as id, s.n, 'answer' as purpose, s.road as lane, b.id as batch_id,
       case s.fate when 'answered' then 'done' when 'waiting' then 'ready' else s.fate end as state,
       case when s.road = 'batch' then s.left_at else s.received_at end as begun_at, s.first_at as ended_at
  from public.seed s left join public.seed_batch b using (workload, left_at)
union all
select :items + s.n, s.n, 'authoritative', 'batch', b.id, case when s.confirmed then 'done' else 'ready' end, s.left_at,
       s.back_at
  from public.seed s left join public.seed_batch b using (workload, left_at)
 where s.provisional
"""

WORK = """
insert into lanes.work (id, item_id, workload, version_id, lane, purpose, revision, state, ready_at, rank_at, claim_no,
                        failures, waits_since, finished_at)
overriding system value
select w.id, w.n, s.workload, s.version_id, w.lane, w.purpose, 0, w.state, s.received_at, s.received_at + interval '1 minute',
       case when w.state = 'ready' then 0 when s.retried then 2 else 1 end, s.retried::int, s.received_at,
       case when w.state <> 'ready' then w.ended_at end
  from public.seed_work w join public.seed s using (n)
"""

MEMBERS = """
insert into lanes.batch_member (batch_id, request_no, slot, work_id, claim_no)
select batch_id, row_number() over (partition by batch_id order by id) - 1, 0, id, 1
  from public.seed_work where lane = 'batch' and state in ('done', 'failed')
"""

SEED_TRIES = """
create unlogged table public.seed_try as
select w.id as work_id, w.n, t.no, w.lane, w.purpose, w.batch_id, w.begun_at, w.ended_at,
       case when w.state = 'failed' or t.no < (s.retried and w.lane = 'realtime')::int + 1
            then case when w.n % 3 = 0 then 'errored' else 'invalid' end else 'valid' end as outcome,
       s.workload, s.version_id, s.call_ms,
       0.00009 * case w.lane when 'batch' then 0.5 else 1 end + w.n % 10 * 0.000004 as usd
  from public.seed_work w join public.seed s using (n)
 cross join generate_series(1, (s.retried and w.lane = 'realtime')::int + 1) t (no)
 where w.state in ('done', 'failed')
"""

RESPONSES = """
insert into lanes.response (message_id, workload, lane, purpose, model, batch_id, items, input_tokens, output_tokens,
                            cache_read_tokens, cache_write_tokens, cost_usd, price_version, billed_at)
select 'msg_' || work_id || '_' || no, workload, lane, purpose, 'claude-haiku-5-5', batch_id, 1, 150 + n % 60, 30 + n % 20, 0,
       0, usd, 'genai-prices 0.2.3', ended_at
  from public.seed_try where outcome <> 'errored'
"""

ATTEMPTS = """
insert into lanes.attempt (work_id, item_id, version_id, claim_no, workload, lane, purpose, outcome, error, message_id,
                           batch_id, model, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost_usd,
                           bound_usd, shown, latency_ms, started_at, ended_at)
select work_id, n, version_id, no, workload, lane, purpose, outcome,
       case when outcome <> 'valid' then 'the answer breaks the schema at category' end,
       case when outcome <> 'errored' then 'msg_' || work_id || '_' || no end, batch_id, 'claude-haiku-5-5',
       case when outcome <> 'errored' then 150 + n % 60 else 0 end, case when outcome <> 'errored' then 30 + n % 20 else 0 end,
       0, 0, case when outcome <> 'errored' then usd else 0 end, 0, outcome = 'valid',
       case lane when 'batch' then extract(epoch from ended_at - begun_at) * 1000 else call_ms end, begun_at, ended_at
  from public.seed_try order by ended_at
"""

RESULTS = """
insert into lanes.result (id, item_id, work_id, version_id, lane, standing, generation, revision, output, message_id,
                          created_at)
overriding system value
select t.work_id, t.n, t.work_id, t.version_id, t.lane,
       case when s.provisional and t.purpose = 'answer' then 'provisional' else 'authoritative' end, 0, 0,
       jsonb_build_object('category', case when t.purpose = 'authoritative' and s.differs < 0.06 then 'b' else 'a' end),
       'msg_' || t.work_id || '_' || t.no, t.ended_at
  from public.seed_try t join public.seed s using (n) where t.outcome = 'valid' order by t.ended_at
"""

CORRECTIONS = """
insert into lanes.correction (item_id, generation, provisional_id, authoritative_id, changed_fields, distance, corrected_at)
select n, 0, n, :items + n, array['category'], 1, back_at from public.seed where confirmed and differs < 0.06
"""

READS = """
insert into lanes.read (item_id, reader, result_id, read_at)
select n, case n % 3 when 0 then 'desk' when 1 then 'mail' else 'night' end, n,
       first_at + interval '1 second' * case when n % 3 = 0 then 2 + 20 * late else 600 + 30000 * late end
  from public.seed where fate = 'answered' and is_read < 0.5 and first_at < cast(:now as timestamptz) - interval '9 hours'
"""

LABELS = """
insert into lanes.label (item_id, expected, source, labeled_at, workload)
select n, jsonb_build_object('category', case when differs < 0.1 then 'b' else 'a' end), 'team', first_at + interval '1 hour',
       workload
  from public.seed where fate = 'answered' and n % 100 = 7
"""

STEPS = {
    "drawn": SEED,
    "jobs": JOBS,
    "items": ITEMS,
    "routes": ROUTES,
    "batches drawn": SEED_BATCHES,
    "batches": BATCHES,
    "work drawn": SEED_WORK,
    "work": WORK,
    "members": MEMBERS,
    "tries drawn": SEED_TRIES,
    "responses": RESPONSES,
    "attempts": ATTEMPTS,
    "results": RESULTS,
    "corrections": CORRECTIONS,
    "reads": READS,
    "labels": LABELS,
}
NUMBERED = ("item", "work", "batch", "result", "job")


def write(connection: Connection, items: int) -> None:
    """Write a history of `items` items that ends now; the caller still has to gather statistics."""
    now = clock(connection)
    began = now - timedelta(days=DAYS, hours=1)
    versions = {
        "tickets": publish(connection, "tickets", now=began, mode="lambda", split_percent=65),
        "letters": publish(
            connection, "letters", now=began, urgent_when="payload.pages > 30", split_percent=65
        ),
        "archive": publish(connection, "archive", now=began, split_percent=0),
        "seldom": publish(connection, "seldom", now=began, split_percent=65),
    }
    publish(connection, "idle", now=began, split_percent=65)
    _write(connection, versions, items=items, now=now)


def _write(connection: Connection, versions: dict[str, Version], **given: Any) -> None:
    given |= {name: version.id for name, version in versions.items()}
    # Foreign keys need no check: the rows that the sets refer to exist.
    connection.execute(text("set local session_replication_role = replica"))
    connection.execute(text("set local maintenance_work_mem = '256MB'"))
    connection.execute(text("set local work_mem = '128MB'"))
    connection.execute(text("select setseed(0.42)"))
    with _without_indexes(connection):
        for name, statement in STEPS.items():
            wanted = {each: value for each, value in given.items() if f":{each}" in statement}
            rows = connection.execute(text(statement), wanted).rowcount
            print(f"history: {name} {rows:,}", flush=True)
    for table in NUMBERED:
        last = f"select setval('lanes.{table}_id_seq', (select max(id) from lanes.{table}))"
        connection.execute(text(last))
    connection.execute(
        text("select setval('lanes.item_position', :items)"), {"items": given["items"]}
    )
    connection.execute(
        text("drop table public.seed, public.seed_batch, public.seed_work, public.seed_try")
    )


@contextmanager
def _without_indexes(connection: Connection) -> Iterator[None]:
    """Drop the indexes that are no constraint, and build all of them at the end."""
    rows = connection.execute(
        text("""
        select i.indexrelid::regclass::text as name, pg_get_indexdef(i.indexrelid) as made
          from pg_index i join pg_class t on t.oid = i.indrelid join pg_namespace s on s.oid = t.relnamespace
         where s.nspname = 'lanes' and t.relkind = 'r' and not t.relispartition
           and not exists (select from pg_constraint c where c.conindid = i.indexrelid)
        """)
    ).all()
    for row in rows:
        connection.execute(text(f"drop index {row.name}"))
    yield
    for row in rows:
        connection.exec_driver_sql(row.made.replace("%", "%%"))
    print(f"history: {len(rows)} indexes", flush=True)

"""Statements by login: the attacks of each database role, which are outside its job, and its job."""

from lanes.store.current.files import sql_files

ANYBODY = (
    "create table lanes.mine (n int)",
    "create function lanes.mine() returns int language sql return 1",
    "create function public.mine() returns int language sql return 1",
    "create or replace view lanes.spend as select 1 as one",
    "drop view lanes.spend",
    "alter table lanes.item disable trigger all",
    "alter function lanes.submit owner to current_user",
    "alter function lanes.cancel set search_path = public",
    "truncate lanes.rejected",
    "update lanes.alembic_version set version_num = '0001'",
    "grant lanes_owner to current_user",
    "set role lanes_owner",
    "set session_replication_role = replica",
    "alter role current_user superuser",
    "copy lanes.item to program 'true'",
    "do $$ begin create temporary table mine as select * from lanes.spend with no data;"
    " create trigger book after insert on mine referencing new table as added"
    " for each statement execute function lanes.count_responses(); end $$",
)
ATTACKS = {
    "app_intake": (
        *ANYBODY,
        *(
            f"select * from lanes.{each}"
            for each in ("item", "work", "result", "response", "workload", "alembic_version")
        ),
        *(
            f"select * from lanes.{each}"
            for each in ("item_status", "current_results", "spend", "rejected_log")
        ),
        "select * from lanes.read_result('letters', 'answered', 'me')",
        "insert into lanes.item (workload, key, payload, content_hash, occurred_at, received_at, source)"
        " values ('letters', 'x', '{}', '', now(), 'infinity', 'sql')",
        "update lanes.work set rank_at = '-infinity'",
        "delete from lanes.item",
        "grant select on lanes.item to public",
        "insert into lanes.response default values",
        "select nextval('lanes.item_id_seq')",
        "select setval('lanes.item_id_seq', 1)",
        "select * from lanes.admit('[]', 'event', 'infinity')",
        "select lanes.admit_one('letters', '{}', 'x', null, null, null, false, null, null, null, 'event', 'infinity')",
        "select * from lanes.take_amendment('letters', 'answered', '{}', 'event', at => 'infinity')",
        "select lanes.apply_amendment(1, '{}', 'sql', null, 'infinity', 'infinity')",
        "select lanes.apply_waiting()",
        "select lanes.refuse('event', 'p', 'letters', 'k', 'r', 's', 'c', now())",
        "select * from lanes.screened('[]')",
        "select * from lanes.budgets_at(now())",
        "select lanes.cancel('letters', 'waits', 'infinity')",
        "select lanes.label('letters', 'answered', '{\"category\": \"a\"}', 'me', '-infinity')",
    ),
    "app_reader": (
        *ANYBODY,
        *(
            f"select * from lanes.{each}"
            for each in ("item", "work", "rejected", "response", "alembic_version")
        ),
        "select lanes.submit('letters', '{}')",
        "select * from lanes.submit_many('letters', '[]')",
        "select lanes.amend('letters', 'answered', '{}')",
        "select lanes.cancel('letters', 'waits')",
        "select lanes.label('letters', 'answered', '{}')",
        "delete from lanes.rejected_log",
        "insert into lanes.spend (message_id, cost_usd) values ('m', -123456)",
        "insert into lanes.figure_delta (at, workload, kind, n, usd) values (now(), 'letters', 'call', 1, -123456)",
        "select * from lanes.figures_since('{call}', now())",
        "select * from lanes.read_result('letters', 'answered', 'me', 'infinity')",
    ),
    "app_tenant": (
        *ANYBODY,
        "insert into lanes.tenant values ('app_tenant', 'shop')",
        "select * from lanes.read_result('twofold', 'shop item', 'me')",
        "select * from lanes.reads_to_correct('app_rival')",
        "select lanes.submit('letters', '{}')",
        "set session authorization app_rival",
        "set role app_rival",
    ),
    "app_worker": (
        *ANYBODY,
        "update lanes.work set rank_at = '-infinity'",
        "update lanes.work set ready_at = 'infinity'",
        "update lanes.item set received_at = 'infinity'",
        "update lanes.item set due_at = '-infinity'",
        'select * from lanes.admit(\'[{"workload": "letters", "key": "x", "payload": {}}]\', \'client\', \'infinity\')',
    ),
}
JOBS = {
    "app_intake": (
        "select lanes.submit('letters', '{\"text\": \"new\"}', 'new', urgent => true)",
        "select lanes.submit('letters', '{\"text\": \"other\"}', 'answered')",
        "select lanes.submit('no workload', '{}', 'new')",
        "select * from lanes.submit_item('letters', '{\"text\": \"one\"}', 'one')",
        'select * from lanes.submit_many(\'letters\', \'[{"payload": {}, "key": "many"}, {"payload": 1}]\')',
        "select lanes.amend('letters', 'waits', '{\"text\": \"more\"}')",
        "select lanes.amend('letters', 'answered', '{\"text\": \"more\"}')",
        "select lanes.amend('letters', 'not there yet', '{\"text\": \"more\"}')",
        "select lanes.label('letters', 'answered', '{\"category\": \"a\"}', 'a person')",
        "select lanes.cancel('letters', 'withdrawn')",
    ),
    "app_reader": (
        *(
            f"select * from lanes.{each.name} limit 1"
            for each in sql_files()
            if each.kind == "view"
        ),
        "select * from lanes.read_result('letters', 'answered', 'me')",
    ),
    "app_tenant": (
        "select * from lanes.own_items",
        "select * from lanes.own_result('twofold', 'desk item')",
    ),
}

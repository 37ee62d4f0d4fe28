"""Two tenants attack each other through everything that a login can read: catalogs, statistics, notifications, errors."""

from collections.abc import Iterator
from contextlib import suppress

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

pytestmark = pytest.mark.slow
OTHER = {"app_desk": ("app_shop", "shop"), "app_shop": ("app_desk", "desk")}
RELATIONS = """
select c.oid::regclass::text from pg_class c
 where c.relkind in ('r', 'v', 'm', 'p', 'f') and has_schema_privilege(c.relnamespace, 'usage')
   and has_table_privilege(c.oid, 'select')
"""
# Functions that take no argument and change nothing.
FUNCTIONS = """
select p.oid::regproc::text from pg_proc p
 where p.pronargs = 0 and p.provolatile in ('i', 's') and p.prokind = 'f' and has_function_privilege(p.oid, 'execute')
   and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype) and has_schema_privilege(p.pronamespace, 'usage')
"""
# Statistics, which could reveal the content of a table that the login may not read.
STATISTICS = """
select array(select s::text from pg_stats s where schemaname = 'lanes'
             union all select s::text from pg_stats_ext s where schemaname = 'lanes'
             union all select last_value::text from pg_sequences where schemaname = 'lanes' and last_value is not null)
"""
REFUSED = (
    "select * from pg_statistic",
    "select * from lanes.tenant",
    "select query_to_xml('select * from lanes.item', true, false, '')",
    "copy lanes.own_items to program 'cat'",
    "select pg_read_file('postgresql.conf')",
    "select pg_ls_dir('.')",
    "create publication mine for table lanes.item",
    "create view public.mine as select * from lanes.own_items",
    "create statistics mine on workload, key from lanes.item",
    "analyze verbose lanes.item; select 1 from lanes.item",
    "set session authorization app_reader",
    "set role lanes_worker",
    "select set_config('session_authorization', 'app_reader', false)",
)


@pytest.fixture(params=sorted(OTHER))
def tenant(
    request: pytest.FixtureRequest, opened: dict[str, Connection]
) -> Iterator[tuple[Connection, str]]:
    """Yield a tenant's session and the name of the other consumer, whose login has just read its own rows."""
    other, consumer = OTHER[request.param]
    own = text("select key, output from lanes.own_results where key = :key")
    opened[other].execute(own, {"key": f"{consumer} item"}).one()
    said = text("select '" + f"{consumer} item" + "', lanes.own_result('twofold', :key)")
    opened[other].execute(said, {"key": f"{consumer} item"}).all()
    yield opened[request.param], consumer
    for each in (other, request.param):
        opened[each].rollback()


def tells(said: str, other: str) -> bool:
    """Return whether a text contains part of a row of the other consumer."""
    return f"{other} item" in said or f"{other}, corrected" in said or f'": "{other}' in said


def test_no_relation_that_a_tenant_can_read_contains_data_of_another(
    tenant: tuple[Connection, str],
) -> None:
    connection, other = tenant
    names = connection.execute(text(RELATIONS)).scalars().all()
    assert len(names) > 100  # includes the catalogs
    read, found = 0, list[str]()
    for each in names:
        with suppress(DBAPIError), connection.begin_nested():  # some views are refused
            rows = connection.exec_driver_sql(f"select t::text from {each} t").scalars().all()
            read += 1
            found += [each for row in rows if tells(row or "", other)]
    assert found == []
    assert read > 100
    own = connection.execute(text("select t::text from lanes.own_items t")).scalars().all()
    assert any(
        tells(row, {"shop": "desk", "desk": "shop"}[other]) for row in own
    )  # the check would find it


def read_or_refusal(connection: Connection, query: str) -> str:
    """Return what the query tells: its rows, or the database's error."""
    try:
        with connection.begin_nested():
            return str(connection.exec_driver_sql(query).all())
    except DBAPIError as error:
        return str(error.orig)


def test_no_function_without_arguments_returns_data_of_another_tenant(
    tenant: tuple[Connection, str],
) -> None:
    connection, other = tenant
    found = list[str]()
    for each in connection.execute(text(FUNCTIONS)).scalars().all():
        if tells(read_or_refusal(connection, f"select t::text from {each}() t"), other):
            found.append(each)
    assert found == []


def test_a_tenant_sees_neither_planner_statistics_nor_sequence_values(
    tenant: tuple[Connection, str], opened: dict[str, Connection]
) -> None:
    opened["admin"].execute(text("analyze"))
    opened["admin"].commit()
    connection, _ = tenant
    assert connection.execute(text(STATISTICS)).scalar_one() == []


def test_a_tenant_does_not_see_the_queries_of_another_session(
    tenant: tuple[Connection, str],
) -> None:
    connection, other = tenant
    query = text(
        "select query from pg_stat_activity where usename = :login and datname = current_database()"
    )
    seen = connection.execute(query, {"login": f"app_{other}"}).scalars().all()
    assert set(seen) == {"<insufficient privilege>"}


@pytest.mark.parametrize("attack", REFUSED)
def test_a_tenant_is_refused_every_way_around_its_views(
    tenant: tuple[Connection, str], attack: str
) -> None:
    connection, other = tenant
    with pytest.raises(DBAPIError) as refused, connection.begin_nested():
        connection.exec_driver_sql(attack, execution_options={"no_parameters": True}).all()
    assert isinstance(refused.value.orig, InsufficientPrivilege)
    assert not tells(str(refused.value.orig), other)


@pytest.mark.parametrize("attack", ["key::int", "output ->> 0 || workload::int", "1 / length(key)"])
def test_no_error_that_a_tenant_provokes_quotes_data_of_another(
    tenant: tuple[Connection, str], attack: str
) -> None:
    connection, other = tenant
    answer = read_or_refusal(connection, f"select ({attack})::text from lanes.own_results")
    assert not tells(answer, other)
    with pytest.raises(DBAPIError) as refused, connection.begin_nested():
        connection.exec_driver_sql("select key::int from lanes.own_results").all()
    assert not tells(str(refused.value.orig), other)


def test_a_notification_has_no_payload(server: dict[str, str]) -> None:
    def session(login: str) -> psycopg.Connection:
        return psycopg.connect(server[login].replace("+psycopg", ""), autocommit=True)

    with session("app_desk") as desk, session("app_shop") as shop:
        desk.execute("listen lanes")
        shop.execute(
            "select lanes.submit('twofold', '{\"text\": \"shop\"}', 'shop heard', consumer => 'shop')"
        )
        shop.execute("select lanes.cancel('twofold', 'shop heard')")
        heard = list(desk.notifies(timeout=5, stop_after=1))
    assert {(each.channel, each.payload) for each in heard} == {("lanes", "")}


@pytest.mark.parametrize(
    "asked",
    [
        "own_items where workload = 'twofold' and key = '{} item'",
        "own_items where key between '{} i' and '{} j'",
        "own_items where entity = '{}'",
        "own_items where consumer = '{}'",
        "own_results where key = '{} item'",
        "own_corrections where key = '{} item'",
    ],
)
def test_no_query_plan_reveals_whether_a_guess_about_another_tenant_is_right(
    tenant: tuple[Connection, str], asked: str
) -> None:
    """Compare plans: their counts and estimates are those of own rows or of all rows, whatever the query asks for."""
    connection, other = tenant
    for off in ((), ("seqscan", "bitmapscan"), ("seqscan", "indexscan"), ("indexscan",)):
        for scan in ("seqscan", "bitmapscan", "indexscan"):
            connection.exec_driver_sql(
                f"set local enable_{scan} = {'off' if scan in off else 'on'}"
            )
        plans = [
            _plan(connection, f"select * from lanes.{asked.replace('{}', guess)}", guess)
            for guess in (other, "x" * len(other))
        ]
        assert plans[0] == plans[1]


def _plan(connection: Connection, asked: str, guess: str) -> list[str]:
    query = f"explain (analyze, verbose, timing off, buffers off, summary off) {asked}"
    rows = connection.exec_driver_sql(query).scalars()
    return [each.replace(guess, "") for each in rows if "Query Identifier" not in each]

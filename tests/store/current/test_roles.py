"""Each database role can do its job, with cached plans too, and is refused everything else that it tries."""

import json
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from alembic import command
from psycopg.errors import CheckViolation, InsufficientPrivilege
from sqlalchemy import Connection, DateTime, create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from lanes.cli import app
from lanes.errors import SetupError, StandError
from lanes.stand import fleet
from lanes.stand.checks import check_login
from lanes.store import asking, schema
from lanes.store.current.roles import DatabaseRole
from lanes.store.report import metrics
from lanes.store.tables import metadata
from lanes.words import Lane
from tests.conftest import NOON
from tests.examples import admit, publish, route
from tests.store.current.attacks import ATTACKS, JOBS
from tests.store.current.conftest import OWN_OF
from tests.store.current.test_migrating import later, on
from tests.store.tries import claim, save, tried

KEPT_PLANS = 200  # executions on one connection: from the sixth on, the server plans without values


@pytest.mark.parametrize(
    ("login", "attack"), [(login, each) for login, attacks in ATTACKS.items() for each in attacks]
)
def test_a_role_is_refused_statements_outside_its_job(
    opened: dict[str, Connection], login: str, attack: str
) -> None:
    with pytest.raises(DBAPIError) as refused:
        opened[login].exec_driver_sql(attack, execution_options={"no_parameters": True}).all()
    is_moment = attack.endswith(("infinity'", "infinity')")) and "select lanes.apply" not in attack
    assert isinstance(
        refused.value.orig,
        InsufficientPrivilege | CheckViolation if is_moment else InsufficientPrivilege,
    )


@pytest.mark.parametrize(
    ("login", "job"), [(login, each) for login, jobs in JOBS.items() for each in jobs]
)
def test_a_role_can_do_its_job_with_cached_plans_too(
    opened: dict[str, Connection], login: str, job: str
) -> None:
    connection = opened[login]
    for _ in range(KEPT_PLANS):
        connection.exec_driver_sql(job, execution_options={"no_parameters": True}).all()


def test_a_reader_reads_every_metric(opened: dict[str, Connection]) -> None:
    ask = asking.through(opened["app_reader"])
    assert metrics.read(ask, now=NOON)["lanes_answers_total"]
    assert metrics.examples(ask)
    assert fleet.reports(ask) == []


@pytest.mark.parametrize(("login", "other"), [("app_tenant", "shop"), ("app_rival", "desk")])
def test_a_tenant_sees_only_its_own_rows_through_every_relation_and_function(
    opened: dict[str, Connection], login: str, other: str
) -> None:
    connection, own, seen = opened[login], OWN_OF[login], dict[str, str]()
    ours = "from pg_class where relnamespace = 'lanes'::regnamespace and relkind not in ('i', 'I', 'c')"
    for each in connection.execute(text(f"select oid::regclass::text {ours}")).scalars().all():
        with suppress(ProgrammingError), connection.begin_nested():  # permission denied
            seen[each] = str(connection.execute(text(f"select t::text from {each} t")).all())
    assert seen.keys() == {f"lanes.own_{each}" for each in ("items", "results", "corrections")}
    assert {each: (own in said, other in said) for each, said in seen.items()} == dict.fromkeys(
        seen, (True, False)
    )
    callable_ = """select oid::regprocedure::text from pg_proc
                    where pronamespace = 'lanes'::regnamespace and has_function_privilege(oid, 'execute')"""
    assert set(connection.execute(text(callable_)).scalars()) == {
        "lanes.own_consumers()",
        "lanes.own_result(text,text)",
        "lanes.own_item(text,text)",
        *(
            f"lanes.own_{each}_since(timestamp with time zone)"
            for each in ("items", "results", "corrections")
        ),
    }
    assert connection.execute(text("select lanes.own_consumers()")).scalar_one() == [own]
    result = text("select output from lanes.own_result('twofold', :key)")
    assert connection.execute(result, {"key": f"{other} item"}).all() == []
    answer = connection.execute(result, {"key": f"{own} item"}).scalar_one()
    assert answer == {"category": f"{own}, corrected"}


@pytest.mark.parametrize(("login", "other"), [("app_tenant", "shop"), ("app_rival", "desk")])
def test_the_functions_for_one_item_and_for_new_rows_agree_with_a_tenants_views(
    opened: dict[str, Connection], login: str, other: str
) -> None:
    connection, own = opened[login], OWN_OF[login]

    def told(source: str) -> list[str]:
        found = connection.execute(text(f"select t::text from lanes.{source} t order by 1"))
        return [*found.scalars()]

    for each in ("items", "results", "corrections"):
        assert told(f"own_{each}_since('-infinity')") == told(f"own_{each}") != []
        assert told(f"own_{each}_since('infinity')") == []
    assert told(f"own_item('twofold', '{own} item')") == told("own_items")
    assert told(f"own_item('twofold', '{other} item')") == []


def test_a_condition_of_a_tenant_is_never_evaluated_on_rows_of_others(
    opened: dict[str, Connection],
) -> None:
    for view, column in (("own_items", "key"), ("own_results", "output ->> 'category'")):
        for login, other in (("app_tenant", "shop"), ("app_rival", "desk")):
            fails_on_all = text(f"select 1 from lanes.{view} where ({column})::int > 0")
            with pytest.raises(DBAPIError) as refused:
                opened[login].execute(fails_on_all)
            assert other not in str(refused.value.orig)
            opened[login].rollback()


def test_the_command_binds_a_login_to_consumers(
    server: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LANES_DATABASE_URL", server["admin"])
    keys = "select key from lanes.own_items order by 1"
    for bound, seen in (("app_rival=", []), ("app_rival=shop", [("shop item",)])):
        assert app(["roles", "--tenant", bound]) == 0
        with psycopg.connect(server["app_rival"].replace("+psycopg", "")) as rival:
            assert rival.execute(keys).fetchall() == seen
    assert app(["roles", "--tenant", "nobody=shop"]) == 1
    assert 'there is no login "nobody"' in capsys.readouterr().err
    assert app(["roles", "--tenant", "app_rival"]) == 2
    assert "write LOGIN=CONSUMER" in capsys.readouterr().err


@pytest.mark.slow
def test_a_worker_can_answer_items_and_start_when_no_migration_is_pending(
    opened: dict[str, Connection], server: dict[str, str]
) -> None:
    connection = opened["app_worker"]
    publish(connection, "bills", now=NOON)
    for number in range(30):
        admit(connection, f"w{number}", workload="bills", now=NOON, lane=Lane.REALTIME)
        route(connection, now=NOON)
        save(connection, *(tried(each) for each in claim(connection) if each.key == f"w{number}"))
    done = text(
        "select count(*), count(*) filter (where state = 'settled') from lanes.item_status where workload = 'bills'"
    )
    assert tuple(connection.execute(done).one()) == (30, 30)
    connection.rollback()
    schema.upgrade(server["app_worker"])  # no migration is pending, so none runs


def test_a_worker_with_pending_migrations_gets_an_error_that_names_the_schema_owner(
    server: dict[str, str], opened: dict[str, Connection]
) -> None:
    admin = opened["admin"]
    (newest,) = admin.execute(
        text("delete from lanes.alembic_version returning version_num")
    ).scalars()
    admin.commit()
    try:
        with pytest.raises(
            SetupError,
            match="user app_worker may not change schema lanes, which belongs to lanes_owner",
        ):
            schema.upgrade(server["app_worker"])
    finally:
        admin.execute(
            text("insert into lanes.alembic_version values (:newest)"), {"newest": newest}
        )
        admin.commit()


def test_a_door_joins_its_callers_transaction(opened: dict[str, Connection]) -> None:
    sender, reader = opened["app_intake"], opened["app_reader"]
    counted = text("select count(*) from lanes.item_status where key = 'undone'")
    for _ in range(2):
        sender.execute(text("select lanes.submit('letters', '{\"text\": \"undone\"}', 'undone')"))
        sender.rollback()
        assert reader.execute(counted).scalar_one() == 0
        reader.rollback()
    with sender.begin_nested() as part:
        assert (
            sender.execute(text("select lanes.submit('letters', '{}', 'undone')")).scalar_one()
            == "accepted"
        )
        part.rollback()
    assert (
        sender.execute(text("select lanes.submit('letters', '{\"n\": 1}', 'undone')")).scalar_one()
        == "accepted"
    )
    sender.rollback()


def test_a_login_without_a_role_may_not_connect(server: dict[str, str]) -> None:
    engine = create_engine(server["app_stranger"])
    with pytest.raises(OperationalError, match="permission denied for database"):
        engine.connect()


def test_the_former_owner_can_still_upgrade_and_a_second_role_setup_changes_nothing(
    server: dict[str, str],
) -> None:
    rights = """
        select 'function', oid::regprocedure::text, proacl::text, proowner::regrole::text from pg_proc
         where pronamespace = 'lanes'::regnamespace
        union all select 'relation', oid::regclass::text, relacl::text, relowner::regrole::text from pg_class
         where relnamespace = 'lanes'::regnamespace
        union all select 'schema', nspname, nspacl::text, nspowner::regrole::text from pg_namespace where nspname = 'lanes'
         order by 1, 2"""
    with psycopg.connect(server["admin"].replace("+psycopg", "")) as connection:
        before = connection.execute(rights).fetchall()
    assert {row[3] for row in before} == {"lanes_owner"}
    schema.upgrade(server["before"])
    assert schema.set_up_roles(server["admin"], shared=True) == []
    with psycopg.connect(server["admin"].replace("+psycopg", "")) as connection:
        assert connection.execute(rights).fetchall() == before


def test_a_later_migration_keeps_owners_and_rights(
    opened: dict[str, Connection], tmp_path: Path
) -> None:
    connection = opened["app_owner"]
    rights = text("""
        select proname, proowner::regrole::text, proacl::text from pg_proc
         where pronamespace = 'lanes'::regnamespace and proname in ('cancel', 'count_items')
        union all select relname, relowner::regrole::text, relacl::text from pg_class
         where relnamespace = 'lanes'::regnamespace and relname = 'spend' order by 1""")
    before = {
        (row[0], row[1], *sorted(row[2].strip("{}").split(",")))
        for row in connection.execute(rights)
    }
    done = (
        "op.execute('drop view lanes.spend'); op.execute('drop function lanes.cancel');"
        " op.execute('create table lanes.more (id bigint generated always as identity)')"
    )
    command.upgrade(on(connection, later(tmp_path, done=done)), "head")
    assert {
        (row[0], row[1], *sorted(row[2].strip("{}").split(",")))
        for row in connection.execute(rights)
    } == before
    owner = """select relowner::regrole::text, has_table_privilege('lanes_worker', oid, 'insert')
                 from pg_class where relname = 'more'"""
    assert tuple(connection.execute(text(owner)).one()) == ("lanes_owner", True)
    connection.rollback()


def test_public_has_no_rights(opened: dict[str, Connection]) -> None:
    """Check also that the owner of a database of the stand is no superuser."""
    found = (
        opened["admin"]
        .execute(
            text("""
        select oid::regprocedure::text from pg_proc
         where pronamespace = 'lanes'::regnamespace and has_function_privilege('public', oid, 'execute')
        union all select oid::regclass::text from pg_class
         where relnamespace = 'lanes'::regnamespace and relkind in ('r', 'p', 'v')
           and has_table_privilege('public', oid, 'select, insert, update, delete, truncate, references, trigger')
        union all select rolname from pg_roles where rolname in ('lanes_stand', 'lanes_owner') and (rolsuper or rolbypassrls)
    """)
        )
        .scalars()
    )
    assert list(found) == []


def test_every_time_column_of_every_table_is_constrained_to_be_finite(
    connection: Connection,
) -> None:
    """Check the constraints `ck_<table>_finite`: a migration that adds a time column creates its constraint again.

    Of an item, only the times of its admission are constrained: each door inserts items with its own statement.
    """
    in_force = text("""
        select conrelid::regclass::text, regexp_count(pg_get_constraintdef(oid), 'isfinite') from pg_constraint
         where connamespace = 'lanes'::regnamespace and conname like 'ck\\_%\\_finite' and coninhcount = 0
    """)
    wanted = {
        table.fullname: count
        for table in metadata.tables.values()
        if (count := sum(isinstance(each.type, DateTime) for each in table.columns))
    }
    wanted["lanes.item"] = len(("as_of", "due_at", "occurred_at", "received_at"))
    assert {row[0]: row[1] for row in connection.execute(in_force)} == wanted


def test_the_command_sets_up_the_roles_and_reports_who_may_connect(
    server: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LANES_DATABASE_URL", server["admin"])
    assert app(["roles", "--tenant", "app_worker="]) == 0
    assert capsys.readouterr().out == (
        "roles all there: lanes_intake, lanes_reader, lanes_tenant, lanes_worker, lanes_owner\n"
        "database: only their members may connect\napp_worker is bound to no consumer\n"
    )
    assert app(["roles", "--shared", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "roles": list(DatabaseRole),
        "created": [],
        "shared": True,
    }


def test_the_command_fails_for_a_worker_and_names_who_may_set_up_roles(
    server: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LANES_DATABASE_URL", server["app_worker"])
    assert app(["roles"]) == 1
    told = capsys.readouterr().err
    assert "user app_worker may not set up the roles" in told
    assert "a user with CREATEROLE that owns the database and schema lanes" in told


def test_the_login_check_returns_the_user_and_reports_missing_rights(
    server: dict[str, str],
) -> None:
    assert check_login(server["app_worker"]) == "app_worker"
    with pytest.raises(
        StandError,
        match=r"runs connect to the database as app_reader, .* which may not change work",
    ):
        check_login(server["app_reader"])
    with pytest.raises(
        StandError, match=r"runs cannot use the address of the block .*permission denied"
    ):
        check_login(server["app_stranger"])

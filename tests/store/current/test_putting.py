"""Files of migrations/schema/current/ can be read alone and in order; upgrades put them in force where the database differs."""

from collections.abc import Callable
from dataclasses import replace
from graphlib import CycleError
from pathlib import PurePath

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from lanes.errors import SetupError
from lanes.store.current.files import SqlFile, fingerprint, in_order, read, sql_files
from lanes.store.current.in_force import differences, objects, put_in_force
from lanes.store.tables import metadata

AMEND_OF_0004 = """
    create function lanes.amend(workload text, key text, payload jsonb) returns text language sql
    begin atomic select outcome from lanes.take_amendment(workload, key, payload, 'sql'); end
"""
PURPOSE = "comment on column lanes.spend.purpose is 'answer, authoritative, shadow (only measures), replay or golden';\n"
A_COLUMN_LESS = [("lane, purpose,", "lane,"), (PURPOSE, "")]
A = read("a", "create or replace view lanes.a as select 1 as one;\n")


def edited(file: str, *edits: tuple[str, str]) -> list[SqlFile]:
    """Return the files with one of them changed."""
    (piece,) = (each for each in sql_files() if each.file == file)
    sql = piece.sql
    for before, after in edits:
        assert before in sql
        sql = sql.replace(before, after)
    return in_order([replace(each, sql=sql) if each == piece else each for each in sql_files()])


def oids(connection: Connection) -> dict[str, int]:
    return {each.identity: each.oid for each in objects(connection)}


def columns(connection: Connection, view: str) -> list[str]:
    return list(connection.execute(text(f"select * from lanes.{view}")).keys())


def test_the_migrations_produce_the_same_objects_as_the_files_and_the_tables_of_the_code(
    connection: Connection,
) -> None:
    migrated = objects(connection)
    connection.execute(text("drop schema lanes cascade"))
    connection.execute(text("create schema lanes"))
    metadata.create_all(connection)
    assert set(put_in_force(connection, sql_files())) == {piece.file for piece in sql_files()}
    assert objects(connection) == migrated
    assert {piece.kind for piece in sql_files()} == {"function", "view", "type", "trigger"}


@pytest.mark.slow
def test_nothing_differs_in_a_new_database(connection: Connection) -> None:
    before = oids(connection)
    assert differences(connection, sql_files()) == []
    assert put_in_force(connection, sql_files()) == []
    assert oids(connection) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("done", "file"),
    [
        ("drop view lanes.spend", "money/spend"),
        ("comment on view lanes.spend is 'Money'", "money/spend"),
        (
            "create or replace view lanes.rejected_log as select workload, source, place as position, reason, content,"
            " rejected_at, detail, key, times from lanes.rejected where key <> ''",
            "doors/rejected_log",
        ),
        ("drop function lanes.apply_waiting", "doors/apply_waiting"),
        ("alter function lanes.is_a_moment strict", "doors/is_a_moment"),
        ("drop trigger bound_refusal on lanes.rejected", "doors/rejected_bound_refusal"),
        (
            "create or replace trigger bound_refusal after insert on lanes.rejected"
            " for each row execute function lanes.bound_refusal()",
            "doors/rejected_bound_refusal",
        ),
        ("alter type lanes.screened_input drop attribute detail", "doors/screened_input"),
        (AMEND_OF_0004, "doors/amend"),
    ],
)
def test_only_the_object_that_differs_is_put_in_force(
    connection: Connection, done: str, file: str
) -> None:
    before = objects(connection)
    connection.execute(text(done))
    (said,) = differences(connection, sql_files())
    assert f" is not as {file}.sql says" in said
    assert put_in_force(connection, sql_files()) == [file]
    assert objects(connection) == before


def test_a_view_that_gains_a_last_column_is_replaced_in_place(connection: Connection) -> None:
    before = oids(connection)
    said = edited("money/spend", ("inference_geo, speed", "inference_geo, speed, 1 as one"))
    assert put_in_force(connection, said) == ["money/spend"]
    assert oids(connection) == before
    assert columns(connection, "spend")[-1] == "one"


@pytest.mark.slow
def test_a_view_that_loses_a_column_is_created_again(connection: Connection) -> None:
    assert put_in_force(connection, edited("money/spend", *A_COLUMN_LESS)) == ["money/spend"]
    assert "purpose" not in columns(connection, "spend")


@pytest.mark.slow
def test_a_dependent_object_is_created_again_with_the_object_that_it_uses(
    connection: Connection,
) -> None:
    said = edited("doors/take_amendment", ("place text default null", "place varchar default null"))
    assert put_in_force(connection, said) == ["doors/take_amendment", "doors/amend"]
    assert differences(connection, said) == []


@pytest.mark.slow
def test_a_column_comment_follows_its_file_and_a_foreign_one_stays_if_the_file_has_none(
    connection: Connection,
) -> None:
    silent = (PURPOSE, "")
    connection.execute(text("comment on column lanes.spend.purpose is 'Mine'"))
    assert put_in_force(connection, edited("money/spend", silent)) == []
    items = ("'How many items shared the call'", "'Ours'")
    assert put_in_force(connection, edited("money/spend", silent, items)) == ["money/spend"]
    remarks = "select description from pg_description where objoid = 'lanes.spend'::regclass and objsubid > 0"
    assert {"Mine", "Ours"} < set(connection.execute(text(remarks)).scalars())
    assert put_in_force(connection, sql_files()) == ["money/spend"]
    assert {"Mine", "Ours"}.isdisjoint(connection.execute(text(remarks)).scalars())


def own_view(connection: Connection) -> None:
    connection.execute(text("create schema reports"))
    connection.execute(text("create view reports.mine as select purpose from lanes.spend"))


def own_view_over_it(connection: Connection) -> None:
    own_view(connection)
    connection.execute(text("create view reports.further as select purpose from reports.mine"))


def own_function(connection: Connection) -> None:
    connection.execute(text("create schema reports"))
    connection.execute(
        text("create function reports.mine(of lanes.spend) returns text language sql return 'x'")
    )


@pytest.mark.slow
@pytest.mark.parametrize("theirs", [own_view, own_view_over_it, own_function])
def test_a_foreign_view_or_function_is_never_dropped(
    connection: Connection, theirs: Callable[[Connection], None]
) -> None:
    theirs(connection)
    before = objects(connection)
    with pytest.raises(
        SetupError, match=r"reports\.\S+ uses view lanes.spend, which this upgrade creates again"
    ):
        put_in_force(connection, edited("money/spend", *A_COLUMN_LESS))
    assert objects(connection) == before


@pytest.mark.slow
def test_a_foreign_view_in_our_schema_stays_and_is_reported(connection: Connection) -> None:
    connection.execute(text("create view lanes.mine as select 1 as one"))
    assert put_in_force(connection, sql_files()) == []
    assert differences(connection, sql_files()) == ["view lanes.mine has no file"]


@pytest.mark.slow
def test_an_open_reader_transaction_blocks_only_the_replacement_of_a_view_that_it_read(
    pool: Engine,
) -> None:
    with pool.connect() as reader, pool.begin() as connection:
        reader.execute(text("select * from lanes.spend, lanes.read_result('letters', 'k', 'ada')"))
        connection.execute(text("set local lock_timeout = '1s'"))
        assert put_in_force(connection, sql_files()) == []
        said = edited("routing/route_log", ("v.number as version", "v.number as version, 1 as one"))
        assert put_in_force(connection, said) == ["routing/route_log"]
        assert "settling/read_result" in put_in_force(
            connection, edited("settling/read_result", ("'unknown'", "'nobody'"))
        )
        with pytest.raises(OperationalError, match="lock timeout"):
            put_in_force(
                connection,
                edited("money/spend", ("inference_geo, speed", "inference_geo, speed, 1 as one")),
            )


@pytest.mark.slow
def test_a_new_function_is_created_before_the_view_that_uses_it(connection: Connection) -> None:
    one = read(
        "doors/one",
        "create or replace function lanes.one() returns int language sql begin atomic select 1; end;\n",
    )
    said = in_order(
        [
            one,
            *edited(
                "money/spend",
                ("price_version, billed_at", "price_version, billed_at, lanes.one() as one"),
            ),
        ]
    )
    assert put_in_force(connection, said) == ["doors/one", "money/spend"]


def test_a_view_over_all_columns_of_another_view_gains_its_new_column(
    connection: Connection,
) -> None:
    one = read("doors/one", "create or replace view lanes.one as select 1 as a;\n")
    whole = read("doors/whole", "create or replace view lanes.whole as select * from lanes.one;\n")
    assert put_in_force(connection, [one, whole]) == ["doors/one", "doors/whole"]
    wider = replace(one, sql=one.sql.replace("1 as a", "1 as a, 2 as b"))
    assert put_in_force(connection, [wider, whole]) == ["doors/one", "doors/whole"]
    assert columns(connection, "whole") == ["a", "b"]


def test_a_file_has_the_name_of_the_object_that_it_defines() -> None:
    assert [PurePath(piece.file).name for piece in sql_files()] == [
        piece.name for piece in sql_files()
    ]


@pytest.mark.parametrize(
    "sql", ["select 1;\n", A.sql + "create or replace view lanes.b as select 1 as one;\n"]
)
def test_a_file_defines_one_object(sql: str) -> None:
    with pytest.raises(
        ValueError, match=r"a\.sql defines (0|2) functions, views, types or triggers"
    ):
        read("a", sql)


def test_each_file_comes_after_the_files_that_it_uses() -> None:
    b = read(
        "b",
        "create or replace function lanes.b() returns int language sql return (select one from lanes.c);\n",
    )
    c = read(
        "c", "-- As lanes.b sees it.\ncreate or replace view lanes.c as select one from lanes.a;\n"
    )
    assert in_order([b, c, A]) == in_order([A, c, b]) == [A, c, b]


def test_two_files_that_use_each_other_raise_a_cycle_error() -> None:
    b = read("b", "create or replace view lanes.b as select one from lanes.a;\n")
    with pytest.raises(CycleError):
        in_order(
            [replace(A, sql="create or replace view lanes.a as select one from lanes.b;\n"), b]
        )


def test_the_fingerprint_changes_with_definitions_and_not_with_comments() -> None:
    commented = replace(A, sql=f"-- One.\n{A.sql}\ncomment on view lanes.a is 'One';\n")
    assert fingerprint([commented]) == fingerprint([A])
    assert fingerprint([replace(A, sql=A.sql.replace("1", "2"))]) != fingerprint([A])


def test_comments_above_a_definition_become_comments_of_the_object_and_its_columns() -> None:
    said = read(
        "a", f"-- For readers.\n--- What it\n--- is.\n---   one: One's\n---     number\n{A.sql}"
    )
    assert said.sql.endswith(
        f"{A.sql}comment on view lanes.a is 'What it is.';\n"
        "comment on column lanes.a.one is 'One''s number';\n"
    )
    assert said.definition == A.definition

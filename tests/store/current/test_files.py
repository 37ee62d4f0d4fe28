"""The files of migrations/schema/current/ can be read alone, and in order."""

from dataclasses import replace
from graphlib import CycleError
from pathlib import PurePath

import pytest

from lanes.store.current.files import fingerprint, in_order, read, sql_files

A = read("a", "create or replace view lanes.a as select 1 as one;\n")


def test_a_file_is_called_as_what_it_defines() -> None:
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


def test_each_stands_after_those_that_it_uses() -> None:
    b = read(
        "b",
        "create or replace function lanes.b() returns int language sql return (select one from lanes.c);\n",
    )
    c = read(
        "c", "-- As lanes.b sees it.\ncreate or replace view lanes.c as select one from lanes.a;\n"
    )
    assert in_order([b, c, A]) == in_order([A, c, b]) == [A, c, b]


def test_two_that_use_each_other_are_in_no_order() -> None:
    b = read("b", "create or replace view lanes.b as select one from lanes.a;\n")
    with pytest.raises(CycleError):
        in_order(
            [replace(A, sql="create or replace view lanes.a as select one from lanes.b;\n"), b]
        )


def test_the_fingerprint_changes_with_definitions_and_not_with_comments() -> None:
    commented = replace(A, sql=f"-- One.\n{A.sql}\ncomment on view lanes.a is 'One';\n")
    assert fingerprint([commented]) == fingerprint([A])
    assert fingerprint([replace(A, sql=A.sql.replace("1", "2"))]) != fingerprint([A])


def test_the_comments_of_an_object_and_its_columns_stand_before_it() -> None:
    said = read(
        "a", f"-- For readers.\n--- What it\n--- is.\n---   one: One's\n---     number\n{A.sql}"
    )
    assert said.sql.endswith(
        f"{A.sql}comment on view lanes.a is 'What it is.';\n"
        "comment on column lanes.a.one is 'One''s number';\n"
    )
    assert said.definition == A.definition

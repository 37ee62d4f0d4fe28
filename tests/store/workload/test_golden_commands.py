"""`lanes golden`, and `lanes publish` with a golden set: stored items, refusals and output."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from lanes.commands.labels import golden
from lanes.commands.options import Columns
from lanes.commands.publish import publish
from lanes.store.database import clock
from lanes.store.workload import golden as golden_sets
from tests.examples import SCHEMA
from tests.prefect_standin import PrefectStandIn
from tests.store.tries import A, rows
from tests.store.workload.test_golden import KEYS, answer
from tests.store.workload.test_publish_commands import (
    Told,
    a_file,
    data,
    in_force,
    in_this_process,
    prefect,
    stands,
)

__all__ = ["in_this_process", "prefect"]


@pytest.fixture
def published(pool: Engine, prefect: PrefectStandIn) -> PrefectStandIn:
    """Put the workload in force with a matching block."""
    stands(pool, prefect)
    return prefect


def a_set(*lines: Any) -> str:
    file = Path("golden.jsonl")
    every = lines or [{"key": key, "payload": {"text": key}, "label": A} for key in KEYS]
    file.write_text("\n".join(map(json.dumps, every)))
    return str(file)


@pytest.mark.usefixtures("published")
def test_lines_are_added_refused_listed_and_removed(capsys: Told) -> None:
    file = a_set(
        {"key": "a", "payload": {"text": "one"}, "label": A},
        {"key": "b", "payload": {"text": "two"}, "label": {"category": "z"}},
        {"key": "c", "payload": {"text": "three"}},
    )
    assert golden("add", file, workload="letters") == 1
    told = capsys.readouterr()
    assert told.out == "1 added, 1 label_mismatch, 1 no_label\n"
    assert "golden.jsonl:3: no_label: " in told.err
    assert "golden.jsonl:2: label_mismatch: its label breaks the schema at category" in told.err
    assert golden("list", workload="letters", as_json=True) == 0
    (kept,) = data(capsys)["items"]
    assert (kept["key"], kept["expected"]) == ("a", A)
    assert golden("remove", "a", "b", workload="letters") == 1
    told = capsys.readouterr()
    assert told.out == "letters: 1 golden item removed\n"
    assert told.err == '"b" is not in the golden set\n'


@pytest.mark.usefixtures("published")
def test_golden_items_are_read_from_the_named_columns_of_a_csv_file(capsys: Told) -> None:
    Path("golden.csv").write_text("id,text,category\n1,one,a\n2,two,b\n")
    columns = Columns(field="text", label="category", key="id")
    assert golden("add", "golden.csv", workload="letters", columns=columns) == 0
    assert capsys.readouterr().out == "2 added\n"
    assert golden("list", workload="letters") == 0
    told = capsys.readouterr().out
    assert "Golden set of letters: 2 items" in told
    assert '{"category": "a"}' in told


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    ("do", "what", "workload"),
    [
        ("add", (), "letters"),
        ("add", ("none.jsonl",), "letters"),
        ("remove", (), "letters"),
        ("list", ("a",), "letters"),
        ("list", (), "parcels"),
    ],
)
def test_missing_unknown_or_superfluous_arguments_are_wrong_usage(
    do: Any, what: tuple[str, ...], workload: str
) -> None:
    assert golden(do, *what, workload=workload) == 2


@pytest.mark.usefixtures("published")
def test_publish_refuses_a_golden_lane_for_a_workload_without_a_golden_set(capsys: Told) -> None:
    assert publish(a_file(patience_s=5), yes=True, golden="realtime") == 2
    assert 'workload "letters" has no golden set; `lanes golden add FILE' in capsys.readouterr().err
    assert publish(a_file(patience_s=5), yes=True, golden="batch", force=True) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_publish_shows_the_candidate_its_replacement_and_its_score(
    pool: Engine, published: PrefectStandIn, capsys: Told
) -> None:
    golden("add", a_set(), workload="letters")
    assert publish(a_file(patience_s=5), yes=True) == 0
    candidate = "version 2 is a candidate: 0 of 12 golden items answered by the batch lane"
    assert f"letters: {candidate}" in capsys.readouterr().out
    assert publish(a_file(patience_s=7), yes=True, as_json=True) == 0
    told = data(capsys)
    assert (told["outcome"], told["version"]) == ("candidate", 1)
    assert "version 3 is a candidate" in told["golden"][0]
    assert publish(a_file(patience_s=9)) == 1
    assert "version 3, a candidate, is replaced by it" in capsys.readouterr().out
    with pool.begin() as connection:
        now = clock(connection)
        answer(connection, 1, *KEYS, now=now)
        answer(connection, 3, now=now)
        golden_sets.decide(connection, now=now)
    assert publish(a_file(patience_s=7), yes=True) == 1
    told = capsys.readouterr()
    assert "version 3 is surely worse than version 1 and stays out of force" in told.out
    assert "its version is not in force: version 3 is surely worse" in told.err
    assert publish(a_file(patience_s=7), yes=True, force=True) == 0
    assert in_force(pool).spec.patience_s == 7


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_a_first_version_is_published_with_its_golden_set(
    pool: Engine, prefect: PrefectStandIn, capsys: Told
) -> None:
    given = Path(a_set())
    assert publish(a_file(), golden_set=given, yes=True) == 0
    assert (
        "letters: version 1 is a candidate: 0 of 12 golden items answered by the batch lane"
        in capsys.readouterr().out
    )
    assert in_force(pool) is None
    assert publish(a_file(), golden_set=given, yes=True, as_json=True) == 0
    told = data(capsys)
    assert (told["outcome"], told["version"]) == ("candidate", None)
    with pool.begin() as connection:
        now = clock(connection)
        answer(connection, 1, *KEYS, now=now)
        golden_sets.decide(connection, now=now)
    assert in_force(pool).number == 1
    assert publish(a_file(), golden_set=given) == 0
    told = capsys.readouterr()
    assert (
        "version 1 answered 12 of 12 golden items right (99 % bounds of its accuracy: " in told.out
    )
    assert "golden.jsonl was not added: `lanes golden add` does that" in told.err


@pytest.mark.usefixtures("in_this_process")
def test_a_golden_set_that_does_not_fit_the_first_version_changes_nothing(
    pool: Engine, prefect: PrefectStandIn, capsys: Told
) -> None:
    file = a_set(
        {"key": "a", "payload": {"text": "one"}, "label": A},
        {"key": "b", "payload": {"text": "two"}, "label": {"category": "z"}},
    )
    assert publish(a_file(), golden_set=Path(file), yes=True) == 1
    told = capsys.readouterr().err
    assert "golden.jsonl:2: label_mismatch: its label breaks the schema at category" in told
    assert "nothing was changed" in told
    assert prefect.blocks == {}
    with pool.begin() as connection:
        assert rows(connection, "workload") == rows(connection, "item") == []


@pytest.mark.parametrize(
    "more", [{"force": True}, {"canary": "new-version"}, {"golden_set": Path("none.jsonl")}]
)
def test_a_golden_set_with_force_a_canary_or_a_missing_file_is_wrong_usage(
    pool: Engine, prefect: PrefectStandIn, more: dict[str, Any]
) -> None:
    assert publish(a_file(), yes=True, **{"golden_set": Path(a_set()), **more}) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_a_schema_that_the_golden_set_does_not_fit_is_saved_only_with_force(
    pool: Engine, published: PrefectStandIn, capsys: Told
) -> None:
    golden("add", a_set(), workload="letters")
    turned = {**SCHEMA, "properties": {"category": {"type": "string", "enum": ["b", "c"]}}}
    assert publish(a_file(output_schema=turned), yes=True) == 1
    told = capsys.readouterr().err
    assert 'golden item "g00": its label breaks the schema at category' in told
    assert "and 7 more golden items do not fit" in told
    assert published.blocks["letters"]["output_schema"] == SCHEMA
    assert publish(a_file(output_schema=turned), yes=True, force=True) == 0
    assert in_force(pool).number == 2

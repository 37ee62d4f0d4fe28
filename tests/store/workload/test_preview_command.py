"""`lanes preview` of one item from any file, for a published workload or a workload file; the command writes nothing."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from lanes.cli import app
from lanes.commands.options import Columns
from lanes.commands.preview import preview
from lanes.routing.split import Split
from lanes.store.doors import items
from lanes.store.workload import workloads
from lanes.workload.definition_file import render_definition
from tests.conftest import NOON
from tests.examples import publish as put_in_force
from tests.examples import spec, submission
from tests.store.tries import rows

Told = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def letters(pool: Engine) -> None:
    with pool.begin() as connection:
        put_in_force(
            connection, now=NOON, urgent_when='payload.text.contains("now")', split_percent=50
        )


def a_file(name: str, content: str) -> Path:
    Path(name).write_text(content)
    return Path(name)


def told(capsys: Told) -> Any:
    return json.loads(capsys.readouterr().out)


CSV = "text,category\nWhere is it?,a\nAnswer me now,b\n,b\n"


@pytest.mark.usefixtures("letters")
def test_a_line_of_a_file_is_shown_as_submit_would_send_it(capsys: Told) -> None:
    file = a_file("rows.csv", CSV)
    assert (
        preview(
            "letters",
            item=file,
            line=3,
            as_json=True,
            columns=Columns(field="text", label="category"),
        )
        == 0
    )
    said = told(capsys)
    assert (said["version"], said["place"], said["payload"], said["expected"]) == (
        1,
        "rows.csv:3",
        {"text": "Answer me now"},
        {"category": "b"},
    )
    assert (said["route"]["lane"], said["route"]["reason"]) == ("realtime", "urgent_rule")
    assert said["lanes"]["realtime"]["request"]["messages"] == [
        {"role": "user", "content": "Answer me now"}
    ]
    assert (
        preview("letters", item=file, as_json=True, columns=Columns(field="text", lane="batch"))
        == 0
    )
    said = told(capsys)
    assert (said["place"], said["route"]["reason"]) == ("rows.csv:2", "pinned")


@pytest.mark.usefixtures("letters")
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("item.json", '{\n "text": "Hello"\n}\n'),
        ("item.json", '\ufeff{"payload": {"text": "Hello"}, "key": "k"}'),
        ("items.jsonl", '\n{"text": "Hello"}\n{"text": "again"}\n'),
        ("-", '{"text": "Hello"}\n'),
    ],
)
def test_an_item_is_plain_json_or_an_event_payload(
    name: str, content: str, monkeypatch: pytest.MonkeyPatch, capsys: Told
) -> None:
    if name == "-":
        monkeypatch.setattr(sys, "stdin", io.StringIO(content))
    else:
        a_file(name, content)
    assert app(["preview", "letters", "--item", name, "--json"]) == 0
    said = told(capsys)
    assert (said["payload"], said["key"]) == ({"text": "Hello"}, "k" if "key" in content else None)


@pytest.mark.usefixtures("letters")
def test_preview_prints_the_route_the_estimates_and_the_exact_request(capsys: Told) -> None:
    assert preview("letters", item=a_file("item.json", '{"text": "Answer me now"}')) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "One item of letters (version 1), from item.json:1. Nothing is sent.",
        'It would go to real-time (urgent rule): urgent_when holds: payload.text.contains("now")',
    ]
    shown = [" ".join(line.split()) for line in lines]
    assert "Estimates real-time batch" in shown
    assert "Price about $0.0000454 about $0.0000227" in shown
    start, end = (
        lines.index("The real-time request:"),
        lines.index("The batch request is the same."),
    )
    request = json.loads("\n".join(lines[start + 1 : end]))
    assert (request["system"], request["max_tokens"]) == ("Sort the letter.", 300)


def test_a_workload_file_is_previewed_as_it_would_be_published(pool: Engine, capsys: Told) -> None:
    schema = {
        "type": "object",
        "properties": {"reasoning": {"type": "string"}, "kind": {"type": "string"}},
    }
    a_file(
        "own.yaml",
        render_definition("letters", spec(output_schema=schema, split_percent=100), heading=[]),
    )
    item = a_file("item.json", '{"text": "Hello"}')
    assert preview("own.yaml", item=item, as_json=True) == 0
    said = told(capsys)
    assert (said["workload"], said["version"], said["route"]["lane"]) == (
        "letters",
        None,
        "realtime",
    )
    wire = said["lanes"]["realtime"]["request"]["output_config"]["format"]["schema"]["properties"]
    assert list(wire) == ["kind", "reasoning"]  # in the key order of the database
    with pool.begin() as connection:
        # The split in force counts, not the first split in the file.
        put_in_force(connection, now=NOON)
        workloads.set_split(connection, Split("letters", None, 0), who="ada", why="trial", now=NOON)
    assert preview("./own.yaml", item=item) == 0
    assert capsys.readouterr().out.startswith(
        "One item of letters (as its file says), from item.json:1. Nothing is sent.\nIt "
        "would go to batch (split)"
    )


def test_notes_report_refusal_departure_packing_history_and_a_missing_key(
    pool: Engine, capsys: Told
) -> None:
    with pool.begin() as connection:
        put_in_force(
            connection,
            now=NOON,
            batch_pack=10,
            history_items=3,
            max_payload_kib=1,
            split_percent=50,
        )
        items.admit(
            connection, [submission("e", entity="c-1", occurred_at=NOON)], door="client", now=NOON
        )
    big = json.dumps({"payload": {"text": "x" * 2000}, "lane": "batch", "entity": "c-1"})
    assert preview("letters", item=a_file("item.json", big)) == 0
    said = capsys.readouterr().out
    assert "Note: the door would refuse it: 2,012 bytes, and max_payload_kib takes 1 KiB\n" in said
    assert "Note: its batch leaves on " in said
    assert (
        "Note: on the batch lane up to 10 items share a request, each within <item>; below it is alone\n"
        in said
    )
    assert (
        "Note: a batch also sees 1 earlier item of its entity, which its estimates count\n" in said
    )
    assert preview("letters", item=a_file("item.json", '{"text": "x"}')) == 0
    assert (
        "Note: it has no key: which side of the split it falls on is known only once it is sent\n"
        in capsys.readouterr().out
    )


@pytest.mark.usefixtures("letters")
def test_preview_writes_nothing(pool: Engine, capsys: Told) -> None:
    with pool.connect() as connection:
        before = [
            rows(connection, table)
            for table in ("item", "route_log", "split", "version", "rejected_log")
        ]
    preview("letters", item=a_file("rows.csv", CSV), columns=Columns(field="text"))
    with pool.connect() as connection:
        assert [
            rows(connection, table)
            for table in ("item", "route_log", "split", "version", "rejected_log")
        ] == before


@pytest.mark.usefixtures("letters")
@pytest.mark.parametrize(
    ("workload", "name", "content", "options", "code", "said"),
    [
        (
            "ghosts",
            "item.json",
            "{}",
            {},
            2,
            'workload "ghosts" has no published version; a workload file is named by',
        ),
        ("ghosts.yaml", "item.json", "{}", {}, 2, 'there is no file "ghosts.yaml"'),
        ("letters", "item.json", "{broken", {}, 1, "item.json: it is not JSON: "),
        ("letters", "item.json", "[1]", {}, 1, "item.json: it is not a JSON object"),
        (
            "letters",
            "item.json",
            '{"payload": {}, "urgent": 1}',
            {},
            1,
            'item.json: "urgent" must be true or false',
        ),
        (
            "letters",
            "rows.csv",
            CSV,
            {"columns": Columns(field="text"), "line": 4},
            1,
            'rows.csv: line 4: field "text" is missing or empty',
        ),
        (
            "letters",
            "rows.csv",
            CSV,
            {"columns": Columns(field="text"), "line": 9},
            2,
            '"rows.csv" has no item that begins in line 9',
        ),
        (
            "letters",
            "rows.csv",
            CSV,
            {"columns": Columns(field="body")},
            2,
            '"rows.csv" has no column "body"; it has text, category',
        ),
        ("letters", "rows.csv", "text\n", {}, 2, '"rows.csv" has no item'),
        ("letters", "rows.txt", "{}", {}, 2, '"rows.txt" is neither .jsonl nor .csv'),
    ],
)
def test_invalid_input_is_reported_with_a_reason_and_an_exit_code(
    workload: str,
    name: str,
    content: str,
    options: dict[str, Any],
    code: int,
    said: str,
    capsys: Told,
) -> None:
    assert preview(workload, item=a_file(name, content), **options) == code
    assert capsys.readouterr().err.startswith(said)


def test_an_invalid_workload_file_is_reported_with_line_and_column(capsys: Told) -> None:
    a_file("own.yaml", "name: letters\ninstructions: Sort.\noutput_schema: {}\n")
    assert preview("own.yaml", item=a_file("item.json", "{}")) == 1
    assert "line 3, column 1, output_schema: " in capsys.readouterr().err


@pytest.mark.usefixtures("letters")
def test_a_missing_item_file_is_wrong_usage(capsys: Told) -> None:
    assert preview("letters", item=Path("ghost.json")) == 2
    assert capsys.readouterr().err == 'there is no file "ghost.json"\n'


def test_an_item_that_breaks_the_input_schema_is_refused(pool: Engine, capsys: Told) -> None:
    with pool.begin() as connection:
        put_in_force(connection, now=NOON, input_schema={"type": "object", "required": ["text"]})
    assert preview("letters", item=a_file("rows.jsonl", '{"texxt": "x"}\n')) == 1
    assert "payload.text is missing" in capsys.readouterr().err
    assert preview("letters", item=a_file("rows.jsonl", '{"text": "x"}\n')) == 0

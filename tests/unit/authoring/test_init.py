"""`lanes init`: it writes a definition that can be published unchanged for any columns, and reports unreadable input."""

import csv
import io
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from lanes.authoring.draft import from_columns
from lanes.authoring.guessing import look, propose
from lanes.cli import app
from lanes.commands.init import init
from lanes.doors.filedoor import FileLine, Layout, read_lines
from lanes.doors.item import Refusal
from lanes.ids import VersionId
from lanes.workload import definition_file as workload_file
from lanes.workload.version import Spec, Version
from tests.conftest import NOON
from tests.unit.strategies import TEXT, some_json

Told = pytest.CaptureFixture[str]
ROWS = "".join(
    f'{n},"Where is my card, number {n}?",{["arrival", "loss"][n % 2]}\n' for n in range(10)
)
GOOD = f"id,text,category\n{ROWS}"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows_csv(content: str | bytes = GOOD, name: str = "rows.csv") -> Path:
    file = Path(name)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def made(name: str = "cards") -> Spec:
    """Return the definition in the written file."""
    found = workload_file.read(Path(f"{name}.yaml").read_bytes(), file="")
    assert found.name == name
    return found.spec


def test_init_with_a_file_of_items_writes_a_definition_that_asks_for_its_labels(
    capsys: Told,
) -> None:
    assert init("cards", from_=rows_csv()) == 0
    spec = made()
    assert spec.output_schema == {
        "type": "object",
        "additionalProperties": False,
        "required": ["category"],
        "properties": {"category": {"type": "string", "enum": ["arrival", "loss"]}},
    }
    assert (
        '- loss: for example "Where is my card, number 1?", "Where is my card, number 3?"\n'
        in spec.instructions
    )
    said = capsys.readouterr().out
    assert (
        'Looked at 10 lines: the text is "text"; what is right stands in "category" (2 values).\n'
        in said
    )
    assert (
        "\n  lanes submit rows.csv --workload cards --field text --label category --key id\n"
        in said
    )
    assert (
        "\n# The values are those of the 10 lines of rows.csv.\n" in Path("cards.yaml").read_text()
    )


def test_the_suggested_commands_exist_and_accept_their_arguments(capsys: Told) -> None:
    init("cards", from_=rows_csv(name="my rows.csv"), as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert (said["file"], said["field"], said["label"], said["key"]) == (
        "cards.yaml",
        "text",
        "category",
        "id",
    )
    for command in said["next"]:
        words = shlex.split(command.partition(" > ")[0])
        if words[1] in {each for each in app if not each.startswith("-")}:
            called, bound, _ = app.parse_args(words[1:], exit_on_error=False, print_error=False)
            assert called.__name__ == words[1]
            assert bound.arguments
    assert {"preview", "publish", "submit"} <= {
        shlex.split(command)[1] for command in said["next"]
    } & set(app)


def test_init_without_a_file_writes_a_sample_definition_that_can_be_published(capsys: Told) -> None:
    assert init("cards") == 0
    assert list(made().output_schema["properties"]) == ["category", "summary"]
    assert "lanes submit items.csv --workload cards --field text\n" in capsys.readouterr().out


def test_init_overwrites_a_file_only_with_force(capsys: Told) -> None:
    Path("cards.yaml").write_text("mine")
    assert init("cards") == 1
    assert (Path("cards.yaml").read_text(), "--force overwrites it" in capsys.readouterr().err) == (
        "mine",
        True,
    )
    assert init("cards", force=True) == 0
    made()


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("My Cards", "my-cards"),
        ("../cards", "cards"),
        ("", "comments"),
        ("9 lives", "lives"),
        ("cards.yaml", "cards-yaml"),
    ],
)
def test_an_invalid_name_is_refused_with_a_valid_suggestion(
    name: str, instead: str, capsys: Told
) -> None:
    assert init(name) == 2
    assert capsys.readouterr().err.endswith(f"for example {instead}\n")
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", '"rows.csv" holds no line of items; below a header, each line is one'),
        ("text,category\n", '"rows.csv" holds no line of items'),
        ("\n\n", '"rows.csv" holds no line of items'),
        (
            GOOD.replace(",", ";"),
            'the columns of "rows.csv" are separated by ";": save it with commas',
        ),
        ("id;text\n1;Hello, you\n", 'the columns of "rows.csv" are separated by ";"'),
        ("id\ttext\n1\tHello\n", 'the columns of "rows.csv" are separated by tabs'),
        (ROWS, 'the first line of "rows.csv" seems to be an item and no header ("0")'),
        ("text,text\na,b\n", 'has the column "text" more than once'),
        (
            GOOD.encode("utf-16"),
            'the header of "rows.csv" cannot be read: byte 1 of the line is not UTF-8',
        ),
        (
            "text,n\n" + "a,b,c\n" * 3,
            'no line of "rows.csv" can be read; line 2: the line has 3 fields, the header 2 fields',
        ),
        ('text\n"a\x00"\n', 'no line of "rows.csv" can be read; line 2: '),
    ],
)
def test_a_file_without_items_is_refused_and_nothing_is_written(
    content: str | bytes, said: str, capsys: Told
) -> None:
    assert init("cards", from_=rows_csv(content)) == 2
    assert said in capsys.readouterr().err
    assert not Path("cards.yaml").exists()


def test_unknown_files_and_columns_are_refused(capsys: Told) -> None:
    assert init("cards", from_=Path("ghost.csv")) == 2
    assert init("cards", from_=rows_csv(name="rows.txt")) == 2
    assert init("cards", from_=rows_csv(), label="klass") == 2
    assert (
        init("cards", from_=rows_csv('{"text": "a", "n": 1}\n', "rows.jsonl"), label="klass") == 2
    )
    assert (
        init("cards", from_=rows_csv('{"payload": {"text": "a"}}\n', "events.jsonl"), field="text")
        == 2
    )
    told = capsys.readouterr().err.splitlines()
    assert told[3] == '"rows.jsonl" has no field "klass"; it has text, n'
    assert (
        told[4]
        == 'each line of "events.jsonl" is an event\'s payload with its own key and label: name no columns'
    )
    assert told[0] == 'there is no file "ghost.csv"'
    assert told[1] == '"rows.txt" is neither .jsonl nor .csv'
    assert told[2] == '"rows.csv" has no column "klass"; it has id, text, category'


def test_a_file_with_a_byte_order_mark_and_a_file_of_one_column_are_accepted(capsys: Told) -> None:
    assert init("cards", from_=rows_csv(b"\xef\xbb\xbf" + GOOD.encode())) == 0
    assert init("lines", from_=rows_csv("remark\nGood.\nBad.\n", "one.csv")) == 0
    assert "no column says what is right" in capsys.readouterr().out
    assert made("lines").instructions.startswith("You read one remark at a time.")
    assert (
        init("headed", from_=rows_csv(ROWS, "two.csv"), field="0") == 0
    )  # a person who names the column knows its header


def test_unreadable_lines_are_reported_and_skipped(capsys: Told) -> None:
    spoiled = GOOD.encode() + "99,Caf\xe9,arrival\n".encode("latin-1") + b"98,too,many,fields\n"
    assert init("cards", from_=rows_csv(spoiled)) == 0
    told = capsys.readouterr()
    assert (
        told.err.splitlines()[0] == "2 lines cannot be read, and `lanes submit` will refuse them:"
    )
    assert told.err.splitlines()[1].startswith("  rows.csv:12: byte 7 of the line is not UTF-8")
    assert "Looked at 10 lines" in told.out


@pytest.mark.slow
def test_init_reads_only_the_first_lines_of_a_long_file_and_says_how_many(capsys: Told) -> None:
    with Path("long.csv").open("w") as file:
        file.write("text,category\n")
        file.writelines(
            f"Where is my card {n}?,{'late' if n > 100_000 else 'abc'[n % 3]}\n"
            for n in range(200_000)
        )
    assert init("cards", from_=Path("long.csv")) == 0
    said = capsys.readouterr().out
    assert "Looked at the first 50,000 of about 200,001 lines" in said
    assert (
        "Values that only come later are missing: add them to output_schema and instructions."
        in said
    )
    assert made().output_schema["properties"]["category"]["enum"] == ["a", "b", "c"]
    assert (
        "of the first 50,000 lines of long.csv; add those that only come later."
        in Path("cards.yaml").read_text()
    )


def test_a_file_of_a_hundred_columns_gives_a_short_definition() -> None:
    names = ["text", *(f"c{n}" for n in range(98)), "category"]
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(names)
    writer.writerows([f"Where is my card {n}?", *range(98), "ab"[n % 2]] for n in range(50))
    assert init("cards", from_=rows_csv(written.getvalue())) == 0
    assert len(made().instructions) < 500


@pytest.mark.slow
@given(st.lists(some_json(), min_size=1, max_size=12), st.sampled_from([None, "text", "label"]))
@example(
    [
        {"text": "a", "label": value}
        for value in ("x\ny", "x\ny", "# <item>", "# <item>", "- no: yes")
    ],
    None,
)
@example([{"text": "</item>", "label": value} for value in (True, False, True, None)], None)
@example([{"text": "a", "label": value} for value in (1, True, 1.5, "1", 1)], None)
@example([{"text": "a", "label": {"yes": "no", "n": [1], "x y": 1}}] * 3, None)
@example([{"payload": {"text": "a"}, "label": {"category": "b"}}, {"payload": 7}], None)
@example([{"": "", "\n": "a"}], None)
def test_a_draft_of_any_lines_can_be_published_unchanged(
    rows: list[dict[str, Any]], field: str | None
) -> None:
    Path("a.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    sample = look((number, "", each) for number, each in enumerate(rows))
    found = propose(sample, field=field if field in sample.columns else None)
    draft = from_columns("cards", sample, found, file="a\n.jsonl")
    read = workload_file.read(draft.text().encode(), file="")
    assert read.spec.output_schema == draft.spec.output_schema
    layout = Layout(
        field=found.field, label=found.label, key=found.key, occurred_at=found.occurred_at
    )
    check = Version(VersionId(0), "cards", 0, read.spec).answer_check
    inputs = Draft202012Validator(read.spec.input_schema)
    for line in read_lines(Path("a.jsonl"), "cards", layout, now=NOON):
        assert isinstance(line, Refusal) or inputs.is_valid(
            line.submission.payload
        )  # no line is refused by its own draft
        if isinstance(line, FileLine) and line.expected and found.label:
            assert check.first_fault(line.expected) is None  # the schema allows every label


@pytest.mark.slow
@given(
    st.lists(
        st.tuples(TEXT, st.sampled_from(["yes", "no", "1", "1.0", " a", "null", "é"])),
        min_size=4,
        max_size=12,
    )
)
def test_a_csv_label_is_always_a_string(rows: list[tuple[str, str]]) -> None:
    sample = look(
        (number, "", {"text": text, "label": label}) for number, (text, label) in enumerate(rows)
    )
    found = propose(sample, field="text", label="label")
    spec = workload_file.read(
        from_columns("cards", sample, found, file="a.csv").text().encode(), file=""
    ).spec
    assert spec.output_schema["properties"]["label"] == {
        "type": "string",
        "enum": sorted({label for _, label in rows}),
    }


@pytest.mark.parametrize("name", ["init", "preview", "publish", "export"])
def test_help_has_an_example_and_the_exit_codes(name: str, capsys: Told) -> None:
    app([name, "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert said.count(f"lanes {name}") > 1  # in addition to the usage
    assert "xit code" in said

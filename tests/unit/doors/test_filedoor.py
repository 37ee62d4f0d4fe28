"""Files as a door: every line is an item or a numbered bad line, and a bad line harms no other."""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lanes.doors.filedoor import (
    LONGEST_LINE,
    MOST_LINES,
    FileLine,
    Layout,
    count_lines,
    read_lines,
)
from lanes.doors.item import Refusal
from lanes.words import Lane
from tests.conftest import NOON
from tests.unit.strategies import any_json, some_json
from tests.unit.test_exact_json import assert_jsonb_takes

TEXT_CELL = Layout(field="text")
cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x00"), max_size=12)
records_of_two = st.lists(cells, min_size=2, max_size=2)
hostile = st.text('",\n\r;ab \x00\ufeff\x85\x1c{}', max_size=60).map(str.encode) | st.binary(
    max_size=60
)
marks = st.text('", ', max_size=4)
layouts = st.sampled_from(
    [Layout(), TEXT_CELL, Layout(field="text", key="id", label="category", lane="batch")]
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def read(
    file: Path, content: bytes | str, layout: Layout | None = None
) -> list[FileLine | Refusal]:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_lines(file, "letters", layout or Layout(), now=NOON))


def as_csv(*records: list[str]) -> str:
    written = io.StringIO()
    csv.writer(written).writerows(records)
    return written.getvalue()


def payloads(told: list[FileLine | Refusal]) -> list[dict[str, Any]]:
    return [each.submission.payload for each in told if isinstance(each, FileLine)]


def bad(told: list[FileLine | Refusal]) -> list[tuple[str, str]]:
    return [(each.place, each.reason) for each in told if isinstance(each, Refusal)]


def place(each: FileLine | Refusal) -> str:
    return each.submission.place if isinstance(each, FileLine) else each.place


def assert_can_be_kept(told: list[FileLine | Refusal]) -> None:
    for each in told:
        if isinstance(each, FileLine):
            assert_jsonb_takes([each.submission.as_row(), each.expected])
        else:
            assert_jsonb_takes([each.place, each.reason, each.detail])
            each.content.encode()


# Any bytes at all


@given(
    st.lists(hostile | any_json().map(lambda said: json.dumps(said).encode()), max_size=6), layouts
)
@example([b"\xef\xbb\xbf", b"\xff", b"[" * 100_000], Layout())
@example([b'{"a":' * 500 + b"1" + b"}" * 500, b"9" * 5000], Layout())
@example([b'{"payload": {}, "due_in_s": ' + b"9" * 400 + b"}"], Layout())
def test_every_nonempty_line_of_any_jsonl_is_an_item_or_a_bad_line(
    folder: Path, lines: list[bytes], layout: Layout
) -> None:
    content = b"\n".join(lines)
    told = read(folder / "a.jsonl", content, layout)
    not_empty = [
        f"a.jsonl:{number}"
        for number, line in enumerate(content.split(b"\n"), 1)
        if line.decode("utf-8-sig" if number == 1 else "utf-8", errors="replace").strip()
    ]
    assert [place(each) for each in told] == not_empty
    assert_can_be_kept(told)


@given(st.lists(hostile, max_size=8).map(b"\n".join), layouts)
@example(b'text\n"a\n\nb"\n', Layout())
@example(b'text\nfive" pipe\nlost?\nseven" pipe\n', TEXT_CELL)
@example(b"text\n\rfoo\n", Layout())
@example(b"\xff\xfet\x00", Layout())
@example(b'text\n"' + b"x\n" * (MOST_LINES + 5), Layout())
def test_any_csv_is_read_with_bad_lines_or_its_header_is_refused(
    folder: Path, content: bytes, layout: Layout
) -> None:
    try:
        told = read(folder / "a.csv", content, layout)
    except ValueError:
        return
    numbers = [int(place(each).removeprefix("a.csv:")) for each in told]
    assert numbers == sorted(set(numbers))
    assert_can_be_kept(told)


@given(st.lists(st.tuples(marks, marks), max_size=8))
def test_no_line_of_a_csv_is_lost_or_read_twice_for_any_quotation_marks(
    folder: Path, drawn: list[tuple[str, str]]
) -> None:
    words = [f"word{number}." for number in range(len(drawn))]
    lines = [f"{before}{word}{after}" for word, (before, after) in zip(words, drawn, strict=True)]
    told = read(folder / "a.csv", "\n".join(["text", *lines]), TEXT_CELL)
    shown = [
        each.content if isinstance(each, Refusal) else each.submission.payload["text"]
        for each in told
    ]
    assert ["".join(shown).count(word) for word in words] == [1] * len(words)


# The item of a line


@pytest.mark.slow
@given(st.lists(some_json(), max_size=5))
def test_a_line_of_json_is_an_items_payload(folder: Path, objects: list[dict[str, Any]]) -> None:
    told = read(
        folder / "a.jsonl", "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in objects)
    )
    assert payloads(told) == objects


@given(st.lists(records_of_two, max_size=5))
def test_a_csv_written_by_python_is_read_back_with_its_embedded_newlines(
    folder: Path, records: list[list[str]]
) -> None:
    told = read(folder / "a.csv", as_csv(["one", "two"], *records))
    assert payloads(told) == [dict(zip(["one", "two"], record, strict=True)) for record in records]


def test_a_line_in_the_shape_of_an_event_is_read_as_an_event(tmp_path: Path) -> None:
    event = {
        "payload": {"text": "hello"},
        "key": "k1",
        "urgent": True,
        "due_in_s": 60,
        "label": {"category": "a"},
    }
    (told,) = read(tmp_path / "a.jsonl", json.dumps(event))
    assert isinstance(told, FileLine)
    assert (told.submission.key, told.submission.urgent, told.submission.payload) == (
        "k1",
        True,
        {"text": "hello"},
    )
    assert told.expected == {"category": "a"}


def test_the_layout_names_the_columns_of_text_key_label_and_time_and_sets_the_lane(
    tmp_path: Path,
) -> None:
    layout = Layout(
        field="text", key="id", label="category", occurred_at="when", lane="batch", consumer="desk"
    )
    row = {"id": 0, "text": "hello", "category": "a", "when": "2026-01-01", "more": 1}
    (of_json,) = read(tmp_path / "a.jsonl", json.dumps(row), layout)
    (of_csv,) = read(
        tmp_path / "a.csv", as_csv(list(row), [str(value) for value in row.values()]), layout
    )
    for told in (of_json, of_csv):
        assert isinstance(told, FileLine)
        assert (told.submission.key, told.submission.payload) == ("0", {"text": "hello"})
        assert (told.submission.lane, told.submission.consumer) == (Lane.BATCH, "desk")
        assert str(told.submission.occurred_at) == "2026-01-01 00:00:00+00:00"
        assert told.expected == {"category": "a"}


def test_the_label_is_never_part_of_the_payload(tmp_path: Path) -> None:
    row = {"text": "hello", "label": {"category": "a"}}
    (own,) = read(tmp_path / "a.jsonl", json.dumps(row))
    (named,) = read(
        tmp_path / "a.jsonl",
        json.dumps({"text": "hello", "category": "a"}),
        Layout(label="category"),
    )
    for told in (own, named):
        assert isinstance(told, FileLine)
        assert (told.submission.payload, told.expected) == ({"text": "hello"}, {"category": "a"})


def test_an_empty_key_or_label_is_none(tmp_path: Path) -> None:
    layout = Layout(field="text", key="id", label="category")
    (told,) = read(tmp_path / "a.csv", "id,text,category\n,hello,\n", layout)
    assert isinstance(told, FileLine)
    assert (told.submission.key, told.expected) == (None, None)


def test_due_in_s_of_a_line_counts_from_the_time_of_reading(tmp_path: Path) -> None:
    (told,) = read(tmp_path / "a.jsonl", '{"payload": {}, "due_in_s": 0}')
    assert isinstance(told, FileLine)
    assert told.submission.due_at == NOON


# Bad lines


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": ', "broken_line"),
        (b"[1, 2]", "broken_line"),
        (b'"text"', "broken_line"),
        (b'{"text": "\xe9"}', "not_utf8"),
        (b'{"text": "\\u0000"}', "malformed"),
        (b'{"text": NaN}', "malformed"),
        (b'{"text": 1, "label": {"category": "\\u0000"}}', "malformed"),
        (b'{"payload": {}, "lane": "express"}', "malformed"),
        (b'\xef\xbb\xbf{"text": 1}', "broken_line"),
        (b"\x00", "broken_line"),
    ],
)
def test_a_bad_json_line_harms_no_other_line(tmp_path: Path, line: bytes, reason: str) -> None:
    told = read(tmp_path / "a.jsonl", b'{"text": "one"}\n\n' + line + b'\r\n{"text": "two"}')
    assert payloads(told) == [{"text": "one"}, {"text": "two"}]
    assert bad(told) == [("a.jsonl:3", reason)]


@pytest.mark.parametrize(
    ("lines", "places"),
    [
        (b'3,"not closed', [3]),
        (b'3,"not closed\n4,"fine"', [3]),
        (b'3,he said "hi",x', [3]),
        (b'3,"he said "hi""', [3]),
        (b"3", [3]),
        (b"3,a,b", [3]),
        (b"3,\xe9", [3]),
        (b'3,"a\n\xff\n"', [3, 4, 5]),
        (b'3,"a\n\nb",too many', [3]),
        (b"3,a\rb", [3]),
        (b'3,"' + b"x\n" * 7 + b'x"",', [*range(3, 11)]),
    ],
)
def test_a_bad_csv_line_harms_no_other_line(
    tmp_path: Path, lines: bytes, places: list[int]
) -> None:
    told = read(tmp_path / "a.csv", b"id,text\n1,one\n" + lines + b"\n9,two\n", TEXT_CELL)
    assert [each["text"] for each in payloads(told) if each["text"] != "fine"] == ["one", "two"]
    assert [place for place, _ in bad(told)] == [f"a.csv:{number}" for number in places]


def test_a_quotation_mark_within_a_field_harms_no_other_line(tmp_path: Path) -> None:
    told = read(tmp_path / "a.csv", 'id,text\n1,five" pipe\n2,plain\n3,seven" pipe\n', TEXT_CELL)
    assert [each["text"] for each in payloads(told)] == ['five" pipe', "plain", 'seven" pipe']


def test_a_quoted_field_keeps_its_empty_lines(tmp_path: Path) -> None:
    told = read(
        tmp_path / "a.csv", 'id,text\r\n\r\n1,"Dear all,\r\n\r\n""bye"""\r\n2,next\r\n', TEXT_CELL
    )
    assert [each["text"] for each in payloads(told)] == ['Dear all,\n\n"bye"', "next"]
    assert [place(each) for each in told] == ["a.csv:3", "a.csv:6"]


def test_a_quoted_field_may_have_a_thousand_lines(tmp_path: Path) -> None:
    letter = "\n".join(["line"] * (MOST_LINES - 1))
    told = read(tmp_path / "a.csv", as_csv(["text"], [letter], ["next"]))
    assert payloads(told) == [{"text": letter}, {"text": "next"}]


def test_a_byte_order_mark_at_the_start_is_ignored(tmp_path: Path) -> None:
    assert payloads(read(tmp_path / "a.csv", b"\xef\xbb\xbftext\nhello\n", TEXT_CELL)) == [
        {"text": "hello"}
    ]
    assert payloads(read(tmp_path / "a.jsonl", b'\xef\xbb\xbf{"text": "hello"}\n')) == [
        {"text": "hello"}
    ]


def test_a_bad_line_reports_its_fault_and_its_content(tmp_path: Path) -> None:
    told = read(tmp_path / "a.csv", b'id,text\n1\n2,"open\n3,\xe9t\xe9\n4,\n', TEXT_CELL)
    assert [(each.detail, each.content) for each in told if isinstance(each, Refusal)] == [
        ("the line has 1 field, the header 2 fields", "1"),
        (
            "a quotation mark is not closed, or stands within a field without being doubled",
            '2,"open',
        ),
        ("byte 3 of the line is not UTF-8; save the file as UTF-8", "3,\ufffdt\ufffd"),
        ('field "text" is missing or empty', "4,"),
    ]


# Files that are refused, empty, or close to a limit


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"id,body\n1,hello\n", 'has no column "text"; it has id, body'),
        (b"text,text\n1,hello\n", 'has the column "text" more than once'),
        (
            b"\xff\xfet\x00\n",
            'the header of "a.csv" cannot be read: byte 1 of the line is not UTF-8',
        ),
        (
            b'"id,text\n1,hello\n',
            'the header of "a.csv" cannot be read: a quotation mark is not closed',
        ),
        (b"id,text\r1,hello\r", 'the header of "a.csv" cannot be read: '),
    ],
)
def test_a_csv_without_a_usable_header_is_refused_as_a_whole(
    tmp_path: Path, content: bytes, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        read(tmp_path / "a.csv", content, TEXT_CELL)


def test_a_duplicate_column_is_refused_only_if_the_layout_uses_it(tmp_path: Path) -> None:
    assert payloads(read(tmp_path / "a.csv", "text,x,x\nhello,1,2\n", TEXT_CELL)) == [
        {"text": "hello"}
    ]
    with pytest.raises(ValueError, match='the column "x" more than once'):
        read(tmp_path / "a.csv", "text,x,x\nhello,1,2\n")


@pytest.mark.parametrize("name", ["a.txt", "a", "a.csv.gz"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f'"{name}" is neither .jsonl nor .csv'):
        read(tmp_path / name, "text\nhello\n")


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.csv", "A.JSONL"])
def test_an_empty_file_has_no_lines(tmp_path: Path, name: str) -> None:
    assert read(tmp_path / name, b"") == []
    assert read(tmp_path / name, b"\xef\xbb\xbf\n \n") == []


def test_the_lines_of_a_file_whose_name_is_not_unicode_have_places(tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"caf\xe9.jsonl")
    told = read(file, '{"text": "hello"}\nbroken\n')
    assert [place(each) for each in told] == ["caf?.jsonl:1", "caf?.jsonl:2"]
    assert_can_be_kept(told)


def test_lines_are_counted_for_a_progress_bar(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"{}\n" * 70_000)
    assert count_lines(tmp_path / "a.jsonl") == 70_000


def test_a_header_of_thousands_of_columns_is_refused_with_advice(tmp_path: Path) -> None:
    header = ",".join(f"column {number}" for number in range(20_000))
    with pytest.raises(
        ValueError,
        match="has 20,000 columns, and at most 1,000 are read; leave out columns, or write JSONL",
    ):
        read(tmp_path / "wide.csv", header + "\n")
    with pytest.raises(ValueError, match=r"wide\.csv"):
        read(tmp_path / "wide.csv", header + "\n", TEXT_CELL)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_a_line_that_is_too_long_is_refused_and_its_neighbours_are_read(
    tmp_path: Path, name: str
) -> None:
    first, last = (
        ('{"text": "one"}', '{"text": "two"}') if name == "a.jsonl" else ("text\none", "two")
    )
    told = read(tmp_path / name, f"{first}\n{'x' * 2 * LONGEST_LINE}x\n{last}\n", TEXT_CELL)
    assert payloads(told) == [{"text": "one"}, {"text": "two"}]
    (long,) = [each for each in told if isinstance(each, Refusal)]
    assert (long.reason, long.detail) == ("broken_line", "the line has more than 16 MiB; divide it")
    assert len(long.content) < 5_000


@pytest.mark.slow
def test_a_quoted_record_beyond_the_longest_line_is_refused_and_the_last_line_is_read(
    tmp_path: Path,
) -> None:
    part = "x" * (LONGEST_LINE * 6 // 10) + "\n"
    told = read(tmp_path / "a.csv", 'text\n"' + part * 3 + '"\nlast\n', TEXT_CELL)
    assert payloads(told)[-1] == {"text": "last"}
    assert bad(told)[0] == ("a.csv:2", "broken_line")

"""Files are admitted in chunks, with their labels; a bad line is stored with its number."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from lanes.doors.filedoor import Admitted, Layout
from lanes.store.doors.items import CHUNK, admit_file
from tests.conftest import NOON
from tests.examples import publish
from tests.store.tries import A, B, events, row, rows


@pytest.fixture(autouse=True)
def letters(pool: Engine) -> None:
    with pool.begin() as connection:
        publish(connection, now=NOON, max_payload_kib=1)


def jsonl(folder: Path, lines: Sequence[Any], name: str = "letters.jsonl") -> Path:
    path = folder / name
    path.write_text(
        "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n"
    )
    return path


def admit(
    pool: Engine, path: Path, layout: Layout | None = None, workload: str = "letters"
) -> Admitted:
    """Admit a file of one chunk, and return the outcome."""
    (told,) = admit_file(pool, path, workload, layout or Layout(), now=NOON)
    return told


def test_each_line_becomes_an_item_with_file_and_line_as_its_key(
    pool: Engine, tmp_path: Path
) -> None:
    told = admit(pool, jsonl(tmp_path, [{"text": "one"}, {"text": "two"}]))
    assert told.keys == ["letters.jsonl:1", "letters.jsonl:2"]
    assert told.outcomes == Counter(accepted=2)
    with pool.begin() as connection:
        assert [(each.key, each.payload, each.source) for each in rows(connection, "item")] == [
            ("letters.jsonl:1", {"text": "one"}, "letters.jsonl"),
            ("letters.jsonl:2", {"text": "two"}, "letters.jsonl"),
        ]


def test_admitting_a_file_twice_creates_no_second_item(pool: Engine, tmp_path: Path) -> None:
    path = jsonl(tmp_path, [{"text": "one"}, "{broken", {"text": "two"}])
    first, again = admit(pool, path), admit(pool, path)
    assert first.outcomes == Counter(accepted=2, broken_line=1)
    assert again.outcomes == Counter(duplicate=2, broken_line=1)
    assert again.keys == first.keys
    with pool.begin() as connection:
        assert len(rows(connection, "item")) == 2
        assert len(rows(connection, "rejected_log")) == 1


def test_a_bad_line_is_stored_with_its_number_and_does_not_affect_other_lines(
    pool: Engine, tmp_path: Path
) -> None:
    lines = [{"text": "one"}, "{broken", {"text": "x" * 2000}, "[1]", {"text": "five"}]
    told = admit(pool, jsonl(tmp_path, lines))
    assert told.outcomes == Counter(accepted=2, broken_line=2, payload_too_large=1)
    assert sorted((each.place, each.reason) for each in told.bad) == [
        ("letters.jsonl:2", "broken_line"),
        ("letters.jsonl:3", "payload_too_large"),
        ("letters.jsonl:4", "broken_line"),
    ]
    with pool.begin() as connection:
        kept = {each.position: each for each in rows(connection, "rejected_log")}
        assert set(kept) == {"letters.jsonl:2", "letters.jsonl:3", "letters.jsonl:4"}
        assert kept["letters.jsonl:2"].content == "{broken"
        assert {each.source for each in kept.values()} == {"letters.jsonl"}
        assert len(events(connection, "lanes.item.rejected")) == 3


def test_events_in_a_file_keep_all_fields_of_their_sender(pool: Engine, tmp_path: Path) -> None:
    event = {
        "key": "k",
        "payload": {"text": "x"},
        "urgent": True,
        "consumer": "desk",
        "label": {"category": "a"},
    }
    assert admit(pool, jsonl(tmp_path, [event])).keys == ["k"]
    with pool.begin() as connection:
        kept = row(connection, "item")
        assert (kept.urgent, kept.consumer, kept.payload) == (True, "desk", {"text": "x"})
        assert row(connection, "label").expected == {"category": "a"}


def test_labels_from_a_column_are_stored_for_their_items(pool: Engine, tmp_path: Path) -> None:
    path = tmp_path / "letters.csv"
    path.write_text("text,category,id\none,a,x\ntwo,,y\nthree,b,z\n")
    told = admit(pool, path, Layout(field="text", label="category", key="id"))
    assert told.keys == ["x", "y", "z"]
    with pool.begin() as connection:
        item_of = {each.id: each.key for each in rows(connection, "item")}
        assert {item_of[each.item_id]: each.expected for each in rows(connection, "label")} == {
            "x": A,
            "z": B,
        }
        assert {each.source for each in rows(connection, "label")} == {"letters.csv"}


def test_labels_are_stored_for_items_with_content_keys(pool: Engine, tmp_path: Path) -> None:
    with pool.begin() as connection:
        publish(connection, "twins", now=NOON, dedupe="content")
    path = tmp_path / "twins.csv"
    path.write_text("text,category\nsame,a\nother,b\nsame,a\n")
    told = admit(pool, path, Layout(field="text", label="category"), "twins")
    assert told.outcomes == Counter(accepted=2, duplicate=1)
    assert told.keys[0] == told.keys[2]
    with pool.begin() as connection:
        assert {each.key for each in rows(connection, "item")} == set(told.keys)
        assert len(rows(connection, "label")) == 2


@pytest.mark.parametrize("unstorable", ["a\x00b", "\ud800", float("nan")])
def test_a_label_that_cannot_be_stored_refuses_only_its_own_line(
    pool: Engine, tmp_path: Path, unstorable: str | float
) -> None:
    lines = [
        {"payload": {"text": "one"}, "label": {"category": unstorable}},
        {"payload": {"text": "two"}, "label": A},
    ]
    told = admit(pool, jsonl(tmp_path, lines))
    assert told.outcomes == Counter(malformed=1, accepted=1)
    with pool.begin() as connection:
        assert row(connection, "label").expected == A


def test_a_label_of_a_refused_line_is_not_stored(pool: Engine, tmp_path: Path) -> None:
    admit(pool, jsonl(tmp_path, [{"key": "k", "payload": {"text": "x" * 2000}, "label": A}]))
    with pool.begin() as connection:
        assert rows(connection, "label") == []


def test_a_long_file_is_admitted_in_committed_chunks(pool: Engine, tmp_path: Path) -> None:
    path = jsonl(tmp_path, [{"text": f"letter {n}"} for n in range(CHUNK + 1)])
    chunks = admit_file(pool, path, "letters", Layout(), now=NOON)
    assert len(next(chunks).keys) == CHUNK
    with pool.begin() as connection:
        assert len(rows(connection, "item")) == CHUNK
    assert [each.keys for each in chunks] == [[f"letters.jsonl:{CHUNK + 1}"]]


def test_a_file_for_an_unknown_workload_is_refused_line_by_line(
    pool: Engine, tmp_path: Path
) -> None:
    told = admit(pool, jsonl(tmp_path, [{"text": "one"}]), workload="ghosts")
    assert told.outcomes == Counter(unknown_workload=1)
    with pool.begin() as connection:
        assert row(connection, "rejected_log").reason == "unknown_workload"

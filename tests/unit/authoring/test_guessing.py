"""Guesses about the columns of a file: the text, the label, and the key of a line."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from lanes.authoring import guessing
from lanes.authoring.guessing import Proposal, Sample, headless, look, propose
from lanes.doors.filedoor import Layout, read_rows

LONG = "I ordered it a week ago and it has not arrived yet, number {n}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def sampled(folder: Path, *rows: dict[str, Any]) -> Sample:
    """Return the sample of a CSV file with these rows."""
    file = folder / "a.csv"
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return look(read_rows(file, Layout()))


def sampled_json(folder: Path, *rows: Any) -> Sample:
    file = folder / "a.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return look(read_rows(file, Layout()))


def told(found: Proposal) -> tuple[str | None, str | None, str | None, str | None]:
    return found.field, found.label, found.key, found.occurred_at


def test_the_text_label_key_and_time_columns_are_recognized(folder: Path) -> None:
    rows = [
        {
            "ticket_id": f"T-{n}",
            "created_at": f"2026-11-{n + 1:02}T10:00:00",
            "text": LONG.format(n=n),
            "team": "ab"[n % 2],
            "category": ["late", "lost"][n % 2],
            "stars": n % 5,
        }
        for n in range(20)
    ]
    found = propose(sampled(folder, *rows))
    assert told(found) == ("text", "category", "ticket_id", "created_at")
    assert found.others == ("team", "stars")
    assert [*(found.labels["category"].counts or ())] == [("str", "late"), ("str", "lost")]


def test_columns_named_by_a_person_override_the_guess(folder: Path) -> None:
    rows = [
        {"id": n, "a": LONG.format(n=n), "b": f"short {n}", "c": n % 2, "category": n % 3}
        for n in range(9)
    ]
    sample = sampled(folder, *rows)
    assert told(propose(sample)) == ("a", "category", "id", None)
    assert told(propose(sample, field="b", label="c", key="a")) == ("b", "c", "a", None)


def test_a_file_with_several_text_columns_sends_the_whole_line_unless_it_is_wide(
    folder: Path,
) -> None:
    row = {"title": LONG, "body": LONG * 3, "channel": "chat"}
    rows = [
        {**{name: text.format(n=n) for name, text in row.items()}, "label": n % 2} for n in range(8)
    ]
    found = propose(sampled(folder, *rows))
    assert (found.field, found.sent, found.label) == (None, ("title", "body", "channel"), "label")
    wide = [{**each, **{f"c{n}": f"x{n}" for n in range(96)}} for each in rows]
    assert told(propose(sampled(folder, *wide)))[:2] == ("body", "label")


def test_a_column_without_a_label_name_is_the_label_only_if_the_text_is_the_only_other(
    folder: Path,
) -> None:
    rows = [{"remark": LONG.format(n=n), "outcome": "yn"[n % 2]} for n in range(8)]
    assert told(propose(sampled(folder, *rows)))[:2] == ("remark", "outcome")
    found = propose(
        sampled(folder, *({**each, "city": "xyz"[n % 3]} for n, each in enumerate(rows)))
    )
    assert (found.label, found.others) == (None, ("outcome", "city"))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("category", [f"{n}" for n in range(400)]),  # every value occurs once
        ("category", ["one"] * 400),  # a single value
        ("category", ["x" * 81, "y"] * 200),  # too long for a value
        ("the category (final)", ["a", "b"] * 200),  # not a field name of an answer
    ],
)
def test_a_column_that_cannot_be_a_label_is_not_proposed(
    folder: Path, name: str, values: list[str]
) -> None:
    assert (
        propose(
            sampled(
                folder, *({"text": LONG.format(n=n), name: value} for n, value in enumerate(values))
            )
        ).label
        is None
    )


def test_a_repeated_id_is_no_key_and_a_column_of_words_is_no_time(folder: Path) -> None:
    assert told(
        propose(sampled(folder, *({"id": n // 2, "amount": n, "at": "soon"} for n in range(8))))
    ) == ("at", None, None, None)


def test_the_only_column_is_the_text(folder: Path) -> None:
    assert told(propose(sampled(folder, {"x": "a"}, {"x": "b"}))) == ("x", None, None, None)


def test_json_lines_keep_their_types_and_may_contain_their_own_labels(folder: Path) -> None:
    rows = [
        {"text": LONG.format(n=n), "good": n % 2 == 0, "label": n % 3, "meta": {}} for n in range(9)
    ]
    sample = sampled_json(folder, *rows)
    found = propose(sample)
    assert told(found)[:2] == ("text", "label")
    assert sorted(found.labels["label"].counts or ()) == [("int", 0), ("int", 1), ("int", 2)]
    own = sampled_json(
        folder,
        *({"text": LONG, "label": {"category": "ab"[n % 2], "note": f"n {n}"}} for n in range(9)),
    )
    found = propose(own)
    assert (found.field, found.label, [*found.labels]) == ("text", None, ["category", "note"])


def test_lines_in_the_shape_of_events_are_sent_unchanged(folder: Path) -> None:
    lines = [
        {
            "key": f"k{n}",
            "payload": {"text": LONG, "channel": "x"},
            "label": {"category": "ab"[n % 2]},
        }
        for n in range(6)
    ]
    found = propose(sampled_json(folder, *lines))
    assert (told(found), found.sent, [*found.labels]) == (
        (None,) * 4,
        ("text", "channel"),
        ["category"],
    )


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [["How do I locate my new card?", "arrival"], ["Where?", "arrival"]],
            "How do I locate my new card?",
        ),
        (
            [
                ["Where?", "arrival"],
                ["When?", "arrival"],
                ["Lost", "loss"],
                ["Late", "arrival"],
                ["Gone", "loss"],
            ],
            "arrival",
        ),
        ([["Where?", "17"], ["When?", "18"]], "17"),
        ([["text", "category"], ["text", "a"], ["b", "a"]], None),
        ([["text", "card"], ["Where?", "a"], ["When?", "a"]], None),
    ],
)
def test_a_first_line_that_looks_like_an_item_is_not_a_header(
    folder: Path, rows: list[list[str]], said: str | None
) -> None:
    (folder / "a.csv").write_text("\n".join(",".join(row) for row in rows))
    assert headless(look(read_rows(folder / "a.csv", Layout()))) == said


def test_only_a_bounded_part_of_a_file_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless():
        for n in range(1, 10**9):
            read.append(n)
            yield n, "x" * 10, {"text": f"t {n}", "id": n}

    for bound, most in (("MOST_LINES", 10), ("MOST_BYTES", 100), ("MOST_CELLS", 20)):
        read: list[int] = []
        with monkeypatch.context() as bounded:
            bounded.setattr(guessing, bound, most)
            sample = look(endless())
        assert (sample.lines, len(read), sample.whole) == (10, 11, False)


@pytest.mark.slow
def test_a_column_stores_no_more_values_than_a_label_may_have() -> None:
    sample = look((n, "x", {"id": n, "text": f"text {n}", "pair": n // 2}) for n in range(20_000))
    kept = [(each.counts, each.lines) for name, each in sample.columns.items() if name != "id"]
    assert kept == [(None, {}), (None, {})]
    assert propose(sample).key == "id"

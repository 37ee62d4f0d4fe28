"""Listed items as JSON, CSV and a table: complete for programs, harmless for spreadsheets and terminals."""

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from rich.console import Console

from lanes.ids import ItemId
from lanes.report.listing import Csv, Format, Jsonl, JsonList, table
from lanes.settling.listing import SHOWN, Listed
from lanes.words import ItemState
from tests.conftest import NOON

SCHEMA = {
    "type": "object",
    "properties": {
        "category": {"type": "string"},
        "score": {"type": "number"},
        "sender": {"type": "object", "properties": {"name": {"type": "string"}}},
    },
}
OUTPUT = {"category": "a", "score": -0.5, "sender": {"name": "Åsa"}, "why": ["it says so"]}
SETTLED = Listed(
    ItemId(1),
    "t-1",
    ItemState.SETTLED,
    "batch",
    "authoritative",
    0,
    3,
    1,
    OUTPUT,
    NOON,
    NOON,
    NOON,
    NOON,
    2,
    Decimal("0.0012500000"),
    None,
    "desk",
    None,
)
FAILED = Listed(
    ItemId(2),
    "t-2",
    ItemState.FAILED,
    "realtime",
    None,
    None,
    None,
    None,
    None,
    NOON,
    None,
    None,
    NOON,
    3,
    Decimal("0E-10"),
    "refused (after 3 failed attempts)",
    None,
    None,
)


def written(form: Format, *pages: list[Listed]) -> str:
    return form.begin() + "".join(map(form.rows, pages)) + form.end()


def cells(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


# -- JSON


def test_a_json_line_contains_every_field_of_an_item() -> None:
    first, second = map(json.loads, written(Jsonl(), [SETTLED], [FAILED]).splitlines())
    assert list(first) == list(SHOWN)
    assert first == {
        "key": "t-1",
        "state": "settled",
        "lane": "batch",
        "standing": "authoritative",
        "generation": 0,
        "version": 3,
        "revision": 1,
        "output": OUTPUT,
        "received_at": "2026-11-24T12:00:00+00:00",
        "answered_at": "2026-11-24T12:00:00+00:00",
        "settled_at": "2026-11-24T12:00:00+00:00",
        "changed_at": "2026-11-24T12:00:00+00:00",
        "attempts": 2,
        "cost_usd": "0.00125",
        "failure": None,
        "consumer": "desk",
        "entity": None,
        "label": None,
    }
    assert (second["output"], second["failure"], second["cost_usd"]) == (None, FAILED.failure, "0")


def test_a_json_list_is_one_value_for_any_number_of_pages() -> None:
    for pages in ([], [[]], [[SETTLED]], [[], [SETTLED, FAILED], [], [SETTLED]]):
        found = json.loads(written(JsonList(), *pages))
        assert [each["key"] for each in found] == [each.key for page in pages for each in page]


def test_timestamps_are_in_utc_for_any_time_zone_of_the_database() -> None:
    there = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    moved = replace(SETTLED, received_at=there)
    assert json.loads(written(Jsonl(), [moved]))["received_at"] == "2026-11-24T12:00:00+00:00"
    assert cells(written(Csv([SCHEMA]), [moved]))[0]["received_at"] == "2026-11-24T12:00:00+00:00"


# -- CSV


def test_csv_has_a_column_for_each_output_field_and_one_for_the_rest() -> None:
    first, second = cells(written(Csv([SCHEMA]), [SETTLED], [FAILED]))
    assert list(first) == [
        "key",
        "state",
        "lane",
        "standing",
        "generation",
        "version",
        "revision",
        "output.category",
        "output.score",
        "output.sender.name",
        "output_rest",
        "received_at",
        "answered_at",
        "settled_at",
        "changed_at",
        "attempts",
        "cost_usd",
        "failure",
        "consumer",
        "entity",
        "label.category",
        "label.score",
        "label.sender.name",
        "label_rest",
    ]
    assert [
        first[name]
        for name in (
            "key",
            "output.category",
            "output.score",
            "output.sender.name",
            "cost_usd",
            "entity",
        )
    ] == ["t-1", "a", "-0.5", "Åsa", "0.00125", ""]
    assert json.loads(first["output_rest"]) == {"why": ["it says so"]}
    assert [
        second[name] for name in ("output.category", "output_rest", "answered_at", "failure")
    ] == ["", "", "", "refused (after 3 failed attempts)"]


def test_csv_has_the_fields_of_the_label_as_well_as_those_of_the_output() -> None:
    labeled = replace(SETTLED, label={"category": "b", "note": "by hand"})
    (row,) = cells(written(Csv([SCHEMA]), [labeled]))
    assert (
        row["output.category"],
        row["label.category"],
        row["label.score"],
        row["label_rest"],
    ) == ("a", "b", "", '{"note": "by hand"}')


def test_csv_without_items_is_one_header_line() -> None:
    assert written(Csv([SCHEMA])).count("\n") == 1


def test_csv_keeps_line_breaks_and_quotes_in_a_cell_and_escapes_formulas() -> None:
    said = {
        "category": 'one\r\n"two", three\n=four',
        "sender": {"name": "=HYPERLINK(A1)"},
        "score": None,
    }
    named = replace(SETTLED, key="@t-1", output=said, failure="-1", entity="a;=b")
    (row,) = cells(written(Csv([SCHEMA]), [named]))
    assert [
        row[name]
        for name in (
            "key",
            "output.category",
            "output.sender.name",
            "output_rest",
            "failure",
            "entity",
        )
    ] == ["'@t-1", 'one\n"two", three\n\'=four', "'=HYPERLINK(A1)", "", "'-1", "a;'=b"]


def test_csv_escapes_formulas_in_field_names() -> None:
    sly: dict[str, Any] = {"type": "object", "properties": {"a\n=b": {}}}
    assert "output.a\n'=b" in cells(written(Csv([sly]), [FAILED]))[0]


# -- for people


def shown(items: list[Listed], *, headed: bool = True, width: int = 120) -> list[str]:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(table(items, width=width, headed=headed))
    return console.file.getvalue().splitlines()  # pyright: ignore[reportAttributeAccessIssue]


def test_the_table_shows_whole_keys_and_the_label_where_the_answer_differs() -> None:
    named = replace(
        SETTLED, key="k" * 90 + "END", output={"category": "a"}, label={"category": "b"}
    )
    lines = shown([named], width=160)[1:]
    assert "".join(each.split()[0] for each in lines).endswith("kEND")
    assert "category: a (label: b)" in lines[0]


def test_the_table_has_one_line_for_each_item_with_any_content() -> None:
    loud = replace(SETTLED, key="\x1b[31mred", output={"category": "a\nb" * 200})
    head, first, second, third = shown([SETTLED, FAILED, loud])
    assert head.split()[:4] == ["Key", "State", "Lane", "Standing"]
    assert "category: a, score: -0.5" in first
    assert "2026-11-24 12:00:00" in first
    assert "$0.00125" in first
    assert "refused (after 3" in second
    assert "\x1b" not in third
    assert len(third) <= 120


def test_a_table_without_a_head_is_aligned_with_the_table_above_it() -> None:
    _, first = shown([SETTLED])
    assert shown([SETTLED], headed=False) == [first]
    assert shown([FAILED], headed=False)[0].index("failed") == first.index("settled")


def test_a_narrow_terminal_shows_fewer_columns_and_does_not_wrap() -> None:
    head, first, second = shown([SETTLED, FAILED], width=80)
    assert head.split() == ["Key", "State", "Lane", "Changed", "(UTC)", "Cost", "Answer"]
    assert first.startswith("t-1 ")
    assert "11-24 12:00:00" in first
    assert "category: a" in first
    assert max(map(len, (head, first, second))) <= 80


def test_timestamps_in_the_table_are_in_utc() -> None:
    there = datetime(2026, 11, 24, 17, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert there == NOON.replace(tzinfo=UTC)
    assert "12:00:00" in shown([replace(SETTLED, changed_at=there)])[1]

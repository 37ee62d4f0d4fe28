"""Files as a door: JSONL and CSV, read line by line; a bad line is a refusal with its number, and harms no other."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lanes.errors import Refused
from lanes.item import FIELDS, Submission, read_submission

csv.field_size_limit(64 * 1024 * 1024)


@dataclass(frozen=True)
class Layout:
    """How a line becomes an item. Without `field`, a line of JSON is an event's payload, or else the item's payload.

    `field` names the payload's text, `label` a column that says what is right; `key`, `occurred_at` name columns.
    """

    field: str | None = None
    label: str | None = None
    key: str | None = None
    occurred_at: str | None = None
    lane: str | None = None
    consumer: str | None = None


@dataclass(frozen=True)
class Line:
    """One well-formed line: the item it describes and what somebody says is right."""

    submission: Submission
    expected: dict[str, Any] | None


@dataclass(frozen=True)
class BadLine:
    """One line that is no item."""

    place: str
    reason: str
    detail: str
    content: str


def read_lines(path: Path, workload: str, layout: Layout, *, now: datetime) -> Iterator[Line | BadLine]:
    """Every line of a file, in order: an item or the reason why not. Empty lines are passed over.

    Raises:
        ValueError: the file is neither .jsonl nor .csv, or its header lacks a named column.
    """
    rows = _ROWS.get(path.suffix.lower())
    if rows is None:
        raise ValueError(f'"{path.name}" is neither .jsonl nor .csv')
    for number, content, fields in rows(path, layout):
        place = f"{path.name}:{number}"
        if isinstance(fields, Refused):
            yield BadLine(place, fields.reason, str(fields), content)
            continue
        try:
            item, expected = _arranged(fields, layout)
            yield Line(read_submission(workload, item, place=place, sent_at=now), expected)
        except Refused as refusal:
            yield BadLine(place, refusal.reason, str(refusal), content)


def count_lines(path: Path) -> int:
    """About how many lines there are, for a progress bar."""
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def _arranged(row: Mapping[str, Any], layout: Layout) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """A row as an event's fields, and its label."""
    expected = _expected(row, layout)
    if layout.field is None and isinstance(row.get("payload"), dict) and set(row) <= {*FIELDS, "label"}:
        item: dict[str, Any] = {name: value for name, value in row.items() if name != "label"}
    else:
        item = {"payload": _payload(row, layout)}
    for name, column in (("key", layout.key), ("occurred_at", layout.occurred_at)):
        if column is not None:
            item[name] = row.get(column) or None
    if layout.lane is not None:
        item["lane"] = layout.lane
    if layout.consumer is not None:
        item["consumer"] = layout.consumer
    return item, expected


def _payload(row: Mapping[str, Any], layout: Layout) -> dict[str, Any]:
    if layout.field is None:
        taken = {layout.label, layout.key, layout.occurred_at}
        return {name: value for name, value in row.items() if name not in taken}
    text = row.get(layout.field)
    if not isinstance(text, str) or not text.strip():
        raise Refused("malformed", f'field "{layout.field}" is missing or empty')
    return {layout.field: text}


def _expected(row: Mapping[str, Any], layout: Layout) -> dict[str, Any] | None:
    if layout.label is None:
        label = row.get("label")
        return label if isinstance(label, dict) else None
    value = row.get(layout.label)
    if value is None or value == "":
        return None
    return value if isinstance(value, dict) else {layout.label: value}


Row = tuple[int, str, "dict[str, Any] | Refused"]


def _text_lines(path: Path) -> Iterator[tuple[int, str | Refused, str]]:
    """(number, the line or why it is no text, what can be shown of it)."""
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            shown = raw.decode("utf-8", errors="replace").rstrip("\r\n")
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                yield number, Refused("not_utf8", f"byte {error.start + 1} of the line is not UTF-8; save the file as UTF-8"), shown
                continue
            if text.strip():
                yield number, text, shown


def _json_rows(path: Path, layout: Layout) -> Iterator[Row]:
    for number, text, shown in _text_lines(path):
        if isinstance(text, Refused):
            yield number, shown, text
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            yield number, shown, Refused("broken_line", f"the line is not JSON: {error}")
            continue
        yield number, shown, row if isinstance(row, dict) else Refused("broken_line", "the line is not a JSON object")


def _csv_rows(path: Path, layout: Layout) -> Iterator[Row]:
    """Records of a CSV file; one record may span lines, and is known by its first."""
    header: list[str] | None = None
    for number, record, shown in _csv_records(path):
        if isinstance(record, Refused):
            yield number, shown, record
        elif header is None:
            header = record
            for column in (layout.field, layout.label, layout.key, layout.occurred_at):
                if column is not None and column not in header:
                    raise ValueError(f'"{path.name}" has no column "{column}"; it has {", ".join(header)}')
        elif len(record) != len(header):
            said = f"the line has {len(record)} fields, the header {len(header)}"
            yield number, shown, Refused("broken_line", said)
        else:
            yield number, shown, dict(zip(header, record, strict=True))


def _csv_records(path: Path) -> Iterator[tuple[int, list[str] | Refused, str]]:
    """A record is read from as many lines as its quotes need; a quote that never closes spoils its own line only."""
    pending: list[tuple[int, str]] = []

    def flush_broken() -> Iterator[tuple[int, list[str] | Refused, str]]:
        for number, text in pending:
            record = next(csv.reader(io.StringIO(text)), None)
            balanced = text.count('"') % 2 == 0
            if record is not None and balanced:
                yield number, record, text
            else:
                yield number, Refused("broken_line", "a quotation mark is not closed"), text
        pending.clear()

    for number, text, shown in _text_lines(path):
        if isinstance(text, Refused):
            yield from flush_broken()
            yield number, text, shown
            continue
        pending.append((number, text))
        joined = "\n".join(line for _, line in pending)
        if joined.count('"') % 2 == 1:
            if len(pending) > MOST_LINES:
                yield from flush_broken()
            continue
        record = next(csv.reader(io.StringIO(joined)))
        yield pending[0][0], record, joined
        pending.clear()
    yield from flush_broken()


MOST_LINES = 200  # of one quoted record
_ROWS = {".jsonl": _json_rows, ".ndjson": _json_rows, ".csv": _csv_rows}

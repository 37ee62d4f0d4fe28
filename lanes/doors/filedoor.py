"""Files as a door: JSONL and CSV, read line by line; a bad line is refused with its number and does not affect others."""

import csv
import hashlib
import itertools
import json
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from lanes.doors.item import FIELDS, JobOrder, Refusal, Submission, read_submission
from lanes.errors import Refused
from lanes.json_data import weight, why_unfit_label
from lanes.units import pluralize

# bytes; a payload has at most 4 MiB, and JSON may escape one byte with several
LONGEST_LINE = 16 * 1024**2
MOST_COLUMNS = 1_000  # in a CSV file
NAMED_COLUMNS = 30  # columns listed in the error about a missing one
SHOWN_BYTES = 4 * 1024  # bytes that are kept of a line that is too long
csv.field_size_limit(LONGEST_LINE)


@dataclass(frozen=True)
class Layout:
    """The mapping from a line to an item. Without `field`, a JSON line is an event's payload, or else the item's payload.

    `field` names the payload's text and `label` the column with the right answer; `key` and `occurred_at` name columns. An
    integer in the key column is converted to text.
    """

    field: str | None = None
    label: str | None = None
    key: str | None = None
    occurred_at: str | None = None
    lane: str | None = None
    consumer: str | None = None


@dataclass(frozen=True)
class FileLine:
    """One well-formed line: the item that it describes and, if the line has a label, the expected output.

    `earlier` holds the payload lengths of earlier items of its entity, newest first, if they were looked up.
    """

    submission: Submission
    expected: dict[str, Any] | None
    earlier: Sequence[int] = ()


def line_weight(line: FileLine | Refusal) -> int:
    """Return the size that a line adds to a transaction, in bytes."""
    return weight(line.content if isinstance(line, Refusal) else line.submission.payload)


Given = Mapping[str, Any]  # the fields of a line
# number, the line as it may be shown, its fields or the reason for having none
Row = tuple[int, str, "dict[str, Any] | Refused"]
# Number, the text or the reason for having none, the line as it may be shown.
TextLine = tuple[int, "str | Refused", str]


@dataclass
class Admitted:
    """The outcome of some lines of a job: the keys that exist now, every outcome, and the refused lines."""

    job: str
    keys: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    bad: list[Refusal] = field(default_factory=list)


def read_rows(path: Path, layout: Layout) -> Iterator[Row]:
    """Yield the fields of every line of a file, in order, or the reason for having none; empty lines are skipped.

    Raises:
        ValueError: see `read_lines`.
    """
    rows = _ROWS.get(path.suffix.lower())
    if rows is None:
        raise ValueError(f'"{path.name}" is neither .jsonl nor .csv')
    return rows(path, layout)


def read_lines(
    path: Path, workload: str, layout: Layout, *, now: datetime
) -> Iterator[FileLine | Refusal]:
    """Yield every line of a file in order, as an item or as a refusal; empty lines are skipped.

    Raises:
        ValueError: the file is neither .jsonl nor .csv, or its header cannot be read, has a named column twice or not at all.
    """
    name = _name(path)
    for number, content, fields in read_rows(path, layout):
        place = f"{name}:{number}"
        if isinstance(fields, Refused):
            yield Refusal(workload, place, fields.reason, str(fields), content)
            continue
        try:
            yield _line(fields, workload, layout, place, now)
        except Refused as refusal:
            named = fields.get(layout.key or "key")
            key = None if named is None else str(named)
            yield Refusal(workload, place, refusal.reason, str(refusal), content, key)


def name_job(
    path: Path,
    layout: Layout,
    name: str | None = None,
    due_at: datetime | None = None,
    budget_usd: Decimal | None = None,
) -> JobOrder:
    """Return the job of a file, named `name` or else like the file; `otherwise` adds the digest, for a name already in use."""
    with path.open("rb") as file:
        hasher = hashlib.file_digest(file, "sha256")
    hasher.update(json.dumps(asdict(layout)).encode())
    otherwise = None if name else f"{_name(path)}-{hasher.hexdigest()[:8]}"
    return JobOrder(name or _name(path), hasher.digest(), due_at, budget_usd, otherwise)


def _name(path: Path) -> str:
    """Return the file's name, which may not be valid Unicode, as a text that can be stored."""
    return path.name.encode(errors="replace").decode()


def read_item(text: str, workload: str, layout: Layout, *, place: str, now: datetime) -> FileLine:
    """Return the item that a JSON object describes, as for a line of a file.

    Raises:
        Refused: the text does not describe an item.
    """
    return _line(_json_fields(text, "it"), workload, layout, place, now)


def count_lines(path: Path) -> int:
    """Estimate the number of lines, for a progress bar."""
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def _line(fields: Given, workload: str, layout: Layout, place: str, now: datetime) -> FileLine:
    item, expected = _arrange(fields, layout)
    return FileLine(read_submission(workload, item, place=place, sent_at=now), expected)


def _arrange(row: Given, layout: Layout) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return a row as the fields of an event, with its label."""
    expected = _read_label(row, layout)
    if (problem := why_unfit_label(expected)) is not None:
        raise Refused("malformed", problem)
    is_event = isinstance(row.get("payload"), dict) and set(row) <= {*FIELDS, "label"}
    if is_event and layout.field is None:
        item: dict[str, Any] = {name: value for name, value in row.items() if name != "label"}
    else:
        item = {"payload": _payload(row, layout)}
    for name, column in (("key", layout.key), ("occurred_at", layout.occurred_at)):
        if column is not None:
            value = row.get(column)
            is_number = name == "key" and isinstance(value, int) and not isinstance(value, bool)
            item[name] = None if value == "" else str(value) if is_number else value
    if layout.lane is not None:
        item["lane"] = layout.lane
    if layout.consumer is not None:
        item["consumer"] = layout.consumer
    return item, expected


def _payload(row: Given, layout: Layout) -> dict[str, Any]:
    if layout.field is None:
        taken = {layout.label or _find_label_field(row), layout.key, layout.occurred_at}
        return {name: value for name, value in row.items() if name not in taken}
    text = row.get(layout.field)
    if not isinstance(text, str) or not text.strip():
        raise Refused("malformed", f'field "{layout.field}" is missing or empty')
    return {layout.field: text}


def _read_label(row: Given, layout: Layout) -> dict[str, Any] | None:
    if layout.label is None:
        return row[label] if (label := _find_label_field(row)) else None
    value = row.get(layout.label)
    if value is None or value == "":
        return None
    return value if isinstance(value, dict) else {layout.label: value}


def _find_label_field(row: Given) -> str | None:
    """Return the name of the field that holds a line's own label, which is an object."""
    return "label" if isinstance(row.get("label"), dict) else None


def _text_lines(path: Path) -> Iterator[TextLine]:
    with path.open("rb") as file:
        for number, raw in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), b""), 1):
            if len(raw) > LONGEST_LINE:
                display_text = raw[:SHOWN_BYTES].decode("utf-8", errors="replace")
                while not raw.endswith(b"\n") and (raw := file.readline(LONGEST_LINE)):
                    pass
                message = f"the line has more than {LONGEST_LINE >> 20} MiB; divide it"
                yield number, Refused("broken_line", message), f"{display_text}..."
                continue
            display_text = raw.decode("utf-8", errors="replace").rstrip("\r\n")
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                message = f"byte {error.start + 1} of the line is not UTF-8; save the file as UTF-8"
                yield number, Refused("not_utf8", message), display_text
                continue
            yield number, text, display_text


def _json_rows(path: Path, layout: Layout) -> Iterator[Row]:
    for number, text, display_text in _text_lines(path):
        if isinstance(text, Refused):
            yield number, display_text, text
            continue
        if not text.strip():
            continue
        try:
            yield number, display_text, _json_fields(text, "the line")
        except Refused as refusal:
            yield number, display_text, refusal


def _json_fields(text: str, what: str) -> dict[str, Any]:
    if len(text) > LONGEST_LINE:
        raise Refused("broken_line", f"{what} has more than {LONGEST_LINE >> 20} MiB; shorten it")
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused("broken_line", f"{what} is not JSON: {error}") from None
    if not isinstance(row, dict):
        raise Refused("broken_line", f"{what} is not a JSON object")
    return row


def _csv_rows(path: Path, layout: Layout) -> Iterator[Row]:
    """Yield the records of a CSV file below its header; a record may span several lines, and its first line identifies it."""
    header: list[str] | None = None
    for number, record, display_text in _csv_records(path):
        if header is None:
            header = _check_header(path, record, layout)
        elif isinstance(record, Refused):
            yield number, display_text, record
        elif len(record) != len(header):
            detail = f"the line has {pluralize(len(record), 'field')}, the header {pluralize(len(header), 'field')}"
            yield number, display_text, Refused("broken_line", detail)
        else:
            yield number, display_text, dict(zip(header, record, strict=True))


def _check_header(path: Path, header: list[str] | Refused, layout: Layout) -> list[str]:
    if isinstance(header, Refused):
        raise ValueError(f'the header of "{path.name}" cannot be read: {header}')
    if len(header) > MOST_COLUMNS:
        message = (
            f'"{path.name}" has {len(header):,} columns, and at most {MOST_COLUMNS:,} are read'
        )
        raise ValueError(f"{message}; leave out columns, or write JSONL")
    layout_columns = [layout.field, layout.label, layout.key, layout.occurred_at]
    for column in layout_columns:
        if column is not None and column not in header:
            more = " ..." if len(header) > NAMED_COLUMNS else ""
            shown = ", ".join(header[:NAMED_COLUMNS]) + more
            raise ValueError(f'"{path.name}" has no column "{column}"; it has {shown}')
    times = Counter(header)
    for column in header if layout.field is None else layout_columns:
        if column is not None and times[column] > 1:
            message = f'"{path.name}" has the column "{column}" more than once'
            raise ValueError(f"{message}; rename one of them")
    return header


def _csv_records(path: Path) -> Iterator[tuple[int, list[str] | Refused, str]]:
    """Yield records of as many lines as their quotes need; if a record is unreadable, only its first line is lost."""
    lines = _text_lines(path)
    ahead: deque[TextLine] = deque(itertools.islice(lines, 1))
    while ahead:
        number, text, display_text = ahead[0]
        if isinstance(text, Refused) or not text.strip():
            ahead.popleft()
            if isinstance(text, Refused):
                yield number, text, display_text
        else:
            reader = csv.reader(_feed(ahead, lines), strict=True)
            try:
                record: list[str] | Refused = next(reader)
                record_lines = [ahead.popleft() for _ in range(reader.line_num)]
            except csv.Error as error:
                record = Refused("broken_line", _explain(error))
                record_lines = [ahead.popleft()]
            yield number, record, "\n".join(display_text for _, _, display_text in record_lines)
        if not ahead:
            ahead.extend(itertools.islice(lines, 1))


def _explain(error: csv.Error) -> str:
    message = str(error)
    if "unexpected end of data" in message or "expected after" in message:
        return "a quotation mark is not closed, or stands within a field without being doubled"
    return f"the line is not CSV: {message}"


def _feed(ahead: deque[TextLine], lines: Iterator[TextLine]) -> Iterator[str]:
    """Yield the text of up to `MOST_LINES` lines and `LONGEST_LINE` characters, starting with the lines read ahead.

    Stop before a line that could not be decoded.
    """
    characters = 0
    for index in range(MOST_LINES):
        if index == len(ahead):
            ahead.extend(itertools.islice(lines, 1))
        if index == len(ahead) or characters > LONGEST_LINE:
            return
        if isinstance(text := ahead[index][1], Refused):
            return
        characters += len(text)
        yield text + "\n"


MOST_LINES = 1000  # in one quoted record
_ROWS = {".jsonl": _json_rows, ".ndjson": _json_rows, ".csv": _csv_rows}

"""Listed items written out: as JSON for programs, as CSV for spreadsheets, as a table for people."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol

from rich.table import Table
from rich.text import Text

from lanes.doors.item import KEY_LIMIT
from lanes.report.columns import OutputColumns
from lanes.report.spreadsheet import cell
from lanes.settling.listing import SHOWN, Listed
from lanes.text import in_json, plain
from lanes.units import MISSING, usd

OF_SCHEMA = (
    "output",
    "label",
)  # have a column for each field of the schema, and one for the rest, as JSON
MOST_SHOWN = 400  # characters of an answer in a table
WIDE = 110  # columns of a terminal that shows the standing too


class Format(Protocol):
    """Items as text, however many: `begin`, any number of `rows`, `end`."""

    def begin(self) -> str: ...

    def rows(self, items: Sequence[Listed]) -> str: ...

    def end(self) -> str: ...


class Jsonl:
    """A JSON object a line."""

    def begin(self) -> str:
        return ""

    def rows(self, items: Sequence[Listed]) -> str:
        return "".join(f"{_json(each)}\n" for each in items)

    def end(self) -> str:
        return ""


class JsonList:
    """One JSON list of objects, an object a line."""

    def __init__(self) -> None:
        self._lead = "\n"

    def begin(self) -> str:
        return "["

    def rows(self, items: Sequence[Listed]) -> str:
        if not items:
            return ""
        lead, self._lead = self._lead, ",\n"
        return lead + ",\n".join(map(_json, items))

    def end(self) -> str:
        return "\n]\n"


class Csv:
    """A row an item, after a row of names. The fields of the output are columns `output.<field>` after its schemas, and those
    of the newest label `label.<field>`.

    What a spreadsheet would take as a formula gets an apostrophe in front.
    """

    def __init__(self, schemas: Iterable[Mapping[str, Any]]) -> None:
        self._columns = OutputColumns(schemas)

    def begin(self) -> str:
        named = [
            [*(f"{each}.{name}" for name in self._columns.names), f"{each}_rest"]
            if each in OF_SCHEMA
            else [each]
            for each in SHOWN
        ]
        return _lines([[name for names in named for name in names]])

    def rows(self, items: Sequence[Listed]) -> str:
        return _lines(map(self._row, items))

    def end(self) -> str:
        return ""

    def _row(self, item: Listed) -> list[Any]:
        row: list[Any] = []
        for name in SHOWN:
            if name in OF_SCHEMA:
                said = getattr(item, name) or {}
                row += [*self._columns.cells(said), self._columns.rest(said) or None]
            else:
                row.append(getattr(item, name))
        return row


def table(items: Sequence[Listed], *, width: int, headed: bool = True) -> Table:
    """Show items with their whole keys, in the same columns each time; a terminal less wide than 110 shows fewer columns."""
    wide = width >= WIDE
    made = Table(
        box=None, show_header=headed, pad_edge=False, expand=True, header_style="bold underline"
    )
    made.add_column("Key", ratio=2, overflow="fold", min_width=8)
    made.add_column("State", width=8, no_wrap=True)
    made.add_column("Lane", width=8, no_wrap=True)
    if wide:
        made.add_column("Standing", width=13, no_wrap=True)
    made.add_column("Changed (UTC)", width=19 if wide else 14, no_wrap=True)
    made.add_column("Cost", width=9, no_wrap=True, justify="right")
    made.add_column("Answer", ratio=5 if wide else 3, no_wrap=True, min_width=8)
    for each in items:
        at = each.changed_at.astimezone(UTC)
        made.add_row(
            Text(plain(each.key, most=KEY_LIMIT)),
            each.state,
            each.lane or MISSING,
            *([each.standing or MISSING] if wide else []),
            f"{at:%Y-%m-%d %H:%M:%S}" if wide else f"{at:%m-%d %H:%M:%S}",
            usd(each.cost_usd),
            _answer(each),
        )
    return made


def _answer(item: Listed) -> Text:
    """The fields of the answer, and beside one that the label contradicts what is right; without an answer, why not."""
    if item.output is not None:
        return Text(
            plain(
                ", ".join(_field(item, name, value) for name, value in item.output.items()),
                most=MOST_SHOWN,
            )
        )
    return Text(plain(item.failure or "", most=MOST_SHOWN), "red")


def _field(item: Listed, name: str, value: Any) -> str:
    right = (item.label or {}).get(name, value)
    return f"{name}: {_said(value)}" + ("" if right == value else f" (label: {_said(right)})")


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _json(item: Listed) -> str:
    return in_json(
        json.dumps(
            {name: getattr(item, name) for name in SHOWN}, default=_plainly, ensure_ascii=False
        )
    )


def _plainly(value: Any) -> str:
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat()
        case Decimal():
            return f"{value.normalize():f}"
        case _:
            return str(value)


def _lines(rows: Iterable[Iterable[Any]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([[cell(value) for value in row] for row in rows])
    return out.getvalue()

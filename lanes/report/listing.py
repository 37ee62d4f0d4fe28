"""The output formats of listed items: JSON for programs, CSV for spreadsheets, a table for people."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol

from referencing import Registry
from referencing.jsonschema import DRAFT202012
from rich.table import Table
from rich.text import Text

from lanes.doors.item import KEY_LIMIT
from lanes.settling.listing import SHOWN, Listed
from lanes.text import CONTROLS, plain, strip_controls
from lanes.units import MISSING, usd

# Path of a field in an output: the names of the enclosing objects, then its own.
Place = tuple[str, ...]
# A spreadsheet evaluates text that begins like a formula, so such text gets a leading apostrophe, as described in
# https://owasp.org/www-community/attacks/CSV_Injection. The same applies to text after a line break or a semicolon, because
# some spreadsheets begin a new cell there.
UNSEEN = r"[^\S\n]|[\u200b-\u200f\u2060\ufeff]"  # characters that some programs strip from the start of a cell
FORMULA = re.compile(rf"(\A|[;\n])((?:{UNSEEN})*[=+\-@\uff1d\uff0b\uff0d\uff20])")
# Each of these has a column for every field of the schema, and one for the rest as JSON.
OF_SCHEMA = ("output", "label")
MOST_SHOWN = 400  # characters of an answer in a table
WIDE = 110  # columns; a terminal at least this wide also shows the standing


class Format(Protocol):
    """A text format for any number of items: one call of `begin`, any number of `rows`, then one of `end`."""

    def begin(self) -> str: ...

    def rows(self, items: Sequence[Listed]) -> str: ...

    def end(self) -> str: ...


class Jsonl:
    """JSON Lines: one JSON object per line."""

    def begin(self) -> str:
        return ""

    def rows(self, items: Sequence[Listed]) -> str:
        return "".join(f"{_json(each)}\n" for each in items)

    def end(self) -> str:
        return ""


class JsonList:
    """A JSON list with one object per line."""

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
    """CSV with a header row and one row per item.

    Each output field that the schemas name has the column `output.<field>`, and the same field of the newest label has
    `label.<field>`.

    Text that a spreadsheet would evaluate as a formula gets a leading apostrophe.
    """

    def __init__(self, schemas: Iterable[Mapping[str, Any]]) -> None:
        self._columns = OutputColumns(schemas)

    def begin(self) -> str:
        names: list[str] = []
        for each in SHOWN:
            if each in OF_SCHEMA:
                names += [*(f"{each}.{name}" for name in self._columns.names), f"{each}_rest"]
            else:
                names.append(each)
        return _lines([names])

    def rows(self, items: Sequence[Listed]) -> str:
        return _lines(map(self._row, items))

    def end(self) -> str:
        return ""

    def _row(self, item: Listed) -> list[Any]:
        row: list[Any] = []
        for name in SHOWN:
            if name in OF_SCHEMA:
                values = getattr(item, name) or {}
                row += [*self._columns.cells(values), self._columns.rest(values) or None]
            else:
                row.append(getattr(item, name))
        return row


def table(items: Sequence[Listed], *, width: int, headed: bool = True) -> Table:
    """Return a table of items with whole keys and fixed columns; a terminal narrower than 110 columns shows fewer of them."""
    wide = width >= WIDE
    grid = Table(box=None, show_header=headed, pad_edge=False, expand=True)
    grid.header_style = "bold underline"
    grid.add_column("Key", ratio=2, overflow="fold", min_width=8)
    grid.add_column("State", width=8, no_wrap=True)
    grid.add_column("Lane", width=8, no_wrap=True)
    if wide:
        grid.add_column("Standing", width=13, no_wrap=True)
    grid.add_column("Changed (UTC)", width=19 if wide else 14, no_wrap=True)
    grid.add_column("Cost", width=9, no_wrap=True, justify="right")
    grid.add_column("Answer", ratio=5 if wide else 3, no_wrap=True, min_width=8)
    for item in items:
        changed_at = item.changed_at.astimezone(UTC)
        grid.add_row(
            Text(plain(item.key, most=KEY_LIMIT)),
            item.state,
            item.lane or MISSING,
            *([item.standing or MISSING] if wide else []),
            f"{changed_at:%Y-%m-%d %H:%M:%S}" if wide else f"{changed_at:%m-%d %H:%M:%S}",
            usd(item.cost_usd),
            _answer(item),
        )
    return grid


def _answer(item: Listed) -> Text:
    """Render the answer's fields, each with its label where the two differ; without an answer, the failure reason."""
    if item.output is None:
        return Text(plain(item.failure or "", most=MOST_SHOWN), "red")
    fields = (_field(item, name, value) for name, value in item.output.items())
    return Text(plain(", ".join(fields), most=MOST_SHOWN))


def _field(item: Listed, name: str, value: Any) -> str:
    right = (item.label or {}).get(name, value)
    return f"{name}: {format_value(value)}" + (
        "" if right == value else f" (label: {format_value(right)})"
    )


def format_value(value: Any) -> str:
    """Return a value of an answer for people: a string unchanged, any other value as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _json(item: Listed) -> str:
    shown = {name: getattr(item, name) for name in SHOWN}
    return strip_controls(json.dumps(shown, default=_plainly, ensure_ascii=False))


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


def cell(value: Any) -> str | int | float:
    """Return a CSV cell: numbers unchanged, times in UTC, lists and objects as JSON, None as "", and text made harmless."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case int() | float():
            return value
        case Decimal() | datetime():
            return _plainly(value)
        case str():
            return harmless(value)
        case _:
            return harmless(json.dumps(value, ensure_ascii=False))


def harmless(text: str) -> str:
    """Return the text with line breaks as line feeds, other control characters as blanks, and formulas escaped."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return FORMULA.sub(r"\1'\2", CONTROLS.sub(" ", lines.replace("\t", " ")))


class OutputColumns:
    """One column for each field that a schema names, in the order of the schemas.

    An object with named fields has a column for each field; a list, or any other value without fixed fields, has one column.
    """

    def __init__(self, schemas: Iterable[Mapping[str, Any]]) -> None:
        self.paths = list(dict.fromkeys(path for schema in schemas for path in _leaves(schema)))
        self._known = set(self.paths)
        self._inner = {path[:length] for path in self.paths for length in range(1, len(path))}

    @property
    def names(self) -> list[str]:
        """The column names, for example `address.city` for the field `city` of the object `address`."""
        return [".".join(map(_quote_name, path)) for path in self.paths]

    def cells(self, output: Mapping[str, Any]) -> list[Any]:
        """Return the value of each column, None where the output has none."""
        return [self._cell(output, path) for path in self.paths]

    def rest(self, output: Mapping[str, Any]) -> dict[str, Any]:
        """Return the part of the output that has no column; with `cells` it makes up the whole output except nulls."""
        return self._rest(output, ())

    def _cell(self, output: Mapping[str, Any], path: Place) -> Any:
        value: Any = output
        for name in path:
            if not isinstance(value, dict):
                return None
            value = value.get(name)
        return None if path in self._inner and isinstance(value, dict) else value

    def _rest(self, output: Mapping[str, Any], above: Place) -> dict[str, Any]:
        left: dict[str, Any] = {}
        for name, value in output.items():
            path = (*above, name)
            if path in self._inner and isinstance(value, dict):
                value = self._rest(value, path)
                if not value:
                    continue
            elif path in self._known or (path in self._inner and value is None):
                continue
            left[name] = value
        return left


def _leaves(schema: Mapping[str, Any]) -> Iterator[Place]:
    resolver = Registry().with_resource("", DRAFT202012.create_resource(dict(schema))).resolver()

    def walk(node: Any, path: Place, visited_references: frozenset[str]) -> Iterator[Place]:
        while isinstance(node, dict):
            if (reference := node.get("$ref")) is not None:
                if reference in visited_references:  # a recursive schema would never end
                    break
                visited_references, node = (
                    visited_references | {reference},
                    resolver.lookup(reference).contents,
                )
            elif (only := _only_choice(node)) is not None:
                node = only
            else:
                break
        fields = node.get("properties") if isinstance(node, dict) and "$ref" not in node else None
        if not fields:
            yield path
            return
        for name, field in fields.items():
            yield from walk(field, (*path, name), visited_references)

    return walk(schema, (), frozenset())


def _only_choice(part: Mapping[str, Any]) -> Any:
    """Return the non-null schema of a nullable field; None if the schema has another form."""
    offered = part.get("anyOf") or part.get("oneOf") or ()
    choices = [each for each in offered if each != {"type": "null"}]
    return choices[0] if len(choices) == 1 and "properties" not in part else None


def _quote_name(name: str) -> str:
    return json.dumps(name, ensure_ascii=False) if "." in name or '"' in name else name

"""Listed items written out: as JSON for programs, as CSV for spreadsheets, as a table for people."""

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
from lanes.text import CONTROLS, in_json, plain
from lanes.units import MISSING, usd

Place = tuple[str, ...]  # of a field in an output: its name, below those of the objects around it
# A spreadsheet shows every cell as it is: what begins like a formula gets an apostrophe in front, as in
# https://owasp.org/www-community/attacks/CSV_Injection. So does what follows a line break or a semicolon, because a
# spreadsheet that parts cells there begins a new one.
UNSEEN = r"[^\S\n]|[\u200b-\u200f\u2060\ufeff]"  # what some programs drop from the front of a cell
FORMULA = re.compile(rf"(\A|[;\n])((?:{UNSEEN})*[=+\-@\uff1d\uff0b\uff0d\uff20])")
# have a column for each field of the schema, and one for the rest, as JSON
OF_SCHEMA = ("output", "label")
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
    """A row an item, after a row of names.

    The fields of the output are columns `output.<field>` after its schemas, and those of the newest label
    `label.<field>`.

    What a spreadsheet would take as a formula gets an apostrophe in front.
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
                said = getattr(item, name) or {}
                row += [*self._columns.cells(said), self._columns.rest(said) or None]
            else:
                row.append(getattr(item, name))
        return row


def table(items: Sequence[Listed], *, width: int, headed: bool = True) -> Table:
    """Show items with their whole keys, in the same columns each time; a terminal less wide than 110 shows fewer columns."""
    wide = width >= WIDE
    made = Table(box=None, show_header=headed, pad_edge=False, expand=True)
    made.header_style = "bold underline"
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
    """Render the answer's fields, with the label if it contradicts one; without an answer, the reason."""
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
    """Return a value of an answer as people read it: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _json(item: Listed) -> str:
    shown = {name: getattr(item, name) for name in SHOWN}
    return in_json(json.dumps(shown, default=_plainly, ensure_ascii=False))


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
    """Return a cell: numbers unchanged, moments in UTC, lists and objects as JSON, None as "", safe text."""
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
    """Return the text with line feeds, a blank for each other control character, and no formula."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return FORMULA.sub(r"\1'\2", CONTROLS.sub(" ", lines.replace("\t", " ")))


class OutputColumns:
    """A column for every field that one of the schemas names: those of the first schema first.

    An object with named fields gives its fields' columns; a list, and whatever else has no fixed fields, is one value.
    """

    def __init__(self, schemas: Iterable[Mapping[str, Any]]) -> None:
        self.paths = list(dict.fromkeys(path for schema in schemas for path in _leaves(schema)))
        self._known = set(self.paths)
        self._inner = {path[:length] for path in self.paths for length in range(1, len(path))}

    @property
    def names(self) -> list[str]:
        """`address.city` for the field `city` of the object `address`."""
        return [".".join(map(_quote_name, path)) for path in self.paths]

    def cells(self, output: Mapping[str, Any]) -> list[Any]:
        """Return the value of each column, None where the output has none."""
        return [self._cell(output, path) for path in self.paths]

    def rest(self, output: Mapping[str, Any]) -> dict[str, Any]:
        """Return the part of the output that has no column; together with `cells` it is the whole output except nulls."""
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

    def walk(part: Any, path: Place, met: frozenset[str]) -> Iterator[Place]:
        while isinstance(part, dict):
            if (reference := part.get("$ref")) is not None:
                if reference in met:  # a schema that holds itself has no end
                    break
                met, part = met | {reference}, resolver.lookup(reference).contents
            elif (only := _only_choice(part)) is not None:
                part = only
            else:
                break
        fields = part.get("properties") if isinstance(part, dict) and "$ref" not in part else None
        if not fields:
            yield path
            return
        for name, field in fields.items():
            yield from walk(field, (*path, name), met)

    return walk(schema, (), frozenset())


def _only_choice(part: Mapping[str, Any]) -> Any:
    """Return the schema of a nullable field without null; None if it is not of that form."""
    offered = part.get("anyOf") or part.get("oneOf") or ()
    choices = [each for each in offered if each != {"type": "null"}]
    return choices[0] if len(choices) == 1 and "properties" not in part else None


def _quote_name(name: str) -> str:
    return json.dumps(name, ensure_ascii=False) if "." in name or '"' in name else name

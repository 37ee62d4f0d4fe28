"""What migrations/schema/current/ says: each file defines one function, view, type or trigger of schema `lanes`."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from graphlib import TopologicalSorter
from pathlib import Path

from lanes.store.tables import SCHEMA

FOLDER = Path(__file__).resolve().parents[3] / "migrations" / "schema" / "current"

_HEAD = re.compile(
    rf"^create (?:or replace )?(?:(?P<kind>function|view|type) {SCHEMA}\.(?P<name>\w+)"
    rf"|trigger (?P<trigger>\w+) .*? on {SCHEMA}\.(?P<table>\w+))",
    re.MULTILINE | re.DOTALL,
)
_COMMENT = re.compile(r"^comment on ", re.MULTILINE)
_FOR_READERS = re.compile(r"^--.*\n", re.MULTILINE)
_NAMED = re.compile(
    rf"^(create (?:or replace )?(?:function|view|type)|comment on (?:function|view|type|column)) {SCHEMA}\.",
    re.MULTILINE,
)
_OURS = re.compile(rf"\b{SCHEMA}\.(\w+)")


@dataclass(frozen=True)
class Piece:
    """One object of the schema, and the SQL that creates or replaces it and comments on it."""

    file: str  # within the folder, without its suffix: doors/admit
    kind: str  # function, view, type or trigger
    name: str  # a trigger's is <table>_<trigger>
    sql: str
    table: str | None = None  # a trigger's

    @cached_property
    def definition(self) -> str:
        """The SQL without comments, neither those for readers of the file nor those in the database."""
        return _COMMENT.split(_FOR_READERS.sub("", self.sql))[0].strip()

    @property
    def twin(self) -> str:
        """SQL that makes the same object as a temporary one of this session; it names the same tables and functions."""
        if self.kind != "trigger":
            return _NAMED.sub(r"\1 pg_temp.", self.sql)
        table = f"create temporary table if not exists {self.table} (like {SCHEMA}.{self.table});\n"
        return table + self.sql.replace(
            f" on {SCHEMA}.{self.table} ", f" on pg_temp.{self.table} ", 1
        )

    def uses(self, other: "Piece") -> bool:
        """Whether its definition names the other."""
        return other.name in self._names and other != self

    @cached_property
    def _names(self) -> frozenset[str]:
        """Everything of the schema that its definition names."""
        return frozenset(_OURS.findall(self.definition))


def read(file: str, sql: str) -> Piece:
    """The object that a file defines.

    Raises:
        ValueError: it defines none, or several.
    """
    heads = list(_HEAD.finditer(sql))
    if len(heads) != 1:
        raise ValueError(
            f"{file}.sql defines {len(heads)} functions, views, types or triggers: a file defines one"
        )
    (head,) = heads
    if head["trigger"]:
        return Piece(file, "trigger", f"{head['table']}_{head['trigger']}", sql, head["table"])
    return Piece(file, head["kind"], head["name"], sql)


def in_order(pieces: list[Piece]) -> list[Piece]:
    """Each after those that it uses.

    Raises:
        CycleError: two use each other.
    """
    by_file = {piece.file: piece for piece in sorted(pieces, key=lambda piece: piece.file)}
    order = TopologicalSorter(
        {
            piece.file: [each.file for each in pieces if piece.uses(each)]
            for piece in by_file.values()
        }
    )
    return [by_file[file] for file in order.static_order()]


@cache
def pieces() -> tuple[Piece, ...]:
    """All of them, each after those that it uses."""
    files = sorted(FOLDER.rglob("*.sql"))
    return tuple(
        in_order(
            [
                read(file.relative_to(FOLDER).with_suffix("").as_posix(), file.read_text())
                for file in files
            ]
        )
    )


def fingerprint(said: Sequence[Piece]) -> str:
    """Return 12 hexadecimal digits that change with any definition, and not with comments."""
    told = sorted(f"{piece.file}\n{piece.definition}\n" for piece in said)
    return hashlib.sha256("".join(told).encode()).hexdigest()[:12]

"""The files of migrations/schema/current/: each defines one function, view, type or trigger of schema `lanes`.

Lines before the definition that begin with `---` are the object's comment in the database, and lines of the form
`---   name: ...` are the comments of its columns. Both may continue in lines that are indented further.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from graphlib import TopologicalSorter

from lanes import FILES
from lanes.store.current.counts import fill_in
from lanes.store.tables import SCHEMA

FOLDER = FILES / "migrations" / "schema" / "current"

_HEAD = re.compile(
    rf"^create (?:or replace )?(?:(?P<kind>function|view|type) {SCHEMA}\.(?P<name>\w+)"
    rf"|trigger (?P<trigger>\w+) .*? on {SCHEMA}\.(?P<table>\w+))",
    re.MULTILINE | re.DOTALL,
)
_COMMENT = re.compile(r"^comment on ", re.MULTILINE)
_COLUMN_SAYS = re.compile(r"^---   (\w+): (.*)")
_FOR_READERS = re.compile(r"^--.*\n", re.MULTILINE)
_NAMED = re.compile(
    rf"^(create (?:or replace )?(?:function|view|type)|comment on (?:function|view|type|column)) {SCHEMA}\.",
    re.MULTILINE,
)
_OURS = re.compile(rf"\b{SCHEMA}\.(\w+)")


@dataclass(frozen=True)
class SqlFile:
    """A file, and the object that its SQL creates or replaces."""

    file: str  # within the folder, without its suffix: doors/admit
    kind: str  # function, view, type or trigger
    name: str  # for a trigger: <table>_<trigger>
    sql: str
    table: str | None = None  # of a trigger

    @cached_property
    def definition(self) -> str:
        """The SQL without comments, neither those for readers of the file nor those in the database."""
        return _COMMENT.split(_FOR_READERS.sub("", self.sql))[0].strip()

    @property
    def twin(self) -> str:
        """SQL that creates the same object as a temporary object of this session."""
        if self.kind != "trigger":
            return _NAMED.sub(r"\1 pg_temp.", self.sql)
        table = f"create temporary table if not exists {self.table} (like {SCHEMA}.{self.table});\n"
        return table + self.sql.replace(
            f" on {SCHEMA}.{self.table} ", f" on pg_temp.{self.table} ", 1
        )

    def uses(self, other: "SqlFile") -> bool:
        """Return whether this file's definition names the other object."""
        return other.name in self._names and other != self

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(_OURS.findall(self.definition))


def read(file: str, sql: str) -> SqlFile:
    """Return the object that a file defines.

    Raises:
        ValueError: the file defines no object, or several.
    """
    heads = list(_HEAD.finditer(sql))
    if len(heads) != 1:
        raise ValueError(
            f"{file}.sql defines {len(heads)} functions, views, types or triggers: a file defines one"
        )
    (head,) = heads
    if head["trigger"]:
        return SqlFile(file, "trigger", f"{head['table']}_{head['trigger']}", sql, head["table"])
    return SqlFile(
        file, head["kind"], head["name"], sql + _comments(head["kind"], head["name"], sql)
    )


def _comments(kind: str, name: str, sql: str) -> str:
    """Return the statements that set the comments of an object and its columns, from the `---` lines of its file."""
    comments: dict[str, list[str]] = {}
    target = f"{kind} {SCHEMA}.{name}"
    for line in sql.splitlines():
        if column := _COLUMN_SAYS.match(line):
            target = f"column {SCHEMA}.{name}.{column[1]}"
            comments[target] = [column[2]]
        elif line.startswith("---"):
            comments.setdefault(target, []).append(line.removeprefix("---").strip())
    quoted = {target: " ".join(lines).replace("'", "''") for target, lines in comments.items()}
    return "".join(f"comment on {target} is '{text}';\n" for target, text in quoted.items())


def in_order(files: list[SqlFile]) -> list[SqlFile]:
    """Return the files, each after the files that it uses.

    Raises:
        CycleError: files use each other.
    """
    by_name = {each.file: each for each in sorted(files, key=lambda each: each.file)}
    order = TopologicalSorter(
        {
            name: [other.file for other in files if each.uses(other)]
            for name, each in by_name.items()
        }
    )
    return [by_name[name] for name in order.static_order()]


@cache
def sql_files() -> tuple[SqlFile, ...]:
    """Return all files of the folder, each after the files that it uses."""
    found = sorted(FOLDER.rglob("*.sql"))
    return tuple(
        in_order(
            [
                read(each.relative_to(FOLDER).with_suffix("").as_posix(), fill_in(each.read_text()))
                for each in found
            ]
        )
    )


def fingerprint(files: Sequence[SqlFile]) -> str:
    """Return 12 hexadecimal digits that change with any definition, but not with comments."""
    definitions = sorted(f"{each.file}\n{each.definition}\n" for each in files)
    return hashlib.sha256("".join(definitions).encode()).hexdigest()[:12]

"""The schema `lanes`, and the types that its tables share."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, TypeVar, cast

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Identity,
    Index,
    MetaData,
    Numeric,
    Table,
    Text,
    TypedColumns,
    TypeDecorator,
    text,
)
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

N = TypeVar("N", bound=int)
W = TypeVar("W", bound=StrEnum)
C = TypeVar("C", bound=TypedColumns)
T = TypeVar("T")

SCHEMA = "lanes"
metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    },
)

Moment = DateTime(timezone=True)
Usd = Numeric(20, 10)


def id_of(kind: Callable[[int], N]) -> TypeEngine[N]:
    """Return the type of numbers that are ids of this kind."""
    return cast(TypeEngine[N], BigInteger())


def identity(kind: Callable[[int], N]) -> Column[N]:
    """Return the primary key that the database numbers."""
    return Column(id_of(kind), Identity(always=True), primary_key=True)


def list_of(kind: type[TypeEngine[T]]) -> TypeEngine[list[T]]:
    """Return the type of arrays of this kind, read as lists."""
    return cast(TypeEngine[list[T]], ARRAY(kind))


class _Members(dict[str | None, Any]):
    """The members of a StrEnum by their text, and None by None."""

    def __init__(self, words: type[StrEnum]) -> None:
        super().__init__({None: None} | {each.value: each for each in words})
        self.words = words

    def __missing__(self, text: str) -> Any:
        raise LookupError(
            f"{text!r} in the database is no {self.words.__name__}: {', '.join(self.words)}"
        )


class Word(TypeDecorator[W]):
    """Text of a closed set, read as members of its StrEnum by one dict lookup per value."""

    impl = Text
    cache_ok = True

    def __init__(self, words: type[W]) -> None:
        super().__init__()
        self.words = words
        self._members = _Members(words)

    @property
    def python_type(self) -> type[W]:
        return self.words

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """Return the lookup itself, because claims and saves read many words."""
        return self._members.__getitem__


def column(
    kind: TypeEngine[T] | type[TypeEngine[T]],
    comment: str | None = None,
    *parts: SchemaItem,
    default: str | None = None,
    **options: Any,
) -> Column[T]:
    """Return a column with its comment and, as SQL, its default in the database."""
    if default is not None:
        options["server_default"] = text(default)
    return Column(kind, *parts, comment=comment, **options)


def index(name: str | None, *columns: Any, where: str | None = None, **options: Any) -> Index:
    """Return an index; `where` makes it partial."""
    if where is not None:
        options["postgresql_where"] = text(where)
    return Index(name, *columns, **options)


def unenforced(of: Column[Any]) -> ForeignKey:
    """Refer to a row that the writing statement reads or writes itself, so the database need not check it (NOT ENFORCED)."""
    return ForeignKey(of)


def table(
    name: str,
    columns: type[C],
    comment: str,
    *parts: SchemaItem,
    checked_moments: Sequence[str] | None = None,
    **options: Any,
) -> Table[C]:
    """Return a table of schema `lanes` with its checks.

    Columns of a closed set hold its words. Moments are finite: an infinite one comes before or after all others, which would
    stop whatever goes by order or age. Postgres parses a check anew for every statement, so a table whose rows are inserted
    one by one names the moments to check; the clock of Lanes writes the others.
    """
    made = Table(name, metadata, columns, *parts, comment=comment, **options)
    moments = checked_moments or [
        each.name for each in made.columns if isinstance(each.type, DateTime)
    ]
    if moments:
        finite = " and ".join(f"isfinite({name})" for name in moments)
        made.append_constraint(CheckConstraint(finite, name="finite"))
    for each in made.columns:
        if isinstance(each.type, Word) and each.computed is None:
            words: type[StrEnum] = each.type.words
            known = ", ".join(repr(word.value) for word in words)
            check = CheckConstraint(f"{each.name} in ({known})", name=f"{each.name}_known")
            made.append_constraint(check)
    return made

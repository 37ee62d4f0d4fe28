"""The schema `lanes`, and the types and helpers that its tables share."""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from inspect import get_annotations
from types import NoneType
from typing import Any, NewType, TypeVar, cast, get_args, get_origin
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import NullType, TypeEngine

W = TypeVar("W", bound=StrEnum)
C = TypeVar("C", bound=sa.TypedColumns)

SCHEMA = "lanes"
metadata = sa.MetaData(
    schema=SCHEMA,
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    },
)

Moment = sa.DateTime(timezone=True)
Usd = sa.Numeric(20, 10)


class _Members(dict[str | None, Any]):
    """The members of a StrEnum by their text; None maps to None."""

    def __init__(self, words: type[StrEnum]) -> None:
        super().__init__({None: None} | {each.value: each for each in words})
        self.words = words

    def __missing__(self, text: str) -> Any:
        raise LookupError(
            f"{text!r} in the database is no {self.words.__name__}: {', '.join(self.words)}"
        )


class Word(sa.TypeDecorator[W]):
    """A text column with a closed set of values, read as members of its StrEnum with one dict lookup per value."""

    impl = sa.Text
    cache_ok = True

    def __init__(self, words: type[W]) -> None:
        super().__init__()
        self.words = words
        self._members = _Members(words)

    @property
    def python_type(self) -> type[W]:
        return self.words

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Any:
        """Return the dict's lookup method itself, which is fast: claims and saves read many values."""
        return self._members.__getitem__


# Column types by annotation. `type_of` handles the others: an id (NewType) is a bigint, a StrEnum is a `Word`.
TYPES: dict[Any, TypeEngine[Any]] = {
    str: sa.Text(),
    int: sa.Integer(),
    bool: sa.Boolean(),
    float: sa.Double(),
    bytes: sa.LargeBinary(),
    date: sa.Date(),
    datetime: Moment,
    Decimal: Usd,
    UUID: sa.Uuid(),
    Any: JSONB(),
}


def type_of(annotation: Any) -> TypeEngine[Any]:
    """Return the column type for an annotation such as `Named[datetime | None]`."""
    (kind,) = get_args(annotation)
    if NoneType in get_args(kind):
        kind = get_args(kind)[0]
    if get_origin(kind) is list:
        return sa.ARRAY(type_of(kind))
    if isinstance(kind, NewType):
        return sa.BigInteger()
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return Word(kind)
    return TYPES[kind]


def column(
    comment: str | None = None, *parts: SchemaItem, default: str | None = None, **options: Any
) -> sa.Column[Any]:
    """Return a column with a comment and, as SQL, a server default.

    The column's annotation determines its type, unless `type_` is passed.
    """
    if default is not None:
        options["server_default"] = sa.text(default)
    return sa.Column(*parts, comment=comment, **options)


def identity() -> sa.Column[Any]:
    """Return a primary key that the database numbers."""
    return sa.Column(sa.BigInteger(), sa.Identity(always=True), primary_key=True)


def index(
    name: str | None, columns: str, *parts: Any, where: str | None = None, **options: Any
) -> sa.Index:
    """Return an index on these comma-separated columns, followed by `parts` (expressions); `where` makes it partial."""
    if where is not None:
        options["postgresql_where"] = sa.text(where)
    return sa.Index(name, *columns.split(", "), *parts, **options)


def reference_unenforced(of: sa.Column[Any]) -> sa.ForeignKey:
    """Return a foreign key that the database does not check (NOT ENFORCED): writers read or write the row that it refers to."""
    return sa.ForeignKey(of)


def table(
    *parts: SchemaItem, checked_moments: Sequence[str] | None = None, **options: Any
) -> Callable[[type[C]], sa.Table[C]]:
    """Return a decorator that makes a table from a class: name, columns and, from the docstring, the table's comment.

    Check constraints restrict `Word` columns to the values of their StrEnum, and moments to finite values: an infinite
    timestamp sorts before or after all others, and would block every process that works by order or age. Postgres parses a
    check again for every statement, so a table whose rows are inserted one by one names in `checked_moments` the moments to
    check; the clock of Lanes writes the others.
    """

    def make(cls: type[C]) -> sa.Table[C]:
        comment = (cls.__doc__ or "").removesuffix(".")
        new_table = sa.Table(
            cls.__name__, metadata, _type_columns(cls), *parts, comment=comment, **options
        )
        _check(new_table, checked_moments)
        return cast(sa.Table[C], new_table)

    return make


def _type_columns(cls: type[sa.TypedColumns]) -> type[sa.TypedColumns]:
    """Return a class with a typed column for each annotation of `of` and its bases; the columns of bases come first."""
    columns: dict[str, Any] = {}
    annotations: dict[str, Any] = {}
    for base in reversed(cls.__mro__[: cls.__mro__.index(sa.TypedColumns)]):
        for name, annotation in get_annotations(base).items():
            new_column = vars(base).get(name)
            columns[name] = new_column = sa.Column() if new_column is None else new_column
            annotations[name] = annotation
            if isinstance(new_column.type, NullType):
                new_column.type = type_of(annotation)
    return type(cls.__name__, (sa.TypedColumns,), {**columns, "__annotations__": annotations})


def _check(new_table: sa.Table[Any], checked_moments: Sequence[str] | None) -> None:
    """Add check constraints for the table's moments and closed sets of values."""
    moments = checked_moments or [
        each.name for each in new_table.columns if isinstance(each.type, sa.DateTime)
    ]
    if moments:
        finite = " and ".join(f"isfinite({name})" for name in moments)
        new_table.append_constraint(sa.CheckConstraint(finite, name="finite"))
    for each in new_table.columns:
        if isinstance(each.type, Word) and each.computed is None:
            words: type[StrEnum] = each.type.words
            known = ", ".join(repr(word.value) for word in words)
            check = sa.CheckConstraint(f"{each.name} in ({known})", name=f"{each.name}_known")
            new_table.append_constraint(check)

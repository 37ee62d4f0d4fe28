"""The schema `lanes`, and the types that its tables share."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar, cast

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Identity,
    MetaData,
    Numeric,
    Text,
    TypeDecorator,
)
from sqlalchemy.types import TypeEngine

N = TypeVar("N", bound=int)
W = TypeVar("W", bound=StrEnum)

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
    """Numbers that are ids of this kind."""
    return cast(TypeEngine[N], BigInteger())


def identity(kind: Callable[[int], N]) -> Column[N]:
    """The table's own number, given by the database."""
    return Column(id_of(kind), Identity(always=True), primary_key=True)


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
    """Text of a closed set: a column of it is read as members of its StrEnum, one look into a dict for each value."""

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
        """The look into the dict itself, without a call of ours around it: claims and saves read many words."""
        return self._members.__getitem__


def finite_moments(of: MetaData) -> None:
    """Let no table hold an infinite moment: none is before or after it, so that it stops whatever goes by order or age."""
    for table in of.tables.values():
        moments = [each.name for each in table.columns if isinstance(each.type, DateTime)]
        if moments:
            finite = " and ".join(f"isfinite({name})" for name in moments)
            table.append_constraint(CheckConstraint(finite, name="finite"))


def one_of(column: str, words: type[StrEnum]) -> CheckConstraint:
    """The column holds a word of this StrEnum."""
    return CheckConstraint(
        f"{column} in ({', '.join(repr(each.value) for each in words)})", name=f"{column}_known"
    )

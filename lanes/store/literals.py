"""Conditions whose values stand in the statement's text, so that a plan kept by the server knows which partial index fits."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Text, bindparam, literal


def is_(column: ColumnElement[Any], value: str) -> ColumnElement[bool]:
    """The column holds this constant."""
    return column == literal(str(value), Text, literal_execute=True)


def is_among(column: ColumnElement[Any], values: Sequence[str]) -> ColumnElement[bool]:
    """The column holds one of these constants."""
    return column.in_(_constants(values))


def is_none_of(column: ColumnElement[Any], values: Sequence[str]) -> ColumnElement[bool]:
    """The column holds something else than these constants."""
    return column.not_in(_constants(values))


def differs(column: ColumnElement[Any], value: str) -> ColumnElement[bool]:
    """The column holds something else than this constant, or nothing."""
    return column.is_distinct_from(literal(str(value), Text, literal_execute=True))


def _constants(values: Sequence[str]) -> BindParameter[Any]:
    return bindparam(
        None,
        [str(each) for each in values],
        type_=Text,
        expanding=True,
        literal_execute=True,
        unique=True,
    )

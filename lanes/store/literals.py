"""Conditions with their values in the statement's text, so that generic plans can use partial indexes."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Text, bindparam, literal


def is_(column: ColumnElement[Any], value: str) -> ColumnElement[bool]:
    """Match a column that holds this constant."""
    return column == literal(str(value), Text, literal_execute=True)


def is_among(column: ColumnElement[Any], values: Sequence[str]) -> ColumnElement[bool]:
    """Match a column that holds one of these constants."""
    return column.in_(_constants(values))


def is_none_of(column: ColumnElement[Any], values: Sequence[str]) -> ColumnElement[bool]:
    """Match a column that holds none of these constants, and is not null."""
    return column.not_in(_constants(values))


def differs(column: ColumnElement[Any], value: str) -> ColumnElement[bool]:
    """Match a column that is null or holds another value than this constant."""
    return column.is_distinct_from(literal(str(value), Text, literal_execute=True))


def _constants(values: Sequence[str]) -> BindParameter[Any]:
    given = [str(each) for each in values]
    return bindparam(None, given, type_=Text, expanding=True, literal_execute=True, unique=True)

"""Rows of figures as they were read: those that count one thing, and what they add up to."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any


def of_kind(rows: Iterable[Any], kind: str) -> list[Any]:
    """The rows that count this."""
    return [each for each in rows if each.kind == kind]


def summed(rows: Iterable[Any], measure: str) -> int:
    """That column of all of them."""
    return sum(getattr(each, measure) for each in rows)


def usd_of(rows: Iterable[Any], measure: str) -> Decimal:
    """The same of US dollars."""
    return sum((getattr(each, measure) for each in rows), Decimal(0))

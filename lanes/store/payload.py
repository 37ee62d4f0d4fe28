"""How large a stored payload is, counted by the database as `lanes.payload` counts it."""

from typing import Any

from sqlalchemy import ColumnElement, Text, func


def characters(payload: ColumnElement[Any]) -> ColumnElement[int]:
    """Of the payload as JSON: costs are estimated by them."""
    return func.length(payload.cast(Text))


def octets(payload: ColumnElement[Any]) -> ColumnElement[int]:
    """The bytes of the payload as JSON: they bound what is held at once, and what a door takes."""
    return func.octet_length(payload.cast(Text))

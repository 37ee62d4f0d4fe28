"""How large a stored payload is: the database counts what `lanes.json_data` counts."""

from typing import Any

from sqlalchemy import ColumnElement, Text, func


def characters(payload: ColumnElement[Any]) -> ColumnElement[int]:
    """Of the payload as JSON: costs are estimated by them."""
    return func.length(payload.cast(Text))


def octets(payload: ColumnElement[Any]) -> ColumnElement[int]:
    """The bytes of the payload as JSON: they bound what is held at once, and what a door takes."""
    return func.octet_length(payload.cast(Text))


def call_bytes(payload: ColumnElement[Any]) -> ColumnElement[int]:
    """Return at least the bytes that the payload can take in the body of a call: the database indents it further."""
    return func.octet_length(func.to_json(func.jsonb_pretty(payload)).cast(Text)) + octets(payload)

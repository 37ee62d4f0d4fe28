"""Cursor pages, used by the lists of models and of batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from anthropic_standin.errors import invalid

DEFAULT_LIMIT = 20
LARGEST_LIMIT = 1_000


@dataclass(frozen=True, slots=True)
class Cursor:
    """The requested page: the `limit` rows after an id, or the last `limit` rows before an id."""

    limit: int = DEFAULT_LIMIT
    after_id: str | None = None
    before_id: str | None = None


def read_cursor(query: bytes) -> Cursor:
    """Return the cursor of a query string; ApiError 400 unless 1 <= limit <= 1000."""
    fields = {name: values[-1] for name, values in parse_qs(query.decode("latin-1")).items()}
    try:
        limit = int(fields.get("limit", DEFAULT_LIMIT))
    except ValueError:
        raise invalid(f"limit: Input should be a valid integer, not {fields['limit']!r}") from None
    if not 1 <= limit <= LARGEST_LIMIT:
        raise invalid(f"limit: Input should be between 1 and {LARGEST_LIMIT}, not {limit}")
    return Cursor(limit, fields.get("after_id"), fields.get("before_id"))


def page(rows: list[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    """Return a page in its envelope."""
    return {
        "data": rows,
        "has_more": has_more,
        "first_id": rows[0]["id"] if rows else None,
        "last_id": rows[-1]["id"] if rows else None,
    }


def page_of(rows: list[dict[str, Any]], cursor: Cursor) -> dict[str, Any]:
    """Return one page of a list in memory; ApiError 400 if the cursor names no row."""
    ids = [row["id"] for row in rows]
    for name in ("after_id", "before_id"):
        wanted = getattr(cursor, name)
        if wanted is not None and wanted not in ids:
            raise invalid(f"{name}: no such id {wanted!r}; list again without it")
    if cursor.before_id is not None:
        rows = rows[: ids.index(cursor.before_id)]
        return page(rows[-cursor.limit :], has_more=len(rows) > cursor.limit)
    if cursor.after_id is not None:
        rows = rows[ids.index(cursor.after_id) + 1 :]
    return page(rows[: cursor.limit], has_more=len(rows) > cursor.limit)

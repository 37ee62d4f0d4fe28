"""Identifiers and timestamps as they appear in answers."""

from __future__ import annotations

import itertools
import secrets
from datetime import UTC, datetime

_boot = secrets.token_hex(6)
_serial = itertools.count(1)


def new_id(prefix: str) -> str:
    """Return a fresh identifier such as `msg_4fd1c09a2b7e000000000001`; unique over restarts."""
    return f"{prefix}_{_boot}{next(_serial):012x}"


def rfc3339(seconds: float) -> str:
    """Return a time (seconds since the epoch) in the API's format, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")

"""Engines whose errors say what went wrong and quote nothing of what was stored: neither parameters nor rows.

An error's text ends in logs, in the state of a run and in an attempt; payloads belong into none of them.
"""

from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.exc import DBAPIError

from lanes import json_data
from lanes.text import mask_secrets

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

BAD_VALUE = "22"  # SQLSTATE class "data exception": the message itself quotes the value,
NO_VALUE = "22012"  # but for a division by zero
REFUSES = (
    "22",
    "23",
    "54",
)  # classes of SQLSTATE: data, integrity, and limits such as the size of an index row


def discreet_engine(url: str | URL, **how: Any) -> Engine:
    """An engine for synchronous callers."""
    engine = create_engine(url, hide_parameters=True, json_deserializer=json_data.loads, **how)
    event.listen(engine, "handle_error", _say_less)
    return engine


def discreet_async_engine(url: str | URL, **how: Any) -> "AsyncEngine":
    """An engine for asynchronous callers."""
    from sqlalchemy.ext.asyncio import (
        create_async_engine,
    )  # the mapper comes with it: a command does without

    engine = create_async_engine(
        url, hide_parameters=True, json_deserializer=json_data.loads, **how
    )
    event.listen(engine.sync_engine, "handle_error", _say_less)
    return engine


def is_refusal(error: Exception) -> bool:
    """Return whether Postgres refuses what the rows say, and would again: no connection, lock or server is at fault."""
    state = getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
    return state is not None and state[:2] in REFUSES


def _say_less(context: ExceptionContext) -> None:
    """The server's error keeps its first sentence and what it is about; its DETAIL may show a whole row."""
    error, wrapped = context.original_exception, context.sqlalchemy_exception
    if not isinstance(error, psycopg.Error):
        return
    if (
        error.sqlstate is None
    ):  # libpq's own message, which may quote the part of the address that it cannot read
        for each in filter(None, (error, wrapped)):
            each.args = tuple(
                mask_secrets(arg) if isinstance(arg, str) else arg for arg in each.args
            )
        return
    said = error.diag.message_primary or "no message"
    if error.sqlstate.startswith(BAD_VALUE) and error.sqlstate != NO_VALUE:
        said = "a value cannot be stored as it is"
    about = (error.diag.table_name, error.diag.column_name, error.diag.constraint_name)
    said = " ".join(
        [
            said,
            f"[{error.sqlstate}]",
            *dict.fromkeys(name for name in about if name and name not in said),
        ]
    )
    error.args = (said,)
    if wrapped is not None:
        wrapped.args = (f"({type(error).__module__}.{type(error).__name__}) {said}",)

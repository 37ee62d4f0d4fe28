"""Deletes rows that are kept for a while only. Items, attempts and the ledger are kept for ever."""

from datetime import datetime

from sqlalchemy import Connection, Table, delete, select

from lanes.store.tables import read, rejected

MOST = 5_000  # rows deleted in one transaction


def delete_refused(connection: Connection, *, before: datetime) -> int:
    """Some refused inputs from before that moment are gone; how many, 0 when none is left."""
    return _delete(connection, rejected, "rejected_at", before)


def delete_reads(connection: Connection, *, before: datetime) -> int:
    """Some reads from before that moment are gone; how many, 0 when none is left."""
    return _delete(connection, read, "read_at", before)


def _delete(connection: Connection, table: Table, since: str, before: datetime) -> int:
    old = select(table.c.id).where(table.c[since] < before).order_by(table.c.id).limit(MOST)
    return connection.execute(delete(table).where(table.c.id.in_(old))).rowcount

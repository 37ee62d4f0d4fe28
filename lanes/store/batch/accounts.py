"""Gives batches of before accounts had names the name of theirs, so that what is unresolved of them is found."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, exists, select, update

from lanes.store.batch import adoption, batches
from lanes.store.tables import batch
from lanes.words import BatchState

UNNAMED = "key:"  # and a hash of the key that paid
NOTE = "its account had several batches without an answer when it was named"


def name_account(connection: Connection, account: str, *, formerly: str, now: datetime) -> int:
    """Unnamed batches are this account's: those of the key it has now, `formerly`, and all where it is the only account.

    What would then be taken for another is held: an account has one unresolved batch, and none shares its number of
    requests. Returns how many were named; repeated, it changes nothing.
    """
    unnamed = batch.c.account.startswith(UNNAMED, autoescape=True)
    if connection.execute(select(batch.c.id).where(unnamed).limit(1)).first() is None:
        return 0
    if connection.execute(select(exists().where(~unnamed, batch.c.account != account))).scalar_one():
        unnamed = batch.c.account == formerly
    rows = connection.execute(
        select(batch.c.id, batch.c.state, batch.c.requests, batch.c.adopted_at, batch.c.proved_at)
        .where(unnamed)
        .order_by(batch.c.id.desc())
        .with_for_update(key_share=True)
    ).all()
    counts = adoption.unsure_counts(connection, account)
    blocked = batches.unresolved(connection, account) is not None
    named: list[int] = []
    for row in rows:
        if _unsure(row) and row.requests in counts:
            batches.hold(connection, row.id, note=NOTE, now=now)
            continue
        if row.state == BatchState.INTENDED:
            if blocked:
                batches.hold(connection, row.id, note=NOTE, now=now)
            blocked = True
        if _unsure(row):
            counts.add(row.requests)
        named.append(row.id)
    connection.execute(update(batch).where(batch.c.id.in_(named)).values(account=account))
    return len(named)


def _unsure(row: Any) -> bool:
    unproved = row.state in batches.AT_PROVIDER and row.adopted_at is not None and row.proved_at is None
    return row.state in batches.UNCONFIRMED or unproved

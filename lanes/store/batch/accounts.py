"""Gives batches of before accounts had names the name of theirs, so that what is unresolved of them is found."""

from datetime import datetime

from sqlalchemy import Connection, exists, select, update

from lanes.store.batch import adoption, batches, doubts
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
    if connection.execute(
        select(exists().where(~unnamed, batch.c.account != account))
    ).scalar_one():
        unnamed = batch.c.account == formerly
    rows = connection.execute(
        select(batch).where(unnamed).order_by(batch.c.id.desc()).with_for_update(key_share=True)
    ).all()
    counts = adoption.unsure_counts(connection, account)
    blocked = batches.unresolved(connection, account) is not None
    named: list[int] = []
    for each in map(batches.open_batch, rows):
        if each.unsure and each.requests in counts:
            doubts.hold(connection, each.id, note=NOTE, now=now)
            continue
        if each.state is BatchState.INTENDED:
            if blocked:
                doubts.hold(connection, each.id, note=NOTE, now=now)
            blocked = True
        if each.unsure:
            counts.add(each.requests)
        named.append(each.id)
    connection.execute(update(batch).where(batch.c.id.in_(named)).values(account=account))
    return len(named)

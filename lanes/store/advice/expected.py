"""What items would cost by a version that has routed none yet: from the newest items of its workload."""

from datetime import datetime

from sqlalchemy import Connection, select

from lanes.packing import history_chars
from lanes.store.doors.history import lengths_of
from lanes.store.money import sharing
from lanes.store.payload import characters
from lanes.store.tables import item
from lanes.workload.version import Version

NEWEST = 5_000  # items of all workloads among which those of one are looked for
MOST = 200


def mean_estimate(
    connection: Connection, version: Version, *, now: datetime
) -> tuple[float, float] | None:
    """Return the mean estimate of an item on real-time and on batch, in US dollars; None without items or a price."""
    columns = item.c.id, item.c.workload, item.c.payload, item.c.emptied_at
    newest = select(*columns).order_by(item.c.id.desc()).limit(NEWEST).subquery()
    rows = connection.execute(
        select(newest.c.id, characters(newest.c.payload).label("chars"))
        .where(newest.c.workload == version.workload, newest.c.emptied_at.is_(None))
        .limit(MOST)
    ).all()
    told = lengths_of(connection, {row.id: version for row in rows})
    estimates = sharing.estimates(connection, now=now)
    try:
        found = [
            estimates.of(version, row.chars, history_chars(told.get(row.id, ()))) for row in rows
        ]
    except LookupError:  # no price is known for one of its models
        return None
    if not found:
        return None
    realtime, batch = (
        sum(usd) / len(found)
        for usd in zip(*((each.realtime, each.batch) for each in found), strict=True)
    )
    return float(realtime), float(batch)

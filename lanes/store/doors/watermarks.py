"""The progress of reading the event stream, and of looking at open batches."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from lanes.store.tables import stored_span, watermark

ARRIVALS = "arrivals"
COLLECT = "collect"  # until when it has looked at open batches


def seen_until(connection: Connection, name: str) -> datetime | None:
    """Return until when events were read, or None before the first reading."""
    read = select(watermark.c.seen_until).where(watermark.c.name == name)
    return connection.execute(read).scalar_one_or_none()


def advance(connection: Connection, name: str, until: datetime) -> None:
    """Record that events before `until` were read; a watermark never goes back."""
    new = insert(watermark).values(name=name, seen_until=until)
    latest = {"seen_until": func.greatest(watermark.c.seen_until, new.excluded.seen_until)}
    connection.execute(new.on_conflict_do_update(index_elements=["name"], set_=latest))


def spans(connection: Connection, *, since: datetime) -> dict[datetime, int]:
    """Return the number of stored events that were read of each span from `since` on."""
    read = select(stored_span.c.start_at, stored_span.c.events)
    rows = connection.execute(read.where(stored_span.c.start_at >= since))
    return {row.start_at: row.events for row in rows}


def read_spans(connection: Connection, events: Mapping[datetime, int], *, since: datetime) -> None:
    """Record the number of stored events read of each span, and forget spans before `since`."""
    connection.execute(delete(stored_span).where(stored_span.c.start_at < since))
    if not events:
        return
    rows = [{"start_at": start, "events": number} for start, number in events.items()]
    new = insert(stored_span).values(rows)
    latest = {"events": new.excluded.events}
    connection.execute(new.on_conflict_do_update(index_elements=["start_at"], set_=latest))

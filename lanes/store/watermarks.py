"""How far the event stream was read."""

from datetime import datetime

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.postgresql import insert

from lanes.store.tables import watermark

ARRIVALS = "arrivals"


def seen_until(connection: Connection, name: str) -> datetime | None:
    """Until when events were read, None before the first reading."""
    return connection.execute(select(watermark.c.seen_until).where(watermark.c.name == name)).scalar_one_or_none()


def advance(connection: Connection, name: str, until: datetime) -> None:
    """Events before `until` were read; a watermark never goes back."""
    new = insert(watermark).values(name=name, seen_until=until)
    connection.execute(
        new.on_conflict_do_update(
            index_elements=["name"], set_={"seen_until": func.greatest(watermark.c.seen_until, new.excluded.seen_until)}
        )
    )

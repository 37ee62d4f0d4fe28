"""Arrivals of a feed, as figures hold them."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, text


def arrived(
    connection: Connection,
    *,
    until: datetime,
    every_minutes: float = 6,
    weeks: float = 4,
    workload: str = "letters",
) -> None:
    """Items arrived with that pause for weeks, until then."""
    connection.execute(
        text(
            "insert into lanes.figure (grain, at, workload, lane, kind, word, n)"
            " select 'minute', t, :workload, 'realtime', 'item', 'settled', 1"
            " from generate_series(cast(:since as timestamptz), :until, cast(:every as interval)) t"
        ),
        {
            "workload": workload,
            "since": until - timedelta(weeks=weeks),
            "until": until,
            "every": timedelta(minutes=every_minutes),
        },
    )

"""Arrivals of a feed, written as figures."""

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
    """Write figures of items that arrived every `every_minutes` for `weeks` weeks until `until`."""
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

"""The reasons why claimed calls wait, which each drain reports once a second; a report counts for a few seconds."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from lanes.realtime.limiter import CallWait, WaitReason
from lanes.store.asking import Ask

if TYPE_CHECKING:
    from sqlalchemy import Connection

REPORTED = timedelta(seconds=5)  # how long a report counts
REPORT = """
insert into lanes.call_wait (workload, reason, calls, seen_at)
select t.workload, t.reason, t.calls, :now
  from unnest(cast(:workloads as text[]), cast(:reasons as text[]), cast(:calls as integer[])) as t(workload, reason, calls)
 order by 1, 2
    on conflict (workload, reason) do update set calls = excluded.calls, seen_at = excluded.seen_at
"""
WAITS = """
select workload, reason, calls from lanes.call_wait where seen_at > :since order by workload, calls desc, reason
"""


def report(
    connection: "Connection", calls: Mapping[tuple[str, WaitReason], int], *, now: datetime
) -> None:
    """Report how many calls of a drain wait, by workload and reason."""
    from sqlalchemy import text

    workloads, reasons = [name for name, _ in calls], [str(reason) for _, reason in calls]
    given = {"workloads": workloads, "reasons": reasons, "calls": [*calls.values()]}
    connection.execute(text(REPORT), {**given, "now": now})


def current(ask: Ask, *, now: datetime) -> list[CallWait]:
    """Return the calls that wait now, by workload; the reason with the most calls of a workload comes first."""
    rows = ask(WAITS, since=now - REPORTED)
    return [CallWait(row.workload, WaitReason(row.reason), row.calls) for row in rows]

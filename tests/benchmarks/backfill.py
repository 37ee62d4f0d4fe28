"""A backfill: many items that SQL admits in one transaction under other load, and when the router had seen them."""

import time
from dataclasses import dataclass

from sqlalchemy import text

from tests.running_stand import RunningStand
from tests.waiting import until

SUBMIT = """
select count(*) from (
  select lanes.submit(:workload, jsonb_build_object('title', 'Paper ' || n, 'text', 'Paper ' || n || ': minutes of long ago.'),
                      :prefix || n, lane => cast(:lane as text),
                      occurred_at => now() - make_interval(days => cast(:days_old as int))) as outcome
    from generate_series(1, cast(:items as int)) n offset 0) s
 where outcome = 'accepted'
"""
UNROUTED = """
select exists (select from lanes.item where workload = :workload and position is null and canceled_at is null)
"""


@dataclass(frozen=True)
class HostSpan:
    """When the backfill began, was admitted and was routed, in seconds of this host's clock."""

    began: float
    admitted: float
    routed: float


def admit(
    stand: RunningStand,
    workload: str,
    items: int,
    *,
    prefix: str = "backfill-",
    lane: str | None = None,
    days_old: int = 0,
) -> float:
    """Submit items that are `days_old` in one transaction, and return the seconds."""
    began = time.perf_counter()
    given = {"workload": workload, "prefix": prefix, "items": items, "lane": lane}
    with stand.pool.begin() as connection:
        accepted = connection.execute(text(SUBMIT), given | {"days_old": days_old}).scalar_one()
    assert accepted == items, f"{accepted} of {items} were accepted"
    return time.perf_counter() - began


def admitted_and_routed(stand: RunningStand, workload: str, items: int, *, prefix: str) -> HostSpan:
    """Admit items from two days ago, wait until the router has routed all of them, and return these times."""
    began = time.perf_counter()
    took = admit(stand, workload, items, prefix=prefix, days_old=2)
    print(f"backfill: {items:,} items admitted in {took:.1f} s", flush=True)
    until(
        lambda: not stand.value(UNROUTED, workload=workload),
        within_s=600,
        what="the routes of the backfill",
    )
    return HostSpan(began, began + took, time.perf_counter())

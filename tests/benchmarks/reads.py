"""Typical queries over a long history, through the contract's views and the pages of `lanes results`: the slowest one counts.

The queries select by key, by workload with the newest first, by time and by state. Queries of a log ask for its newest rows
within a time range, because no index orders years of them. A tenant calls functions, because a view of its
own would read all of its history.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, text

from lanes.settling.listing import BEGIN, END, ListingPlace, ListingQuery
from lanes.store.database import clock
from lanes.store.settling import listing
from lanes.words import ItemState

NEWEST = (
    "select * from lanes.{view} where workload = '{workload}' and {at} > now() - interval '1 hour'"
    " order by {at} desc limit 50"
)
SINCE = "select * from lanes.{view} where {at} > now() - interval '1 hour'"
BY_KEY = "select * from lanes.{view} where workload = :workload and key = :key"
MOMENTS = {
    "attempt_log": "ended_at",
    "correction_log": "corrected_at",
    "current_results": "created_at",
    "item_status": "received_at",
    "lane_latency": "minute",
    "route_log": "decided_at",
    "spend": "billed_at",
}
WITHOUT_KEY = ("lane_latency", "spend")
WHOLE = (
    "accuracy",
    "backlog",
    "batch_status",
    "budget_status",
    "circuit_status",
    "job_status",
    "limit_status",
    "replay_log",
    "rollout_log",
    "workload_status",
)
OTHERS = {
    "newest items": "select * from lanes.item_status where workload = 'tickets' order by received_at desc limit 50",
    "newest items, few": "select * from lanes.item_status where workload = 'seldom' order by received_at desc limit 50",
    "newest items, none": "select * from lanes.item_status where workload = 'idle' order by received_at desc limit 50",
    "failed items": "select * from lanes.item_status where workload = 'tickets' and state = 'failed'"
    " order by received_at desc limit 50",
    "failed items of a day": "select * from lanes.item_status where state = 'failed'"
    " and received_at > now() - interval '1 day'",
    "states of a day": "select state, count(*) from lanes.item_status where received_at > now() - interval '1 day' group by 1",
    "settled items of an hour": "select * from lanes.item_status where workload = 'tickets'"
    " and settled_at > now() - interval '1 hour'",
    "attempts of a batch": "select * from lanes.attempt_log where batch_id = (select max(batch_id) from lanes.batch_status)",
    "outcomes of a day": "select outcome, count(*) from lanes.attempt_log where ended_at > now() - interval '1 day' group by 1",
    "spend of a day": "select workload, sum(cost_usd) from lanes.spend where billed_at > now() - interval '1 day' group by 1",
    "labels of a day": "select * from lanes.labeled_answers where labeled_at > now() - interval '1 day'",
    "figures of a month": "select kind, word, sum(n) from lanes.daily_figures where workload = 'tickets' group by 1, 2",
    "durations of a day": "select * from lanes.figure_hist where grain = 'hour' and at > now() - interval '1 day'",
    "routes of a day by hour": "select * from lanes.routing_mix where hour > now() - interval '1 day'",
    "open incidents": "select * from lanes.incident_log where state = 'open'",
    "corrections to undo": "select * from lanes.reads_to_correct('desk')",
    "items of a tenant": "select * from lanes.own_items_since(now() - interval '1 hour')",
    "answers of a tenant": "select * from lanes.own_results_since(now() - interval '1 hour')",
    "corrections of a tenant": "select * from lanes.own_corrections_since(now() - interval '1 hour')",
    "refusals of an hour": "select * from lanes.rejected_log where rejected_at > now() - interval '1 hour'",
}
LISTED = {
    "results": ListingQuery("tickets"),
    "results of few": ListingQuery("seldom"),
    "results of none": ListingQuery("idle"),
    "failed results": ListingQuery("tickets", [ItemState.FAILED]),
    "canceled results": ListingQuery("tickets", [ItemState.CANCELED]),
    "routed results": ListingQuery("tickets", [ItemState.ROUTED]),
    "answered results, none": ListingQuery("letters", [ItemState.ANSWERED]),
}
SINCE_LISTED = {
    "results since an hour": timedelta(hours=1),
    "results since ten days": timedelta(days=10),
}


def questions(connection: Connection, now: datetime) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield the queries by name."""
    connection.execute(text("insert into lanes.tenant values (session_user, 'desk')"))
    middle = text(
        "select key from lanes.item where workload = 'tickets' order by received_at limit 1"
    )
    key = connection.execute(middle).scalar_one()

    def sql(query: str, **given: object) -> Callable[[], object]:
        return lambda: connection.execute(text(query), given).all()

    def listed(wanted: ListingQuery, order: listing.ListingOrder) -> Callable[[], object]:
        """Read pages up to the first with an item."""

        def read() -> None:
            place: ListingPlace | None = BEGIN if order is listing.OLDEST_FIRST else END
            while place is not None:
                page = listing.page(connection, wanted, onwards=place, order=order)
                place = None if page.items else page.onwards

        return read

    for view, at in MOMENTS.items():
        yield f"{view} of an hour", sql(SINCE.format(view=view, at=at))
        for workload in ("tickets", "seldom"):
            yield f"{view}, newest", sql(NEWEST.format(view=view, at=at, workload=workload))
    for view in (
        *(each for each in MOMENTS if each not in WITHOUT_KEY),
        "labeled_answers",
        "revision_log",
    ):
        yield f"{view} by key", sql(BY_KEY.format(view=view), workload="tickets", key=key)
    for view in WHOLE:
        yield view, sql(f"select * from lanes.{view}")
    for name, query in OTHERS.items():
        yield name, sql(query)
    since = {name: ListingQuery("tickets", since=now - each) for name, each in SINCE_LISTED.items()}
    for name, wanted in (LISTED | since).items():
        yield name, listed(wanted, listing.OLDEST_FIRST)
        yield f"{name}, newest", listed(wanted, listing.NEWEST_FIRST)


def slowest(pool: Engine, rounds: int) -> tuple[float, str]:
    """Return the milliseconds of the slowest query, the median of some rounds after a warm-up, and its name."""
    took: list[tuple[float, str]] = []
    with pool.begin() as connection:
        for name, ask in questions(connection, clock(connection)):
            seen: list[float] = []
            for _ in range(rounds + 1):
                began = time.perf_counter()
                ask()
                seen.append((time.perf_counter() - began) * 1_000)
            took.append((statistics.median(seen[1:]), name))
    for ms, name in sorted(took, reverse=True)[:5]:
        print(f"reads: {name} {ms:,.1f} ms", flush=True)
    return max(took)

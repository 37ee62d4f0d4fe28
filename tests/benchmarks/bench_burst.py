"""A burst: 1,000 events within two seconds, in lists of 100, then 20,000 items in one SQL transaction.

Lanes must answer every event that Prefect reports as stored, and every committed item. The benchmark reports how many flow runs
this took, and how much time.
"""

import argparse
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import uuid4

from tests.benchmarks import backfill
from tests.benchmarks.telling import installed, tell
from tests.benchmarks.whole_stand import flow_runs, stored_events, whole_stand
from tests.running_stand import RunningStand
from tests.waiting import until

ARRIVED = "lanes.item.arrived"
LIST = 100  # events of one request
OVER_S = 2.0
WITHIN_S = 900.0
STORED_AFTER_S = 10.0  # Prefect writes after every 20 events, or every 5 s
ANSWERED = "select count(*) from lanes.item where key like :like and answered_at is not null"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000)
    parser.add_argument("--items", type=int, default=20_000)
    given = parser.parse_args()
    with whole_stand() as stand:
        figures = measured(stand, events=given.events, items=given.items)
    kept = figures["answered"] == figures["stored"]
    if not kept:
        print(
            f"missed: {figures['answered']:,.0f} of the {figures['stored']:,.0f} that were stored are answered"
        )
    tell("burst", figures, **vars(given), all_answered=kept, peers=installed("prefect"))


def measured(stand: RunningStand, *, events: int, items: int) -> dict[str, float]:
    """Return how many events and items were sent, how many arrived, and what became of them."""
    word, since, began = (
        f"burst-{uuid4().hex[:8]}-",
        datetime.now(UTC).isoformat(),
        time.perf_counter(),
    )
    for start in range(0, events, LIST):
        time.sleep(max(0, began + OVER_S * start / events - time.perf_counter()))
        send(stand, [f"{word}e{number}" for number in range(start, min(start + LIST, events))])
    print(f"sent: {events:,} events in {time.perf_counter() - began:.1f} s", flush=True)
    took = backfill.admit(stand, "tickets", items, prefix=f"{word}s", lane="realtime")
    print(f"sent: {items:,} items by SQL in {took:.1f} s", flush=True)
    time.sleep(max(0, began + STORED_AFTER_S - time.perf_counter()))
    stored = stored_events(stand, ARRIVED, since) + items
    said_at = 0.0

    def all_answered() -> bool:
        nonlocal said_at
        answered = stand.value(ANSWERED, like=f"{word}%")
        if time.perf_counter() - said_at > 5:
            said_at = time.perf_counter()
            print(f"answered: {answered:,} of {stored:,}", flush=True)
        return answered >= stored

    try:
        until(all_answered, within_s=WITHIN_S)
    except AssertionError:
        print("not all of them are answered in time", flush=True)
    return {
        "sent": events + items,
        "stored": stored,
        "answered": stand.value(ANSWERED, like=f"{word}%"),
        "flow_runs": flow_runs(stand, "answer", since),
        "last_answer_s": time.perf_counter() - began,
    }


def send(stand: RunningStand, keys: Sequence[str]) -> None:
    """Send events in one request that asks for the real-time lane, so that each event has an answer to wait for."""
    resource = {"prefect.resource.id": "lanes.workload.tickets", "prefect.resource.name": "tickets"}
    now = datetime.now(UTC).isoformat()
    body = [
        {
            "id": str(uuid4()),
            "event": ARRIVED,
            "occurred": now,
            "resource": resource,
            "payload": {"key": key, "payload": {"text": f"Letter {key}"}, "lane": "realtime"},
        }
        for key in keys
    ]
    stand.prefect.post("events", json=body).raise_for_status()


if __name__ == "__main__":
    main()

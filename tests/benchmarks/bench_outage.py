"""An outage: every endpoint of the provider answers 529 for five minutes, while 1,000 items arrive, half of them urgent.

The stand is the benchmark's own, and its off-peak window is always open. The other half of the items is free: a split sends
them to real time, which has to give them to batches; the batches may leave during the outage or after it. The times of urgent
answers count from the recovery of the provider. `paid_twice` counts the items that were billed for more than one answer, and
every difference between the stand-in's bill and the ledger.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from sqlalchemy import text

from tests.benchmarks.telling import installed, tell
from tests.benchmarks.whole_stand import whole_stand
from tests.running_stand import RunningStand
from tests.waiting import until

DOORS = ("messages", "batches.create", "batches.retrieve", "batches.list", "batches.results")
ARRIVE_OVER_S = 60.0
CHUNKS = 20
NAME = "letters"
WORKLOAD = """\
name: letters
instructions: Say what the letter is about.
output_schema:
  type: object
  properties:
    category: {type: string, enum: [question, complaint, order]}
  required: [category]
  additionalProperties: false
split_percent: 100
off_peak_start: "00:00"
off_peak_end: "00:00"
"""
SUBMIT = """
select count(*) from (
  select lanes.submit('letters', jsonb_build_object('text', 'Letter ' || n), 'k' || n, urgent => n % 2 = 0) as outcome
    from generate_series(cast(:since as int), cast(:until as int) - 1) n offset 0) s
 where outcome = 'accepted'
"""
OPEN = (
    "select count(*) from lanes.item where workload = 'letters' and urgent and answered_at is null"
)
UNSETTLED = "select count(*) from lanes.item_status where workload = 'letters' and state not in ('settled', 'failed')"
BATCHED = "select count(*) from lanes.work where workload = 'letters' and lane = 'batch' and state = 'ready'"
FIGURES = """
with each as (
  select i.id, i.urgent, i.settled_at is null as failed,
         greatest(0, extract(epoch from i.answered_at - cast(:healed_at as timestamptz)))::float8 as after_s,
         exists (select from lanes.route r where r.item_id = i.id and r.reason = 'shed') as shed,
         (select count(distinct a.message_id) from lanes.attempt a where a.item_id = i.id) as bills
    from lanes.item i where i.workload = 'letters' and i.key like 'k%')
select count(*) as items, count(*) filter (where failed) as failed,
       percentile_cont(0.95) within group (order by after_s) filter (where urgent) as urgent_p95_after_s,
       max(after_s) filter (where urgent) as urgent_max_after_s,
       percentile_cont(0.95) within group (order by after_s) filter (where not urgent) as free_p95_after_s,
       count(*) filter (where shed and not urgent)::float8 / count(*) filter (where not urgent) as shed_share,
       count(*) filter (where shed and urgent) as urgent_shed, sum(greatest(bills - 1, 0)) as paid_again
  from each
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000)
    parser.add_argument("--outage-s", type=float, default=300.0)
    given = parser.parse_args()
    with whole_stand() as stand:
        figures = measured(stand, items=given.items, outage_s=given.outage_s)
    tell("outage", figures, **vars(given), more=figures, peers=installed("prefect"))


def measured(stand: RunningStand, *, items: int, outage_s: float) -> dict[str, float]:
    """Return what became of the items, and what was paid for them."""
    publish(stand)
    began = time.perf_counter()
    for door in DOORS:
        overloaded = {
            "where": door,
            "kind": "status",
            "status": 529,
            "error_type": "overloaded_error",
        }
        stand.endpoint.post("_control/faults", json=overloaded).raise_for_status()
    arrive(stand, items, over_s=min(ARRIVE_OVER_S, outage_s / 3))
    time.sleep(max(0.0, began + outage_s / 2 - time.perf_counter()))
    stand.run("depart", {"departure": {}})  # the window is open, and the provider does not answer
    time.sleep(max(0.0, began + outage_s - time.perf_counter()))
    refused = sum(each["hits"] for each in stand.endpoint.get("_control/faults").json()["data"])
    stand.endpoint.delete("_control/faults").raise_for_status()
    healed_at = stand.value("select clock_timestamp()")
    print(
        f"healed: {refused:,} calls were refused, {stand.value(BATCHED):,} items wait for a batch",
        flush=True,
    )
    until(lambda: not stand.value(OPEN), within_s=300, what="the answers of what is urgent")
    settle(stand)
    return told(stand, healed_at) | {"refused": refused}


def publish(stand: RunningStand) -> None:
    """Publish the workload and let a drain answer one of its items."""
    with tempfile.TemporaryDirectory(prefix="lanes-bench-") as folder:
        file = Path(folder) / "letters.yaml"
        file.write_text(WORKLOAD)
        done = stand.cli("publish", str(file), "--yes")
        assert done.returncode == 0, done.stderr
    stand.emit(NAME, {"key": "first", "payload": {"text": "Letter"}, "urgent": True})
    until(lambda: stand.state(NAME, "first") == "settled", within_s=60, what="the first answer")


def arrive(stand: RunningStand, items: int, *, over_s: float) -> None:
    """Send the items evenly over `over_s` seconds; every second one is urgent."""
    began = time.perf_counter()
    for chunk in range(CHUNKS):
        time.sleep(max(0.0, began + over_s * chunk / CHUNKS - time.perf_counter()))
        given = {"since": items * chunk // CHUNKS, "until": items * (chunk + 1) // CHUNKS}
        with stand.pool.begin() as connection:
            accepted = connection.execute(text(SUBMIT), given).scalar_one()
        assert accepted == given["until"] - given["since"], f"{accepted} were accepted"


def settle(stand: RunningStand) -> None:
    """Wait until the batches have returned."""
    until_s = time.perf_counter() + 600
    while stand.value(UNSETTLED):
        if time.perf_counter() > until_s:
            print("not all of them are settled in time", flush=True)
            return
        if stand.value(BATCHED):
            run = stand.run("depart", {"departure": {}})
            ended = f"flow_runs/{run}"
            until(
                lambda of=ended: stand.prefect.get(of).json()["state_type"] not in GOING,
                within_s=120,
                what="a submit",
            )
        time.sleep(1)


GOING = ("SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING")


def told(stand: RunningStand, healed_at: Any) -> dict[str, float]:
    """Return the figures, from the database and the stand-in's bill."""
    (row,) = stand.rows(FIGURES, healed_at=healed_at)
    bill = stand.endpoint.get("_control/bill").json()
    missing = abs(bill["responses"] - stand.value("select count(*) from lanes.spend"))
    return {
        "failed": row.failed,
        "urgent_p95_after_s": row.urgent_p95_after_s,
        "shed_share": row.shed_share,
        "paid_twice": float(row.paid_again) + missing,
        "urgent_max_after_s": row.urgent_max_after_s,
        "free_p95_after_s": row.free_p95_after_s,
        "urgent_shed": row.urgent_shed,
    }


if __name__ == "__main__":
    main()

"""What the watch reports, and how soon: traffic is simulated in memory and judged by the product's own decisions.

- `quiet_incidents`: false incidents in a month of 50 healthy workloads with 10,000,000 attempts: burn rates of errors, latency
  and batches, drifts of answers, and shifts of the routing.
- `week_breaches_told`: how many of 40 independent breaches in a bad week are reported: 36 burn rates and 4 drifts.
  `outage_messages`: the messages of a provider's outage with 10 dependent breaches. `median_delay_s`: the time from sufficient
  evidence to the report of a burn rate.
- `late_told_share`: of the batches beyond the learned 99 % point + 10 %, the share that had been reported by then.
  `late_false_per_1000`: how many of 1,000 healthy batches were reported.
- `drift_detected`, `drift_items`, `drift_false_per_month`: the share of changed answers that is reported, the median of the
  items until the report, and the false alarms of a workload in a month.
- `tick_s`: the time of one look to measure and judge, in a database with 1,000,000 items of history and 50 workloads.
- `opened_at_half_limit_per_day`: incidents that a true rate at half of its budget opens.
"""

import argparse
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

from sqlalchemy import create_engine

from lanes.ids import IncidentId
from lanes.promises import assessment, judge
from lanes.promises.incident import Promise
from lanes.statistics.shares import SampleShare
from lanes.store.database import clock
from lanes.store.figures import folding, measurements
from lanes.store.incidents import ExplainedStandstill
from lanes.store.workload import workloads
from lanes.words import Lane, Verdict
from tests.benchmarks import history, watch_burn, watch_drift, watch_late, watch_routing
from tests.benchmarks.ground import server, vacuumed
from tests.benchmarks.telling import tell
from tests.examples import publish

WORKLOADS, DEPENDENTS, BURNS, DRIFTS = 50, 10, 36, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000, help="of the history of `tick_s`")
    parser.add_argument("--rounds", type=int, default=5, help="looks of `tick_s`")
    parser.add_argument("--quick", action="store_true", help="simulate less; for a test")
    given = parser.parse_args()
    began, parts = time.perf_counter(), dict[str, float]()
    month = {"workloads": 2, "days": 2} if given.quick else {}
    with ProcessPoolExecutor() as beside:
        measures = (watch_routing, watch_drift, watch_burn, watch_late)
        asked = {of: beside.submit(of.measure, quick=given.quick) for of in measures}
        drifts = beside.submit(watch_drift.quiet_month, workloads=month.get("workloads", WORKLOADS))
        burning = beside.submit(watch_burn.quiet_month, **month)
        for of, each in reversed(asked.items()):
            parts |= each.result()
            print(f"{of.__name__}: done after {time.perf_counter() - began:.0f} s", flush=True)
        quiet = {
            "burn rates": float(burning.result()),
            "drifts": float(drifts.result()),
            "routing": parts["routing_false"],
        }
    week = watch_burn.bad_week(breaches=3 if given.quick else BURNS)
    told_drifts = round(DRIFTS * parts["drift_detected"])
    figures = parts | {
        "quiet_incidents": sum(quiet.values()),
        "week_breaches_told": float(sum(each.told for each in week) + told_drifts),
        "outage_messages": float(outage_messages()),
        "median_delay_s": statistics.median(each.delay_s for each in week),
        "tick_s": tick_s(given.items, given.rounds),
    }
    tell("watch", figures, **vars(given), quiet=quiet, routing=watched(parts))


def watched(parts: dict[str, float]) -> dict[str, float]:
    """Return the figures of the routing promises, which are listed apart from the promised ones."""
    return {name: each for name, each in parts.items() if name.startswith(("shift_", "guard_"))}


def outage_messages() -> int:
    """Return the messages of an outage whose real-time lane fails in all workloads: its own, and unexplained breaches."""
    names = [f"workload-{number}" for number in range(DEPENDENTS)]
    down = [
        ExplainedStandstill(
            name, IncidentId(1), Promise.PROVIDER_DOWN, "default", [Lane.REALTIME], None
        )
        for name in names
    ]
    failing = watch_burn.failing(5)((SampleShare(1_000, 1_000),) * len(assessment.WINDOWS))
    assert failing.verdict is Verdict.FAILED
    breaches = [replace(failing, workload=name) for name in names]
    return 1 + sum(not any(each.explains(breach) for each in down) for breach in breaches)


def tick_s(items: int, rounds: int) -> float:
    """Return the median of the seconds in which one look measures and judges every promise."""
    with server() as ground:
        url = ground.database(of_lanes=True)
        pool = create_engine(url)
        with pool.begin() as connection:
            history.write(connection, items)
            now = clock(connection)
            for number in range(WORKLOADS - 3):  # the history has three
                publish(connection, f"workload-{number}", now=now)
        vacuumed(url)
        folding.rebuild(pool, since=None, until=now, told=lambda *_: None)
        vacuumed(url)
        seen = list[float]()
        for _ in range(rounds + 1):
            began = time.perf_counter()
            with pool.begin() as connection:
                now = clock(connection)
                measured = measurements.measure(connection, now=now)
                judge.assess(workloads.read_versions(connection), measured, now)
            seen.append(time.perf_counter() - began)
        pool.dispose()
    return statistics.median(seen[1:])


if __name__ == "__main__":
    main()

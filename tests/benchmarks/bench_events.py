"""Event to committed result, seen from outside: a warm drain, one started by the event, and a flow run per item.

A stand of its own keeps no drain warm. The warm events come while a drain lingers; the plain ones start one flow run each
through an automation, a worker and the same endpoint; each cold one comes when the last drain has gone.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import uuid4

import numpy
from sqlalchemy import text

from lanes.store.signals import Role, holders
from tests.benchmarks.ground import tell
from tests.stand import RunningStand, put_up, take_down, until

PLAIN = "bench.item.arrived"
POLL_S = 0.005


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--warm", type=int, default=100)
    parser.add_argument("--plain", type=int, default=10)
    parser.add_argument("--cold", type=int, default=2, help="each waits about two minutes for the drain to leave")
    given = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory(prefix="lanes-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        stand = put_up(Path(folder) / "stand", LANES_KEEP_WARM="0", LANES_LOCAL_TURNAROUND_S="0")
        try:
            figures = measured(stand, warm=given.warm, plain=given.plain, cold=given.cold)
        finally:
            take_down(stand)
    tell("events", figures, warm=given.warm, plain=given.plain, cold=given.cold, endpoint="echo")


def measured(stand: RunningStand, *, warm: int, plain: int, cold: int) -> dict[str, float]:
    """Seconds from the POST of an event to a row that another connection sees."""
    answered(stand)
    warmed = series("warm", warm, lambda: answered(stand), pause_s=0.1)
    deploy_plain(stand)
    planed = series("plain", plain, lambda: flow_run(stand))

    def from_nothing() -> float:
        until(lambda: not drains(stand), within_s=300, what="the last drain's leaving")
        return answered(stand)

    colds = series("cold", cold, from_nothing)
    return {
        "warm_p50_s": statistics.median(warmed),
        "warm_p99_s": float(numpy.quantile(warmed, 0.99)),
        "plain_p50_s": statistics.median(planed),
        "cold_p50_s": statistics.median(colds),
        "cold_max_s": max(colds),
    }


def series(name: str, number: int, measure: Callable[[], float], *, pause_s: float = 0) -> Sequence[float]:
    """Measured one after the other, with progress."""
    seen: list[float] = []
    for place in range(1, number + 1):
        seen.append(measure())
        time.sleep(pause_s)
        if place % max(1, number // 5) == 0:
            print(f"{name}: {place} of {number}, median {statistics.median(seen):.3f} s", flush=True)
    return seen


def answered(stand: RunningStand) -> float:
    """An urgent event through Lanes."""
    key = uuid4().hex
    began = time.perf_counter()
    stand.emit("tickets", {"key": key, "payload": {"text": f"Letter {key}"}, "urgent": True})
    wait_for(stand, "select 1 from lanes.item where key = :k and answered_at is not null", key)
    return time.perf_counter() - began


def flow_run(stand: RunningStand) -> float:
    """An event that starts a flow run of its own."""
    key = uuid4().hex
    began = time.perf_counter()
    stand.emit("bench", {"key": key}, event=PLAIN)
    wait_for(stand, "select 1 from plain where key = :k", key)
    return time.perf_counter() - began


def wait_for(stand: RunningStand, query: str, key: str) -> None:
    """Another connection sees a row."""
    with stand.pool.connect() as connection:
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        give_up = time.monotonic() + 120
        while connection.execute(text(query), {"k": key}).first() is None:
            assert time.monotonic() < give_up, "no row within two minutes"
            time.sleep(POLL_S)


def drains(stand: RunningStand) -> int:
    """How many drains run."""
    with stand.pool.connect() as connection:
        return holders(connection, Role.DRAIN)


def deploy_plain(stand: RunningStand) -> None:
    """The flow of `plain_flow` is deployed, triggered by each event."""
    with stand.pool.begin() as connection:
        connection.execute(text("create table plain (key text primary key, message_id text)"))
    ask = stand.prefect.post
    flow = ask("flows/", json={"name": "plain"}).raise_for_status().json()
    body = {
        "name": "plain", "flow_id": flow["id"], "entrypoint": "tests.benchmarks.plain_flow.plain",
        "work_pool_name": "realtime", "job_variables": {"command": "python -m prefect.engine"},
        "parameter_openapi_schema": {"type": "object", "properties": {"key": {"type": "string"}}},
    }  # fmt: skip
    deployment = ask("deployments/", json=body).raise_for_status().json()
    key = {"__prefect_kind": "jinja", "template": "{{ event.payload.key }}"}
    trigger = {"type": "event", "posture": "Reactive", "expect": [PLAIN], "threshold": 1, "within": 0}
    action = {"type": "run-deployment", "deployment_id": deployment["id"], "parameters": {"key": key}}
    ask("automations/", json={"name": "plain", "trigger": trigger, "actions": [action]}).raise_for_status()


if __name__ == "__main__":
    main()

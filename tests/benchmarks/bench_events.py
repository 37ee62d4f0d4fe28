"""Event to committed answer, seen from outside and under load, beside a flow run per item.

A stand of its own keeps no drain warm. Events arrive at a fixed rate, a third of them urgent: first alone, then while a file
goes through the file door beside them (those count that were due from its first row's reading until its last was routed). The
plain ones start one flow run each through an automation, a worker and the same endpoint, one at a time on an idle machine; each
cold event comes when the last drain has gone.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy
from sqlalchemy import text

from lanes.store.signals import Role, holders
from tests.arrivals import Arrival, arrive
from tests.benchmarks.ground import tell
from tests.running_stand import RunningStand, put_up, take_down
from tests.waiting import until

PLAIN = "bench.item.arrived"
POLL_S = 0.01
FILE_AFTER_S = 3.0  # the events are in their stride by then


@dataclass(frozen=True)
class Sizes:
    """What one run of the benchmark measures."""

    rate: float
    seconds: float
    rows: int
    plain: int
    cold: int

    @property
    def events(self) -> int:
        """Of one series."""
        return max(1, round(self.rate * self.seconds))


@dataclass(frozen=True)
class Span:
    """From when to when something went on beside the events, in seconds of this host's clock."""

    began: float
    admitted: float
    routed: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=20, help="events a second")
    parser.add_argument("--seconds", type=float, default=60, help="of each series")
    parser.add_argument("--rows", type=int, default=20_000, help="of the file that is admitted beside the second series")
    parser.add_argument("--plain", type=int, default=10)
    parser.add_argument("--cold", type=int, default=1, help="each waits about two minutes for the drain to leave; 0 for none")
    sizes = Sizes(**vars(parser.parse_args()))
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory(prefix="lanes-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        stand = put_up(Path(folder) / "stand", LANES_KEEP_WARM="0", LANES_LOCAL_TURNAROUND_S="0")
        try:
            figures = measured(stand, sizes, Path(folder))
        finally:
            take_down(stand)
    tell("events", figures, **vars(sizes), endpoint="echo")


def measured(stand: RunningStand, sizes: Sizes, folder: Path) -> dict[str, float]:
    """Seconds from when an event was due to an answer that another connection sees."""
    one_event(stand)
    deploy_plain(stand)
    figures = of("warm", events(stand, sizes, "warm"))
    planed = series("plain", sizes.plain, lambda: flow_run(stand))
    figures |= {"plain_p50_s": statistics.median(planed)}
    one_event(stand)
    arrivals, file = events_beside_a_file(stand, sizes, folder)
    figures |= of("file", [each for each in arrivals if file.began <= each.due <= file.routed])
    figures |= {"file_admitted_s": file.admitted - file.began, "file_routed_s": file.routed - file.began}
    if sizes.cold:
        colds = series("cold", sizes.cold, lambda: from_nothing(stand))
        figures |= {"cold_p50_s": statistics.median(colds), "cold_max_s": max(colds)}
    return figures | {"warm_vs_plain": figures["warm_p50_s"] / figures["plain_p50_s"]}


def of(name: str, arrivals: Sequence[Arrival]) -> dict[str, float]:
    """The percentiles of some events: of all, and of the urgent ones; and how late the sender was."""
    all_of_them = [each.latency_s for each in arrivals]
    urgent = [each.latency_s for each in arrivals if each.is_urgent]
    return {
        f"{name}_urgent_p50_s": float(numpy.quantile(urgent, 0.5)),
        f"{name}_urgent_p99_s": float(numpy.quantile(urgent, 0.99)),
        f"{name}_p50_s": float(numpy.quantile(all_of_them, 0.5)),
        f"{name}_p99_s": float(numpy.quantile(all_of_them, 0.99)),
        f"{name}_sent_late_p99_s": float(numpy.quantile([each.late_s for each in arrivals], 0.99)),
        f"{name}_events": len(arrivals),
    }


def events(stand: RunningStand, sizes: Sizes, name: str) -> list[Arrival]:
    """One series of events, with progress."""

    def said(answered: int, number: int) -> None:
        print(f"{name}: {answered} of {number} events answered", flush=True)

    return arrive(stand, "tickets", sizes.events, per_s=sizes.rate, poll_s=POLL_S, within_s=300, said=said)


def events_beside_a_file(stand: RunningStand, sizes: Sizes, folder: Path) -> tuple[list[Arrival], Span]:
    """Events while a process of its own sends a file to another workload's batch lane; and when that went on."""
    file = folder / "archive.jsonl"
    with file.open("w") as lines:
        for number in range(sizes.rows):
            row = {"title": f"Paper {number}", "text": f"Paper {number}: the minutes of a meeting of long ago."}
            lines.write(json.dumps(row) + "\n")

    def send() -> Span:
        time.sleep(FILE_AFTER_S)
        began = time.perf_counter()
        done = stand.cli("submit", str(file), "--workload", "archive", "--lane", "batch")
        assert done.returncode == 0, done.stderr
        admitted = time.perf_counter()
        print(f"file: {done.stdout.strip()} in {admitted - began:.1f} s", flush=True)
        until(lambda: not unrouted(stand), within_s=300, what="the routes of the file's rows")
        return Span(began, admitted, time.perf_counter())

    with ThreadPoolExecutor(1) as beside:
        sending = beside.submit(send)
        arrivals = events(stand, sizes, "file")
        return arrivals, sending.result()


def unrouted(stand: RunningStand) -> bool:
    """Whether rows of the file wait for the router; asked for by the index that the router has for it."""
    return stand.value(
        "select exists (select from lanes.item where workload = 'archive' and position is null and canceled_at is null)"
    )


def series(name: str, number: int, measure: Callable[[], float]) -> Sequence[float]:
    """Measured one after the other, with progress."""
    seen: list[float] = []
    for place in range(1, number + 1):
        seen.append(measure())
        if place % max(1, number // 5) == 0:
            print(f"{name}: {place} of {number}, median {statistics.median(seen):.3f} s", flush=True)
    return seen


def from_nothing(stand: RunningStand) -> float:
    """An urgent event that must start its drain."""
    until(lambda: not drains(stand), within_s=300, what="the last drain's leaving")
    return one_event(stand)


def one_event(stand: RunningStand) -> float:
    """An urgent event through Lanes."""
    (arrival,) = arrive(stand, "tickets", 1, per_s=1, poll_s=POLL_S)
    return arrival.latency_s


def flow_run(stand: RunningStand) -> float:
    """An event that starts a flow run of its own."""
    key = uuid4().hex
    began = time.perf_counter()
    stand.emit("bench", {"key": key}, event=PLAIN)
    with stand.pool.connect() as connection:
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        give_up = time.monotonic() + 120
        while connection.execute(text("select 1 from plain where key = :k"), {"k": key}).first() is None:
            assert time.monotonic() < give_up, "no row within two minutes"
            time.sleep(POLL_S)
    return time.perf_counter() - began


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

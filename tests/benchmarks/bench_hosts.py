"""Lanes on two hosts: compared with the stand of one machine and with one host, and while each process is killed in turn.

`p99_vs_embedded` is the 99th percentile from an event to its answer with PgBouncer, Valkey, two API replicas behind a proxy
and two hosts, over that of `lanes up`. `speedup_two_hosts` is the items a second of two drains over those of one, in calls of
200 ms. `takeover_s` is the longest time from the kill of all processes of a host until another host holds one of its roles.
`lost`, `doubled` and `paid_twice` are counted over the whole matrix of faults.
`scrape_ms` is the median time of a scrape of `lanes metrics` with a long history. `tracing_cost` is how much more
processor time an item costs a drain that sends the traces of all items.
"""

import argparse
import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import psutil

from lanes.stand.local import POOLS
from lanes.standing.roles import BEGINNING_FOR, Role
from tests.arrivals import arrive
from tests.benchmarks.answering import one_drain
from tests.benchmarks.bench_events import SETTLES_S, quantile
from tests.benchmarks.ground import Server, server
from tests.benchmarks.observing import scrape_ms, tracing_cost
from tests.benchmarks.standin_home import standin
from tests.benchmarks.telling import installed, tell
from tests.benchmarks.whole_stand import whole_stand
from tests.chaos.matrix import run_matrix
from tests.fleet import Fleet, fleet, missing_programs
from tests.running_stand import RunningStand
from tests.waiting import until

ROLES = (Role.ROUTER, Role.COLLECTOR, Role.WATCHER)
WARM_UP_S = 5.0
STANDS_WITHIN_S = 180.0
CALL_S = 0.2
HELD_BY = """
select l.objid as role, a.pid as session, split_part(split_part(a.application_name, '@', 2), ':', 1) as host
  from pg_locks l join pg_stat_activity a using (pid)
 where l.locktype = 'advisory' and l.granted and l.objid = any(:roles) and l.database = a.datid
   and a.datname = current_database()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=20, help="events a second")
    parser.add_argument("--seconds", type=float, default=60, help="of each series of events")
    parser.add_argument("--items", type=int, default=6_000, help="that one and two drains answer")
    parser.add_argument("--matrix", type=int, default=2_000, help="items while faults happen")
    parser.add_argument("--history", type=int, default=1_000_000, help="items at a scrape")
    given = parser.parse_args()
    if missing := missing_programs():
        parser.error(f"this machine lacks {missing}")
    with whole_stand() as stand:
        embedded = _p99(stand, given.rate, given.seconds)
    print(f"one machine: p99 {embedded:.3f} s", flush=True)
    with server() as ground, standin(latency_s=CALL_S) as endpoint:
        one = _items_a_second(ground, endpoint.url, given.items, drains=1)
        two = _items_a_second(ground, endpoint.url, given.items, drains=2)
        tracing = tracing_cost(ground, endpoint.url, given.items // 4, ratio=1)
    with server() as ground:
        scraped = scrape_ms(ground, given.history)
    with fleet() as running:
        until(lambda: _all_held(running), within_s=STANDS_WITHIN_S, what="every role")
        hosts = _p99(running.view, given.rate, given.seconds)
        print(f"two hosts: p99 {hosts:.3f} s", flush=True)
        takeover = max(_takeover(running, name) for name in running.hosts)
        report = run_matrix(running, given.matrix, per_s=given.rate)
    print(report.table(), flush=True)
    figures = {
        "p99_vs_embedded": hosts / embedded,
        "speedup_two_hosts": two["items_per_s"] / one["items_per_s"],
        "takeover_s": takeover,
        "lost": report.lost,
        "doubled": report.doubled,
        "paid_twice": report.paid_twice,
        "scrape_ms": scraped,
        "tracing_cost": tracing,
    }
    slowest = {each.name: each.slowest_s for each in report.struck}
    seen = {"one drain": one, "two drains": two, "slowest answer in s": slowest}
    more = {"embedded_p99_s": embedded, "hosts_p99_s": hosts}
    peers = installed("prefect", "prefect-redis")
    tell("hosts", figures, **vars(given), seen=seen, more=more, peers=peers)


def _p99(stand: RunningStand, rate: float, seconds: float) -> float:
    """Return the 99th percentile in seconds, after all runs have loaded and a few events have warmed up the drain."""
    time.sleep(SETTLES_S)
    arrive(stand, "tickets", round(rate * WARM_UP_S), per_s=rate, within_s=STANDS_WITHIN_S)
    arrivals = arrive(stand, "tickets", round(rate * seconds), per_s=rate)
    return quantile([each.latency_s for each in arrivals], 0.99)


def _items_a_second(
    ground: Server, endpoint_url: str, items: int, *, drains: int
) -> Mapping[str, float]:
    """Return the items a second of `drains` drains in processes of their own, and the share of the cores in use."""
    url = ground.database(of_lanes=True)
    with ExitStack() as opened:
        *_, drain = [
            opened.enter_context(one_drain(url, endpoint_url, most_calls=0, first=-1 - number))
            for number in range(drains)
        ]
        before = drain.answered()
        psutil.cpu_percent()
        began = time.perf_counter()
        drain.send(0, items)
        drain.until_answered(before + items)
        took, busy = time.perf_counter() - began, psutil.cpu_percent() / 100
    print(
        f"{drains} drains: {items / took:.0f} items a second, {busy:.0%} of the cores", flush=True
    )
    return {"items_per_s": items / took, "cpu_share": busy}


def _held(running: Fleet) -> dict[int, Any]:
    rows = running.view.rows(HELD_BY, roles=[int(each) for each in ROLES])
    return {row.role: row for row in rows}


def _all_held(running: Fleet) -> bool:
    return len(_held(running)) == len(ROLES)


def _takeover(running: Fleet, name: str) -> float:
    """Return the seconds from the kill of the host until others hold its roles; 0 where it held none."""
    before = {role: row for role, row in _held(running).items() if row.host == name}
    running.hosts[name].kill()
    began = time.perf_counter()

    def taken() -> bool:
        held = _held(running)
        return all(
            role in held and held[role].session != row.session for role, row in before.items()
        )

    until(taken, within_s=STANDS_WITHIN_S, what=f"a takeover of {name}'s roles")
    took = time.perf_counter() - began if before else 0.0
    said = ", ".join(Role(role).name.lower() for role in before) or "no role"
    print(f"host {name} held {said}: taken over after {took:.1f} s", flush=True)
    started = datetime.now(UTC)
    running.hosts[name].start()
    until(lambda: _all_held(running), within_s=STANDS_WITHIN_S, what="every role")
    for pool in POOLS:
        until(
            lambda pool=pool: _heard_of(running, f"{pool}-{name}", pool) > started,
            within_s=STANDS_WITHIN_S,
            what=f"the worker of {pool} on {name}, which may have to take over next",
        )
    time.sleep(BEGINNING_FOR.total_seconds())  # no run that has just begun hides a free role
    return took


def _heard_of(running: Fleet, worker: str, pool: str) -> datetime:
    """Return when Prefect last received a heartbeat of the worker."""
    workers = running.view.prefect.post(f"work_pools/{pool}/workers/filter", json={}).json()
    (its,) = [each for each in workers if each["name"] == worker]
    return datetime.fromisoformat(its["last_heartbeat_time"])


if __name__ == "__main__":
    main()

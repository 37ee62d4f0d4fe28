"""From events to committed answers, observed from outside, against a flow run per item; and the doors without an event.

The stand is the benchmark's own and keeps no drain warm. Events arrive at a fixed rate, a third of them urgent. There are three
series: events alone; events while SQL admits a backfill of another workload in one transaction; and events during another
backfill while processes compute without a pause (`--busy`, 2 of them). In a backfill, only the events count that were due from
its beginning until its last item was routed. For comparison, each plain event starts one flow run through an automation, a
worker and the same endpoint, one at a time on an idle machine. Each cold event comes 10 s after the last drain has ended, when
the worker has prepared a process for the next one. The model takes no time.

The figures depend on how fast Prefect's server accepts and forwards events. On a machine on which a plain event took 4.1 s,
three runs on 2026-12-02 had medians of 0.75 s for `urgent_p99_backfill_s` and 8.2 s for `urgent_p99_busy_s`. Urgent items spent
0.35 s and 0.61 s of these in Lanes (99th percentiles); beside the busy processes, Prefect had accepted 99 % of the events 3.8 s
after they were due.

On a faster machine, where a plain event took 2.4 s, a run on 2026-12-04 with fewer plain and cold events kept every promise:
warm p50 0.035 s and p99 0.097 s, SQL 0.020 s and 0.054 s, urgent p99 0.15 s beside a backfill and 0.59 s beside busy processes
too. The median warm item spent 14 ms in Lanes: 3 ms until its route, 8 ms until the call, 2 ms in the call and 1 ms until it
was saved. The other 20 ms passed in Prefect's server and on the way to Lanes.

The figures also depend on how Linux shares the processors. With `kernel.sched_autogroup_enabled`, it shares them between
sessions instead of processes. On 2026-12-03, two runs with this setting had an `urgent_p99_busy_s` of 0.79 and 0.88 s, and two
runs without it, in turn, 1.66 and 1.69 s; the busy processes got 0.55 instead of 0.64 of a processor. These runs consisted of
the last series only, with 40 s of events and 12,000 items.
"""

import argparse
import math
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import numpy

from tests.arrivals import Arrival, arrive
from tests.benchmarks import direct_doors, plain
from tests.benchmarks.backfill import HostSpan, admitted_and_routed
from tests.benchmarks.telling import installed, tell
from tests.benchmarks.whole_stand import drains, whole_stand
from tests.running_stand import RunningStand
from tests.waiting import until

POLL_S = 0.01
# Seconds of each answered item, by stage; `in_lanes` is their sum.
STAGES = """
select extract(epoch from i.answered_at - i.received_at)::float8 as in_lanes,
       extract(epoch from r.decided_at - i.received_at)::float8 as until_routed,
       extract(epoch from a.started_at - r.decided_at)::float8 as until_called,
       extract(epoch from a.ended_at - a.started_at)::float8 as in_call,
       extract(epoch from i.answered_at - a.ended_at)::float8 as until_saved
  from lanes.item i join lanes.route r on r.item_id = i.id join lanes.attempt a on a.item_id = i.id and a.outcome = 'valid'
 where i.workload = 'tickets' and i.key = any(:keys)
"""
SETTLES_S = 20.0  # runs that already hold their roles still load for some seconds
READY_S = 10.0  # after a drain has ended, its process exits and another one loads
BACKFILL_AFTER_S = 3.0  # by then the events arrive at their steady rate


@dataclass(frozen=True)
class EventSizes:
    """The sizes of one run of the benchmark."""

    rate: float
    seconds: float
    items: int
    busy: int
    plain: int
    cold: int
    sql: int

    @property
    def events(self) -> int:
        """Return the number of events in one series."""
        return max(1, round(self.rate * self.seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=20, help="events a second")
    parser.add_argument("--seconds", type=float, default=60, help="of each series")
    parser.add_argument(
        "--items", type=int, default=20_000, help="that SQL admits beside the second series"
    )
    parser.add_argument(
        "--busy", type=int, default=2, help="processes that compute beside the last series; 0: none"
    )
    parser.add_argument("--plain", type=int, default=10)
    parser.add_argument(
        "--cold",
        type=int,
        default=3,
        help="each waits about two minutes for the drain to leave; 0 for none",
    )
    parser.add_argument(
        "--sql", type=int, default=200, help="items of each of the doors that need no event"
    )
    sizes = EventSizes(**vars(parser.parse_args()))
    with whole_stand(LANES_KEEP_WARM="0") as stand:
        figures = measured(stand, sizes)
    tell("events", figures, **asdict(sizes), more=figures, peers=installed("prefect"))


def measured(stand: RunningStand, sizes: EventSizes) -> dict[str, float]:
    """Return the seconds from when an event was due until another connection sees its answer."""
    time.sleep(SETTLES_S)
    one_event(stand)
    plain.deploy(stand)
    figures = of("warm", events(stand, sizes, "warm"), stand)
    for door, by in {"sql": direct_doors.by_sql, "client": direct_doors.by_client}.items():
        took = by(stand, sizes.sql)
        seconds = [*took.values()]
        figures |= {
            f"{door}_p50_s": quantile(seconds, 0.5),
            f"{door}_p99_s": quantile(seconds, 0.99),
            **stages(door, [*took], stand),
        }
        print(f"{door}: {sizes.sql} items, median {figures[f'{door}_p50_s']:.4f} s", flush=True)
    by_flow_run = series("plain", sizes.plain, lambda: plain.flow_run(stand))
    figures |= {"plain_p50_s": median(by_flow_run), "plain_lost": sizes.plain - len(by_flow_run)}
    one_event(stand)
    quiet = beside_a_backfill(stand, sizes, "backfill")
    figures |= quiet | {"urgent_p99_backfill_s": quiet["backfill_urgent_p99_s"]}
    figures["urgent_p99_busy_s"] = math.nan
    if sizes.busy:
        with computing(sizes.busy):
            busy = beside_a_backfill(stand, sizes, "busy")
        figures |= busy | {"urgent_p99_busy_s": busy["busy_urgent_p99_s"]}
    figures["cold_p50_s"] = median(series("cold", sizes.cold, lambda: from_nothing(stand)))
    return figures | {"cold_vs_plain": figures["cold_p50_s"] / figures["plain_p50_s"]}


def of(name: str, arrivals: Sequence[Arrival], stand: RunningStand) -> dict[str, float]:
    """Return the percentiles of some events, of all and of the urgent ones, and how late the sender was."""
    keys = [each.key for each in arrivals if each.is_urgent]
    all_of_them = [each.latency_s for each in arrivals]
    urgent = [each.latency_s for each in arrivals if each.is_urgent]
    return {
        f"{name}_urgent_p50_s": quantile(urgent, 0.5),
        f"{name}_urgent_p99_s": quantile(urgent, 0.99),
        **stages(name, keys, stand),
        f"{name}_p50_s": quantile(all_of_them, 0.5),
        f"{name}_p99_s": quantile(all_of_them, 0.99),
        f"{name}_sent_late_p99_s": quantile([each.late_s for each in arrivals], 0.99),
        f"{name}_events": len(arrivals),
    }


def stages(name: str, keys: Sequence[str], stand: RunningStand) -> dict[str, float]:
    """Return the percentiles of the seconds that these items spent in Lanes, whole and by stage."""
    rows = [row._mapping for row in stand.rows(STAGES, keys=keys)]
    return {
        f"{name}_{stage}_p{share}_s": quantile([row[stage] for row in rows], share / 100)
        for stage in (rows[0] if rows else ())
        for share in (50, 99)
    }


def quantile(values: Sequence[float], share: float) -> float:
    """Return a quantile of the values; not a number where there are none."""
    return float(numpy.quantile(values, share)) if values else math.nan


def median(values: Sequence[float]) -> float:
    """Return the median of the values; not a number where there are none."""
    return quantile(values, 0.5)


def events(stand: RunningStand, sizes: EventSizes, name: str) -> list[Arrival]:
    """Send one series of events, with progress."""

    def said(answered: int, number: int) -> None:
        print(f"{name}: {answered} of {number} events answered", flush=True)

    return arrive(stand, "tickets", sizes.events, per_s=sizes.rate, poll_s=POLL_S, said=said)


def beside_a_backfill(stand: RunningStand, sizes: EventSizes, name: str) -> dict[str, float]:
    """Send events while SQL admits items of another workload for the batch lane; also return how long the backfill took."""

    def send() -> HostSpan:
        time.sleep(BACKFILL_AFTER_S)
        return admitted_and_routed(stand, "archive", sizes.items, prefix=f"{name}-")

    with ThreadPoolExecutor(1) as beside:
        sending = beside.submit(send)
        arrivals = events(stand, sizes, name)
        span = sending.result()
    counted = [each for each in arrivals if span.began <= each.due <= span.routed]
    return of(name, counted, stand) | {
        f"{name}_admitted_s": span.admitted - span.began,
        f"{name}_routed_s": span.routed - span.began,
    }


@contextmanager
def computing(processes: int) -> Iterator[None]:
    """Keep `processes` processors busy for the length of the block; the processes also end with this one."""
    context = multiprocessing.get_context("spawn")
    hogs = [context.Process(target=_compute, daemon=True) for _ in range(processes)]
    for each in hogs:
        each.start()
    try:
        yield
    finally:
        for each in hogs:
            each.kill()
            each.join()


def _compute() -> None:
    parent = os.getppid()
    while os.getppid() == parent:
        sum(range(1_000_000))


def series(name: str, number: int, measure: Callable[[], float | None]) -> Sequence[float]:
    """Repeat a measurement with progress, and return its values without those that were lost."""
    seen: list[float] = []
    for place in range(1, number + 1):
        took = measure()
        if took is not None:
            seen.append(took)
        if place % max(1, number // 5) == 0 and seen:
            print(
                f"{name}: {place} of {number}, median {statistics.median(seen):.3f} s", flush=True
            )
    return seen


def from_nothing(stand: RunningStand) -> float:
    """Send an urgent event that must start its drain."""
    until(lambda: not drains(stand), within_s=300, what="the last drain's leaving")
    time.sleep(READY_S)
    return one_event(stand)


def one_event(stand: RunningStand) -> float:
    """Send an urgent event through Lanes."""
    (arrival,) = arrive(stand, "tickets", 1, per_s=1, poll_s=POLL_S)
    return arrival.latency_s


if __name__ == "__main__":
    main()

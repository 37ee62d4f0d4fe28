"""A soak: a stand at 80 % of its own rate for half an hour, while a forgotten transaction stays open for a third of it.

SQL submits items in real time, and Prefect gets two events a second. The stand's rate is measured first, for a tenth of the
time and under the same load, while a backlog of constant size waits. The transaction is open during the middle third and holds
back vacuum. Latencies are from received to answered.

The speed of a shared machine varies, within a minute by a factor of two. A fixed loop of Python measures it: the items a second
follow this speed, so that they stay 80 % of what the stand can do, and latencies are compared in durations of the loop.

- `p99_ratio`: the 99th percentile of the last minute over that of the first, both divided by the loop's duration.
- `rss_growth_mb`: the largest growth of the memory of a Lanes process after it had run for a sixth of the time.
- `dead_rows_ratio`: the largest ratio of dead to live rows over all tables of Lanes in the last sixth of the time.

If work grew with the data, the processor time of an item (Lanes, Postgres and Prefect's server) would rise and that of the loop
would not; `cpu_ratio` compares the last minute to the first, in durations of the loop.

The generator, Prefect and the provider share the two processors: at 80 % of the rate 13 to 14 % of the time is idle. From
minute to minute an item takes 0.9 to 1.4 durations of the loop: the loop and the stand do not slow down alike, and beside the
transaction Postgres needs a tenth to a fifth more. Above about 1.1 the processors are full. Items that may wait then wait
before their route, because the router yields to urgent items, and `p99_ratio` compares two such minutes: seven runs gave 0.67,
5.3, 1.3, 8.6, 3.0, 5.3 and 1.5.

The table has the medians of the last three runs, of 2026-12-03, 2026-12-04 and 2026-12-06. The list below it and the chart are
of the first of these, which has the median `p99_ratio`. In this run p99 rose to 34 s, while `urgent_p99_s`, of the urgent items
of all minutes, was 0.90 s. The work did not grow with the data: an item took 1.01, 1.12 and 1.05 durations of the loop in the
three thirds of the run. In the run of 2026-12-06, on a less busy machine, p99 was 0.96 s in the first minute, 16 s in the worst
and 1.45 s in the last one, and that of the urgent items 0.62 s.

![99th percentile of each minute, processor time of an item and of the fixed loop, memory, dead over live rows.](docs/soak.svg)
"""

import argparse
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Self

import psutil
import psycopg

from lanes.report.charts import BATCH, NEUTRAL, REALTIME, Series, lines
from lanes.store.asking import plain_url
from tests.arrivals import arrive
from tests.benchmarks.bench_outage import publish
from tests.benchmarks.process_costs import resident_mb
from tests.benchmarks.running_costs import SESSIONS, of_each, used
from tests.benchmarks.telling import tell
from tests.benchmarks.whole_stand import drains, whole_stand
from tests.running_stand import RunningStand
from tests.waiting import until

CHART = Path(__file__).parents[2] / "docs/soak.svg"
BACKLOG = 5_000
EVENTS_PER_S = 2.0
CHUNKS_PER_S = 4
SAMPLES = 180  # of memory and of rows
LOOP = 100_000  # rounds of the fixed loop, which runs with each chunk
RECENT = 30 * CHUNKS_PER_S  # runs of the loop whose mean is the present speed
SUBMIT = """
select count(*) from (
  select lanes.submit('letters', jsonb_build_object('text', 'Letter ' || n), 'soak-' || n) as outcome
    from generate_series(cast(:since as int), cast(:until as int) - 1) n offset 0) s
 where outcome = 'accepted'
"""
ITEMS = "select count(*) from lanes.item"
OPEN = "select count(*) from lanes.item where answered_at is null and failed_at is null"
ANSWERED = "select count(*) from lanes.item where answered_at is not null"
ROWS = """
select relname as name, n_dead_tup as dead, n_live_tup as live
  from pg_stat_user_tables where schemaname = 'lanes'
"""
P99 = """
select percentile_cont(0.99) within group
         (order by extract(epoch from coalesce(answered_at, clock_timestamp()) - received_at))
  from lanes.item where received_at >= :since and received_at < :until
"""
URGENT_P99 = f"{P99} and urgent"
ANSWERED_IN = "select count(*) from lanes.item where answered_at >= :since and answered_at < :until"


@dataclass(frozen=True)
class Minute:
    """The figures of one minute of a soak."""

    at: datetime
    p99_s: float
    cpu_ms: float  # processor time of an item
    loop_ms: float  # processor time of the fixed loop, the mean of its runs

    def over(self, other: Self) -> tuple[float, float]:
        """Return the ratios of the latency and of an item's processor time, each in durations of the loop."""
        slower = self.loop_ms / other.loop_ms
        return self.p99_s / other.p99_s / slower, self.cpu_ms / other.cpu_ms / slower


@dataclass
class Course:
    """The observations over the time of a soak."""

    # Seconds of processor time that the stand had used when each minute began, and when the last one ended.
    cpu_s: list[tuple[datetime, float]] = field(default_factory=list[tuple[datetime, float]])
    # Milliseconds of processor time of each run of the fixed loop.
    loops: list[tuple[datetime, float]] = field(default_factory=list[tuple[datetime, float]])
    # MB of each process, by its flow and number.
    memory: dict[str, list[tuple[datetime, float]]] = field(
        default_factory=dict[str, list[tuple[datetime, float]]]
    )
    # Dead rows over live rows.
    dead: list[tuple[datetime, float]] = field(default_factory=list[tuple[datetime, float]])
    # The most dead rows of each table.
    largest: dict[str, int] = field(default_factory=dict[str, int])
    sessions: int = 0  # the most sessions of Lanes
    sent_late_s: float = 0.0  # the largest delay

    def loop_ms(self, latest: int = 0) -> float:
        """Return the mean duration of the latest runs of the fixed loop, by default of all."""
        return fmean(ms for _, ms in self.loops[-latest:])

    def growths_mb(self, warm_up: timedelta) -> dict[str, float]:
        """Return how much each process grew since the end of its warm-up."""
        warm = {
            name: [mb for at, mb in each if at - each[0][0] >= warm_up]
            for name, each in self.memory.items()
        }
        return {name: each[-1] - each[0] for name, each in warm.items() if each}

    def dead_at_the_end(self) -> float:
        """Return the largest ratio of the last sixth."""
        return max(ratio for _, ratio in self.dead[-math.ceil(len(self.dead) / 6) :])

    def largest_process(self) -> Sequence[tuple[datetime, float]]:
        """Return the memory of the largest process at each sample."""
        most: dict[datetime, float] = {}
        for at, mb in (point for each in self.memory.values() for point in each):
            most[at] = max(mb, most.get(at, 0))
        return sorted(most.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=30, help="at least 3")
    parser.add_argument(
        "--rate", type=float, default=0, help="items a second; 0 takes 80 %% of what it can do"
    )
    parser.add_argument("--chart", type=Path, default=CHART)
    given = parser.parse_args()
    with whole_stand() as stand:
        publish(stand)
        course = Course()
        # This also warms up the stand.
        measured = reached(stand, course, over_s=60 * given.minutes / 10)
        took_ms = course.loop_ms()

        def rate() -> float:
            return given.rate or 0.8 * measured * took_ms / course.loop_ms(RECENT)

        before, sent = used(stand), stand.value(ITEMS)
        soak(stand, rate, given.minutes, course)
        minutes = minutes_of(stand, course)
        span = {"since": minutes[0].at, "until": course.cpu_s[-1][0]}
        urgent_p99_s = float(stand.value(URGENT_P99, **span))
        items = stand.value(ITEMS) - sent
        each_took = of_each(before, used(stand), items)
        drains_at_last = drains(stand)
    over = timedelta(minutes=given.minutes)
    given.chart.write_text(drawn(minutes, course, over))
    grown = course.growths_mb(over / 6)
    first, last = minutes[0], minutes[-1]
    p99_ratio, cpu_ratio = last.over(first)
    figures = {
        "p99_ratio": p99_ratio,
        "rss_growth_mb": max(grown.values(), default=math.nan),
        "dead_rows_ratio": course.dead_at_the_end(),
    }
    more = {
        "reached_per_s": measured,
        "rate_per_s": items / over.total_seconds(),
        "items": items,
        "first_p99_s": first.p99_s,
        "last_p99_s": last.p99_s,
        "highest_p99_s": max(each.p99_s for each in minutes),
        "urgent_p99_s": urgent_p99_s,
        "first_cpu_ms": first.cpu_ms,
        "last_cpu_ms": last.cpu_ms,
        "first_loop_ms": first.loop_ms,
        "last_loop_ms": last.loop_ms,
        "cpu_ratio": cpu_ratio,
        "highest_dead_rows_ratio": max(ratio for _, ratio in course.dead),
        "highest_mb": max(mb for _, mb in course.largest_process()),
        "sent_late_s": course.sent_late_s,
        "sessions": course.sessions,
        "drains": drains_at_last,
        **each_took,
    }
    worst = sorted(course.largest.items(), key=lambda each: -each[1])[:6]
    print("dead rows at most:", ", ".join(f"{name} {dead:,}" for name, dead in worst), flush=True)
    print("MB grown:", ", ".join(f"{name} {mb:.1f}" for name, mb in grown.items()), flush=True)
    tell("soak", figures, minutes=given.minutes, more=more)


def reached(stand: RunningStand, course: Course, *, over_s: float) -> float:
    """Return the items a second that the stand answers under the load of the soak, while half of `BACKLOG` waits.

    The other half is answered first, so that the drains have started.
    """
    submit(stand, 0, BACKLOG)
    counted = partial(stand.value, OPEN)
    until(lambda: counted() <= BACKLOG / 2, within_s=300, what="half of the backlog")
    sent = BACKLOG
    with ThreadPoolExecutor(1) as beside:
        events = beside.submit(send_events, stand, over_s)
        answered, began = stand.value(ANSWERED), time.perf_counter()
        while time.perf_counter() - began < over_s:
            before = sent + max(0, BACKLOG // 2 - counted())
            submit(stand, sent, before)
            sent = before
            course.loops.append(run_loop())
            time.sleep(1 / CHUNKS_PER_S)
        rate = (stand.value(ANSWERED) - answered) / (time.perf_counter() - began)
        events.result()
    until(lambda: not counted(), within_s=300, what="the backlog")
    print(f"reached: {rate:.0f} items a second by {drains(stand)} drains", flush=True)
    return rate


def send_events(stand: RunningStand, seconds: float) -> None:
    """Send events for that many seconds, and wait for their answers."""
    number = round(seconds * EVENTS_PER_S)
    arrive(stand, "letters", number, per_s=EVENTS_PER_S, poll_s=0.1)


def submit(stand: RunningStand, since: int, before: int) -> None:
    """Submit the items of these numbers in one transaction."""
    accepted = stand.value(SUBMIT, since=since, until=before)
    assert accepted == before - since, f"{accepted} were accepted"


def soak(stand: RunningStand, rate: Callable[[], float], minutes: int, course: Course) -> None:
    """Send items at the present rate, and observe the stand meanwhile."""
    seconds = 60 * minutes
    stops = threading.Event()
    with ThreadPoolExecutor(2) as beside, ExitStack() as ending, ExitStack() as held:
        ending.callback(stops.set)  # after an error, too
        start = time.perf_counter()
        events = beside.submit(send_events, stand, seconds)
        looking = beside.submit(look, stand, course, stops, every_s=seconds / SAMPLES)
        sent = due = stand.value(ITEMS)  # higher than any number sent so far
        transaction = 0
        for chunk in range(seconds * CHUNKS_PER_S):
            passed = chunk / CHUNKS_PER_S
            late_s = time.perf_counter() - start - passed
            course.sent_late_s = max(course.sent_late_s, late_s)
            time.sleep(max(0.0, -late_s))
            if transaction == 0 and passed >= seconds / 3:
                transaction = 1
                held.enter_context(forgotten(stand))
            if transaction == 1 and passed >= 2 * seconds / 3:
                transaction = 2
                held.close()
            course.loops.append(run_loop())
            due += rate() / CHUNKS_PER_S
            submit(stand, sent, round(due))
            sent = round(due)
            if chunk % (60 * CHUNKS_PER_S) == 0:
                course.cpu_s.append(cpu_now(stand))
                print(said(stand, passed, course), flush=True)
        course.cpu_s.append(cpu_now(stand))
        events.result()
        stops.set()
        looking.result()
    until(lambda: not stand.value(OPEN), within_s=300, what="the last answers")


def cpu_now(stand: RunningStand) -> tuple[datetime, float]:
    """Return the time, and the seconds of processor time that Lanes, Postgres and Prefect have used."""
    seconds = sum(each for name, each in used(stand).items() if name.endswith("_cpu_s"))
    return stand.value("select clock_timestamp()"), seconds


def run_loop() -> tuple[datetime, float]:
    """Run the fixed loop, and return the time and the milliseconds of processor time that the loop took."""
    began, total = time.thread_time(), 0
    for number in range(LOOP):
        total += number
    return datetime.now(UTC), 1000 * (time.thread_time() - began)


def minutes_of(stand: RunningStand, course: Course) -> list[Minute]:
    """Return the figures of each minute, and print them."""
    minutes: list[Minute] = []
    for (began, before_s), (ended, after_s) in pairwise(course.cpu_s):
        span = {"since": began, "until": ended}
        loops = [ms for at, ms in course.loops if began <= at < ended]
        cpu_ms = 1000 * (after_s - before_s) / max(1, stand.value(ANSWERED_IN, **span))
        minutes.append(Minute(began, float(stand.value(P99, **span)), cpu_ms, fmean(loops)))
        print(
            f"minute {len(minutes)}: p99 {minutes[-1].p99_s:.2f} s, "
            f"processor time of an item {cpu_ms:.2f} ms, of the loop {minutes[-1].loop_ms:.2f} ms"
        )
    return minutes


def forgotten(stand: RunningStand) -> psycopg.Connection:
    """Open a transaction with a snapshot, which ends with the connection."""
    connection = psycopg.connect(plain_url(stand.environment["LANES_DATABASE_URL"]))
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.execute("select 1 from lanes.item limit 1")
    return connection


def look(stand: RunningStand, course: Course, stops: threading.Event, *, every_s: float) -> None:
    """Record memory and rows until `stops` is set."""
    home = str(stand.home)
    while not stops.wait(every_s):
        now: datetime = stand.value("select clock_timestamp()")
        for name, pid in lanes_processes(home):
            with suppress(psutil.NoSuchProcess):  # a run that has ended
                course.memory.setdefault(name, []).append((now, resident_mb(pid)))
        rows = stand.rows(ROWS)
        for each in rows:
            course.largest[each.name] = max(each.dead, course.largest.get(each.name, 0))
        course.sessions = max(course.sessions, stand.value(SESSIONS))
        dead, live = sum(each.dead for each in rows), sum(each.live for each in rows)
        course.dead.append((now, dead / max(1, live)))


def lanes_processes(home: str) -> list[tuple[str, int]]:
    """Return the processes of runs on the stand in folder `home`, with a name for each."""
    found: list[tuple[str, int]] = []
    for each in psutil.process_iter(["cmdline"]):
        if (each.info["cmdline"] or [])[-2:] == ["-m", "flows"]:
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                around = each.environ()
                if around.get("LANES_HOME") == home:
                    found.append((f"{around.get('PREFECT__FLOW_NAME')} {each.pid}", each.pid))
    return found


def said(stand: RunningStand, passed: float, course: Course) -> str:
    """Return the progress in words."""
    waiting = stand.value(OPEN)
    if not course.dead:
        return f"second {passed:.0f}: {waiting:,} items wait"
    return (
        f"second {passed:.0f}: {waiting:,} items wait, {drains(stand)} drains, "
        f"{course.largest_process()[-1][1]:.0f} MB, dead over live rows {course.dead[-1][1]:.3f}"
    )


def drawn(minutes: Sequence[Minute], course: Course, over: timedelta) -> str:
    """Draw the curves over one time axis."""
    in_ms = "{:.1f} ms".format
    series = [
        Series("p99 of each minute", [(each.at, each.p99_s) for each in minutes], REALTIME),
        Series("CPU time of an item", [(each.at, each.cpu_ms) for each in minutes], NEUTRAL, in_ms),
        Series(
            "CPU time of the loop", [(each.at, each.loop_ms) for each in minutes], NEUTRAL, in_ms
        ),
        Series("Largest process", course.largest_process(), BATCH, "{:,.0f} MB".format),
        Series("Dead over live rows", course.dead, NEUTRAL, "{:.2f}".format),
    ]
    # The points of minutes are at most five steps apart, so a line may bridge these gaps.
    return lines(series, step=max(over / SAMPLES, timedelta(seconds=12))) + "\n"


if __name__ == "__main__":
    main()

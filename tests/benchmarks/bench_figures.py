"""Reading figures over a history of a million items, or more: report, status, promises and advice, and the cost for a claim.

`slowest_read_ms` covers typical queries of the contract's views and of the pages of `lanes results`. At ten million items the
slowest one counts the attempts of a day, probably by a full scan: at five million, Postgres estimates that the index saves less
than 1% of the cost. `status_ms` includes the start of a process, and is about the same at one and at ten million items.
Each query runs once unmeasured and then several times; the median counts. Claims alternate between this database and one that
holds only the same waiting work; the ratio compares their 99th percentiles.

A profile of 2026-12-04, over three million items and on a faster machine, shows where the time goes:

| figure | ms | of these |
|---|---|---|
| watch | 38 | 20 statements 33, one of them 15: it reads the real-time attempts of the last quarter of an hour |
| snapshot | 123 | 41 statements 80, one of them 34: the view of accuracy; processor time of Python 48 |
| advice | 30 | 11 statements 15; processor time of Python 17 |
| status | 508 | start of the command line 164, snapshot 123; the rest is mostly imports, which `lanes --help` does not need |
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable
from datetime import timedelta

import numpy
from sqlalchemy import Engine, create_engine, text

from lanes.store import work
from lanes.store.database import clock
from lanes.words import Lane
from tests.benchmarks import figures_of, history, reads
from tests.benchmarks.figures_of import Question
from tests.benchmarks.ground import Server, server, vacuumed
from tests.benchmarks.letters import WORKLOAD, realtime
from tests.benchmarks.telling import tell

CLAIMS = 400  # in each database
PLACES = 20  # places that a claim asks for
WAITING = """
with item as (
  insert into lanes.item (workload, key, payload, content_hash, occurred_at, received_at, source, position)
  select :workload, 'w' || n, '{"text": "Where is my parcel?", "pages": 1}', decode(md5(n::text), 'hex'), now(), now(),
         'client', nextval('lanes.item_position')
    from generate_series(1, cast(:number as int)) n
  returning id),
route as (
  insert into lanes.route (item_id, version_id, lane, reason, explanation, realtime_usd, batch_usd, decided_at)
  select id, :version, 'realtime', 'split', 'bucket 1 of 10,000 is below the split', 0.0001, 0.00005, now() from item)
insert into lanes.work (item_id, workload, version_id, lane, purpose, revision, state, ready_at, rank_at, waits_since)
select id, :workload, :version, 'realtime', 'answer', 0, 'ready', now(), now() + interval '1 minute', now() from item
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with server() as ground:
        began = time.perf_counter()
        full, empty = _database(ground), _database(ground)
        with full.begin() as connection:
            history.write(connection, given.items)
        vacuumed(_url(full))
        seeded_s = time.perf_counter() - began
        print(f"history: written and analyzed in {seeded_s:.0f} s", flush=True)
        rebuilt = _rebuilt(full)
        vacuumed(_url(full))
        slowest_ms, slowest = reads.slowest(full, given.rounds)
        figures = {
            "snapshot_ms": _asked(full, "snapshot", figures_of.report, given.rounds),
            "watch_ms": _asked(full, "watch", figures_of.promises, given.rounds),
            "advice_ms": _asked(full, "advice", figures_of.advice, given.rounds),
            "status_ms": _timed("status", lambda: figures_of.status(_url(full)), given.rounds),
            "rebuild_rows_per_s": rebuilt,
            "slowest_read_ms": slowest_ms,
        }
        claims = _claims(full, empty)
        full.dispose()
        empty.dispose()
    figures["claim_p99_ratio"] = claims["p99_ms_with"] / claims["p99_ms_without"]
    tell(
        "figures", figures, **vars(given), seeded_s=round(seeded_s), claims=claims, slowest=slowest
    )


def _database(ground: Server) -> Engine:
    return create_engine(ground.database(of_lanes=True))


def _url(pool: Engine) -> str:
    return pool.url.render_as_string(hide_password=False)


def _rebuilt(pool: Engine) -> float:
    """Return how many facts a second the rebuild of the figures counts; not a number where the product has no figures."""
    began = time.perf_counter()
    facts = figures_of.rebuild(pool)
    took = time.perf_counter() - began
    print(
        "rebuild: the product has no figures"
        if facts is None
        else f"rebuild: {facts:,} facts in {took:.1f} s",
        flush=True,
    )
    return math.nan if facts is None else facts / took


def _asked(pool: Engine, name: str, question: Question, rounds: int) -> float:
    """Return the milliseconds of a query that runs in a transaction of its own."""

    def ask() -> None:
        with pool.begin() as connection:
            question(connection, clock(connection))

    return _timed(name, ask, rounds)


def _timed(name: str, ask: Callable[[], None], rounds: int) -> float:
    ask()
    seen: list[float] = []
    for _ in range(rounds):
        began = time.perf_counter()
        ask()
        seen.append((time.perf_counter() - began) * 1_000)
    print(
        f"{name}: {statistics.median(seen):,.1f} ms, {min(seen):,.1f} to {max(seen):,.1f}",
        flush=True,
    )
    return statistics.median(seen)


def _claims(full: Engine, empty: Engine) -> dict[str, float]:
    """Return the milliseconds of a claim, with the history and without."""
    pools = {"with": full, "without": empty}
    for pool in pools.values():
        with pool.begin() as connection:
            version = realtime(connection, now=clock(connection))
            asked = {"workload": WORKLOAD, "number": CLAIMS * PLACES, "version": version.id}
            connection.execute(text(WAITING), asked)
        vacuumed(_url(pool))
    seen: dict[str, list[float]] = {name: [] for name in pools}
    for _ in range(CLAIMS):
        for name, pool in pools.items():
            seen[name].append(_claim(pool))
    told = {
        f"p{share}_ms_{name}": float(numpy.quantile(values, share / 100))
        for name, values in seen.items()
        for share in (50, 99)
    }
    print("claims: " + " ".join(f"{name}={value:.3g}" for name, value in told.items()), flush=True)
    return told


def _claim(pool: Engine) -> float:
    began = time.perf_counter()
    with pool.begin() as connection:
        taken = work.claim(
            connection,
            Lane.REALTIME,
            {WORKLOAD: PLACES},
            worker="bench",
            lease=timedelta(minutes=5),
            now=clock(connection),
        )
    took = time.perf_counter() - began
    assert len(taken) == PLACES, f"{len(taken)} claims"
    return took * 1_000


if __name__ == "__main__":
    main()

"""A replay during live traffic: how fast it is promoted, how much it delays, what it pays again, and how little it asks.

`promote_s` is the promotion of a complete replay, while another connection reads current results: each of its reads must see
only one generation. `live_p99_ratio` is the 99th percentile of urgent items during a real-time replay over that of the same
round while the replay is paused; the median over the rounds. The reader of that replay is killed, its drain is ended and
another drain continues: `paid_again` counts what the stand-in's bill contains beyond one response an item, and the ledger must
equal the bill. `differing_call_share` is the share of items that a replay asks again for a version that reads one earlier item,
where 5 % of the items have one.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import numpy
from sqlalchemy import Engine, create_engine, text

from anthropic_standin.testing import EndpointProcess
from lanes.client import Lanes
from lanes.store.database import clock
from lanes.store.replays import promotions, replays
from lanes.words import Signature
from lanes.workload.version import Version
from tests.benchmarks.answering import OWN, Drained, one_drain
from tests.benchmarks.ground import Server, server, vacuumed
from tests.benchmarks.letters import WORKLOAD, realtime
from tests.benchmarks.standin_home import standin
from tests.benchmarks.telling import tell
from tests.examples import publish

GAP_S = 0.05  # between two urgent items
SETTLES_S = 2.0  # after a pause or its end
CALL_S = 0.1  # the time of the stand-in for an answer
ITEMS = """
insert into lanes.item (id, workload, key, payload, content_hash, entity, occurred_at, received_at, source, position,
                        result_id, answered_at, settled_at)
overriding system value
select n, :workload, 'k' || n, jsonb_build_object('text', 'Letter ' || n || ': where is my parcel?', 'pages', 1),
       decode(md5(n::text), 'hex'), 'e' || case when n % 20 = 0 then n - 1 else n end,
       now() - interval '1 day' + n * interval '1 ms', now() - interval '1 day', 'client', n, n, now(), now()
  from generate_series(1, cast(:items as int)) n
"""
RESULTS = """
insert into lanes.result (id, item_id, work_id, version_id, lane, standing, generation, revision, output, message_id,
                          created_at)
overriding system value
select :items * :generation + n, n, :items * :generation + n, :version, 'batch', 'authoritative', :generation, 0,
       '{"category": "a"}', 'msg_' || :generation || '_' || n, now()
  from generate_series(1, cast(:items as int)) n
"""
ATTEMPTS = """
insert into lanes.attempt (work_id, item_id, version_id, claim_no, workload, lane, purpose, outcome, message_id, model,
                           input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost_usd, bound_usd, shown,
                           latency_ms, started_at, ended_at)
select n, n, :version, 1, :workload, 'batch', 'answer', 'valid', 'msg_0_' || n, 'claude-haiku-5-5', 150, 30, 0, 0, 0, 0, true,
       1, now(), now()
  from generate_series(1, cast(:items as int)) n
"""
COMPLETE = """
insert into lanes.generation (workload, number, version_id, state, from_position, to_position, cursor_position, items, who, why,
                              created_at, completed_at)
values (:workload, 1, :version, 'complete', 1, :items, :items, :items, 'bench', '', now(), now())
"""
NUMBERED = ("item", "work", "result")
SEEN = "select distinct generation from lanes.current_results where workload = :workload and key = any(:keys)"
TOOK = """
select extract(epoch from answered_at - received_at)::float8 from lanes.item where key like :some and answered_at is not null
"""
REPLAYED = "select state, answered, failed from lanes.replay_log"
CURSOR = "select cursor_position from lanes.generation"
BILLED = "select coalesce(sum(cost_usd), 0) from lanes.response"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--promoted", type=int, default=100_000, help="items of the promotion")
    parser.add_argument("--items", type=int, default=20_000, help="items of the other replays")
    parser.add_argument("--urgent", type=int, default=200, help="urgent items of a round")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with server() as ground:
        promote_s, seen = _promoted(ground, given.promoted, given.rounds)
        share = _differing(ground, given.items)
        with standin(latency_s=CALL_S) as endpoint:
            live = _beside(ground, endpoint, given.items, given.urgent, given.rounds)
    figures = {"promote_s": promote_s, "differing_call_share": share, **live}
    tell("replay", figures, **vars(given), more={"reads_during_promotion": seen})


def _filled(ground: Server, items: int, *statements: str, **fields: Any) -> tuple[Engine, Version]:
    """Return a database whose items have results, written by these statements."""
    pool = create_engine(ground.database(of_lanes=True))
    with pool.begin() as connection:
        version = realtime(connection, now=clock(connection), **fields)
        connection.execute(text("set local session_replication_role = replica"))
        given = {"workload": WORKLOAD, "items": items, "version": version.id}
        for number, statement in enumerate(statements):
            wanted = given | {"generation": number - 1}
            held = {name: value for name, value in wanted.items() if f":{name}" in statement}
            connection.execute(text(statement), held)
        for table in NUMBERED:
            last = f"select setval('lanes.{table}_id_seq', {3 * items})"
            connection.execute(text(last))
        connection.execute(text("select setval('lanes.item_position', :items)"), {"items": items})
    vacuumed(_url(pool))
    return pool, version


def _url(pool: Engine) -> str:
    return pool.url.render_as_string(hide_password=False)


def _promoted(ground: Server, items: int, rounds: int) -> tuple[float, int]:
    """Return the seconds of a promotion, and the number of reads during it, each of which saw one generation."""
    pool, _ = _filled(ground, items, ITEMS, RESULTS, RESULTS, COMPLETE)
    took, reads = list[float](), 0
    for number in range(rounds):
        with _reading(pool, items) as seen, pool.begin() as connection:
            began = time.perf_counter()
            _, changed = promotions.promote(connection, WORKLOAD, now=clock(connection))
            connection.commit()
            took.append(time.perf_counter() - began)
        assert changed == items, f"{changed} of {items} were promoted"
        assert set(seen) <= {(0,), (1,)}, f"a reader saw a mixture: {set(seen)}"
        reads += len(seen)
        print(f"round {number + 1} of {rounds}: promoted in {took[-1]:.2f} s", flush=True)
        with pool.begin() as connection:
            promotions.demote(connection, WORKLOAD, now=clock(connection))
        vacuumed(_url(pool))
    pool.dispose()
    return statistics.median(took), reads


@contextmanager
def _reading(pool: Engine, items: int) -> Iterator[list[tuple[int, ...]]]:
    """Read items from the whole stream again and again; yield the generations that each read saw."""
    over, seen = threading.Event(), list[tuple[int, ...]]()
    keys = [f"k{number}" for number in range(1, items + 1, max(1, items // 500))]

    def read() -> None:
        with pool.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while not over.is_set():
                found = connection.execute(text(SEEN), {"workload": WORKLOAD, "keys": keys})
                seen.append(tuple(sorted(found.scalars())))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield seen
    finally:
        over.set()
        reader.join()


def _differing(ground: Server, items: int) -> float:
    """Return the share of items that a replay asks again; the new version changes the prompt of those with an earlier item."""
    pool, _ = _filled(ground, items, ITEMS, RESULTS, ATTEMPTS)
    with pool.begin() as connection:
        now = clock(connection)
        publish(connection, WORKLOAD, now=now, history_items=1)
        asked: dict[str, Any] = {"version_no": None, "first": None, "last": None}
        of = replays.begin(connection, WORKLOAD, **asked, by=Signature("bench", "", now))
        while not of.read_whole:
            of = replays.read_some(connection, of.id, now=now)
    pool.dispose()
    assert of.items + of.skipped == items, f"{of.items} asked, {of.skipped} left out"
    return of.items / items


def _beside(
    ground: Server, endpoint: EndpointProcess, items: int, urgent: int, rounds: int
) -> Mapping[str, float]:
    """Return the 99th percentile of urgent items during a replay over that of the round before, and what was paid again."""
    pool, _ = _filled(ground, items, ITEMS, RESULTS, ATTEMPTS)
    url, p99 = _url(pool), {"with": list[float](), "without": list[float]()}
    _read(url, killed_at=items // 3, pool=pool)
    assert _cursor(pool) < items, "the reader was not killed in time"
    _read(url)
    _paused(pool, promotions.pause)
    with one_drain(url, endpoint.url, most_calls=64) as drain:
        for number in range(1, rounds + 1):
            for name in ("without", "with"):
                if name == "with":
                    _paused(pool, promotions.resume)
                time.sleep(SETTLES_S)
                took = _urgent(drain, f"u{number}-{name}-", urgent)
                if name == "with":
                    assert _replayed(pool).state == "running", "the replay ended too soon"
                    _paused(pool, promotions.pause)
                p50, of_99 = numpy.quantile(took, (0.5, 0.99))
                p99[name].append(float(of_99))
                print(
                    f"round {number} of {rounds}: {name} p50 {p50:.3f} s, p99 {of_99:.3f} s",
                    flush=True,
                )
        _paused(pool, promotions.resume)
        drain.until_answered(drain.answered() + 1)
    # the previous drain was ended in the middle of its work
    with one_drain(url, endpoint.url, most_calls=64) as drain:
        while _replayed(pool).state != "complete":
            time.sleep(0.5)
            with pool.begin() as connection:
                replays.finish(connection, now=clock(connection))
        live = drain.answered() - items
    of, bill = _replayed(pool), endpoint.bill()
    assert (of.answered, of.failed) == (items, 0), of
    with pool.connect() as connection:
        billed = connection.execute(text(BILLED)).scalar_one()
    pool.dispose()
    assert Decimal(bill["usd"]) == billed, f"the bill says {bill['usd']}, the ledger {billed}"
    ratios = [beside / alone for alone, beside in zip(p99["without"], p99["with"], strict=True)]
    return {
        "live_p99_ratio": statistics.median(ratios),
        "paid_again": bill["responses"] - items - live,
    }


def _read(url: str, *, killed_at: int = 0, pool: Engine | None = None) -> None:
    """Run `lanes replay`; with `killed_at`, kill its process after it has read that many items."""
    around = {name: value for name, value in os.environ.items() if not name.startswith(OWN)}
    asked = [sys.executable, "-m", "lanes", "replay", WORKLOAD, "--force", "--lane", "realtime"]
    process = subprocess.Popen(asked, env=around | {"LANES_DATABASE_URL": url})
    if pool is not None:
        while process.poll() is None and _cursor(pool) < killed_at:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    process.wait()


def _cursor(pool: Engine) -> int:
    with pool.connect() as connection:
        return connection.execute(text(CURSOR)).scalar_one_or_none() or 0


def _replayed(pool: Engine) -> Any:
    with pool.connect() as connection:
        return connection.execute(text(REPLAYED)).one()


def _paused(pool: Engine, change: Any) -> None:
    with pool.begin() as connection:
        change(connection, WORKLOAD, now=clock(connection))


def _urgent(drain: Drained, prefix: str, items: int) -> list[float]:
    """Send urgent items one by one, and return the seconds until each was answered."""
    with Lanes(drain.url) as lanes:
        for number in range(items):
            lanes.submit(
                WORKLOAD,
                {"text": f"Urgent {number}", "pages": 1},
                key=f"{prefix}{number}",
                urgent=True,
            )
            time.sleep(GAP_S)
    deadline = time.monotonic() + 60
    while True:
        with drain.pool.connect() as connection:
            took = [*connection.execute(text(TOOK), {"some": f"{prefix}%"}).scalars()]
        if len(took) == items:
            return took
        assert time.monotonic() < deadline, f"{len(took)} of {items} urgent items were answered"
        time.sleep(0.1)


if __name__ == "__main__":
    main()

"""Submit to complete: items a second through admission, routing, claims and settling, without any provider call.

Each contender gets the same payloads on the same server, submits all of them and then completes all of them with an
answer made on the spot. The floor is what psycopg alone can do with one table: COPY in, claim with SKIP LOCKED, and write
the answers back. PgQueuer and Procrastinate are general queues: they store no answers.
"""

import argparse
import asyncio
import json
import logging
import os
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, LiteralString

import psycopg
from prefect.logging import disable_run_logger
from psycopg.types.json import Jsonb

from lanes import client
from lanes.claims import Claimed
from lanes.settling.outcome import Attempt, Judged, Response
from lanes.store import work
from lanes.store.database import Database, plain_url
from lanes.store.settling import outcomes
from lanes.words import Lane, Outcome
from lanes.workload.prices import Usage
from tasks.route import route_received
from tests.benchmarks.ground import Server, medians, server, tell
from tests.examples import publish

CHUNK = 200  # items claimed and saved in one transaction, and jobs a peer may take at once
ANSWER = {"category": "a", "note": "as asked"}
LEASE = timedelta(minutes=5)
TOKENS = Usage(input=120, output=30, cache_read=0, cache_write_5m=0, cache_write_1h=0)


def payloads(items: int) -> list[dict[str, Any]]:
    """What is submitted: a short letter each."""
    return [{"text": f"Letter {number}: my parcel should have been here yesterday. Where is it?"} for number in range(items)]


def lanes(ground: Server, items: int) -> float:
    """Items a second: the client's door, the router, claims, attempts, the ledger, results, events."""
    url = ground.database(of_lanes=True)
    os.environ["LANES_DATABASE_URL"] = url
    inputs = [{"key": str(n), "payload": payload, "lane": "realtime"} for n, payload in enumerate(payloads(items))]
    began, done = time.perf_counter(), 0

    async def complete() -> None:
        nonlocal began, done
        async with Database(url) as db:
            now = await db.now()
            await db.run(partial(publish, now=now))
            began = time.perf_counter()
            await client.asubmit_many("letters", inputs)
            with disable_run_logger():
                while await route_received(db):
                    pass
            while claimed := await db.run(
                work.claim, Lane.REALTIME, {"letters": CHUNK}, worker="bench", lease=LEASE, now=await db.now()
            ):
                now = await db.now()
                attempts = [_answered(each, now) for each in claimed]
                saved = await db.run(outcomes.save, attempts, now=now)
                done += saved.answered

    asyncio.run(complete())
    assert done == items, f"{done} of {items} were answered"
    return items / (time.perf_counter() - began)


def _answered(claimed: Claimed, now: Any) -> Attempt:
    response = Response(f"msg_{claimed.claim.work_id}", "claude-haiku-5-5", "", "end_turn", TOKENS, None)
    return Attempt(claimed.claim, Judged(Outcome.VALID, output=ANSWER), response, now, now, 1)


def floor(ground: Server, items: int) -> float:
    """Items a second: one table and psycopg."""
    inputs, done = payloads(items), 0
    with psycopg.connect(plain_url(ground.database())) as connection:
        connection.execute(
            "create table job (id bigint generated always as identity primary key, payload jsonb not null,"
            " state text not null default 'ready', answer jsonb)"
        )
        connection.execute("create index on job (id) where state = 'ready'")
        connection.commit()
        began = time.perf_counter()
        for chunk in _chunks(inputs, 500):
            with connection.cursor() as cursor, cursor.copy("copy job (payload) from stdin") as copy:
                for payload in chunk:
                    copy.write_row([Jsonb(payload)])
            connection.commit()
        while True:
            rows = connection.execute(
                "update job set state = 'claimed' where id in (select id from job where state = 'ready' order by id"
                " limit %s for update skip locked) returning id, payload",
                [CHUNK],
            ).fetchall()
            connection.commit()
            if not rows:
                break
            connection.execute(
                "update job set state = 'done', answer = %s where id = any(%s)", [Jsonb(ANSWER), [row[0] for row in rows]]
            )
            connection.commit()
            done += len(rows)
    assert done == items, f"{done} of {items} were done"
    return items / (time.perf_counter() - began)


def pgqueuer(ground: Server, items: int) -> float:
    """Jobs a second of PgQueuer on psycopg."""
    from pgqueuer.adapters.drivers.psycopg import PsycopgDriver  # pyright: ignore[reportMissingImports]
    from pgqueuer.adapters.persistence.queries import Queries  # pyright: ignore[reportMissingImports]
    from pgqueuer.core.qm import QueueManager  # pyright: ignore[reportMissingImports]

    url, inputs = plain_url(ground.database()), payloads(items)

    async def complete() -> float:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            queries = Queries(PsycopgDriver(connection))
            await queries.install()
            manager = QueueManager(queries)

            @manager.entrypoint("letter")
            async def letter(job: object) -> None:
                pass

            began = time.perf_counter()
            for chunk in _chunks(inputs, 500):
                encoded: list[bytes | None] = [json.dumps(payload).encode() for payload in chunk]
                await queries.enqueue(["letter"] * len(chunk), encoded, [0] * len(chunk))
            worker = asyncio.create_task(manager.run(batch_size=CHUNK, dequeue_timeout=timedelta(milliseconds=100)))
            await _until_none(url, "select count(*) from pgqueuer")
            took = time.perf_counter() - began
            manager.shutdown.set()
            await worker
            return items / took

    return asyncio.run(complete())


def procrastinate(ground: Server, items: int) -> float:
    """Jobs a second of Procrastinate."""
    from procrastinate import App, PsycopgConnector  # pyright: ignore[reportMissingImports]

    logging.getLogger("procrastinate").setLevel(logging.ERROR)
    url, inputs = plain_url(ground.database()), payloads(items)
    app = App(connector=PsycopgConnector(conninfo=url, min_size=4, max_size=12))

    async def complete_one(**payload: object) -> None:
        pass

    letter: Any = app.task(name="letter")(complete_one)

    async def complete() -> float:
        async with app.open_async():
            await app.schema_manager.apply_schema_async()
            began = time.perf_counter()
            for chunk in _chunks(inputs, 500):
                await letter.batch_defer_async(*chunk)
            worker = asyncio.create_task(app.run_worker_async(wait=False, concurrency=CHUNK, install_signal_handlers=False))
            await _until_none(url, "select count(*) from procrastinate_jobs where status <> 'succeeded'")
            took = time.perf_counter() - began
            await worker
            return items / took

    return asyncio.run(complete())


async def _until_none(url: str, query: LiteralString) -> None:
    """The count is zero: what the worker does after its last job is not measured."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        while (row := await (await connection.execute(query)).fetchone()) != (0,):
            assert row is not None
            await asyncio.sleep(0.02)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    contenders: dict[str, Callable[[Server, int], float]] = {
        "lanes": lanes, "floor": floor, "pgqueuer": pgqueuer, "procrastinate": procrastinate,
    }  # fmt: skip
    with server() as ground:
        measured = {name: partial(contender, ground, given.items) for name, contender in contenders.items()}
        rate = medians(measured, rounds=given.rounds)
    figures = {"items_per_s": rate["lanes"]}
    figures |= {f"vs_{name}": rate["lanes"] / rate[name] for name in ("floor", "pgqueuer", "procrastinate")}
    tell("queue", figures, items=given.items, rounds=given.rounds, peers_per_s={n: round(r) for n, r in rate.items()})


def _chunks(inputs: list[dict[str, Any]], size: int) -> list[list[dict[str, Any]]]:
    return [inputs[start : start + size] for start in range(0, len(inputs), size)]


if __name__ == "__main__":
    main()

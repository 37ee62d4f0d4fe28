"""The decision for an item: how many one core makes a second, and how fast the router routes received items.

Every item has a value that decays, two CEL rules evaluate it, and half of the items are due. `routes_per_s` is the decision
alone, as the router makes it for a chunk. The router's own rate, with its statements and their commits, is compared with a
floor: bare psycopg that writes the same positions, routes and work, compared column by column after every round.
"""

import argparse
import asyncio
import math
import os
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import islice

import psycopg
from prefect.logging import disable_run_logger
from sqlalchemy import create_engine

from lanes.money.estimates import Estimates
from lanes.realtime.turns import QueueCursor
from lanes.routing.capacity import WINDOW, Limit, LimitKind
from lanes.routing.load import Load, RankedQueue
from lanes.routing.prospect import Prospects
from lanes.routing.room import Guards, Room
from lanes.routing.route import ArrivedItem, decide
from lanes.routing.split import Split, Splits
from lanes.routing.turnaround import ObservedBatches, Turnarounds
from lanes.store.asking import plain_url
from lanes.store.database import Database, clock
from lanes.store.doors import items
from lanes.store.doors.unrouted import RoutedUpTo
from lanes.store.workload.accounts import LaneAccount
from lanes.words import Lane
from lanes.workload.version import Version
from tasks.router import MOST, Rooms, route_received
from tests.benchmarks.ground import Server, server, vacuumed
from tests.benchmarks.letters import WORKLOAD, payloads
from tests.benchmarks.pattern import RowPattern
from tests.benchmarks.realtime_life import as_a_drain_begins
from tests.benchmarks.rounds import take_turns
from tests.benchmarks.routing_floor import RoutingFloor
from tests.benchmarks.telling import tell
from tests.examples import publish, submission, version

RULES = {"urgent_when": "payload.pages > 30", "batch_when": "payload.pages == 7 && age_s > 86400.0"}
# The age of items decides which of them are worth a call.
VALUE = {
    "value_usd": 0.000_03,
    "half_life_s": 7_200,
}
CHUNK = MOST  # of the router, and of the floor
BATCHES = 200  # that were observed before
NOON = datetime.fromisoformat("2026-11-24T12:00:00+00:00")


def valued(of: int) -> list[ArrivedItem]:
    """Return items in the router's form: payloads and lengths, ages of up to four hours, every other one due."""
    return [
        ArrivedItem(
            WORKLOAD,
            f"k{number}",
            payload,
            NOON,
            NOON - timedelta(seconds=number % 480 * 30),
            length=110,
            due_at=NOON + timedelta(minutes=30 + number % 600) if number % 2 else None,
        )
        for number, payload in enumerate(payloads(of))
    ]


def decisions(arrived: list[ArrivedItem], of: Version) -> float:
    """Return the decisions a second, chunk by chunk, including what the router reads once for each chunk."""
    seen = ObservedBatches.of(
        [
            (3_600 * number, 60 * (20 + number), 1, 100, 100, math.nan)
            for number in reversed(range(BATCHES))
        ]
    )
    turnarounds, splits = (
        Turnarounds({of.spec.batch_model: seen}, NOON),
        Splits([Split(WORKLOAD, None, 5_000)]),
    )
    limits = [Limit(kind, 10_000_000, 9_000_000, NOON + WINDOW, NOON) for kind in LimitKind]
    model, queued = of.spec.realtime_model, timedelta(seconds=20)
    queues = [RankedQueue(WORKLOAD, model, NOON + number * queued, 100) for number in range(10)]
    room = Room(Load(NOON, per_s=10_000, queues=queues, limits={model: limits}))
    guards = Guards(room=room)
    began = time.process_time()
    rest = iter(arrived)
    while chunk := list(islice(rest, CHUNK)):
        estimates, prospects = Estimates(NOON), Prospects(turnarounds, NOON)
        for each in chunk:
            route = decide(
                each, of, splits, now=NOON, estimates=estimates, prospects=prospects, guards=guards
            )
            if route.lane is Lane.REALTIME:
                room.add(of)
    return len(arrived) / (time.process_time() - began)


class Intake:
    """The router and its floor, which writes what the router wrote in the same round."""

    def __init__(self, ground: Server, number: int) -> None:
        self._ground, self._number = ground, number
        self._pattern: RowPattern | None = None

    def lanes(self) -> dict[str, float]:
        """Return how many items the router routes in a second."""
        url = self._received()
        took = asyncio.run(self._route(url))
        self._pattern = RowPattern(plain_url(url))
        self._ground.drop(url)
        return {"per_s": self._number / took}

    def floor(self) -> dict[str, float]:
        """Return how many items bare psycopg routes in a second; it knows their routes in advance."""
        assert self._pattern is not None
        url = self._received()
        took = RoutingFloor(plain_url(url), self._pattern).lead(CHUNK)
        self._pattern.check(plain_url(url))
        self._ground.drop(url)
        return {"per_s": self._number / took}

    def _received(self) -> str:
        """Create a database in which that many items wait for the router."""
        url = self._ground.database(of_lanes=True)
        engine = create_engine(url)
        with engine.begin() as connection:
            now = clock(connection)
            publish(connection, WORKLOAD, now=now, split_percent=50, **RULES, **VALUE)
            sent = [
                submission(
                    f"k{number}",
                    WORKLOAD,
                    payload=payload,
                    occurred_at=now - timedelta(seconds=number % 480 * 30),
                    due_at=now + timedelta(minutes=30 + number % 600) if number % 2 else None,
                )
                for number, payload in enumerate(payloads(self._number))
            ]
            for start in range(0, len(sent), CHUNK):
                items.admit(connection, sent[start : start + CHUNK], door="client", now=now)
        engine.dispose()
        vacuumed(url)
        return url

    async def _route(self, url: str) -> float:
        os.environ["LANES_DATABASE_URL"] = url
        async with Database(url) as db:
            await db.now()
            heads, rooms, left = (
                QueueCursor[RoutedUpTo](),
                Rooms(lambda: [LaneAccount("acme")]),
                self._number,
            )
            began = time.perf_counter()
            with disable_run_logger():
                while left > 0:
                    routed = await route_received(db, CHUNK, heads=heads, rooms=rooms)
                    assert routed, f"{left} of {self._number} were not routed"
                    left -= routed
            return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--items", type=int, default=20_000, help="that are decided, and routed in each round"
    )
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    arrived, of = valued(given.items), version(workload=WORKLOAD, **RULES, **VALUE)
    as_a_drain_begins(of, NOON)
    decisions(arrived[:CHUNK], of)
    contenders: dict[str, Callable[[], dict[str, float]]] = {
        "decide": lambda: {"per_s": decisions(arrived, of)}
    }
    with server() as ground:
        intake = Intake(ground, given.items)
        contenders |= {"lanes": intake.lanes, "floor": intake.floor}
        seen = take_turns(contenders, rounds=given.rounds)
    rate = {name: figures["per_s"] for name, figures in seen.items()}
    figures = {"routes_per_s": rate["decide"], "intake_vs_floor": rate["lanes"] / rate["floor"]}
    tell("routing", figures, **vars(given), seen=seen, psycopg=psycopg.__version__)


if __name__ == "__main__":
    main()

"""Submit to complete: items a second through admission, routing, claims and settling, without any provider call.

Beside Lanes stands its floor, bare psycopg that leaves the same rows (compared column by column after every round), and two
general queues, which store no answers. Each gets the same payloads on the same server, submits all of them and completes all
of them with an answer made on the spot. Lanes completes while it submits, as it runs; the others do so, or submit everything
first, whichever is faster.
"""

import argparse
from collections.abc import Callable
from functools import partial
from operator import itemgetter

from sqlalchemy import create_engine

from lanes.store.asking import plain_url
from lanes.store.database import clock
from tests.benchmarks import held
from tests.benchmarks.ground import Server, server, vacuumed
from tests.benchmarks.letters import realtime
from tests.benchmarks.pattern import RowPattern
from tests.benchmarks.peers import pgqueuer_jobs, procrastinate_jobs
from tests.benchmarks.realtime_floor import RealtimeFloor
from tests.benchmarks.realtime_life import RealtimeLife
from tests.benchmarks.rounds import take_turns
from tests.benchmarks.telling import installed, tell


class QueueBench:
    """The contenders. The floor writes what Lanes wrote in the same round."""

    def __init__(self, ground: Server, items: int) -> None:
        self._ground, self._items = ground, items
        self._pattern: RowPattern | None = None

    def lanes(self) -> dict[str, float]:
        """Items a second, bytes of WAL and statements an item."""
        url = self._of_lanes()
        with self._ground.metered(url) as cost:
            took = RealtimeLife(url).lead(self._items)
        self._pattern = RowPattern(plain_url(url))
        self._ground.drop(url)
        return {
            "per_s": self._items / took,
            "wal_per_item": cost.wal / self._items,
            "statements_per_item": cost.statements / self._items,
        }

    def floor(self) -> dict[str, float]:
        """Items a second and bytes of WAL an item of bare psycopg, which left the same rows: the faster of its two ways."""
        both = [self._floor(beside=False), self._floor(beside=True)]
        print(
            f"all admitted first {both[0]['per_s']:,.0f} a second, beside each other {both[1]['per_s']:,.0f}",
            flush=True,
        )
        return max(both, key=itemgetter("per_s"))

    def _floor(self, *, beside: bool) -> dict[str, float]:
        assert self._pattern is not None
        url = self._of_lanes()
        floor = RealtimeFloor(plain_url(url), self._pattern)
        with self._ground.metered(url) as cost:
            took = floor.lead(beside=beside)
        self._pattern.check(plain_url(url))
        self._ground.drop(url)
        return {"per_s": self._items / took, "wal_per_item": cost.wal / self._items}

    def peer(self, seconds: Callable[..., float]) -> dict[str, float]:
        """Jobs a second of a general queue, in the faster of its two ways."""
        rates: list[float] = []
        for beside in (False, True):
            url = self._ground.database()
            rates.append(self._items / seconds(plain_url(url), self._items, beside=beside))
            self._ground.drop(url)
        print(
            f"all submitted first {rates[0]:,.0f} a second, beside each other {rates[1]:,.0f}",
            flush=True,
        )
        return {"per_s": max(rates)}

    def _of_lanes(self) -> str:
        url = self._ground.database(of_lanes=True)
        engine = create_engine(url)
        with engine.begin() as connection:
            realtime(connection, now=clock(connection))
        engine.dispose()
        vacuumed(url)
        return url


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--hold-s",
        type=float,
        default=300,
        help="how long a transaction is open before it is measured",
    )
    parser.add_argument(
        "--hold-items", type=int, default=5_000, help="items of a round beside the open transaction"
    )
    given = parser.parse_args()
    with server() as ground:
        queue = QueueBench(ground, given.items)
        contenders = {
            "lanes": queue.lanes,
            "floor": queue.floor,
            "pgqueuer": partial(queue.peer, pgqueuer_jobs.seconds),
            "procrastinate": partial(queue.peer, procrastinate_jobs.seconds),
        }
        seen = take_turns(contenders, rounds=given.rounds)
        kept = held.ratio(ground, items=given.hold_items, hold_s=given.hold_s, rounds=given.rounds)
    rate = {name: figures["per_s"] for name, figures in seen.items()}
    figures = {
        "items_per_s": rate["lanes"],
        "vs_same_rows": rate["lanes"] / rate["floor"],
        "vs_pgqueuer": rate["lanes"] / rate["pgqueuer"],
        "vs_procrastinate": rate["lanes"] / rate["procrastinate"],
        "wal_vs_floor": seen["lanes"]["wal_per_item"] / seen["floor"]["wal_per_item"],
        "statements_per_item": seen["lanes"]["statements_per_item"],
        "held_ratio": kept["held_ratio"],
    }
    peers = installed("pgqueuer", "procrastinate", "psycopg", "sqlalchemy")
    tell("queue", figures, **vars(given), seen=seen, held=kept, peers=peers)


if __name__ == "__main__":
    main()

"""Submit to complete: items a second through admission, routing, claims and settling, without any provider call.

The contenders are Lanes, its floor (bare psycopg that writes the same rows, compared column by column after every round), the
floor of migration 0146, which does not change, and two general queues, which store no answers. Each gets the same payloads on
the same server, submits all of them and completes all of them with an answer made on the spot. Lanes completes while it
submits, as it does in production; the others do the same, or submit everything first, whichever is faster. `bytes_per_item` is
the size of the tables of items without their payloads, with a vacuum after each eighth of the items.

A profile of 2026-12-04, of one run on a machine on which Lanes completed 7,133 items a second, shows why the promises are
missed. An item took this processor time, in microseconds, and these bytes of WAL:

| contender | Python | Postgres | WAL |
|---|---|---|---|
| lanes | 79 | 127 | 4,974 |
| floor | 20 | 64 | 4,080 |
| kept floor | 20 | 62 | 4,154 |
| pgqueuer | 37 | 34 | 2,721 |
| procrastinate | 881 | 870 | 2,809 |

| statement of Lanes, over 40,000 items | Postgres | WAL |
|---|---|---|
| save answers | 54 | 1,615 |
| route items and make their work | 39 | 1,447 |
| admit items | 20 | 648 |
| claim work | 19 | 587 |
| insert responses | 8 | 348 |
| all others | 11 | 229 |

Of the Python time, routing took 31, admission 16, saving 9, judging answers 8, claims 6 and everything else 7 microseconds; a
quarter of the total was psycopg. The rows are the reason for the WAL: bare psycopg needs 4,080 bytes for the same rows, so
3,200 need another model. `docs/decisions/0028-rows.md` measures such models, and names what Postgres does beyond writing rows.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter

import psycopg
from sqlalchemy import create_engine

from lanes.store.asking import plain_url
from lanes.store.database import clock
from tests.benchmarks import held
from tests.benchmarks.ground import Server, server, vacuumed
from tests.benchmarks.kept_floor import kept_database, kept_pattern
from tests.benchmarks.letters import realtime
from tests.benchmarks.pattern import OF_ITEMS, RowPattern
from tests.benchmarks.peers import pgqueuer_jobs, procrastinate_jobs
from tests.benchmarks.realtime_floor import RealtimeFloor
from tests.benchmarks.realtime_life import RealtimeLife
from tests.benchmarks.rounds import take_turns
from tests.benchmarks.telling import installed, tell

SIZES = """
select sum(pg_total_relation_size(relid))::float from pg_statio_user_tables where schemaname = 'lanes' and relname = any (%s)
"""
VACUUMS = 8  # similar to autovacuum, which runs after a fifth of a table has changed
PAYLOADS = "select sum(pg_column_size(payload))::float from lanes.item"


class QueueBench:
    """The contenders. The floor writes what Lanes wrote in the same round."""

    def __init__(self, ground: Server, items: int) -> None:
        self._ground, self._items = ground, items
        self._pattern: RowPattern | None = None

    def lanes(self) -> dict[str, float]:
        """Return the items a second, and the costs, the bytes at rest and the statements of an item."""
        url = self._of_lanes()
        with self._ground.metered(url) as cost:
            took = RealtimeLife(url).lead(self._items)
        self._pattern = RowPattern(plain_url(url))
        self._ground.drop(url)
        return {
            "per_s": self._items / took,
            **cost.of_each(self._items),
            "bytes_per_item": self._at_rest() / self._items,
            "statements_per_item": cost.statements / self._items,
        }

    def _at_rest(self) -> float:
        """Return the bytes of the tables of items with their indexes, without the payloads."""
        url = self._of_lanes()
        life = RealtimeLife(url)
        for begin in range(0, self._items, step := -(-self._items // VACUUMS)):
            life.lead(min(step, self._items - begin))
            vacuumed(url)
        with psycopg.connect(plain_url(url)) as connection:
            (sizes,) = connection.execute(SIZES, [list(OF_ITEMS)]).fetchone() or (0.0,)
            (payloads,) = connection.execute(PAYLOADS).fetchone() or (0.0,)
        self._ground.drop(url)
        return sizes - payloads

    def floor(self) -> dict[str, float]:
        """Return the figures of bare psycopg that writes the same rows, in the faster of its two ways."""
        assert self._pattern is not None
        pattern = self._pattern
        return self._in_both_ways(self._of_lanes, lambda url: pattern, is_checked=True)

    def kept(self) -> dict[str, float]:
        """Return the same of the floor of an earlier migration."""
        return self._in_both_ways(
            lambda: kept_database(self._ground),
            lambda url: kept_pattern(url, self._items),
            is_checked=False,
        )

    def _in_both_ways(
        self, database: Callable[[], str], pattern: Callable[[str], RowPattern], *, is_checked: bool
    ) -> dict[str, float]:
        both: list[dict[str, float]] = []
        for beside in (False, True):
            url = database()
            left = pattern(url)
            floor = RealtimeFloor(plain_url(url), left)
            with self._ground.metered(url) as cost:
                took = floor.lead(beside=beside)
            if is_checked:
                left.check(plain_url(url))
            self._ground.drop(url)
            both.append({"per_s": self._items / took, **cost.of_each(self._items)})
        return _faster(both, "admitted")

    def peer(self, seconds: Callable[..., float]) -> dict[str, float]:
        """Return the figures of a general queue, in the faster of its two ways."""
        both: list[dict[str, float]] = []
        for beside in (False, True):
            url = self._ground.database()
            with self._ground.metered(url) as cost:
                took = seconds(plain_url(url), self._items, beside=beside)
            self._ground.drop(url)
            both.append({"per_s": self._items / took, **cost.of_each(self._items)})
        return _faster(both, "submitted")

    def _of_lanes(self) -> str:
        url = self._ground.database(of_lanes=True)
        engine = create_engine(url)
        with engine.begin() as connection:
            realtime(connection, now=clock(connection))
        engine.dispose()
        vacuumed(url)
        return url


def _faster(both: Sequence[dict[str, float]], done: str) -> dict[str, float]:
    first, beside = (each["per_s"] for each in both)
    print(f"all {done} first {first:,.0f} a second, beside each other {beside:,.0f}", flush=True)
    return max(both, key=itemgetter("per_s"))


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
            "kept floor": queue.kept,
            "pgqueuer": partial(queue.peer, pgqueuer_jobs.seconds),
            "procrastinate": partial(queue.peer, procrastinate_jobs.seconds),
        }
        seen = take_turns(contenders, rounds=given.rounds)
        kept = held.ratio(ground, items=given.hold_items, hold_s=given.hold_s, rounds=given.rounds)
    rate = {name: figures["per_s"] for name, figures in seen.items()}
    figures = {
        "items_per_s": rate["lanes"],
        "vs_same_rows": rate["lanes"] / rate["floor"],
        "vs_old_floor": rate["lanes"] / rate["kept floor"],
        "vs_pgqueuer": rate["lanes"] / rate["pgqueuer"],
        "vs_procrastinate": rate["lanes"] / rate["procrastinate"],
        "wal_vs_floor": seen["lanes"]["wal_per_item"] / seen["floor"]["wal_per_item"],
        "wal_per_item": seen["lanes"]["wal_per_item"],
        "bytes_per_item": seen["lanes"]["bytes_per_item"],
        "statements_per_item": seen["lanes"]["statements_per_item"],
        "held_ratio": kept["held_ratio"],
    }
    peers = installed("pgqueuer", "procrastinate", "psycopg", "sqlalchemy")
    tell("queue", figures, **vars(given), seen=seen, held=kept, peers=peers)


if __name__ == "__main__":
    main()

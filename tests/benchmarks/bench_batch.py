"""Whole Message Batches: 100,000 items from waiting work to settled.

The benchmark compares Lanes with bare psycopg, which writes the same rows, and with steadybatch, whose checkpoint is a SQLite
file (its result with a checkpoint in memory, where nothing survives, is in the JSON). The provider is the local stand-in. Its
own time is subtracted: the time to answer a bare client's create of the same bytes, and the time between a create and the end
of the batch. All contenders stream its results in the same way.

The ratio to the floor varies with the machine. On one that applied 6,726 items a second, three runs on 2026-12-03 gave a
`vs_same_rows` of 0.63, 0.68 and 0.61; on one that applied 12,720, a run on 2026-12-04 gave 0.85. In the table of contenders,
`python_us` and `postgres_us` are microseconds of processor time an item, and `wal_per_item` is bytes.
"""

import argparse
from functools import partial

from lanes.store.asking import plain_url
from tests.benchmarks import batch_life
from tests.benchmarks.batch_floor import BatchFloor
from tests.benchmarks.ground import Server, server, vacuumed
from tests.benchmarks.pattern import RowPattern
from tests.benchmarks.peers import steady_batches
from tests.benchmarks.rounds import take_turns
from tests.benchmarks.standin_home import standin
from tests.benchmarks.telling import installed, tell


class BatchBench:
    """The contenders. The floor writes what Lanes wrote in the same round, from copies of the same filled database."""

    def __init__(self, ground: Server, items: int) -> None:
        self._ground, self._items = ground, items
        self._filled = ground.database(of_lanes=True)
        batch_life.fill(self._filled, items)
        vacuumed(self._filled)
        self._pattern: RowPattern | None = None

    def lanes(self) -> dict[str, float]:
        """Return the seconds of Lanes, as `batch_life.lead` measures them, and the costs of an item."""
        url = self._ground.copy(self._filled)
        with standin() as endpoint, self._ground.metered(url) as cost:
            took = batch_life.lead(url, endpoint.url, self._items)
        self._pattern = RowPattern(plain_url(url), leaving=["message_id"])
        self._ground.drop(url)
        return took | cost.of_each(self._items)

    def floor(self) -> dict[str, float]:
        """Return the seconds of the floor, those of them in which the stand-in created batches, and the costs of an item."""
        assert self._pattern is not None
        url = self._ground.copy(self._filled)
        with standin() as endpoint:
            floor = BatchFloor(plain_url(url), endpoint.url, self._pattern)
            with self._ground.metered(url) as cost:
                took = floor.lead()
        self._pattern.check(plain_url(url))
        self._ground.drop(url)
        return took | cost.of_each(self._items)

    def steadybatch(self, items: int, *, durable: bool) -> dict[str, float]:
        """Return the items a second of steadybatch, which has a stand-in of its own."""
        with standin() as endpoint:
            return {"per_s": items / steady_batches.seconds(endpoint.url, items, durable=durable)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--steady-items",
        type=int,
        default=5_000,
        help="of steadybatch, which commits each answer alone",
    )
    given = parser.parse_args()
    with server() as ground:
        batches = BatchBench(ground, given.items)
        few = min(given.steady_items, given.items)
        contenders = {
            "lanes": batches.lanes,
            "floor": batches.floor,
            "steadybatch": partial(batches.steadybatch, few, durable=True),
            "steadybatch in memory": partial(batches.steadybatch, few, durable=False),
        }
        seen = take_turns(contenders, rounds=given.rounds)
    create_s = seen["floor"]["create_s"]
    submit_s, apply_s = seen["lanes"]["submit_s"] - create_s, seen["lanes"]["apply_s"]
    floor_s = seen["floor"]["submit_s"] - create_s + seen["floor"]["apply_s"]
    figures = {
        "vs_same_rows": floor_s / (submit_s + apply_s),
        "vs_steadybatch": given.items / (submit_s + apply_s) / seen["steadybatch"]["per_s"],
        "submit_per_s": given.items / submit_s,
        "apply_per_s": given.items / apply_s,
        "rss_growth_mb": seen["lanes"]["rss_growth_mb"],
    }
    tell(
        "batch",
        figures,
        **vars(given),
        seen=seen,
        peers=installed("steadybatch", "anthropic", "psycopg"),
    )


if __name__ == "__main__":
    main()

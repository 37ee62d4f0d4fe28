"""The floor of the router: bare psycopg writes the positions, routes and work that Lanes wrote for the received items.

The route of each item is known in advance. The floor does only what every program must do: lock the next items and read the
values on which their routes depend, number them, write by COPY, and commit.
"""

import time
from typing import LiteralString

import orjson
import psycopg

from tests.benchmarks.copier import Copier, new_numbers, parts, without_triggers
from tests.benchmarks.pattern import RowPattern
from tests.benchmarks.stored_rows import Values

NEXT: LiteralString = """
select id, key, payload::text, occurred_at, due_at from lanes.item
 where workload = 'letters' and position is null and canceled_at is null
 order by urgent desc, due_at, id limit %s for no key update skip locked
"""
PLACED: LiteralString = """
update lanes.item i set position = d.position
  from unnest(%b::bigint[], %b::bigint[]) d (id, position) where i.id = d.id
"""


class RoutingFloor:
    """A floor that routes every waiting item in the database at `url` by its key, as the pattern says."""

    def __init__(self, url: str, pattern: RowPattern) -> None:
        self._url, self._pattern = url, pattern
        self._route, self._work = pattern.stored["route"], pattern.stored["work"]
        key = pattern.item.place("key")
        of_key = {row[key].decode(): row[0] for row in pattern.item.rows}
        self._of_key = {
            name: (pattern.of_item["route"][id_], pattern.of_item["work"][id_])
            for name, id_ in of_key.items()
        }

    def lead(self, chunk: int) -> float:
        """Route all of them, in transactions of `chunk` items, and return the seconds."""
        with psycopg.connect(self._url) as connection:
            chunks = -(-len(self._of_key) // chunk)
            others = [
                (Copier(each, leaves=["id"]), parts(each.rows, chunks))
                for each in self._pattern.grown(connection)
            ]
            without_triggers(connection)
            routes, works = Copier(self._route, leaves=["id"]), Copier(self._work, leaves=["id"])
            of_route, of_work = self._route.place("item_id"), self._work.place("item_id")
            began, number = time.perf_counter(), 0
            while taken := self._next(connection, chunk):
                (positions,) = new_numbers(connection, len(taken), (), "lanes.item_position")
                in_order = sorted(taken)  # positions follow the order in which items arrived
                connection.execute(PLACED, [[each[0] for each in in_order], positions])
                rows: list[Values] = []
                work: list[Values] = []
                for id_, key, payload, _, _ in in_order:
                    orjson.loads(payload)  # a router that decides by the payload parses it
                    route, owed = ([*each] for each in self._of_key[key])
                    route[of_route] = owed[of_work] = b"%d" % id_
                    rows.append(route)
                    work.append(owed)
                with connection.cursor() as cursor:
                    routes.copy(cursor, rows)
                    works.copy(cursor, work)
                    for copier, of_chunk in others:
                        if of_chunk[number]:
                            copier.copy(cursor, of_chunk[number])
                connection.execute("select pg_notify('lanes', '')")
                connection.commit()
                number += 1
            return time.perf_counter() - began

    def _next(
        self, connection: psycopg.Connection, chunk: int
    ) -> list[tuple[int, str, str, object, object]]:
        """Return the next items, locked; as in Lanes, the commit need not reach the disk."""
        connection.execute("set local synchronous_commit to off")
        return connection.execute(NEXT, [chunk]).fetchall()

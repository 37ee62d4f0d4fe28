"""The floor: bare psycopg writes the rows that Lanes wrote, in the same tables and as many transactions, 500 items at a time.

The rows are known in advance: the floor decides no routes, judges no answers and counts no costs. It does only what every
program must do: build the rows, COPY them in, claim with SKIP LOCKED, fence by the claim's number, and commit.
"""

import time
from collections.abc import Mapping, Sequence
from queue import SimpleQueue
from threading import Thread
from typing import LiteralString

import orjson
import psycopg

from tests.benchmarks.copier import Copier, escaped, new_numbers, parts, unescaped, without_triggers
from tests.benchmarks.pattern import RowPattern, before
from tests.benchmarks.stored_rows import Values

CHUNK = 500
CLAIM: LiteralString = """
with head as (
  select id from lanes.work
   where lane = 'realtime' and workload = 'letters' and state = 'ready' and ready_at <= now()
   order by rank_at, id limit %s for no key update skip locked)
update lanes.work w
   set state = 'claimed', claimed_by = 'bench', lease_until = now() + interval '5 minutes', claim_no = claim_no + 1
  from head, lanes.item i
 where w.id = head.id and i.id = w.item_id
returning w.id, w.item_id, w.claim_no, i.payload::text
"""
DONE: LiteralString = """
update lanes.work w
   set state = 'done', finished_at = now(), claimed_by = null, lease_until = null
  from unnest(%b::bigint[], %b::int[]) d (id, claim_no)
 where w.id = d.id and w.claim_no = d.claim_no and w.state = 'claimed'
"""
SHOWN: LiteralString = """
update lanes.item i set result_id = d.result_id, answered_at = now(), settled_at = now()
  from unnest(%b::bigint[], %b::bigint[]) d (id, result_id) where i.id = d.id
"""
# Rows of another table, by the chunk with which they are written.
Others = tuple[Copier, Mapping[int, Sequence[Values]]]


class RealtimeFloor:
    """One life of every item of a pattern, in the database at `url`."""

    def __init__(self, url: str, pattern: RowPattern) -> None:
        self._url, self._pattern = url, pattern
        stored = pattern.stored
        self._item, self._work, self._result = (
            Copier(stored[name]) for name in ("item", "work", "result")
        )
        self._own = {
            name: Copier(stored[name], leaves=["id"]) for name in ("route", "response", "attempt")
        }
        self._inputs = [
            orjson.loads(unescaped(row[pattern.item.place("payload")])) for row in pattern.item.rows
        ]
        place = stored["result"].place("output")
        self._answers = {
            id_: orjson.loads(unescaped(row[place]))
            for id_, row in pattern.of_item["result"].items()
        }
        self._originals: dict[int, bytes] = {}  # the pattern's id of each item, by the floor's own

    def lead(self, *, beside: bool = False) -> float:
        """Admit, route, claim and answer every item, and return the seconds.

        With `beside`, one thread answers, on a connection of its own, while another admits; otherwise admission ends first.
        """
        chunks = -(-len(self._inputs) // CHUNK)
        admitted, done = SimpleQueue[None](), list[int]()
        with psycopg.connect(self._url) as connection, psycopg.connect(self._url) as other:
            others = [
                (Copier(each, leaves=["id"]), parts(each.rows, chunks))
                for each in self._pattern.grown(connection)
            ]
            without_triggers(connection)
            answering = Thread(
                target=lambda: done.append(self._answer_all(other, admitted, others))
            )
            began = time.perf_counter()
            if beside:
                answering.start()
            for start in range(0, len(self._inputs), CHUNK):
                self._arrive(connection, range(start, min(start + CHUNK, len(self._inputs))))
                connection.commit()
                admitted.put(None)
            if not beside:
                answering.start()
            answering.join()
            took = time.perf_counter() - began
        assert done == [len(self._inputs)], f"{done} of {len(self._inputs)} were answered"
        return took

    def _answer_all(
        self,
        connection: psycopg.Connection,
        admitted: "SimpleQueue[None]",
        others: Sequence[Others],
    ) -> int:
        done = 0
        for chunk in range(-(-len(self._inputs) // CHUNK)):
            admitted.get(timeout=60)
            claimed = connection.execute(CLAIM, [CHUNK]).fetchall()
            connection.commit()
            self._answer(connection, claimed)
            with connection.cursor() as cursor:
                for copier, rows in others:
                    if rows[chunk]:
                        copier.copy(cursor, rows[chunk])
            connection.commit()
            done += len(claimed)
        return done

    def _arrive(self, connection: psycopg.Connection, numbers: Sequence[int]) -> None:
        pattern, item = self._pattern, self._pattern.item
        items, works, positions = new_numbers(
            connection, len(numbers), ("item", "work"), "lanes.item_position"
        )
        payload, position = item.place("payload"), item.place("position")
        route_of, work_of = (
            pattern.stored["route"].place("item_id"),
            pattern.stored["work"].place("item_id"),
        )
        rows: list[Values] = []
        routes: list[Values] = []
        work: list[Values] = []
        for place, number in enumerate(numbers):
            original, id_ = pattern.ids[number], b"%d" % items[place]
            self._originals[items[place]] = original
            row = before(item, item.rows[number])
            row[0], row[payload], row[position] = (
                id_,
                escaped(orjson.dumps(self._inputs[number])),
                b"%d" % positions[place],
            )
            rows.append(row)
            row = [*pattern.of_item["route"][original]]
            row[route_of] = id_
            routes.append(row)
            row = before(pattern.stored["work"], pattern.of_item["work"][original])
            row[0], row[work_of] = b"%d" % works[place], id_
            work.append(row)
        with connection.cursor() as cursor:
            self._item.copy(cursor, rows)
            self._own["route"].copy(cursor, routes)
            self._work.copy(cursor, work)

    def _answer(
        self, connection: psycopg.Connection, claimed: Sequence[tuple[int, int, int, str]]
    ) -> None:
        pattern = self._pattern
        ids, *_ = new_numbers(connection, len(claimed), ("result",))
        result, attempt = (pattern.stored[name] for name in ("result", "attempt"))
        of_result = [result.place(name) for name in ("id", "item_id", "work_id", "output")]
        of_attempt = [attempt.place(name) for name in ("item_id", "work_id")]
        results: list[Values] = []
        attempts: list[Values] = []
        responses: list[Values] = []
        for result_id, (work_id, item_id, _, payload) in zip(ids, claimed, strict=True):
            orjson.loads(payload)  # a caller of a model parses the payload
            original, item_text, work_text = (
                self._originals[item_id],
                b"%d" % item_id,
                b"%d" % work_id,
            )
            row = [*pattern.of_item["result"][original]]
            answer = escaped(orjson.dumps(self._answers[original]))
            for place, value in zip(
                of_result, (b"%d" % result_id, item_text, work_text, answer), strict=True
            ):
                row[place] = value
            results.append(row)
            row = [*pattern.of_item["attempt"][original]]
            row[of_attempt[0]], row[of_attempt[1]] = item_text, work_text
            attempts.append(row)
            responses.append(pattern.of_item["response"][original])
        with connection.cursor() as cursor:
            cursor.execute(DONE, [[each[0] for each in claimed], [each[2] for each in claimed]])
            assert cursor.rowcount == len(claimed)
            self._own["response"].copy(cursor, responses)
            self._own["attempt"].copy(cursor, attempts)
            self._result.copy(cursor, results)
            cursor.execute(SHOWN, [[each[1] for each in claimed], ids])

"""The floor: bare psycopg leaves the rows that Lanes left, in the same tables, in as many transactions, 500 items at a time.

What to write is known beforehand: routes are not decided, answers not judged, costs not counted. What is left is what any
program must do: build the rows, COPY them in, claim with SKIP LOCKED, fence by the claim's number, and commit.
"""

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, LiteralString

import orjson
import psycopg
from psycopg import sql

from tests.benchmarks.stored_rows import NULL, Stored, Values, differences, read, summed_up, tables

CHUNK = 500
OF_ITEMS = ("item", "route", "work", "response", "attempt", "result")
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
BEFORE = {  # what the rows say until they are answered
    "item": {"result_id": NULL, "answered_at": NULL, "settled_at": NULL},
    "work": {"state": b"ready", "claim_no": b"0", "finished_at": NULL, "open": b"t"},
}


class Pattern:
    """What Lanes wrote for some items, as the floor is to write it."""

    def __init__(self, url: str) -> None:
        with psycopg.connect(url) as connection:
            self.summed_up = summed_up(connection)
            stored = {name: read(connection, name, order_by="id") for name in OF_ITEMS}
            self.others = [read(connection, name, order_by="1") for name in tables(connection) if name not in OF_ITEMS]
        self.item = stored["item"]
        place = self.item.place("id")
        self.ids = [row[place] for row in self.item.rows]
        self.of_item = {name: _by(stored[name], "item_id") for name in ("route", "work", "attempt", "result")}
        messages = _by(stored["response"], "message_id")
        message = stored["attempt"].place("message_id")
        self.of_item["response"] = {id_: messages[row[message]] for id_, row in self.of_item["attempt"].items()}
        self.stored = stored


def _by(of: Stored, column: str) -> dict[bytes, Values]:
    place = of.place(column)
    found = {row[place]: row for row in of.rows}
    assert len(found) == len(of.rows), f"an item has several rows in {of.name}: the floor knows of one"
    return found


class Copier:
    """Writes rows of one table; the columns in `leaves` are left to the database."""

    def __init__(self, of: Stored, *, leaves: Sequence[str] = ()) -> None:
        self._places = [place for place, name in enumerate(of.columns) if name not in leaves]
        self._statement = sql.SQL("copy {} ({}) from stdin").format(
            sql.Identifier("lanes", of.name),
            sql.SQL(", ").join(sql.Identifier(of.columns[place]) for place in self._places),
        )

    def copy(self, cursor: psycopg.Cursor, rows: Iterable[Values]) -> None:
        """The rows are in."""
        places = self._places
        told = b"\n".join(b"\t".join([row[place] for place in places]) for row in rows)
        with cursor.copy(self._statement) as copy:
            copy.write(told + b"\n")


class Floor:
    """One life of every item of a pattern, in the database of that address."""

    def __init__(self, url: str, pattern: Pattern) -> None:
        self._url, self._pattern = url, pattern
        stored = pattern.stored
        self._item, self._work, self._result = (Copier(stored[name]) for name in ("item", "work", "result"))
        self._own = {name: Copier(stored[name], leaves=["id"]) for name in ("route", "response", "attempt")}
        self._inputs = [json.loads(_unescaped(row[pattern.item.place("payload")])) for row in pattern.item.rows]
        place = stored["result"].place("output")
        self._answers = {id_: json.loads(_unescaped(row[place])) for id_, row in pattern.of_item["result"].items()}
        self._originals: dict[int, bytes] = {}  # the pattern's id of each item, by the floor's own

    def lead(self) -> float:
        """Every item was admitted, routed, claimed and answered; the seconds that took."""
        with psycopg.connect(self._url) as connection:
            chunks = -(-len(self._inputs) // CHUNK)
            empty = [name for name, seen in summed_up(connection).items() if seen["rows"] == "0"]
            grown = [each for each in self._pattern.others if each.name in empty and each.rows]
            others = [(Copier(each, leaves=["id"]), _parts(each.rows, chunks)) for each in grown]
            connection.commit()
            began = time.perf_counter()
            for start in range(0, len(self._inputs), CHUNK):
                self._arrive(connection, range(start, min(start + CHUNK, len(self._inputs))))
                connection.commit()
            done = 0
            for chunk in range(chunks + 1):
                claimed = connection.execute(CLAIM, [CHUNK]).fetchall()
                connection.commit()
                if not claimed:
                    break
                self._answer(connection, claimed)
                with connection.cursor() as cursor:
                    for copier, parts in others:
                        if parts[chunk]:
                            copier.copy(cursor, parts[chunk])
                connection.commit()
                done += len(claimed)
            took = time.perf_counter() - began
        assert done == len(self._inputs), f"{done} of {len(self._inputs)} were answered"
        return took

    def check(self) -> None:
        """The database says what that of Lanes says.

        Raises:
            AssertionError: a table has other rows, or a column other values.
        """
        with psycopg.connect(self._url) as connection:
            found = differences(self._pattern.summed_up, summed_up(connection))
        assert not found, "the floor did not write the same rows:\n" + "\n".join(found)

    def _arrive(self, connection: psycopg.Connection, numbers: Sequence[int]) -> None:
        pattern, item = self._pattern, self._pattern.item
        items, works, positions = _next(connection, len(numbers), ("item", "work"), "lanes.item_position")
        payload, position = item.place("payload"), item.place("position")
        route_of, work_of = pattern.stored["route"].place("item_id"), pattern.stored["work"].place("item_id")
        rows: list[Values] = []
        routes: list[Values] = []
        work: list[Values] = []
        for place, number in enumerate(numbers):
            original, id_ = pattern.ids[number], b"%d" % items[place]
            self._originals[items[place]] = original
            row = _changed(item, item.rows[number], "item")
            row[0], row[payload], row[position] = id_, _escaped(orjson.dumps(self._inputs[number])), b"%d" % positions[place]
            rows.append(row)
            row = [*pattern.of_item["route"][original]]
            row[route_of] = id_
            routes.append(row)
            row = _changed(pattern.stored["work"], pattern.of_item["work"][original], "work")
            row[0], row[work_of] = b"%d" % works[place], id_
            work.append(row)
        with connection.cursor() as cursor:
            self._item.copy(cursor, rows)
            self._own["route"].copy(cursor, routes)
            self._work.copy(cursor, work)

    def _answer(self, connection: psycopg.Connection, claimed: Sequence[tuple[int, int, int, str]]) -> None:
        pattern = self._pattern
        ids, *_ = _next(connection, len(claimed), ("result",))
        result, attempt, response = (pattern.stored[name] for name in ("result", "attempt", "response"))
        of_result = [result.place(name) for name in ("id", "item_id", "work_id", "output")]
        of_attempt = [attempt.place(name) for name in ("item_id", "work_id")]
        results: list[Values] = []
        attempts: list[Values] = []
        responses: list[Values] = []
        for result_id, (work_id, item_id, _, payload) in zip(ids, claimed, strict=True):
            orjson.loads(payload)  # whoever asks a model reads what is asked
            original, item_text, work_text = self._originals[item_id], b"%d" % item_id, b"%d" % work_id
            row = [*pattern.of_item["result"][original]]
            answer = _escaped(orjson.dumps(self._answers[original]))
            for place, value in zip(of_result, (b"%d" % result_id, item_text, work_text, answer), strict=True):
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


def _next(connection: psycopg.Connection, number: int, tables: Sequence[str], *sequences: str) -> list[list[int]]:
    """So many new numbers of each, in one statement."""
    names = [f"lanes.{table}_id_seq" for table in tables] + list(sequences)
    asked = sql.SQL(", ").join(sql.SQL("nextval({})").format(sql.Literal(name)) for name in names)
    rows: list[Any] = connection.execute(
        sql.SQL("select {} from generate_series(1, {})").format(asked, sql.Literal(number))
    ).fetchall()
    return [list(column) for column in zip(*rows, strict=True)]


def _changed(of: Stored, row: Values, table: str) -> Values:
    """The row as it is before it is answered."""
    fresh = [*row]
    for name, value in BEFORE[table].items():
        if name in of.columns:
            fresh[of.place(name)] = value
    return fresh


def _parts(rows: list[Values], number: int) -> dict[int, list[Values]]:
    """The rows in so many parts of about the same size."""
    parts: dict[int, list[Values]] = defaultdict(list)
    for place, row in enumerate(rows):
        parts[place * number // len(rows)].append(row)
    return parts


def _escaped(value: bytes) -> bytes:
    """JSON as COPY reads it: it has no line breaks or tabs, but backslashes."""
    return value.replace(b"\\", b"\\\\")


def _unescaped(value: bytes) -> bytes:
    return value.replace(b"\\\\", b"\\")

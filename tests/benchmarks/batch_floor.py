"""The floor of a batch: bare psycopg and a bare HTTP client write the rows that Lanes wrote, into the same tables.

The floor encodes and sends the request bodies and reads the results line by line. It judges no answer and counts no cost. It
applies results 500 at a time and commits each chunk with its share of all other rows.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any, LiteralString

import httpx2
import orjson
import psycopg

from tests.benchmarks.copier import Copier, escaped, new_numbers, parts, unescaped, without_triggers
from tests.benchmarks.pattern import RowPattern
from tests.benchmarks.stored_rows import NULL, Stored, Values
from tests.waiting import until

CHUNK = 500
PARAMETERS: dict[str, Any] = {
    "model": "claude-haiku-5-5",
    "max_tokens": 300,
    "system": "Sort the letter.",
    "output_config": {
        "format": {
            "type": "json_schema",
            "schema": {
                "type": "object",
                "properties": {
                    "category": {"type": "string", "enum": ["a", "b"]},
                    "note": {"type": "string"},
                },
                "required": ["category"],
                "additionalProperties": False,
            },
        }
    },
}
TAKE: LiteralString = """
select w.id, w.item_id, i.key, i.payload::text from lanes.work w join lanes.item i on i.id = w.item_id
 where w.lane = 'batch' and w.state = 'ready' and w.ready_at <= now() and w.workload = 'letters'
 order by w.rank_at, w.id limit %s for no key update of w skip locked
"""
OWN: LiteralString = """
update lanes.work w set state = 'submitted', batch_id = m.batch_id, claim_no = m.claim_no
  from lanes.batch_member m where m.batch_id = %s and m.work_id = w.id
"""
SENT: LiteralString = "update lanes.batch set state = 'submitted', provider_batch_id = %s, submitted_at = now() where id = %s"
ENDED: LiteralString = (
    "update lanes.batch set state = 'ended', ended_at = now(), processed = requests where id = %s"
)
COUNTED: LiteralString = "update lanes.batch set succeeded = succeeded + %s where id = %s"
HOME: LiteralString = (
    "update lanes.batch set state = 'collected', collected_at = now() where id = %s"
)
DONE: LiteralString = """
update lanes.work w set state = 'done', finished_at = now(), batch_id = null
  from unnest(%b::bigint[]) d (id) where w.id = d.id and w.claim_no = 1 and w.state = 'submitted'
"""
SHOWN: LiteralString = """
update lanes.item i set result_id = d.result_id, answered_at = now(), settled_at = now()
  from unnest(%b::bigint[], %b::bigint[]) d (id, result_id) where i.id = d.id
"""
Taken = tuple[int, int, str, str]  # work, item, key, payload


class BatchFloor:
    """All batches of a pattern, in a database with the same waiting work and at the endpoint of the given address."""

    def __init__(self, url: str, endpoint_url: str, pattern: RowPattern) -> None:
        self._url, self._pattern = url, pattern
        self._http = httpx2.Client(
            base_url=endpoint_url, headers={"x-api-key": "x"}, trust_env=False, timeout=600
        )
        key = pattern.item.place("key")
        self._of_key = {
            unescaped(row[key]).decode(): row[pattern.item.place("id")] for row in pattern.item.rows
        }
        others = {each.name: each for each in pattern.others}
        self._batch, self._members = others["batch"], others["batch_member"]
        self._copiers = {
            "batch": Copier(self._batch),
            "batch_member": Copier(self._members),
            "result": Copier(pattern.stored["result"]),
        } | {name: Copier(pattern.stored[name], leaves=["id"]) for name in ("response", "attempt")}
        self._taken: dict[int, list[Taken]] = {}

    def lead(self) -> dict[str, float]:
        """Return the seconds to submit and to apply everything, and those of them that the endpoint took to create."""
        with psycopg.connect(self._url) as connection, self._http:
            grown = [
                each
                for each in self._pattern.grown(connection)
                if each.name not in ("batch", "batch_member")
            ]
            without_triggers(connection)
            began, create_s = time.perf_counter(), 0.0
            names: list[tuple[int, str]] = []
            for row in self._batch.rows:
                batch_id, body = self._intend(connection, row)
                asked = time.perf_counter()
                name = (
                    self._http.post("/v1/messages/batches", content=body)
                    .raise_for_status()
                    .json()["id"]
                )
                create_s += time.perf_counter() - asked
                connection.execute(SENT, [name, batch_id])
                connection.commit()
                names.append((batch_id, name))
            submit_s = time.perf_counter() - began
            apply_s = 0.0
            for batch_id, name in names:
                until(
                    lambda name=name: self._has_ended(name),
                    within_s=600,
                    what="the end of the batch",
                )
                began = time.perf_counter()
                self._apply(connection, batch_id, name, grown if batch_id == names[0][0] else [])
                apply_s += time.perf_counter() - began
        return {"submit_s": submit_s, "create_s": create_s, "apply_s": apply_s}

    def _intend(self, connection: psycopg.Connection, pattern: Values) -> tuple[int, bytes]:
        """Assign work to the batch, and write its requests."""
        row = [*pattern]
        of, nonce = self._batch, row[self._batch.place("nonce")].decode()
        taken: list[Taken] = connection.execute(TAKE, [int(row[of.place("items")])]).fetchall()
        requests = [
            {
                "custom_id": f"{nonce}-{number}",
                "params": {**PARAMETERS, "messages": [_asked(each[3])]},
            }
            for number, each in enumerate(taken)
        ]
        body = orjson.dumps({"requests": requests})
        batch_id = new_numbers(connection, 1, ("batch",))[0][0]
        changed = {"id": b"%d" % batch_id, "state": b"intended", "provider_batch_id": NULL}
        for name, value in (changed | dict.fromkeys(("processed", "succeeded"), b"0")).items():
            row[of.place(name)] = value
        given = {"slot": b"0", "claim_no": b"1", "batch_id": b"%d" % batch_id}
        members = [
            [
                given.get(name) or (b"%d" % (each[0] if name == "work_id" else number))
                for name in self._members.columns
            ]
            for number, each in enumerate(taken)
        ]
        with connection.cursor() as cursor:
            self._copiers["batch"].copy(cursor, [row])
            self._copiers["batch_member"].copy(cursor, members)
            cursor.execute(OWN, [batch_id])
        connection.commit()
        self._taken[batch_id] = taken
        return batch_id, body

    def _has_ended(self, name: str) -> bool:
        return (
            self._http.get(f"/v1/messages/batches/{name}")
            .raise_for_status()
            .json()["processing_status"]
            == "ended"
        )

    def _apply(
        self, connection: psycopg.Connection, batch_id: int, name: str, grown: Sequence[Stored]
    ) -> None:
        connection.execute(ENDED, [batch_id])
        connection.commit()
        chunks = -(-len(self._taken[batch_id]) // CHUNK)
        others = [(Copier(each, leaves=["id"]), parts(each.rows, chunks)) for each in grown]
        with self._http.stream("GET", f"/v1/messages/batches/{name}/results") as answer:
            for number, lines in enumerate(_chunks(answer.iter_bytes())):
                self._save(connection, batch_id, [orjson.loads(line) for line in lines])
                with connection.cursor() as cursor:
                    for copier, rows in others:
                        if rows[number]:
                            copier.copy(cursor, rows[number])
                connection.commit()
        connection.execute(HOME, [batch_id])
        connection.commit()

    def _save(
        self, connection: psycopg.Connection, batch_id: int, lines: list[dict[str, Any]]
    ) -> None:
        pattern = self._pattern
        stored, ids = pattern.stored, new_numbers(connection, len(lines), ("result",))[0]
        works: list[int] = []
        items: list[int] = []
        rows: dict[str, list[Values]] = {"response": [], "attempt": [], "result": []}
        for result_id, line in zip(ids, lines, strict=True):
            work_id, item_id, key, _ = self._taken[batch_id][
                int(line["custom_id"].partition("-")[2])
            ]
            message = line["result"]["message"]
            works.append(work_id)
            items.append(item_id)
            ours = {
                "item_id": b"%d" % item_id,
                "work_id": b"%d" % work_id,
                "batch_id": b"%d" % batch_id,
                "message_id": message["id"].encode(),
                "output": escaped(message["content"][0]["text"].encode()),
            }
            for table, made in rows.items():
                row = [*pattern.of_item[table][self._of_key[key]]]
                for name, value in (
                    ours | ({"id": b"%d" % result_id} if table == "result" else {})
                ).items():
                    if name in stored[table].columns:
                        row[stored[table].place(name)] = value
                made.append(row)
        with connection.cursor() as cursor:
            cursor.execute(DONE, [works])
            assert cursor.rowcount == len(works)
            for table, made in rows.items():
                self._copiers[table].copy(cursor, made)
            cursor.execute(SHOWN, [items, ids])
            cursor.execute(COUNTED, [len(works), batch_id])


def _asked(payload: str) -> dict[str, str]:
    content = "\n".join(
        f"<{name}>{value}</{name}>" for name, value in orjson.loads(payload).items()
    )
    return {"role": "user", "content": content}


def _chunks(blocks: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Yield the lines of a stream, 500 at a time."""
    begun, lines = b"", []
    for block in blocks:
        *whole, begun = (begun + block).split(b"\n")
        lines += [line for line in whole if line]
        while len(lines) >= CHUNK:
            yield lines[:CHUNK]
            lines = lines[CHUNK:]
    if lines:
        yield lines

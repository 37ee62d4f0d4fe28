"""The doors side by side: the same inputs submitted through SQL (as a list, and one by one), as events, and as lines of files.

An input is a JSON text. All doors must accept it with the same stored item, or refuse it with the same reason and message,
and well-formed inputs around it must be admitted as if they were alone. The doors differ by nature in these points:

- Text that Postgres' `jsonb` rejects (NUL, lone surrogates, `NaN`) fails in the SQL sender's own cast; the others refuse it.
- The SQL sender's cast reads each value of a repeated name; the others read only the last.
- An input that Python cannot read as JSON (thousands of levels or digits), or that is no object, reaches no event door.
- A line of a file that does not have the fields of an event is itself a payload.
- SQL stores a number as it is written, events and files store a float: readers see equal values, but the sizes differ.
- Each door has its own allowed fields and its own key for an input without one.
"""

import csv
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from prefect.events import Event
from sqlalchemy import Connection, Engine, text

from lanes.doors.filedoor import Layout
from lanes.store.database import Database
from lanes.store.doors.items import admit_file
from tasks.arrivals import ARRIVED, PREFIX, admit_events
from tests.examples import publish
from tests.fuzz.agreeing import AREA, DoorVerdict, Input, apart, compared
from tests.fuzz.verdicts import FuzzFault

DOORS = ("list", "single", "event", "lines", "table")
NEIGHBOURS = 3
KIB = 1  # largest payload

IS_JSONB = """
select pg_input_is_valid(said, 'jsonb')
  from json_array_elements_text(cast(:said as json)) with ordinality as given (said, place) order by place
"""
LIST = """
select told.place, told.outcome, told.detail, told.key from lanes.submit_many('list', cast(:said as jsonb)) told order by place
"""
SINGLE = """
select given.place, told.outcome, told.detail, told.key
  from json_array_elements_text(cast(:said as json)) with ordinality as given (said, place)
 cross join lateral (select cast(given.said as jsonb) as input offset 0) read
 cross join lateral lanes.submit_item('single', input->'payload', input->>'key', (input->>'due_at')::timestamptz,
   input->>'consumer', input->>'entity', (input->>'urgent')::boolean, input->>'lane', (input->>'occurred_at')::timestamptz,
   input->>'job', input->>'traceparent') told
 order by given.place
"""
STORED = """
select key, payload, consumer, entity, urgent, pin, due_at, nullif(occurred_at, received_at) as occurred_at, trace
  from lanes.item where workload = :door
"""
REFUSED = "select place, reason, detail from lanes.rejected where workload = :door"
JOBLESS = "delete from lanes.job_use; delete from lanes.job"  # all doors share the names of jobs
EMPTY = "delete from lanes.event_outbox; delete from lanes.rejected; delete from lanes.item"


class Doors:
    """All doors of one database, each with a workload of its own. `cases` counts each input once per door that received it."""

    def __init__(self, pool: Engine, db: Database, folder: Path) -> None:
        self._pool, self._db, self._folder = pool, db, folder
        self.cases = 0

    def open(self, *, now: datetime) -> None:
        """Publish the workload of each door."""
        with self._pool.begin() as connection:
            for door in DOORS:
                publish(connection, door, now=now, max_payload_kib=KIB)

    async def faults(self, said: Sequence[str]) -> list[FuzzFault]:
        """Submit the inputs to every door, with neighbours around them, and return the faults.

        When a door raises an error, the list is halved until only the failing input remains.
        """
        try:
            return [
                fault
                for some in apart(said, _neighbour_keys())
                for fault in await self._tried(some)
            ]
        except Exception as error:
            self._emptied()
            if len(said) > 1:
                middle = len(said) // 2
                return await self.faults(said[:middle]) + await self.faults(said[middle:])
            return [FuzzFault("crash", AREA, f"{type(error).__name__}: {error}", said[0])]

    async def _tried(self, said: Sequence[str]) -> list[FuzzFault]:
        inputs = [Input(each) for each in said]
        with self._pool.begin() as connection:
            known = connection.execute(text(IS_JSONB), {"said": json.dumps(said)}).scalars()
            for each, is_jsonb in zip(inputs, known, strict=True):
                each.is_jsonb, each.reads_as_jsonb = is_jsonb, is_jsonb and each.is_json
            odd = [each for each in inputs if each.is_json and not each.is_jsonb]
            read = {"said": json.dumps([json.dumps(each.value) for each in odd])}
            for each, reads_as_jsonb in zip(
                odd, connection.execute(text(IS_JSONB), read).scalars(), strict=True
            ):
                each.reads_as_jsonb = reads_as_jsonb
        in_sql, in_files = (
            [*self._list(inputs), *self._single(inputs)],
            [*self._lines(inputs), *self._table(inputs)],
        )
        harmed = [*in_sql, *in_files, *await self._events(inputs)]
        self._emptied()
        self.cases += sum(len(each.verdicts) for each in inputs)
        every = json.dumps(said)
        faults = [fault for each in inputs for fault in compared(each)]
        return [*(FuzzFault("harmed", AREA, why, every) for why in harmed), *faults]

    def _list(self, inputs: Sequence[Input]) -> list[str]:
        given = [each for each in inputs if each.is_jsonb]
        with self._pool.begin() as connection:
            told = connection.execute(
                text(LIST), {"said": f"[{','.join(_among([each.said for each in given]))}]"}
            ).all()
        return self._read("list", given, told)

    def _single(self, inputs: Sequence[Input]) -> list[str]:
        given = [each for each in inputs if each.is_typed]
        with self._pool.begin() as connection:
            told = connection.execute(
                text(SINGLE), {"said": json.dumps(_among([each.said for each in given]))}
            ).all()
        return self._read("single", given, told)

    def _read(self, door: str, given: Sequence[Input], told: Sequence[Any]) -> list[str]:
        places = _places(len(given))
        with self._pool.begin() as connection:
            stored = _stored(connection, door)
            connection.execute(text(JOBLESS))
        for each, place in zip(given, places, strict=True):
            _, outcome, detail, key = told[place]
            each.verdicts[door] = DoorVerdict(
                outcome, stored.get(key) if outcome == "accepted" else detail
            )
        return _harmed(door, stored, len(told) - len(given))

    async def _events(self, inputs: Sequence[Input]) -> list[str]:
        given = [each for each in inputs if each.fields is not None]
        neighbours = [json.loads(each) for each in _among([])]
        events = [
            _event(fields) for fields in _among([each.fields or {} for each in given], neighbours)
        ]
        left = await admit_events(self._db, events, now=await self._db.now())
        if left:
            raise AssertionError(f"{len(left)} events met a lock")
        ids = [str(event.id) for event in events]
        return self._kept(
            "event", given, [ids[place] for place in _places(len(given))], len(neighbours)
        )

    def _lines(self, inputs: Sequence[Input]) -> list[str]:
        file = self._folder / "lines.jsonl"
        lines = [each.said for each in inputs]
        file.write_text("\n".join(_among(lines)) + "\n", encoding="utf-8")
        self._admitted(file, "lines", Layout())
        places = [f"{file.name}:{place + 1}" for place in _places(len(inputs))]
        return self._kept("lines", inputs, places, len(_among([])))

    def _table(self, inputs: Sequence[Input]) -> list[str]:
        given = [(each, row) for each in inputs if (row := each.row) is not None]
        neighbours = [
            [fields["key"], "", fields["payload"]["text"]] for fields in map(json.loads, _among([]))
        ]
        rows, line, places = _among([row for _, row in given], neighbours), 2, list[str]()
        file = self._folder / "table.csv"
        with file.open("w", encoding="utf-8", newline="") as opened:
            writer = csv.writer(opened, lineterminator="\n")
            writer.writerow(["key", "occurred_at", "text"])
            for row in rows:
                places.append(f"{file.name}:{line}")
                writer.writerow(row)
                line += 1 + sum(each.count("\n") for each in row)
        self._admitted(file, "table", Layout(field="text", key="key", occurred_at="occurred_at"))
        kept = [places[place] for place in _places(len(given))]
        return self._kept("table", [each for each, _ in given], kept, len(neighbours))

    def _admitted(self, file: Path, door: str, layout: Layout) -> None:
        with self._pool.begin() as connection:
            now = self._db.clock(connection)
        for _ in admit_file(self._pool, file, door, layout, now=now):
            pass

    def _kept(
        self, door: str, given: Sequence[Input], places: Sequence[str], neighbours: int
    ) -> list[str]:
        """Read the verdicts on the inputs from the database; `places` are the keys of inputs without one."""
        with self._pool.begin() as connection:
            stored = _stored(connection, door)
            refused = {
                place: (reason, detail)
                for place, reason, detail in connection.execute(text(REFUSED), {"door": door})
            }
            connection.execute(text(JOBLESS))
        for each, place in zip(given, places, strict=True):
            if place in refused:
                each.verdicts[door] = DoorVerdict(*refused[place])
            else:
                fields = each.fields or {}
                key = fields.get("key") if door != "lines" or each.is_line else None
                kept = stored.get(str(key) if key is not None else place)
                each.verdicts[door] = DoorVerdict("accepted" if kept is not None else "lost", kept)
        return _harmed(door, stored, neighbours)

    def _emptied(self) -> None:
        with self._pool.begin() as connection:
            connection.execute(text(EMPTY))


def _neighbours() -> list[str]:
    return [
        json.dumps({"key": f"neighbour {n}", "payload": {"text": f"letter {n}"}})
        for n in range(NEIGHBOURS)
    ]


def _among(hostile: Sequence[Any], neighbours: Sequence[Any] | None = None) -> list[Any]:
    """Return the inputs with a neighbour before, between and after them."""
    first, amid, last = _neighbours() if neighbours is None else neighbours
    middle = len(hostile) // 2
    return [first, *hostile[:middle], amid, *hostile[middle:], last]


def _places(hostile: int) -> list[int]:
    """Return the places of the inputs among their neighbours, from 0."""
    return [1 + place + (place >= hostile // 2) for place in range(hostile)]


def _stored(connection: Connection, door: str) -> dict[str, tuple[Any, ...]]:
    return {row.key: tuple(row)[1:] for row in connection.execute(text(STORED), {"door": door})}


def _harmed(door: str, stored: dict[str, tuple[Any, ...]], neighbours: int) -> list[str]:
    expected = {
        f"neighbour {n}": ({"text": f"letter {n}"}, None, None, False, None, None, None, None)
        for n in range(neighbours)
    }
    wrong = [key for key, item in expected.items() if stored.get(key) != item]
    return [f"{door}: {', '.join(wrong)} not admitted as alone"] if wrong else []


def _event(fields: dict[str, Any]) -> Event:
    resource = {"prefect.resource.id": f"{PREFIX}event"}
    return Event.model_validate({"event": ARRIVED, "resource": resource, "payload": fields})


def _neighbour_keys() -> list[str]:
    return [json.loads(each)["key"] for each in _neighbours()]

"""The floor of migration 0146, unchanged: bare psycopg writes a plain item's rows of that time, into the tables of that time.

`vs_same_rows` compares Lanes with the cost of its own rows, so leaner rows make that floor faster too. This floor stays fixed.
"""

from collections.abc import Mapping, Sequence

import orjson
import psycopg
from alembic import command
from sqlalchemy import create_engine

from lanes.store import schema
from lanes.store.asking import plain_url
from tests.benchmarks.copier import escaped
from tests.benchmarks.ground import Server, vacuumed
from tests.benchmarks.letters import ANSWER, WORKLOAD, payloads
from tests.benchmarks.pattern import OF_ITEMS, RowPattern
from tests.benchmarks.realtime_floor import CHUNK
from tests.benchmarks.stored_rows import NULL, Stored, Values, read

REVISION = "0146"
AT = "2026-11-29 21:08:55.311495+00"
USED = {
    "input_tokens": "120",
    "output_tokens": "30",
    "cache_read_tokens": "0",
    "cache_write_tokens": "0",
}
COUNTED = dict.fromkeys(("usd", "bound_usd", "input", "output", "cached", "written"), "0")
# The values that all rows of a table share; a column that is not named was null.
LEFT: Mapping[str, Mapping[str, str]] = {
    "item": {"workload": WORKLOAD, "revision": "0", "urgent": "f", "ack": "f", "source": "client"}
    | dict.fromkeys(("occurred_at", "received_at", "answered_at", "settled_at"), AT),
    "route": {
        "version_id": "1",
        "lane": "realtime",
        "reason": "split",
        "explanation": "the split sends 100 % to real time, and bucket 6,929 of 10,000 is inside",
        "realtime_usd": "0.0000470000",
        "batch_usd": "0.0000235000",
        "decided_at": AT,
    },
    "work": {
        "workload": WORKLOAD,
        "version_id": "1",
        "lane": "realtime",
        "purpose": "answer",
        "state": "done",
    }
    | {"revision": "0", "generation": "0", "claim_no": "1", "failures": "0", "consumer": ""}
    | dict.fromkeys(("alone", "rescued", "urgent"), "f")
    | dict.fromkeys(("ready_at", "rank_at", "waits_since", "finished_at"), AT),
    "response": {
        "workload": WORKLOAD,
        "lane": "realtime",
        "purpose": "answer",
        "model": "claude-haiku-5-5",
    }
    | {"items": "1", "cost_usd": "0.0000270000", "price_version": "genai-prices 0.2.3"}
    | {"billed_at": AT, "digest": "db2083a354e11fcc", **USED},
    "attempt": {
        "claim_no": "1",
        "workload": WORKLOAD,
        "lane": "realtime",
        "purpose": "answer",
        "outcome": "valid",
    }
    | {
        "model": "claude-haiku-5-5",
        "cost_usd": "0.0000270000",
        "bound_usd": "0.0000000000",
        "shown": "t",
    }
    | {"latency_ms": "1", "started_at": AT, "ended_at": AT, "version_id": "1", **USED},
    "result": {
        "version_id": "1",
        "lane": "realtime",
        "standing": "authoritative",
        "generation": "0",
    }
    | {"revision": "0", "output": orjson.dumps(ANSWER).decode(), "created_at": AT},
    "event_outbox": {
        "event": "lanes.item.answered",
        "resource": "lanes.workload.letters",
        "occurred_at": AT,
    },
    "figure_delta": {
        "at": AT,
        "workload": WORKLOAD,
        "version_id": "1",
        "lane": "realtime",
        "kind": "route",
    }
    | {
        "word": "split",
        "n": "238",
        "items": "0",
        "realtime_usd": "0.0111860000",
        "batch_usd": "0.0055930000",
    }
    | {"set_aside": "f", **COUNTED},
}
DELTAS = 16  # rows of figures for each chunk


class KeptPattern(RowPattern):
    """The rows of `items` plain items, in a database of the kept migration."""

    def __init__(self, url: str, items: int) -> None:
        inputs = [orjson.dumps(each) for each in payloads(items)]
        with psycopg.connect(url) as connection:
            empty = {name: read(connection, name, order_by="1") for name in LEFT}
        own = {name: [_own(name, n, said) for n, said in enumerate(inputs)] for name in OF_ITEMS}
        self.stored = {name: _filled(empty[name], own[name]) for name in OF_ITEMS}
        self.item = self.stored["item"]
        self.ids = [row[self.item.place("id")] for row in self.item.rows]
        self.of_item = {
            name: dict(zip(self.ids, self.stored[name].rows, strict=True)) for name in OF_ITEMS[1:]
        }
        events = [_own("event_outbox", n, said) for n, said in enumerate(inputs)]
        deltas: list[dict[str, bytes]] = [{} for _ in range(-(-items // CHUNK) * DELTAS)]
        self.others = [
            _filled(empty["event_outbox"], events),
            _filled(empty["figure_delta"], deltas),
        ]

    def grown(self, connection: psycopg.Connection) -> list[Stored]:
        """Return the events and the figures."""
        return self.others


def kept_database(ground: Server) -> str:
    """Create a database of the kept migration, and return its address."""
    url = ground.database()
    engine, settings = create_engine(url), schema.config()
    with engine.begin() as connection:
        settings.attributes["connection"] = connection
        command.upgrade(settings, REVISION)
    engine.dispose()
    vacuumed(url)
    return url


def kept_pattern(url: str, items: int) -> KeptPattern:
    """Return the rows to write into the database at `url`."""
    return KeptPattern(plain_url(url), items)


def _own(table: str, number: int, payload: bytes) -> dict[str, bytes]:
    """Return the values that differ from one item to the next."""
    id_ = b"%d" % (number + 1)
    message = b"msg_%d_1" % (number + 1)
    match table:
        case "item":
            digest = b"\\\\x%064x" % (number * 0x9E3779B97F4A7C15)
            shown = {"content_hash": digest, "position": id_, "result_id": id_}
            return {"id": id_, "key": b"%d" % number, "payload": escaped(payload), **shown}
        case "route" | "work":
            return {"id": id_, "item_id": id_}
        case "response":
            return {"id": id_, "message_id": message}
        case "event_outbox":
            said = {"key": str(number), "lane": "realtime", "standing": "authoritative"}
            return {"id": b"%032x" % (0x01A22923 << 96 | number), "payload": orjson.dumps(said)}
        case _:
            return {"id": id_, "item_id": id_, "work_id": id_, "message_id": message}


def _filled(of: Stored, own: Sequence[Mapping[str, bytes]]) -> Stored:
    common = {name: value.encode() for name, value in LEFT[of.name].items()}
    rows: list[Values] = []
    for each in own:
        said = {**common, **each}
        rows.append([said.get(name, NULL) for name in of.columns])
    return Stored(of.name, of.columns, rows)

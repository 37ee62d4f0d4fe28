"""The stand-in's own bill: every response that it produced, whether or not it reached the client."""

from __future__ import annotations

import functools
import logging
import sqlite3
import threading
from collections import deque
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from anthropic_standin.composing import Processing
from anthropic_standin.database import EndpointDatabase

logger = logging.getLogger(__name__)
FLUSH_S = 0.2
PICO = Decimal(10) ** 12
_INSERT = f"INSERT INTO bill VALUES (NULL, {', '.join('?' * 12)})"
_TOTALS = """SELECT model, processing, count(*) AS responses, sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens, sum(cache_read_tokens) AS cache_read_tokens,
    sum(cache_write_tokens) AS cache_write_tokens, sum(picousd) AS picousd
    FROM bill GROUP BY model, processing ORDER BY model, processing"""
_SUMMED = ("responses", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


class Entry(NamedTuple):
    """A billed response."""

    message: dict[str, Any]
    processing: Processing
    text: str
    billed_at: float
    batch_id: str | None = None
    custom_id: str | None = None


@functools.lru_cache(maxsize=65_536)
def price_picousd(model: str, processing: Processing, day: str, tokens: tuple[int, ...]) -> int:
    """Return the price of a response in 10^-12 USD on a day (ISO date), by genai-prices.

    `tokens`: input, output, read from the cache, written to it for 5 minutes, and for an hour.
    """
    from genai_prices import extract_usage

    inputs, outputs, read, written_5m, written_1h = tokens

    usage = {
        "input_tokens": inputs,
        "output_tokens": outputs,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": written_5m + written_1h,
        "cache_creation": {
            "ephemeral_5m_input_tokens": written_5m,
            "ephemeral_1h_input_tokens": written_1h,
        },
    }
    price = extract_usage({"model": model, "usage": usage}, provider_id="anthropic").calc_price(
        genai_request_timestamp=datetime.fromisoformat(day).replace(hour=12, tzinfo=UTC),
        price_context={"processing": "batch"} if processing == "batch" else None,
    )
    return int((price.total_price * PICO).to_integral_value())


def write_entries(connection: sqlite3.Connection, entries: list[Entry]) -> None:
    """Add entries to the bill inside the caller's transaction."""
    connection.executemany(_INSERT, [_row(entry) for entry in entries])


def _row(entry: Entry) -> tuple[Any, ...]:
    message, usage = entry.message, entry.message["usage"]
    read, split = usage["cache_read_input_tokens"], usage["cache_creation"]
    day = datetime.fromtimestamp(entry.billed_at, UTC).date().isoformat()
    price = price_picousd(
        message["model"],
        entry.processing,
        day,
        (
            usage["input_tokens"],
            usage["output_tokens"],
            read,
            split["ephemeral_5m_input_tokens"],
            split["ephemeral_1h_input_tokens"],
        ),
    )
    return (
        message["id"],
        message["model"],
        entry.processing,
        entry.batch_id,
        entry.custom_id,
        usage["input_tokens"],
        usage["output_tokens"],
        read,
        usage["cache_creation_input_tokens"],
        price,
        entry.billed_at,
        entry.text,
    )


class Bill:
    """The bill; real-time responses are buffered in memory and written to disk every 200 ms and at the end."""

    def __init__(self, database: EndpointDatabase) -> None:
        self._database = database
        self._noted: deque[Entry] = deque()
        self._flushing = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="bill", daemon=True)
        self._thread.start()

    def note(self, entry: Entry) -> None:
        """Bill a response; it is written to disk within 200 ms."""
        self._noted.append(entry)

    def flush(self) -> None:
        """Write all buffered responses to disk."""
        with self._flushing:
            entries = [self._noted.popleft() for _ in range(len(self._noted))]
            if not entries:
                return
            try:
                with self._database.transaction() as connection:
                    write_entries(connection, entries)
            except BaseException:
                self._noted.extendleft(reversed(entries))
                raise

    def close(self) -> None:
        """Stop the thread and write the remaining responses."""
        self._ended.set()
        self._thread.join()
        self.flush()

    def _keep(self) -> None:
        while not self._ended.wait(FLUSH_S):
            try:
                self.flush()
            except Exception:
                logger.exception(
                    "The bill could not be written; the responses are kept and written with the next"
                )

    def totals(self) -> dict[str, Any]:
        """Return the totals of the bill, and those by model and processing; `usd` is an exact decimal in a string."""
        self.flush()
        connection = self._database.connection()
        parts = [dict(row) for row in connection.execute(_TOTALS)]
        total = {name: sum(part[name] for part in parts) for name in _SUMMED}
        usd = _usd(sum(part["picousd"] for part in parts))
        made = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'batch'").fetchone()
        for part in parts:
            part["usd"] = _usd(part.pop("picousd"))
        return {**total, "usd": usd, "batches_created": made[0] if made else 0, "by": parts}

    def messages(self, *, limit: int, after: int) -> dict[str, Any]:
        """Return billed responses after number `after`, in order; `next` is the next page's `after`, or None."""
        self.flush()
        rows = self._database.connection().execute(
            "SELECT * FROM bill WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit + 1)
        )
        shown = [dict(row) for row in rows]
        for row in shown:
            row["usd"] = _usd(row.pop("picousd"))
            del row["text"]
        more = len(shown) > limit
        return {"data": shown[:limit], "next": shown[limit - 1]["seq"] if more else None}

    def between(self, since: float, until: float) -> list[dict[str, Any]]:
        """Return the responses that were billed in a period, in order."""
        self.flush()
        rows = self._database.connection().execute(
            "SELECT * FROM bill WHERE billed_at >= ? AND billed_at < ? ORDER BY seq", (since, until)
        )
        return [dict(row) for row in rows]

    def responses_about(self, text: str) -> dict[str, Any]:
        """Return the number of billed responses whose last user message contains the text, and the first 100 message ids."""
        self.flush()
        rows = self._database.connection().execute(
            "SELECT message_id FROM bill WHERE instr(text, ?) > 0", (text,)
        )
        ids = [row[0] for row in rows]
        return {"contains": text, "responses": len(ids), "message_ids": ids[:100]}


def _usd(picousd: int) -> str:
    return format((Decimal(picousd) / PICO).normalize(), "f")

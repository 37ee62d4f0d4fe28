"""Batches on disk: created, processed in random order, ended, listed, read and deleted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from anthropic_standin.bill import Entry, write_entries
from anthropic_standin.database import EndpointDatabase
from anthropic_standin.envelope import Envelope
from anthropic_standin.errors import ApiError, invalid
from anthropic_standin.paging import Cursor, page
from anthropic_standin.wire import new_id, rfc3339

PLACE_BITS = 20
LIFETIME_S = 86_400
OUTCOMES = ("succeeded", "errored", "canceled", "expired")
LINES_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """A batch in its current state; times are seconds since the epoch, or None for events that have not happened."""

    seq: int
    id: str
    created_at: float
    requests: int
    finished: int
    cancel_at: float | None
    ended_at: float | None
    succeeded: int
    errored: int
    canceled: int
    expired: int

    @property
    def expires_at(self) -> float:
        return self.created_at + LIFETIME_S

    def view(self, base_url: str) -> dict[str, Any]:
        """Return the batch as the API shows it: its counts change only once the whole batch has ended."""

        def written(moment: float | None) -> str | None:
            return None if moment is None else rfc3339(moment)

        ended = self.ended_at is not None
        counts = {name: getattr(self, name) if ended else 0 for name in OUTCOMES}
        status = "ended" if ended else "canceling" if self.cancel_at is not None else "in_progress"
        return {
            "id": self.id,
            "type": "message_batch",
            "processing_status": status,
            "request_counts": {"processing": 0 if ended else self.requests, **counts},
            "created_at": written(self.created_at),
            "expires_at": written(self.expires_at),
            "ended_at": written(self.ended_at),
            "cancel_initiated_at": written(self.cancel_at),
            "archived_at": None,
            "results_url": f"{base_url}/v1/messages/batches/{self.id}/results" if ended else None,
        }


@dataclass(frozen=True, slots=True)
class Finished:
    """A processed request: its outcome, its result line (None: lost), and its bill entry (None: not billed)."""

    place: int
    outcome: str
    line: bytes | None
    billed: Entry | None = None


class BatchStore:
    """The store of batches. Every method is one transaction; times are arguments, and no method reads a clock."""

    def __init__(self, database: EndpointDatabase) -> None:
        self._database = database

    def create(self, envelope: Envelope, now: float, *, id: str | None = None) -> StoredBatch:
        """Store a new batch with all its requests, or nothing on an error."""
        id = id or new_id("msgbatch")
        with self._database.transaction() as connection:
            cursor = connection.execute(
                "INSERT INTO batch (id, created_at, requests) VALUES (?, ?, ?)",
                (id, now, len(envelope)),
            )
            first = (cursor.lastrowid or 0) << PLACE_BITS
            connection.executemany(
                "INSERT INTO batch_request VALUES (?, ?)", enumerate(envelope.requests(), first)
            )
        return self.get(id)

    def get(self, id: str) -> StoredBatch:
        """Return the batch; ApiError 404 if no batch has this id."""
        row = (
            self._database.connection()
            .execute("SELECT * FROM batch WHERE id = ?", (id,))
            .fetchone()
        )
        if row is None:
            raise ApiError(404, f"Message batch {id!r} not found")
        return StoredBatch(**row)

    def page(self, cursor: Cursor, base_url: str, *, tolerant: bool = False) -> dict[str, Any]:
        """Return one page, newest first; ApiError 400 if the cursor names no batch, unless `tolerant`."""
        connection = self._database.connection()
        backwards = cursor.before_id is not None
        anchor = cursor.before_id or cursor.after_id
        seq: int | None = None
        if anchor is not None:
            row = connection.execute("SELECT seq FROM batch WHERE id = ?", (anchor,)).fetchone()
            if row is None and not tolerant:
                raise invalid(
                    f"{'before_id' if backwards else 'after_id'}: no such batch {anchor!r}"
                )
            seq = row["seq"] if row is not None else None
        where = "" if seq is None else "WHERE seq > :seq" if backwards else "WHERE seq < :seq"
        order = "ASC" if seq is not None and backwards else "DESC"
        rows = connection.execute(
            f"SELECT * FROM batch {where} ORDER BY seq {order} LIMIT :limit",
            {"seq": seq, "limit": cursor.limit + 1},
        ).fetchall()
        shown = [StoredBatch(**row).view(base_url) for row in rows[: cursor.limit]]
        return page(shown[::-1] if order == "ASC" else shown, has_more=len(rows) > cursor.limit)

    def cancel(self, id: str, now: float) -> StoredBatch:
        """Cancel the batch unless it has ended or is being canceled, and return it."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE batch SET cancel_at = coalesce(cancel_at, ?) WHERE id = ? AND ended_at IS NULL",
                (now, id),
            )
        return self.get(id)

    def delete(self, id: str) -> None:
        """Delete the batch and its results; ApiError 400 while it is in progress."""
        batch = self.get(id)
        if batch.ended_at is None:
            raise invalid(
                f"Message batch {id!r} is still in progress; cancel it before deleting it"
            )
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM batch WHERE seq = ?", (batch.seq,))
            connection.execute(
                "DELETE FROM batch_result WHERE place >= ? AND place < ?", _places(batch)
            )

    def unfinished(self) -> list[StoredBatch]:
        """Return the batches that have not ended, oldest first."""
        rows = self._database.connection().execute(
            "SELECT * FROM batch WHERE ended_at IS NULL ORDER BY seq"
        )
        return [StoredBatch(**row) for row in rows]

    def waiting(self, batch: StoredBatch, *, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Return unprocessed requests as (place, JSON), after a place (-1: from the start)."""
        first, last = _places(batch)
        rows = self._database.connection().execute(
            "SELECT place, request FROM batch_request WHERE place >= ? AND place < ? ORDER BY place LIMIT ?",
            (max(first, after + 1), last, limit),
        )
        return [(row["place"], row["request"]) for row in rows]

    def finish(self, batch: StoredBatch, finished: Sequence[Finished]) -> None:
        """Save the results and bill entries of requests in one transaction."""
        counts = [sum(one.outcome == name for one in finished) for name in OUTCOMES]
        with self._database.transaction() as connection:
            connection.executemany(
                "DELETE FROM batch_request WHERE place = ?", [(one.place,) for one in finished]
            )
            connection.executemany(
                "INSERT INTO batch_result VALUES (?, ?)",
                [(one.place, one.line) for one in finished if one.line],
            )
            write_entries(connection, [one.billed for one in finished if one.billed])
            connection.execute(
                """UPDATE batch SET finished = finished + ?, succeeded = succeeded + ?, errored = errored + ?,
                   canceled = canceled + ?, expired = expired + ? WHERE seq = ?""",
                (len(finished), *counts, batch.seq),
            )

    def end(self, batch: StoredBatch, now: float) -> None:
        """Mark the batch as ended, which makes its results readable."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE batch SET ended_at = ? WHERE seq = ? AND finished = requests",
                (now, batch.seq),
            )

    def lines(self, batch: StoredBatch) -> Iterator[list[bytes]]:
        """Yield lists of up to 500 result lines, without line ends."""
        first, last = _places(batch)
        while True:
            rows = (
                self._database.connection()
                .execute(
                    "SELECT place, line FROM batch_result WHERE place >= ? AND place < ? ORDER BY place LIMIT ?",
                    (first, last, LINES_AT_ONCE),
                )
                .fetchall()
            )
            if not rows:
                return
            yield [row["line"] for row in rows]
            first = rows[-1]["place"] + 1


def _places(batch: StoredBatch) -> tuple[int, int]:
    return batch.seq << PLACE_BITS, (batch.seq + 1) << PLACE_BITS

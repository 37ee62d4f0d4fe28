"""/v1/messages/batches: create, list, retrieve, cancel, delete, results."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from anthropic_standin.batch_store import BatchStore, StoredBatch
from anthropic_standin.clock import EndpointClock
from anthropic_standin.conformance import SEEDED_ID
from anthropic_standin.envelope import MOST_BYTES, Envelope
from anthropic_standin.errors import ApiError, Dropped
from anthropic_standin.exchange import HttpAnswer, Request, json_answer
from anthropic_standin.faults import FaultRule, Faults
from anthropic_standin.paging import read_cursor
from anthropic_standin.runner import Runner


class BatchesApi:
    """The API of Message Batches. Disk access runs on threads, which keeps the event loop free."""

    def __init__(
        self,
        *,
        store: BatchStore,
        runner: Runner,
        faults: Faults,
        clock: EndpointClock,
        conformance: bool,
    ) -> None:
        self._store, self._runner, self._faults = store, runner, faults
        self._clock, self._conformance = clock, conformance

    async def create(self, request: Request) -> HttpAnswer:
        """Create a batch; only the form of its requests is checked, as in the API."""
        body = await request.body(MOST_BYTES)
        faults = self._faults.take("batches.create", body)
        await suffer(faults)
        batch = await asyncio.to_thread(self._create, body, {rule.kind for rule in faults})
        self._runner.wake()
        return _answer(json_answer(batch.view(request.base_url)), faults)

    def _create(self, body: bytes | bytearray, kinds: set[str]) -> StoredBatch:
        batch = self._store.create(Envelope(body), self._clock.now())
        if "stall" in kinds:
            self._runner.stall(batch.id)
        if "expire" in kinds:
            self._runner.expire(batch.id)
        return batch

    async def list(self, request: Request) -> HttpAnswer:
        """Return one page of batches, newest first."""
        cursor = read_cursor(request.query)
        faults = self._faults.take("batches.list", request.query)
        await suffer(faults)
        page = await asyncio.to_thread(
            self._store.page, cursor, request.base_url, tolerant=self._conformance
        )
        return _answer(json_answer(page), faults)

    async def retrieve(self, request: Request, id: str) -> HttpAnswer:
        """Return the batch; a rule can make it archived, without its results."""
        faults = self._faults.take("batches.retrieve", id)
        await suffer(faults)
        batch = await asyncio.to_thread(self._store.get, id)
        view = batch.view(request.base_url)
        if any(rule.kind == "archive" for rule in faults):
            view |= {"archived_at": view["expires_at"], "results_url": None}
        return _answer(json_answer(view), faults)

    async def cancel(self, request: Request, id: str) -> HttpAnswer:
        """Cancel the batch; finished requests keep their results."""
        batch = await asyncio.to_thread(self._store.cancel, id, self._clock.now())
        self._runner.wake()
        return json_answer(batch.view(request.base_url))

    async def delete(self, request: Request, id: str) -> HttpAnswer:
        """Delete the batch and confirm it; the seeded batch of conformance tests stays for the next test."""
        if not (self._conformance and id == SEEDED_ID):
            await asyncio.to_thread(self._store.delete, id)
        return json_answer({"id": id, "type": "message_batch_deleted"})

    async def results(self, request: Request, id: str) -> HttpAnswer:
        """Return the results as JSON lines, in no particular order; ApiError 404 until the batch has ended."""
        faults = self._faults.take("batches.results", id)
        await suffer(faults)
        batch = await asyncio.to_thread(self._store.get, id)
        if batch.ended_at is None:
            raise ApiError(404, f"Message batch {id!r} has no results yet: it has not ended")
        cut = next((rule.after_lines for rule in faults if rule.kind == "cut"), None)
        short = next((rule.after_lines for rule in faults if rule.kind == "short"), None)
        lines = self._lines(batch, cut) if short is None else self._first_lines(batch, short)
        return _answer(HttpAnswer(content_type=b"application/x-jsonl", chunks=lines), faults)

    async def _first_lines(self, batch: StoredBatch, most: int) -> AsyncIterator[bytes]:
        """Yield the first `most` lines only, and end normally."""
        pages = self._store.lines(batch)
        while most > 0 and (lines := await asyncio.to_thread(next, pages, None)) is not None:
            yield b"".join(line + b"\n" for line in lines[:most])
            most -= len(lines)

    async def _lines(self, batch: StoredBatch, cut_after: int | None) -> AsyncIterator[bytes]:
        """Yield all lines; or `cut_after` lines and half of the next one, and then close the connection."""
        pages = self._store.lines(batch)
        sent = 0
        while (lines := await asyncio.to_thread(next, pages, None)) is not None:
            if cut_after is not None and sent + len(lines) > cut_after:
                whole, broken = lines[: cut_after - sent], lines[cut_after - sent]
                yield b"".join(line + b"\n" for line in whole) + broken[: len(broken) // 2]
                break
            sent += len(lines)
            yield b"\n".join(lines) + b"\n"
        if cut_after is not None:
            raise Dropped


async def suffer(faults: list[FaultRule]) -> None:
    """Wait for the delay of the rules, then raise the ApiError of a status rule, if any."""
    delay = sum(rule.latency_s for rule in faults)
    if delay:
        await asyncio.sleep(delay)
    for rule in faults:
        if rule.kind == "status":
            raise rule.error()


def _answer(answer: HttpAnswer, faults: list[FaultRule]) -> HttpAnswer:
    """Return the answer, unless a rule drops it after the work is done."""
    if any(rule.kind == "drop" for rule in faults):
        raise Dropped
    return answer

"""Traces of saved attempts and batches: saving only queues their ids, and a separate thread sends the spans to OpenTelemetry.

Tracing is off unless OTEL_EXPORTER_OTLP_ENDPOINT names a collector. If the collector does not answer, only spans are lost.
"""

import asyncio
import os
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import chain
from typing import TYPE_CHECKING, Protocol

from prefect.logging import get_run_logger

from lanes.ids import BatchId
from lanes.packing import Claim
from lanes.settling.trace import (
    Span,
    TracedItem,
    attempt_ref,
    batch_span,
    call_span,
    is_part,
    spans,
)
from lanes.store.database import engine
from lanes.store.settling import traces

if TYPE_CHECKING:
    from logging import Logger, LoggerAdapter

    from sqlalchemy import Connection, Engine

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
MOST_NOTED = 20_000  # queued attempts; beyond this, the oldest are dropped
MOST = 2_000  # attempts whose spans are sent in one request of about 1.5 MB
EVERY_S = 2.0  # longest time that an attempt stays in the queue
CLOSING_S = 5.0  # longest wait of a run at its end for its last spans


class SpanSink(Protocol):
    """A receiver of spans, which also decides which items are sampled."""

    def samples(self, item: TracedItem) -> bool: ...
    def encode(self, span: Span) -> bytes: ...
    def send(self, spans: Sequence[bytes]) -> None: ...
    def close(self) -> None: ...


class Tracer:
    """A queue of saved attempts and batches, and the thread that sends their spans."""

    def __init__(
        self,
        pool: "Engine",
        open_sink: Callable[[], SpanSink],
        log: "Logger | LoggerAdapter[Logger]",
    ) -> None:
        self._pool, self._open_sink, self._log = pool, open_sink, log
        self._sink: SpanSink | None = None
        self._claims = deque[Claim](maxlen=MOST_NOTED)
        self._batches = deque[BatchId](maxlen=MOST_NOTED)
        self._trouble = False
        self._full, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def note(self, claims: Sequence[Claim]) -> None:
        """Queue the spans that these saved attempts complete."""
        self._claims.extend(claims)
        if len(self._claims) >= MOST:
            self._full.set()

    def note_batch(self, batch_id: BatchId) -> None:
        """Queue the span of a collected batch."""
        self._batches.append(batch_id)

    def close(self, within_s: float = CLOSING_S) -> None:
        """Send the queued spans and end; drop those not sent within `within_s` seconds."""
        self._closing.set()
        self._full.set()
        self._thread.join(within_s)
        if self._sink is not None:
            self._sink.close()
        self._pool.dispose()

    def _run(self) -> None:
        try:
            sink = self._sink = self._open_sink()
        except Exception as error:
            self._log.warning('no traces: %s; they need the extra "lanes[otel]"', error)
            return
        while not (self._closing.is_set() and not self._claims and not self._batches):
            if not self._closing.is_set():
                self._full.wait(EVERY_S)
                self._full.clear()
            try:
                self._flush(sink)
            except Exception as error:  # of the database or of the collector
                self._tell(error)
                if self._closing.is_set():
                    return

    def _flush(self, sink: SpanSink) -> None:
        while self._claims or self._batches:
            claims = [self._claims.popleft() for _ in range(min(MOST, len(self._claims)))]
            batches = [self._batches.popleft() for _ in range(len(self._batches))]
            with self._pool.connect() as connection:
                new_spans = chain(
                    _iter_item_spans(connection, claims, sink),
                    _iter_batch_spans(connection, batches, sink),
                )
                # Encode spans one by one: thousands of live span objects would trigger full garbage collections.
                encoded = [sink.encode(each) for each in new_spans]
            if encoded:
                sink.send(encoded)
                if self._trouble:
                    self._log.info("traces are sent again")
                self._trouble = False

    def _tell(self, error: Exception) -> None:
        """Log that spans are lost, once until they are sent again."""
        if not self._trouble:
            self._log.warning("spans are lost until traces can be sent again: %s", error)
        self._trouble = True


def _iter_item_spans(
    connection: "Connection", claims: Sequence[Claim], sink: SpanSink
) -> Iterator[Span]:
    """Yield the spans that the attempts of these claims complete, for sampled items."""
    items, told_with = traces.read_saved(connection, claims)
    sampled = list(filter(sink.samples, items))
    if not sampled:
        return
    shared = set[str]()
    for of in traces.facts(connection, sampled):
        for each in spans(of):
            if each.told_with in told_with:
                yield each
        shared |= {
            each.message_id
            for each in of.attempts
            if each.message_id and each.id in told_with and is_part(each)
        }
    for call in map(call_span, traces.sharers(connection, shared)):
        if call.told_with in told_with:
            yield call


def _iter_batch_spans(
    connection: "Connection", ids: Sequence[BatchId], sink: SpanSink
) -> Iterator[Span]:
    """Yield the spans of the batches that have sampled items, with links to these items."""
    for batch, members in traces.batches(connection, ids):
        sampled = [attempt_ref(item, id) for item, id in members if sink.samples(item)]
        if sampled:
            yield batch_span(batch, sampled)


_tracers: list[Tracer] = []


def note(claims: Sequence[Claim]) -> None:
    """Queue the spans that these saved attempts complete, if tracing is on."""
    for each in _tracers if claims else ():
        each.note(claims)


def note_batch(batch_id: BatchId) -> None:
    """Queue the span of a collected batch, if tracing is on."""
    for each in _tracers:
        each.note_batch(batch_id)


def is_asked_for(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether the OTEL_* variables enable tracing."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporters = environment.get("OTEL_TRACES_EXPORTER") or "otlp"
    return "otlp" in exporters.split(",") and any(environment.get(each) for each in ENDPOINTS)


@asynccontextmanager
async def tracing(url: str) -> AsyncIterator[None]:
    """Send the traces of saves within the block if the environment enables tracing; `url` is the address of the database."""
    if not is_asked_for():
        yield
        return
    tracer = Tracer(engine(url, most=2, part="traces"), _open_telemetry, get_run_logger())
    _tracers.append(tracer)
    try:
        yield
    finally:
        _tracers.remove(tracer)
        await asyncio.to_thread(tracer.close)


def _open_telemetry() -> SpanSink:
    """Return the sink that the OTEL_* variables describe; imported here because its packages take half a second to load."""
    from tasks.otlp import OpenTelemetry

    return OpenTelemetry()

"""The export of spans to OpenTelemetry: sampling, encoding as OTLP, and sending.

The SDK reads the OTEL_* variables: sampler, resource, endpoint, headers, certificates, time limit. Its own spans and encoder
are not used, because they take ten times as long, 30 µs a span. The extra `lanes[otel]` installs the SDK.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib.metadata import version

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource as WrittenResource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Status
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WrittenSpan
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from lanes.settling.trace import Span, SpanKind, TracedItem, Value, item_ref
from lanes.text import mask_address

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
KINDS = {
    SpanKind.INTERNAL: WrittenSpan.SPAN_KIND_INTERNAL,
    SpanKind.CLIENT: WrittenSpan.SPAN_KIND_CLIENT,
    SpanKind.CONSUMER: WrittenSpan.SPAN_KIND_CONSUMER,
}
IS_SAMPLED, KNOWS_PARENT, HAS_REMOTE_PARENT = 0x1, 0x100, 0x200  # flags of a span
UNNAMED = "unknown_service"
KEPT_ATTRIBUTES = 4_096
LENGTH_DELIMITED = 2  # the wire type of a message


class ExportFailed(Exception):
    """The collector did not accept spans; the text names the collector and the reason."""


class _Exporter(OTLPSpanExporter):
    """The SDK's exporter, for requests that are already encoded. It uses the private `_client`; tests detect a change of it."""

    def send(self, request: bytes) -> None:
        """Send a request, and retry transient failures within the time limit.

        Raises:
            ExportFailed: the collector did not accept the request.
        """
        response = self._client.export(request)
        if not response.success:
            why = response.error or f"HTTP {response.status_code} {response.reason or ''}".rstrip()
            raise ExportFailed(f"{mask_address(self._endpoint)}: {why}")


class OpenTelemetry:
    """The sampler and the exporter that the OTEL_* variables describe."""

    def __init__(self) -> None:
        # its log lines would repeat ours for every request
        logging.getLogger(OTLPSpanExporter.__module__).disabled = True
        self._sampler = TracerProvider(shutdown_on_exit=False).sampler
        self._exporter = _Exporter()
        resource = WrittenResource()
        for name, value in _resource().items():
            resource.attributes.add(key=name).value.string_value = value
        self._resource = ResourceSpans(resource=resource).SerializeToString()
        scope = InstrumentationScope(name="lanes", version=version("lanes"))
        self._scope = ScopeSpans(scope=scope).SerializeToString()

    def samples(self, item: TracedItem) -> bool:
        """Return whether to record the item's trace, by its sender's flag or, without one, by its own trace id."""
        ref, parent = item_ref(item), None
        if (trace_context := item.trace) is not None:
            flags = TraceFlags(trace_context[24])
            span_context = SpanContext(
                int.from_bytes(ref.trace_id), int.from_bytes(trace_context[16:24]), True, flags
            )
            parent = set_span_in_context(NonRecordingSpan(span_context))
        sampling = self._sampler.should_sample(parent, int.from_bytes(ref.trace_id), "item")
        return sampling.decision.is_sampled()

    def send(self, spans: Sequence[bytes]) -> None:
        """Send spans that `encode` returned.

        Raises:
            ExportFailed: the collector did not accept them.
        """
        fields = (_field(ScopeSpans.SPANS_FIELD_NUMBER, each) for each in spans)
        scoped = b"".join((self._scope, *fields))
        whole = self._resource + _field(ResourceSpans.SCOPE_SPANS_FIELD_NUMBER, scoped)
        self._exporter.send(_field(ExportTraceServiceRequest.RESOURCE_SPANS_FIELD_NUMBER, whole))

    def encode(self, span: Span) -> bytes:
        """Return the span in the encoding that `send` accepts."""
        return encode_span(span)

    def close(self) -> None:
        """Stop the exporter; a request under way is abandoned."""
        self._exporter.shutdown()


def encode_span(span: Span) -> bytes:
    """Return the span encoded as OTLP; encoded attributes are cached, because they repeat."""
    parent, flags = span.parent, IS_SAMPLED | KNOWS_PARENT
    if parent is not None and span.kind is SpanKind.CONSUMER:
        flags |= HAS_REMOTE_PARENT
    encoded = WrittenSpan(
        trace_id=span.ref.trace_id,
        span_id=span.ref.span_id,
        parent_span_id=parent or b"",
        flags=flags,
        name=span.name,
        kind=KINDS[span.kind],
        start_time_unix_nano=_nanoseconds(span.began_at),
        end_time_unix_nano=_nanoseconds(span.ended_at or span.began_at),
    )
    for each in span.links:
        encoded.links.add(trace_id=each.trace_id, span_id=each.span_id, flags=IS_SAMPLED)
    if span.unlinked:
        encoded.dropped_links_count = span.unlinked
    if span.failure is not None:
        encoded.status.code = Status.STATUS_CODE_ERROR
    attributes = [_attribute(name, value) for name, value in span.says.items()]
    return b"".join((encoded.SerializeToString(), *attributes))


@lru_cache(KEPT_ATTRIBUTES)
def _attribute(name: str, value: Value) -> bytes:
    """Return an attribute as an encoded field of its span; protobuf allows the fields of a message to be concatenated."""
    is_number = isinstance(value, int)
    any_value = AnyValue(int_value=value) if is_number else AnyValue(string_value=value)
    pair = KeyValue(key=name, value=any_value).SerializeToString()
    return _field(WrittenSpan.ATTRIBUTES_FIELD_NUMBER, pair)


def _field(number: int, body: bytes) -> bytes:
    """Return a message encoded as a protobuf field of another message: field number, length and body."""
    head, size = bytearray((number << 3 | LENGTH_DELIMITED,)), len(body)
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head) + body


def _nanoseconds(moment: datetime) -> int:
    return (moment - EPOCH) // MICROSECOND * 1_000


def _resource() -> Mapping[str, str]:
    """Return the resource of the spans, from OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, else service `lanes`."""
    attributes = Resource.create().attributes
    own = {SERVICE_VERSION: version("lanes")}
    if str(attributes.get(SERVICE_NAME, UNNAMED)).startswith(UNNAMED):
        own[SERVICE_NAME] = "lanes"
    return own | {name: str(value) for name, value in attributes.items() if name not in own}

"""A collector that receives OTLP over HTTP and stores the spans."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass
class OtlpReceiver:
    """The spans and resources that a collector has received. It answers with `status`."""

    url: str
    status: int = 200
    spans: list[Span] = field(default_factory=list)
    resources: list[dict[str, str]] = field(default_factory=list)
    refused: int = 0

    def named(self, start: str) -> list[Span]:
        """Return the spans whose names begin with `start`."""
        return [each for each in self.spans if each.name.startswith(start)]


def says(span: Span) -> dict[str, Any]:
    """Return the attributes of a span."""
    kept = {each.key: each.value for each in span.attributes}
    return {name: getattr(it, it.WhichOneof("value") or "") for name, it in kept.items()}


@contextmanager
def otlp_receiver() -> Iterator[OtlpReceiver]:
    """Run a collector on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            if self.path != "/v1/traces" or receiver.status != 200:
                receiver.refused += 1
                self.send_response(receiver.status if self.path == "/v1/traces" else 404)
            else:
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    told = {
                        each.key: each.value.string_value for each in resource.resource.attributes
                    }
                    receiver.resources.append(told)
                    for scoped in resource.scope_spans:
                        receiver.spans.extend(scoped.spans)
                self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver = OtlpReceiver(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

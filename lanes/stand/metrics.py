"""The endpoint that Prometheus scrapes: GET /metrics reads the figures, GET /healthz says that the program runs."""

import logging
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.exposition import choose_encoder, generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from lanes.store import asking
from lanes.store.asking import clock
from lanes.store.report import metrics
from lanes.store.report.metrics import (
    METRICS,
    SCRAPE_SECONDS,
    SUM,
    UP,
    Metric,
    MetricKind,
    MetricSample,
    Scrape,
)

log = logging.getLogger(__name__)


class FiguresCollector(Collector):
    """Reads all metrics from the database for each scrape; while it does not answer there is `lanes_up 0` alone."""

    def __init__(self, pool: Engine) -> None:
        self._pool, self._answers = pool.execution_options(isolation_level="AUTOCOMMIT"), True

    def collect(self) -> Iterator[Family]:
        """Yield a family of each metric that has samples."""
        began = time.perf_counter()
        scrape = self._scrape()
        took = time.perf_counter() - began
        of_program = {UP.name: float(scrape is not None), SCRAPE_SECONDS.name: took}
        for each in METRICS:
            if each.name in of_program:
                yield family(each, [MetricSample((), of_program[each.name])])
            elif scrape is not None and (samples := scrape.samples.get(each.name)):
                yield family(each, samples, since=scrape.since)

    def _scrape(self) -> Scrape | None:
        try:
            with self._pool.connect() as connection:
                ask = asking.through(connection)
                scrape = metrics.read(ask, now=clock(ask))
        except SQLAlchemyError as error:
            if self._answers:
                log.error("the database gives no figures: %s", getattr(error, "orig", error))
            self._answers = False
            return None
        if not self._answers:
            log.warning("the database gives figures again")
        self._answers = True
        return scrape


def family(
    metric: Metric, samples: Sequence[MetricSample], since: datetime | None = None
) -> Family:
    """Return the samples of a metric as the exposition wants them; counters have counted since then."""
    created = None if since is None else since.timestamp()
    match metric.kind:
        case MetricKind.GAUGE:
            gauge = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
            for each in samples:
                gauge.add_metric(each.labels, each.value)
            return gauge
        case MetricKind.COUNTER:
            counter = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
            for each in samples:
                counter.add_metric(each.labels, each.value, created=created)
            return counter
        case MetricKind.HISTOGRAM:
            histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels in dict.fromkeys(tuple(each.labels[:-1]) for each in samples):
                of = {
                    each.labels[-1]: each.value
                    for each in samples
                    if tuple(each.labels[:-1]) == labels
                }
                total = of.pop(SUM)
                histogram.add_metric(labels, list(of.items()), sum_value=total)
            return histogram


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection of a scraper."""

    protocol_version = "HTTP/1.1"
    timeout = 60  # of a connection that asks nothing
    registry: CollectorRegistry

    def do_GET(self) -> None:
        """Answer with the metrics, in the format that the scraper asks for."""
        match self.path.partition("?")[0]:
            case "/metrics":
                encode, kind = choose_encoder(self.headers.get("Accept", ""))
                self._answer(HTTPStatus.OK, kind, encode(self.registry))
            case "/healthz":
                self._answer(HTTPStatus.OK, "text/plain; charset=utf-8", b"ok\n")
            case _:
                self._answer(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"see /metrics\n")

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of a request: there is one every few seconds."""


def registry(pool: Engine) -> CollectorRegistry:
    """Return the registry of one database; nothing is read before a scrape."""
    made = CollectorRegistry(auto_describe=False)
    made.register(FiguresCollector(pool))
    return made


def exposition(pool: Engine) -> str:
    """Return the figures as /metrics shows them."""
    return generate_latest(registry(pool)).decode()


def server(pool: Engine, host: str, port: int) -> ThreadingHTTPServer:
    """Return a server that is bound to the address; `serve_forever` answers scrapes.

    Raises:
        OSError: the address cannot be used.
    """
    handler = type("MetricsHandler", (_Handler,), {"registry": registry(pool)})
    made = ThreadingHTTPServer((host, port), handler)
    made.daemon_threads = True
    return made

"""The endpoint that Prometheus scrapes: GET /metrics returns the figures, GET /healthz confirms that the program runs."""

import logging
import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder, generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from lanes.stand.fleet import FleetWorker, HostReport, reports
from lanes.stand.runs_with import RunsWith
from lanes.stand.status import workers
from lanes.store import asking
from lanes.store.asking import clock
from lanes.store.report import metrics
from lanes.store.report.metrics import (
    CLOCK_OFFSET,
    METRICS,
    SCRAPE_SECONDS,
    SUM,
    UP,
    WORKERS,
    Examples,
    Metric,
    MetricKind,
    MetricSample,
    Samples,
)

log = logging.getLogger(__name__)

ASKED_EVERY_S = 15.0  # the shortest interval between queries to Prefect
BELIEVED_S = 60.0


class WorkerCounts:
    """The counts of Prefect's workers, queried outside of scrapes because Prefect answers more slowly than the database."""

    def __init__(self, runs: RunsWith) -> None:
        self._runs = runs
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="workers")
        self._asked_at = self._known_at = -math.inf
        self._known: Sequence[MetricSample] = ()

    def read(
        self, host_reports: Sequence[HostReport], *, wait: bool = False
    ) -> Sequence[MetricSample]:
        """Return the newest counts of the last minute; query Prefect again if they are old, and `wait` for that if set."""
        if time.monotonic() - self._asked_at >= ASKED_EVERY_S:
            self._asked_at = time.monotonic()
            asked = self._beside.submit(self._ask, host_reports)
            if wait:
                asked.result()
        return self._known if time.monotonic() - self._known_at < BELIEVED_S else ()

    def _ask(self, host_reports: Sequence[HostReport]) -> None:
        found = Counter(
            (each.pool, each.report.release if each.report else "", _status(each))
            for each in workers(self._runs, reports=host_reports)
        )
        if found:
            self._known = [MetricSample(labels, n) for labels, n in sorted(found.items())]
            self._known_at = time.monotonic()


def _status(worker: FleetWorker) -> str:
    return "online" if worker.is_online else "offline"


class FiguresCollector(Collector):
    """A collector that reads all metrics from the database for each scrape.

    While the database is unavailable, `lanes_up` is 0 and the metrics that need the database are left out.
    """

    def __init__(self, pool: Engine, counts: WorkerCounts, *, once: bool = False) -> None:
        self._pool, self._answers = pool.execution_options(isolation_level="AUTOCOMMIT"), True
        self._counts, self._once = counts, once

    def collect(self) -> Iterator[Family]:
        """Yield the metric family of each metric that has samples."""
        began = time.perf_counter()
        found = self._read()
        took = time.perf_counter() - began
        samples, examples = found or ({}, {})
        of_program = {UP.name: float(found is not None), SCRAPE_SECONDS.name: took}
        samples |= {name: [MetricSample((), value)] for name, value in of_program.items()}
        for each in METRICS:
            if each.name in samples:
                yield family(each, samples[each.name], examples)

    def _read(self) -> tuple[Samples, Examples] | None:
        try:
            with self._pool.connect() as connection:
                ask = asking.through(connection)
                samples, host_reports = metrics.read(ask, now=clock(ask)), reports(ask)
                examples = metrics.examples(ask)
        except SQLAlchemyError as error:
            if self._answers:
                log.error("the database gives no figures: %s", getattr(error, "orig", error))
            self._answers = False
            return None
        if not self._answers:
            log.warning("the database gives figures again")
        self._answers = True
        offsets = [MetricSample((each.host, each.release), each.offset_s) for each in host_reports]
        counted = self._counts.read(host_reports, wait=self._once)
        more = {CLOCK_OFFSET.name: offsets, WORKERS.name: counted}
        return samples | {name: each for name, each in more.items() if each}, examples


def family(metric: Metric, samples: Sequence[MetricSample], examples: Examples) -> Family:
    """Return the metric family of a metric's samples; `examples` become exemplars of its histogram buckets."""
    if metric.kind is MetricKind.HISTOGRAM:
        return _histogram(metric, samples, examples)
    kinds = {MetricKind.GAUGE: GaugeMetricFamily, MetricKind.COUNTER: CounterMetricFamily}
    metric_family = kinds[metric.kind](metric.name, metric.help, labels=metric.labels)
    for each in samples:
        metric_family.add_metric(each.labels, each.value)
    return metric_family


def _histogram(
    metric: Metric, samples: Sequence[MetricSample], examples: Examples
) -> HistogramMetricFamily:
    metric_family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    of_each = defaultdict[tuple[str, ...], dict[str, float]](dict)
    for each in samples:
        *labels, bound = each.labels
        of_each[tuple(labels)][bound] = each.value
    for labels, counts in of_each.items():
        total, example = counts.pop(SUM), examples.get(labels)
        buckets: list[Any] = [(each, counts[each]) for each in sorted(counts, key=float)]
        if example is not None:
            place = next(n for n, (le, _) in enumerate(buckets) if example.seconds <= float(le))
            buckets[place] += (
                Exemplar({"trace_id": example.trace_id}, example.seconds, example.at.timestamp()),
            )
        metric_family.add_metric(labels, buckets, sum_value=total)
    return metric_family


class _Handler(BaseHTTPRequestHandler):
    """The handler of one connection of a scraper."""

    protocol_version = "HTTP/1.1"
    # Send head and body together without delay: a scraper would acknowledge a separate head only after 40 ms.
    wbufsize = -1
    disable_nagle_algorithm = True
    timeout = 60  # seconds, of an idle connection
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
        """Log no request: there is one every few seconds."""


def registry(pool: Engine, runs: RunsWith, *, once: bool = False) -> CollectorRegistry:
    """Return the registry of one stand; nothing is read before a scrape."""
    made = CollectorRegistry(auto_describe=False)
    made.register(FiguresCollector(pool, WorkerCounts(runs), once=once))
    return made


def exposition(pool: Engine, runs: RunsWith) -> str:
    """Return the figures as /metrics shows them."""
    return generate_latest(registry(pool, runs, once=True)).decode()


def server(pool: Engine, runs: RunsWith, host: str, port: int) -> ThreadingHTTPServer:
    """Return a server that is bound to the address; `serve_forever` answers scrapes.

    Raises:
        OSError: the address cannot be used.
    """
    handler = type("MetricsHandler", (_Handler,), {"registry": registry(pool, runs)})
    made = ThreadingHTTPServer((host, port), handler)
    made.daemon_threads = True
    return made

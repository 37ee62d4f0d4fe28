"""docs/reference/metrics.md: every metric of `lanes metrics`, with its labels."""

from lanes.store.report.metrics import BOUNDS_S, METRICS, MetricKind
from tests.docs.references.markdown import code, document, table

ABOUT = """
`lanes metrics` serves these to Prometheus; [observe it](../how-to/observe.md) says how. Durations are in seconds, costs in US
dollars, ratios from 0 to 1. A label that does not apply is empty. A metric without samples is left out.
"""
OF_KINDS = {
    MetricKind.COUNTER: "Counters",
    MetricKind.HISTOGRAM: "Histograms",
    MetricKind.GAUGE: "Gauges",
}
SAID = {
    MetricKind.COUNTER: "They count since the month began (UTC).",
    MetricKind.HISTOGRAM: "They count since the month began (UTC), in buckets of at most "
    f"{', '.join(f'{bound:,}' for bound in BOUNDS_S)} seconds.",
    MetricKind.GAUGE: "They tell how it stands at the scrape.",
}


def page() -> str:
    """Return the page."""
    parts: list[str] = []
    for kind, title in OF_KINDS.items():
        rows = [
            (code(each.name), ", ".join(map(code, each.labels)), each.help)
            for each in METRICS
            if each.kind is kind
        ]
        parts += [f"## {title}", SAID[kind], table(("metric", "labels", "what it tells"), rows)]
    return document("Metrics", ABOUT, *parts)

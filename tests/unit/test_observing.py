"""The dashboard and the alerts query metrics and labels that `lanes metrics` has, and the alerts pass their own tests."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from lanes.store.report.metrics import METRICS, MetricKind
from tests.unit.test_deploy import DEPLOY, run


def exposed() -> dict[str, set[str]]:
    """Return the labels of each series that Prometheus stores, by its name."""
    found: dict[str, set[str]] = {}
    for each in METRICS:
        labels = set(each.labels)
        if each.kind is MetricKind.HISTOGRAM:
            found |= {f"{each.name}_sum": labels, f"{each.name}_count": labels}
            found[f"{each.name}_bucket"] = labels | {"le"}
        else:
            found[each.name] = labels
    return found


SERIES: Mapping[str, set[str]] = exposed()
OF_PROMETHEUS = {"job", "instance"}
SELECTOR = re.compile(r"\b(lanes_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
GROUPED = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
SHOWN = re.compile(r"{{\s*(?:\$labels\.)?(\w+)\s*}}")
VARIABLES = {"$workload": ".*", "$__rate_interval": "1m"}


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana imports it."""
    return json.loads((DEPLOY / "grafana" / "overview.json").read_text())


def alerts() -> list[dict[str, Any]]:
    """Return every alert."""
    groups = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> Iterator[tuple[str, str, str]]:
    """Yield the panel title, the query as Prometheus receives it and the legend for each query of the dashboard."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            expr = target["expr"]
            for name, value in VARIABLES.items():
                expr = expr.replace(name, value)
            yield panel["title"], expr, target["legendFormat"]


def unknown(expr: str, *shown: str) -> set[str]:
    """Return the metrics and labels of a query, and of texts that show its labels, that `lanes metrics` does not have."""
    found, labels = set[str](), set[str](OF_PROMETHEUS)
    for name, matchers in SELECTOR.findall(expr):
        found |= {name} - SERIES.keys()
        labels |= SERIES.get(name, set())
        found |= set(MATCHER.findall(matchers)) - SERIES.get(name, set()) - OF_PROMETHEUS
    kept = GROUPED.findall(expr)
    named = {each.strip() for group in kept for each in group.split(",")}
    told = {label for text in shown for label in SHOWN.findall(text)}
    return found | (named - labels) | (told - (named if kept else labels))


@pytest.mark.parametrize(("title", "expr", "legend"), list(panels()))
def test_a_panel_queries_only_metrics_and_labels_that_exist(
    title: str, expr: str, legend: str
) -> None:
    assert SELECTOR.search(expr)
    assert unknown(expr, legend) == set(), title


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_queries_only_metrics_and_labels_that_exist_and_has_a_description(
    alert: dict[str, Any],
) -> None:
    assert unknown(alert["expr"], *alert["annotations"].values()) == set()
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert alert["annotations"].keys() == {"summary", "description"}


def test_a_mistyped_metric_or_label_is_found() -> None:
    assert unknown("sum by (lane) (rate(lanes_answer_total[1m]))") == {"lanes_answer_total", "lane"}
    assert unknown('lanes_items{stat="open"}', "{{workload}} {{key}}") == {"stat", "key"}


def test_every_alert_is_named_in_the_tests_of_the_alerts() -> None:
    tried = (DEPLOY / "alerts.test.yml").read_text()
    assert [each["alert"] for each in alerts() if each["alert"] not in tried] == []
    given = [
        each["series"]
        for case in yaml.safe_load(tried)["tests"]
        for each in case.get("input_series", ())
    ]
    assert [each for each in given if unknown(each)] == []


def test_every_metric_is_on_the_dashboard_or_in_an_alert() -> None:
    asked = {name for _, expr, _ in panels() for name, _ in SELECTOR.findall(expr)}
    asked |= {name for each in alerts() for name, _ in SELECTOR.findall(each["expr"])}
    bases = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    left_out = {name for name in SERIES if re.sub(r"_(bucket|sum|count)$", "", name) not in bases}
    assert left_out == {"lanes_backlog_messages", "lanes_workload_paused"}


def test_promtool_accepts_the_alerts_and_their_tests_pass() -> None:
    run("promtool", "check", "rules", "alerts.yml")
    run("promtool", "test", "rules", "alerts.test.yml")

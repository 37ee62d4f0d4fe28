"""Prometheus scrapes a working stand, and every panel of the dashboard shows data."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

from tests.arrivals import arrive
from tests.poolers import free_port
from tests.running_stand import RunningStand
from tests.unit.test_deploy import DEPLOY
from tests.unit.test_observing import panels
from tests.waiting import until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed"),
]
PARTS_ARE_GONE = {
    each["alert"]
    for each in yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"][0]["rules"]
}
ITEMS = 20  # per round of arrivals; Prometheus scrapes between the two rounds
# The metric starts again with each month, and an earlier test may have recorded answers of the month before.
ANSWERS = """
select sum(n)::int from lanes.daily_figures where kind = 'result' and day >= date_trunc('month', now(), 'UTC')
"""


Asked = Callable[..., Any]


def test_every_panel_shows_data_and_no_alert_about_a_missing_part_fires(
    stand: RunningStand, tmp_path: Path
) -> None:
    done = stand.cli("budget", "tickets", "--hard", "1000", "--why", "a panel shows it")
    assert done.returncode == 0, done.stderr
    with serving(stand) as target, prometheus(tmp_path, target) as asked:
        for _ in range(2):
            arrive(stand, "tickets", ITEMS, per_s=ITEMS, fields=due_soon)
            given = stand.value(ANSWERS)
            until(lambda: value(asked, "sum(lanes_answers_total)") >= given, what="a scrape")  # noqa: B023
        with suppress(AssertionError):  # the next line reports the empty panels
            until(lambda: not empty_panels(asked))
        assert empty_panels(asked) == set()
        firing = {each["labels"]["alertname"] for each in asked("alerts")["alerts"]}
        until(lambda: exemplars(asked), what="an exemplar")  # once its answer is folded
    assert stand.cli("budget", "tickets", "--remove").returncode == 0
    assert firing & PARTS_ARE_GONE == set()


def due_soon(nth: int) -> dict[str, Any]:
    """Return the fields of item `nth`: every second item has a due time, the others are urgent."""
    due_at = datetime.now(UTC) + timedelta(minutes=4)
    return {"due_at": due_at.isoformat()} if nth % 2 else {"urgent": True}


@contextmanager
def serving(stand: RunningStand) -> Iterator[str]:
    """Run `lanes metrics` for the stand, and yield its host and port."""
    command = [sys.executable, "-m", "lanes", "metrics", "--port", "0"]
    with subprocess.Popen(
        command, env=stand.environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split("/")[2]
        finally:
            process.terminate()


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Asked]:
    """Run Prometheus as deploy/ does, but scrape every second; yield a function that calls its API."""
    settings = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    settings["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    settings["rule_files"] = [str(DEPLOY / "alerts.yml")]
    settings["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    address = f"127.0.0.1:{free_port()}"
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--enable-feature=exemplar-storage",
    ]
    with (
        (folder / "prometheus.log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,
    ):

        def asked(path: str, **given: str) -> Any:
            with urlopen(f"http://{address}/api/v1/{path}?{urlencode(given)}") as answer:
                return json.load(answer)["data"]

        def is_up() -> bool:
            with suppress(OSError):
                return value(asked, "lanes_up") == 1
            return False

        try:
            until(is_up, what="a scrape")
            yield asked
        finally:
            process.terminate()


def results(asked: Asked, expr: str) -> list[Any]:
    """Return the current results of a query."""
    return asked("query", query=expr)["result"]


def value(asked: Asked, expr: str) -> float:
    """Return the sum of a query's values, 0 when it has none."""
    return sum(float(each["value"][1]) for each in results(asked, expr))


def exemplars(asked: Asked) -> list[Any]:
    """Return the exemplars of the answers' histogram from the last ten minutes."""
    now = datetime.now(UTC).timestamp()
    return asked("query_exemplars", query="lanes_answer_seconds_bucket", start=now - 600, end=now)


def empty_panels(asked: Asked) -> set[str]:
    """Return the titles of the panels whose queries all return nothing."""
    found = {title for title, expr, _ in panels() if results(asked, expr)}
    return {title for title, _, _ in panels()} - found

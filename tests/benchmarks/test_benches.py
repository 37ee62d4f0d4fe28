"""Each benchmark that needs no whole stand runs at its small size and ends with the promised line.

Its Postgres is in memory here: a benchmark makes many databases, which takes ten times as long on a disk.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.bench_all import medians
from tests.benchmarks.goals import GOALS
from tests.benchmarks.sizes import SMALL

# The goals that are met at the small size too.
SURE = {
    "watch": (
        "quiet_incidents",
        "late_told_share",
        "late_false_per_1000",
        "drift_detected",
        "drift_false_per_month",
    )
}
PEERS = {"queue": "pgqueuer", "batch": "steadybatch", "calls": "async_batch_llm"}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(700)]


@pytest.mark.parametrize(
    "name",
    [
        "queue",
        "batch",
        "calls",
        "figures",
        "deadlines",
        "drain",
        "routing",
        "cost",
        "replay",
        "doors",
        "gates",
        "watch",
    ],
)
def test_a_benchmark_ends_with_a_line_of_its_promised_figures(name: str, open_folder: Path) -> None:
    if (peer := PEERS.get(name)) and importlib.util.find_spec(peer) is None:
        pytest.skip(f"{peer} is installed by `make bench` alone")
    asked = [sys.executable, "-m", f"tests.benchmarks.bench_{name}", *SMALL[name]]
    done = subprocess.run(
        asked,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"TMPDIR": str(open_folder)},
        text=True,
        capture_output=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    told = dict(each.split("=") for each in done.stdout.splitlines()[-1].split())
    assert list(told) == list(GOALS[name])
    for figure in SURE.get(name, ()):
        assert GOALS[name][figure].is_met(float(told[figure])), f"{figure}={told[figure]}"


def test_several_runs_of_a_benchmark_give_the_median_of_each_figure() -> None:
    runs = [
        {"bench": "queue", "items": 9, "figures": {"per_s": per_s, "ratio": ratio}}
        for per_s, ratio in ((3.0, 0.5), (1.0, None), (2.0, 0.7))
    ]
    told = {"bench": "queue", "items": 9, "figures": {"per_s": 2.0, "ratio": 0.6}}
    assert medians(runs) == told

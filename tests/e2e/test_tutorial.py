"""The tutorial, followed by its blocks alone: a workload of another domain, from a CSV to a migrated rollout."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lanes.store.workload import workloads
from tests.running_stand import RunningStand
from tests.waiting import until

BLOCK = re.compile(r"^```(bash|python|sql)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
KINDS = {"electrical", "hydraulic", "mechanical", "software"}
LONGEST_S = 180  # of one block: a run of Prefect starts in some seconds, several on a busy machine in many
EVENTS = "select event from lanes.rollout_log where workload = 'maintenance' order by at"
OPEN_ONES = "select count(*) from lanes.item_status where workload = 'maintenance' and state <> 'settled'"


def run(language: str, block: str, desk: Path, stand: RunningStand) -> str:
    """What a block printed. It ends with its first command that fails."""
    commands = {
        "bash": ["bash", "-euo", "pipefail", "-c", block],
        "python": [sys.executable, "-c", block],
        "sql": [sys.executable, "-m", "lanes", "psql", "-v", "ON_ERROR_STOP=1", "-c", block],
    }
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        commands[language], cwd=desk, env={**stand.environment, "PATH": path}, stdin=subprocess.DEVNULL, text=True,
        capture_output=True, timeout=LONGEST_S,
    )  # fmt: skip
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_whoever_follows_the_tutorial_alone_has_a_workload_of_another_domain_whose_traffic_moved(
    stand: RunningStand, tmp_path: Path, checkout: Path
) -> None:
    told = [run(*block, tmp_path, stand) for block in BLOCK.findall((checkout / "docs" / "tutorial.md").read_text())]
    assert any("electrical" in each for each in told)

    with stand.pool.begin() as connection:
        version = workloads.current(connection, "maintenance")
        split = workloads.splits(connection).of("maintenance", None)
    assert version is not None
    assert version.number == 2
    assert set(version.spec.output_schema["properties"]["kind"]["enum"]) == KINDS
    assert split.basis_points == 10_000
    moved = [each.event for each in stand.rows(EVENTS) if each.event != "held"]
    assert moved == ["started", "approval_asked", "approved", "stepped", "finished"]

    until(lambda: stand.value(OPEN_ONES) == 0, within_s=120, what="every answer")
    lanes = dict(map(tuple, stand.rows(
        "select left(key, 3), string_agg(distinct lane, ',') from lanes.item_status where workload = 'maintenance' group by 1"
    )))  # fmt: skip
    assert (lanes["L-0"], lanes["N-1"], lanes["N-2"], lanes["smo"]) == ("batch", "batch,realtime", "realtime", "realtime")
    with (tmp_path / "answers.csv").open(newline="") as file:
        answered = [row for row in csv.DictReader(file) if row["output.kind"]]
    assert {row["output.kind"] for row in answered} <= KINDS
    assert len(answered) >= 24 + 1 + 8 + 16
    assert stand.value("select labels from lanes.accuracy where workload = 'maintenance' and field = 'kind'") == 24

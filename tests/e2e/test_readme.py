"""The README's blocks of commands, run as they stand there, in their order, where a reader would run them."""

import csv
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.running_stand import RunningStand
from tests.waiting import until

BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder in which `.venv/bin/lanes` is the command of this checkout."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


def run(block: str, desk: Path, environment: Mapping[str, str]) -> str:
    """What a block of commands printed. It ends with its first command that fails."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block], cwd=desk, env={**environment, "PATH": os.environ["PATH"]},
        stdin=subprocess.DEVNULL, text=True, capture_output=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_readme_s_commands_do_what_it_says(stand: RunningStand, desk: Path, checkout: Path) -> None:
    blocks = BLOCK.findall((checkout / "README.md").read_text())
    send, explain, write, take_in, get_out = blocks
    run(send, desk, stand.environment)
    until(lambda: stand.state("tickets", "mine-1") in ("answered", "settled"), what="the answer to the first own event")
    assert "mine-1" in run(explain, desk, stand.environment)

    run(write, desk, stand.environment)
    run(take_in, desk, stand.environment)
    open_ones = "select count(*) from lanes.item_status where workload = 'comments' and state <> 'settled'"
    until(lambda: stand.value(open_ones) == 0, within_s=90, what="every answer to the file")
    run(get_out, desk, stand.environment)
    with (desk / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with (desk / "comments.csv").open(newline="") as file:
        labels = {row["label"] for row in csv.DictReader(file)}
    assert len(rows) == 6
    assert {row["output.label"] for row in rows} <= labels

"""Commands that share one interpreter behave like the same commands one after the other."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from lanes.stand import chain

COMMANDS = [["first", "--all"], ["second"], ["third", "a", "b"]]


def run(folder: Path, commands: Sequence[Sequence[str]]) -> tuple[int, str]:
    """Run a chain of modules of the folder; return its exit code and output."""
    done = subprocess.run(
        [sys.executable, "-m", "lanes.stand.chain", *chain.join(commands)],
        cwd=folder,
        env={"PYTHONPATH": f"{folder}:{Path(chain.__file__).parents[2]}"},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    (tmp_path / "says.py").write_text(
        "import sys\nif __name__ == '__main__': print(*sys.argv[1:])\n"
    )
    (tmp_path / "ends.py").write_text("import sys\nsys.exit(int(sys.argv[1]))\n")
    return tmp_path


def test_splitting_a_joined_chain_returns_the_original_commands() -> None:
    assert chain.split(chain.join(COMMANDS)) == COMMANDS


def test_each_command_runs_with_its_own_arguments(modules: Path) -> None:
    assert run(modules, [["says", "one"], ["ends", "0"], ["says", "two", "2"]]) == (
        0,
        "one\ntwo 2\n",
    )


def test_nothing_runs_after_a_command_that_failed(modules: Path) -> None:
    assert run(modules, [["says", "one"], ["ends", "3"], ["says", "two"]]) == (3, "one\n")

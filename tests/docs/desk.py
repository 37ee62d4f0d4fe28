"""The setting of a reader who follows a page: a folder of their own, `lanes` on the path, and a running stand."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.docs.blocks import FencedBlock, to_run

# The limit for one block: a Prefect run starts within seconds, but several runs on a busy machine take much longer.
LONGEST_S = 180.0
COMMANDS = {
    "bash": ["bash", "-euo", "pipefail", "-c"],
    "python": [sys.executable, "-c"],
    "sql": [sys.executable, "-m", "lanes", "psql", "-v", "ON_ERROR_STOP=1", "-c"],
}


class Desk:
    """A runner of blocks, one after the other in one folder: a block finds the files of earlier blocks."""

    def __init__(
        self, folder: Path, environment: Mapping[str, str], *, longest_s: float = LONGEST_S
    ) -> None:
        self.folder = folder
        self.ran: list[FencedBlock] = []
        self._longest_s = longest_s
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self._environment = {**environment, "PATH": path}
        # Pages also call `.venv/bin/lanes`, the command of a checkout.
        (folder / ".venv").symlink_to(sys.prefix)

    def run(self, block: FencedBlock) -> str:
        """Run a block and return its output. A failing command or a timeout fails the test."""
        said, complained, code = self._finished([*COMMANDS[block.language], block.text])
        told = f"{block.text}\n{said}\n{complained}"
        assert code is not None, f"{block}: not done after {self._longest_s:g} s\n{told}"
        assert code == 0, f"{block}: exit code {code}\n{told}"
        assert "Traceback (most recent call last)" not in complained, (
            f"{block}: a program broke, and the block went on\n{told}"
        )
        self.ran.append(block)
        return said

    def left(self, page: Path) -> list[str]:
        """Return the positions of the page's blocks that should have run but did not."""
        return [str(each) for each in to_run(page) if each not in self.ran]

    def _finished(self, command: list[str]) -> tuple[str, str, int | None]:
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            return *process.communicate(timeout=self._longest_s), process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # also kills processes that the block started
            return *process.communicate(), None

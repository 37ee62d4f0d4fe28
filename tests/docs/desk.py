"""Where a reader sits who follows a page: a folder of his own, `lanes` on the path, and a stand that is up."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.docs.blocks import Block

LONGEST_S = 180.0  # of one block: a run of Prefect starts in some seconds, several on a busy machine in many
COMMANDS = {
    "bash": ["bash", "-euo", "pipefail", "-c"],
    "python": [sys.executable, "-c"],
    "sql": [sys.executable, "-m", "lanes", "psql", "-v", "ON_ERROR_STOP=1", "-c"],
}


class Desk:
    """Runs blocks one after the other; what one leaves in the folder, the next finds."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self._environment = {**environment, "PATH": path}
        (folder / ".venv").symlink_to(sys.prefix)  # `.venv/bin/lanes` is the command of this checkout too

    def run(self, block: Block) -> str:
        """What it printed. It ends with its first command that fails, which fails the test."""
        done = subprocess.run(
            [*COMMANDS[block.language], block.text], cwd=self.folder, env=self._environment, stdin=subprocess.DEVNULL,
            text=True, capture_output=True, timeout=LONGEST_S,
        )  # fmt: skip
        assert done.returncode == 0, f"{block}: exit code {done.returncode}\n{block.text}\n{done.stdout}\n{done.stderr}"
        return done.stdout

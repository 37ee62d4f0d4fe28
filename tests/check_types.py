"""What other programs may rely on is completely typed, as those see it who install Lanes: pyright's own verdict."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PUBLIC = ("lanes.client", "lanes.errors")
ASK = (
    "pyright",
    "--ignoreexternal",
    "--verifytypes",
)  # it knows packages only by the first `python` of the PATH


def main() -> int:
    """0 when they are; pyright says of which names a type is missing otherwise."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    with ThreadPoolExecutor(len(PUBLIC)) as beside:
        said = list(beside.map(lambda module: _verify(module, path), PUBLIC))
    for each in said:
        if each.returncode != 0:
            print(each.stdout, each.stderr, sep="\n")
    return max(each.returncode for each in said)


def _verify(module: str, path: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*ASK, module],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main())

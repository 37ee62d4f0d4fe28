"""A check by pyright that the public names of an installed Lanes are completely typed."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PUBLIC = ("lanes.client", "lanes.errors")
# Pyright finds packages only through the first `python` on the PATH.
ASK = (
    "pyright",
    "--ignoreexternal",
    "--verifytypes",
)


def main() -> int:
    """Return 0 if all public names are typed; pyright reports the names without a type otherwise."""
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

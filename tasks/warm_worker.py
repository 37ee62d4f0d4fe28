"""The part of a worker's start that needs no server: it loads Prefect, then waits until the worker may start.

    python -m lanes.stand.chain tasks.warm_worker FILE , prefect worker start --pool realtime

The worker starts when the file exists.
"""

import sys
import time
from importlib import import_module
from pathlib import Path

LOADED = ("prefect.cli.worker", "tasks.worker")
LOOK_S = 0.05


def main(begins: Path) -> None:
    """Load the modules of a worker, and return when the file exists."""
    for module in LOADED:
        import_module(module)
    while not begins.exists():
        time.sleep(LOOK_S)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

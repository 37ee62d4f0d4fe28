"""Lanes: LLM work that is answered at once or cheaply later, and never lost. The domain, importable without Prefect."""

import atexit
import gc
from pathlib import Path

# The folder that holds lanes, blocks, tasks and flows.
PACKAGES = Path(__file__).resolve().parents[1]
INSTALLED = Path(__file__).resolve().with_name("files")  # a wheel puts the project's files here
# Holds prefect.yaml, alembic.ini and migrations/.
FILES = INSTALLED if INSTALLED.is_dir() else PACKAGES


def collect_garbage_seldom() -> None:
    """Collect cyclic garbage rarely, and skip the collection at exit.

    For short-lived programs that load many packages: collection took a fifth of the loading time, and the collection at the
    end of `lanes status` took as long as computing all of its figures.
    """
    gc.set_threshold(20_000, 20, 100)
    atexit.register(gc.freeze)

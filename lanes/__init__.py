"""Lanes: items of LLM work answered now, or cheaply later, and never lost. The domain, importable without Prefect."""

import atexit
import gc
from pathlib import Path

PACKAGES = Path(__file__).resolve().parents[1]  # the folder of lanes, blocks, tasks and flows
INSTALLED = Path(__file__).resolve().with_name("files")  # where a wheel has them
FILES = INSTALLED if INSTALLED.is_dir() else PACKAGES  # of prefect.yaml, alembic.ini, migrations/


def collect_garbage_seldom() -> None:
    """Collect cyclic garbage seldom from now on, and not again at exit.

    For programs that load packages, do one thing and end: collecting took a fifth of the time of loading, and at the end of
    `lanes status` as long as all of its figures.
    """
    gc.set_threshold(20_000, 20, 100)
    atexit.register(gc.freeze)

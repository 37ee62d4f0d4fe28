"""Shared rewriting of asserts: each process of a run rewrites its share of the test files before it collects them.

Without this, each process rewrites every file at once in a new checkout, which takes each of them 5 s.
"""

import sys
from pathlib import Path

import pytest
from _pytest.assertion import rewrite

TESTS = Path(__file__).parent


def rewrite_share(config: pytest.Config) -> None:
    """Rewrite this process's share of the files that are not rewritten yet, and store it in pytest's cache."""
    worker = getattr(config, "workerinput", None)
    if worker is None or sys.dont_write_bytecode:
        return
    number, of = int(worker["workerid"].removeprefix("gw")), worker["workercount"]
    for file in sorted(TESTS.rglob("test_*.py"))[number::of]:
        _rewrite(file, config)


def _rewrite(file: Path, config: pytest.Config) -> None:
    folder = rewrite.get_cache_dir(file)
    rewritten = folder / f"{file.stem}{rewrite.PYC_TAIL}"
    if rewrite._read_pyc(file, rewritten) is None and rewrite.try_makedirs(folder):
        digest, code = rewrite._rewrite_test(file, config)
        rewrite._write_pyc(config.stash[rewrite.assertstate_key], code, digest, rewritten)

"""The SDK's own tests of Message Batches, run against the local stand-in."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import anthropic
import pytest

from anthropic_standin.testing import running_endpoint

NEEDED = (
    "respx",
    "time-machine",
    "dirty-equals",
    "inline-snapshot",
    "http-snapshot[httpx]==0.1.9",
    "pytest-xdist",
    "aiohttp",
)
"""What the SDK's conftest and its tests import beyond what is installed here."""


def pip(*arguments: str) -> None:
    """Run pip; skip the test with pip's last line of output if it fails, mostly because there is no network."""
    command = [sys.executable, "-m", "pip", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        pytest.skip(
            f"pip {arguments[0]} is not possible here: {done.stderr.strip().splitlines()[-1:]}"
        )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_sdks_own_tests_of_batches_pass(tmp_path: Path) -> None:
    package = f"anthropic=={anthropic.__version__}"
    pip("download", "--no-deps", "--no-binary", "anthropic", "--dest", str(tmp_path), package)
    (archive,) = tmp_path.glob("anthropic-*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    source = tmp_path / archive.name.removesuffix(".tar.gz")
    extra = tmp_path / "packages"
    pip("install", "--target", str(extra), *NEEDED)
    with running_endpoint(
        tmp_path / "home", "--engine", "echo", "--conformance", "--turnaround-s", "0"
    ) as endpoint:
        python_path = os.pathsep.join((*filter(None, sys.path), str(extra)))
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "tests/api_resources/messages/test_batches.py",
                "-n0",
                "-q",
            ],
            cwd=source,
            env={**os.environ, "TEST_API_BASE_URL": endpoint.url, "PYTHONPATH": python_path},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 126
    assert "failed" not in done.stdout

"""`make setup` runs nothing whose hash was not written down."""

import re
import subprocess

from tests.unit.modules import ROOT


def test_the_first_program_that_setup_installs_is_verified_by_its_hash() -> None:
    told = subprocess.run(
        ["make", "-n", "-B", "setup"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    installs = [line for line in told.splitlines() if "pip install" in line]
    assert len(installs) == 1
    assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(installs[0].split())
    named = re.search(r"-r (\S+)", installs[0])
    assert named is not None
    wanted = [
        line for line in (ROOT / named[1]).read_text().splitlines() if not line.startswith("#")
    ]
    assert re.fullmatch(r"uv==[\d.]+ \\", wanted[0])
    assert len(wanted) > 10, "one hash for each platform"
    assert all(re.fullmatch(r" {4}--hash=sha256:[0-9a-f]{64}(?: \\)?", line) for line in wanted[1:])
    assert [
        line for line in told.splitlines() if "uv sync" in line and "--frozen" not in line
    ] == []

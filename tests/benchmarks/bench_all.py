"""Every benchmark, one after the other, each in a process of its own; BENCHMARKS.md is written from what they told."""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.benchmarks.endings import end_as_asked
from tests.benchmarks.goals import GOALS
from tests.benchmarks.page import render
from tests.benchmarks.sizes import SMALL

ROOT = Path(__file__).parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="sizes for trying; the page is written elsewhere")
    parser.add_argument("--only", nargs="*", choices=list(GOALS), default=list(GOALS))
    given = parser.parse_args()
    page = Path(tempfile.gettempdir()) / "BENCHMARKS-small.md" if given.small else ROOT / "BENCHMARKS.md"
    end_as_asked()
    measured = commit()  # before the page itself differs from it
    told: list[Mapping[str, Any]] = []
    failed: list[str] = []
    for name in given.only:
        found = run(name, SMALL[name] if given.small else ())
        if found is None:
            failed.append(name)
            continue
        told.append(found)
        page.write_text(render(told, day=f"{datetime.now(UTC):%Y-%m-%d}", commit=measured))
    print(json.dumps({"bench": "all", "page": str(page), "failed": failed, "benches": told}))
    print(f"benches={len(told)} failed={len(failed)}")
    sys.exit(bool(failed))


def run(name: str, sizes: Sequence[str]) -> Mapping[str, Any] | None:
    """What the benchmark told in its line of JSON, all its lines being shown; None where it failed."""
    print(f"== {name} {' '.join(sizes)}", flush=True)
    asked = [sys.executable, "-m", f"tests.benchmarks.bench_{name}", *sizes]
    told: Mapping[str, Any] | None = None
    with subprocess.Popen(asked, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                print(line, end="", flush=True)
                if line.startswith('{"bench"'):
                    told = json.loads(line)
        except SystemExit:
            process.terminate()
            raise
    return told if process.returncode == 0 else None


def commit() -> str:
    """The commit that was measured, and whether files differed from it."""
    asked = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    done = subprocess.run(asked, text=True, capture_output=True)
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()

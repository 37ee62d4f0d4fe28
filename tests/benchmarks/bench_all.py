"""Every benchmark, one after the other, each in a process of its own.

BENCHMARKS.md, BENCHMARKS.json and docs/reference/sizing.md are written after each benchmark.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.endings import end_as_asked
from tests.benchmarks.goals import GOALS
from tests.benchmarks.page import render
from tests.benchmarks.sizes import SMALL
from tests.docs.references import sizing
from tests.docs.references.pages import FOLDER

ROOT = Path(__file__).parents[2]
# The benchmarks that have rounds.
TURNS = ("queue", "batch", "calls", "figures", "routing", "doors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--small", action="store_true", help="sizes for trying; the page is written elsewhere"
    )
    parser.add_argument(
        "--only",
        nargs="*",
        choices=list(GOALS),
        default=list(GOALS),
        help="the page keeps the others",
    )
    parser.add_argument("--rounds", type=int, help="of those that take turns")
    parser.add_argument("--times", type=int, default=1, help="runs of each; their medians count")
    given = parser.parse_args()
    end_as_asked()
    page = Path(tempfile.gettempdir() if given.small else ROOT) / "BENCHMARKS.md"
    kept = page.with_suffix(".json")
    told: dict[str, Mapping[str, Any]] = json.loads(kept.read_text()) if kept.exists() else {}
    measured, failed = commit(), []  # before the page itself differs from the commit
    for name in given.only:
        sizes = [*SMALL[name]] if given.small else []
        if given.rounds and name in TURNS:
            sizes += ["--rounds", str(given.rounds)]
        runs = [found for _ in range(given.times) if (found := run(name, sizes))]
        if len(runs) < given.times:
            failed.append(name)
            continue
        about = {"day": f"{datetime.now(UTC):%Y-%m-%d}", "commit": measured, "times": given.times}
        told[name] = about | medians(runs)
        told = {each: told[each] for each in GOALS if each in told}
        kept.write_text(json.dumps(told, indent=1) + "\n")
        page.write_text(render([*told.values()]))
        if not given.small:
            (FOLDER / "sizing.md").write_text(sizing.page())
    print(json.dumps({"bench": "all", "page": str(page), "failed": failed, "benches": told}))
    print(f"benches={len(given.only) - len(failed)} failed={len(failed)}")
    sys.exit(bool(failed))


def run(name: str, sizes: Sequence[str]) -> Mapping[str, Any] | None:
    """Run a benchmark, show its output, and return its line of JSON; None where the benchmark failed."""
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


def medians(runs: Sequence[Any]) -> Any:
    """Return the median of each number in these lines of JSON, and everything else as the first line has it."""
    first = runs[0]
    if isinstance(first, Mapping):
        return {name: medians([each.get(name) for each in runs]) for name in first}
    numbers = [each for each in runs if isinstance(each, int | float)]
    return median(numbers) if numbers else first


def commit() -> str:
    """Return the measured commit, and whether files other than the page differed from it."""
    head = git("rev-parse", "--short", "HEAD")
    return (
        head + ("-dirty" if git("status", "--porcelain", "--", ".", ":!BENCHMARKS.*") else "")
        if head
        else "unknown"
    )


def git(*asked: str) -> str:
    """Return the output of git; empty where git is not available."""
    return subprocess.run(
        ["git", "-C", str(ROOT), *asked], text=True, capture_output=True
    ).stdout.strip()


if __name__ == "__main__":
    main()

"""BENCHMARKS.md: the measured and the promised figures, the contenders, the machine, and how to repeat the benchmarks."""

import ast
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.goals import GOALS

FILE = Path(__file__).parents[2] / "BENCHMARKS.md"

HEAD = """\
# Benchmarks

Written by `make bench NAME=all`. To repeat one: `make bench NAME={names}`.
Its last line shows its figures, and the line before it shows the same and more as JSON. `ARGS="--help"` lists its sizes;
`ARGS="--items 5000"` makes most of them smaller.

Machine: {machine}; each section names its processor. Postgres has its usual durability and keeps its
data in a folder of the same disk. Contenders take turns in each round, and figures are medians of the rounds. Where the sizes
say "times 3", the benchmark ran three times (`make bench NAME=all ARGS="--times 3"`), and figures are medians of these runs.
What is compared runs in the same minutes: ratios say more than absolute figures.

The speed of such a machine varies with its host: a plain flow run took 2.1 s on 2026-11-30, 5.4 s on 2026-12-01, and 3.3 to
4.6 s in the three runs of `events` below. For comparison, figures of the fast day (commits 7b57a09b, c97853a5 and 059583bd):

| benchmark | 2026-11-30 |
|---|---|
| `events` | warm p50 0.036, p99 0.12; SQL p50 0.020, p99 0.038; urgent p99 beside a backfill 0.20, with busy processes 0.45 |
| `queue` | items_per_s 7,863, vs_same_rows 0.49, vs_old_floor 0.46, vs_pgqueuer 0.40, held_ratio 0.97 |
| `batch` | vs_same_rows 0.79, submit_per_s 40,330, apply_per_s 12,670 |
| `figures` | snapshot 144, status 555, watch 61, advice 34 ms; slowest read 2,473 ms; claim_p99_ratio 1.29 |
| `soak` | 2.1 ms of processor time an item; 4.2 to 5.7 ms in four runs on 2026-12-02 |
"""


def page() -> str:
    """Return the page of the benchmarks in BENCHMARKS.json."""
    return render([*json.loads(FILE.with_suffix(".json").read_text()).values()])


def render(told: Sequence[Mapping[str, Any]]) -> str:
    """Return the page of these benchmarks, from their lines of JSON with day and commit."""
    machine = told[0]["machine"]
    said = f"{machine['cores']} cores, {machine['system']}, Python {machine['python']}"
    head = HEAD.format(names="|".join(GOALS), machine=said)
    return "\n".join([head, *map(_section, told)])


def _section(told: Mapping[str, Any]) -> str:
    name = told["bench"]
    # Not imported: a benchmark imports packages that only `make bench` installs.
    source = Path(__file__).with_name(f"bench_{name}.py").read_text()
    doc = ast.get_docstring(ast.parse(source)) or ""
    rows = [_row(figure, told["figures"].get(figure), name) for figure in GOALS[name]]
    parts = [
        f"## {name}",
        doc,
        "\n".join(["| figure | measured | promised | |", "|---|---|---|---|", *rows]),
    ]
    if told.get("seen"):
        parts.append(
            "\n".join(
                [
                    "| contender | in the median |",
                    "|---|---|",
                    *map(_contender, told["seen"].items()),
                ]
            )
        )
    if told.get("peers"):
        parts.append(
            "Versions: "
            + ", ".join(f"{peer} {version}" for peer, version in told["peers"].items())
            + "."
        )
    if told.get("more"):
        parts.append(
            "More: "
            + ", ".join(f"{what} {_figure(value)}" for what, value in told["more"].items())
            + "."
        )
    sizes = ", ".join(
        f"{size} {value:,g}" for size, value in told.items() if isinstance(value, int | float)
    )
    machine = told["machine"]
    measured = f"Measured on {told['day']} at commit {told['commit']}, on {machine['cpu']}"
    parts.append(
        f"Sizes and more: {sizes}. {measured}; load when it began: {machine['load_before']:g}."
    )
    return "\n\n".join(parts) + "\n"


def _row(figure: str, value: float | None, bench: str) -> str:
    goal = GOALS[bench][figure]
    is_kept = value is not None and goal.is_met(value)
    kept = "" if not str(goal) else "kept" if is_kept else "missed"
    return f"| {figure} | {_figure(value)} | {goal} | {kept} |"


def _figure(value: float | None) -> str:
    return "not measured" if value is None else f"{value:,g}"


def _contender(seen: tuple[str, Mapping[str, float]]) -> str:
    name, figures = seen
    return (
        f"| {name} | {', '.join(f'{what} {_figure(value)}' for what, value in figures.items())} |"
    )

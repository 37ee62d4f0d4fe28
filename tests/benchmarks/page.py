"""BENCHMARKS.md: the measured and the promised figures, the contenders, the machine, and how to repeat the benchmarks."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from tests.benchmarks.goals import GOALS

HEAD = """\
# Benchmarks

Written by `make bench NAME=all`. To repeat one: `make bench NAME={names}`.
Its last line says its figures, the line before it the same and more as JSON; `ARGS="--help"` tells its sizes, and
`ARGS="--items 5000"` makes most of them smaller.

Machine: {machine}. Postgres with its usual durability, in a folder of the same disk.
Contenders take turns in each round, and figures are medians of the rounds. What is compared runs in the same minutes: ratios
say more than absolute figures.

The speed of such a machine varies with its host. On 2026-12-01 a plain flow run took 5.4 s instead of 2.1. Most absolute
figures of `queue`, `batch` and `figures` were then two to four times worse, and `vs_same_rows` was 0.43 in `queue` and 0.57
in `batch`. In `soak`, an item took 2.1 ms of processor time on 2026-11-30, and 4.2 to 5.7 ms in four runs on 2026-12-02.
"""


def render(told: Sequence[Mapping[str, Any]]) -> str:
    """Return the page of these benchmarks, from their lines of JSON with day and commit."""
    machine = told[0]["machine"]
    said = f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}"
    head = HEAD.format(names="|".join(GOALS), machine=said)
    return "\n".join([head, *map(_section, told)])


def _section(told: Mapping[str, Any]) -> str:
    name = told["bench"]
    doc = importlib.import_module(f"tests.benchmarks.bench_{name}").__doc__ or ""
    rows = [_row(figure, told["figures"].get(figure), name) for figure in GOALS[name]]
    parts = [
        f"## {name}",
        doc.strip(),
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
    measured = f"Measured on {told['day']} at commit {told['commit']}; load when it began: {told['machine']['load_before']:g}."
    parts.append(f"Sizes and more: {sizes}. {measured}")
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

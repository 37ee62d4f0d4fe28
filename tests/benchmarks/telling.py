"""The output of a benchmark: the figures that missed their bound, then a line of JSON, and last a line of name=value."""

import importlib.metadata
import json
import math
import os
import platform
from collections.abc import Mapping
from typing import Any

from tests.benchmarks.goals import GOALS


def tell(bench: str, figures: Mapping[str, float], **about: object) -> None:
    """Print the promised figures in order; the JSON also contains `about`."""
    rounded = {name: _rounded(figures[name]) for name in GOALS[bench]}
    for name, goal in GOALS[bench].items():
        if not goal.is_met(rounded[name]):
            print(f"missed: {name} is {rounded[name]:g}, promised was {goal}")
    print(json.dumps(_in_json({"bench": bench, "machine": machine(), **about, "figures": rounded})))
    print(" ".join(f"{name}={value:g}" for name, value in rounded.items()), flush=True)


def machine() -> dict[str, Any]:
    """Return a description of the machine."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "load_before": _load(),
    }


def installed(*distributions: str) -> dict[str, str]:
    """Return the version of each package."""
    return {name: importlib.metadata.version(name) for name in distributions}


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _in_json(value: Any) -> Any:
    """Return the figures with four digits, and null for those that could not be measured."""
    match value:
        case dict():
            return {name: _in_json(each) for name, each in value.items()}
        case float():
            return None if math.isnan(value) else _rounded(value)
        case _:
            return value


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo") as told:
            return next(
                line.partition(":")[2].strip() for line in told if line.startswith("model name")
            )
    except (OSError, StopIteration):
        return platform.machine()


_LOAD = os.getloadavg()[0]


def _load() -> float:
    """Return the load of the machine, over a minute, when this program began."""
    return round(_LOAD, 2)

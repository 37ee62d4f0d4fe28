"""A stand of the benchmark's own: everything of `lanes up`, in a temporary folder, on free ports, with the echo engine."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lanes.standing.roles import never_free
from lanes.store.signals import Role, holders, read_standing_roles
from tests.benchmarks.endings import end_as_asked
from tests.running_stand import RunningStand, put_up, take_down
from tests.waiting import until


@contextmanager
def whole_stand(**environment: str) -> Iterator[RunningStand]:
    """Run a stand for the length of the block, after its standing runs have loaded. The model takes no time."""
    end_as_asked()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory(prefix="lanes-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        print("putting up a stand", flush=True)
        asked = {"LANES_LOCAL_TURNAROUND_S": "0"} | environment
        stand = put_up(Path(folder) / "stand", **asked)
        try:
            until(lambda: _stands(stand), what="the standing runs")
            yield stand
        finally:
            take_down(stand)


def _stands(stand: RunningStand) -> bool:
    """Return whether every standing run holds its role; `lanes up` only asks for them."""
    with stand.pool.connect() as connection:
        return read_standing_roles(connection) >= {each.role for each in never_free(keep_warm=0)}


def drains(stand: RunningStand) -> int:
    """Return how many drains run."""
    with stand.pool.connect() as connection:
        return holders(connection, Role.DRAIN)


def flow_runs(stand: RunningStand, flow: str, since: str) -> int:
    """Return how many runs of a flow were requested since that moment (ISO 8601)."""
    asked = {
        "flows": {"name": {"any_": [flow]}},
        "flow_runs": {"expected_start_time": {"after_": since}},
    }
    return stand.prefect.post("flow_runs/count", json=asked).raise_for_status().json()


def stored_events(stand: RunningStand, name: str, since: str) -> int:
    """Return how many events of that name Prefect reports as stored."""
    asked: dict[str, Any] = {
        "filter": {"event": {"name": [name]}, "occurred": {"since": since}},
        "limit": 1,
    }
    return stand.prefect.post("events/filter", json=asked).raise_for_status().json()["total"]

"""The workers of one host in the foreground, with a supervisor beside them, until a signal ends them."""

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress

from lanes.errors import StandError
from lanes.settings import Settings
from lanes.stand.prefect_api import PrefectApi
from lanes.stand.services import WORKER_SETTINGS, worker_command
from lanes.stand.supervisor import cancel_standing, supervisor
from lanes.stand.worksite import path_to_python, python

LOOK_S = 0.2
PREFECT_S = 5.0


def serve(pools: Sequence[str], settings: Settings, environment: Mapping[str, str]) -> int:
    """Run a worker for each pool until SIGTERM or SIGINT; return the exit code, 1 if a worker ended by itself.

    Raises:
        StandError: the environment names no database.
    """
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    threading.Thread(target=supervisor(environment).run, daemon=True).start()
    variables = {**WORKER_SETTINGS, **environment, **path_to_python()}
    commands = (python("-m", *worker_command(pool, settings)) for pool in pools)
    workers = [subprocess.Popen(each, env=variables, start_new_session=True) for each in commands]
    while all(each.poll() is None for each in workers) and not stopping.wait(LOOK_S):
        pass
    _end([each.pid for each in workers], environment)
    for each in workers:
        each.wait()
    return 0 if stopping.is_set() else 1


def _end(workers: Sequence[int], environment: Mapping[str, str]) -> None:
    """Cancel the standing runs of the workers, and ask workers and runs to end: a worker waits for its runs."""
    with (
        suppress(StandError),
        PrefectApi(
            environment["PREFECT_API_URL"], environment=environment, timeout_s=PREFECT_S
        ) as api,
    ):
        cancel_standing(api, workers, why="the worker was stopped")
    for pid in workers:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGTERM)

"""The workers of one host in the foreground, with a supervisor beside them, until a signal ends them."""

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress

from lanes.settings import Settings
from lanes.stand.services import WORKER_SETTINGS, worker_command
from lanes.stand.supervisor import supervisor
from lanes.stand.worksite import path_to_python, python

LOOK_S = 0.2


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
    for each in workers:  # and their runs, which the workers wait for
        with suppress(ProcessLookupError):
            os.killpg(each.pid, signal.SIGTERM)
    for each in workers:
        each.wait()
    return 0 if stopping.is_set() else 1

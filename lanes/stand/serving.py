"""The workers of one host and its supervisor in the foreground, until a signal ends them."""

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress

from lanes.errors import StandError
from lanes.settings import Settings
from lanes.stand.prefect_api import LoginRefused, PrefectApi
from lanes.stand.services import WORKER_SETTINGS, worker_command
from lanes.stand.supervisor import log_line, supervisor
from lanes.stand.worksite import path_to_python, python

LOOK_S = 0.2
LOGIN_EVERY_S = 10.0
ROTATED = (
    "%s. The workers end, with exit code 1: where the login was changed, whatever starts `lanes worker` again has to give it "
    "the new one"
)


def serve(pools: Sequence[str], settings: Settings, environment: Mapping[str, str]) -> int:
    """Run a worker for each pool until SIGTERM or SIGINT; return the exit code.

    The exit code is 1 if a worker ended by itself, or if Prefect no longer accepts the login.

    Raises:
        StandError: the environment names no database.
        SetupError: the schema belongs to another release, newer or older.
    """
    watching = supervisor(environment)
    watching.check_schema()
    stopping, refused = threading.Event(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    threading.Thread(target=watching.run, daemon=True).start()
    threading.Thread(target=_watch_login, args=(environment, refused), daemon=True).start()
    variables = worker_environment(environment)
    commands = (python("-m", *worker_command(pool, settings)) for pool in pools)
    workers = [subprocess.Popen(each, env=variables, start_new_session=True) for each in commands]
    while all(each.poll() is None for each in workers) and not refused.is_set():
        if stopping.wait(LOOK_S):
            break
    for each in workers:  # a worker first accepts no more runs, then asks its own to stop
        each.terminate()
    for each in workers:
        each.wait()
        with suppress(ProcessLookupError):  # also stop the runs of a worker that ended by itself
            os.killpg(each.pid, signal.SIGTERM)
    return 0 if stopping.is_set() and not refused.is_set() else 1


def worker_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a worker; those of the host override the defaults."""
    return {**WORKER_SETTINGS, **environment, **path_to_python()}


def _watch_login(environment: Mapping[str, str], refused: threading.Event) -> None:
    """Set the event and log a line once Prefect refuses the login; keep trying while the server is unavailable."""
    with PrefectApi(environment["PREFECT_API_URL"], environment=environment) as api:
        while not refused.is_set():
            try:
                api.version()
            except LoginRefused as error:
                log_line(ROTATED % error)
                refused.set()
            except StandError:
                pass
            refused.wait(LOGIN_EVERY_S)

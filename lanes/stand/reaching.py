"""The access of a command to Prefect, and to the blocks of workloads in Prefect.

The server is the one that the environment names, else that of this checkout's stand.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from lanes.errors import StandError
from lanes.report.links import run_page
from lanes.settings import Settings
from lanes.stand import login
from lanes.stand.info import inherit_environment
from lanes.stand.prefect_api import PrefectApi
from lanes.stand.whereabouts import database_url, find_checkout, find_home, stand_info
from lanes.standing.runs import WantedRun
from lanes.workload.definition import Edit, EditReply


def prefect_url(settings: Settings) -> str:
    """Return the address of the Prefect server's API.

    Raises:
        StandError: no server is known.
    """
    info = stand_info(settings)
    url = settings.prefect_api_url or (info and info.prefect_api_url)
    if not url:
        raise StandError("no Prefect server is known: run `lanes up`, or set PREFECT_API_URL")
    return url


def prefect(settings: Settings, *, timeout_s: float = 10) -> PrefectApi:
    """Return a client of the Prefect server.

    Raises:
        StandError: no server is known.
    """
    return PrefectApi.at(prefect_url(settings), stand_info(settings), timeout_s=timeout_s)


def ask_for(wanted: WantedRun) -> tuple[str, str]:
    """Request a run from Prefect; return its id and the address of its page.

    Raises:
        StandError: no server is known, or the server does not answer.
    """
    with prefect(Settings.read()) as api:
        run = api.run(wanted)
        return run, f"{ui_url(api.url)}{run_page(run)}"


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment for a program that uses Prefect's own client, including the login.

    Raises:
        StandError: no server is known.
    """
    url, info = prefect_url(settings), stand_info(settings)
    if info is None or url.rstrip("/") != info.prefect_api_url.rstrip("/"):
        return inherit_environment(without_prefect=False) | {"PREFECT_API_URL": url}
    return inherit_environment(without_prefect="prefect" in info.embedded) | info.environment()


def curl_config(settings: Settings) -> Path:
    """Return the curl configuration file with the login of the Prefect server.

    Raises:
        StandError: no server is known, or the login of the stand does not exist or is readable only by another user.
    """
    url, info = prefect_url(settings), stand_info(settings)
    if (
        info is None
        or "prefect" not in info.embedded
        or url.rstrip("/") != info.prefect_api_url.rstrip("/")
    ):
        return login.write_user_login(find_home(settings, find_checkout().resolve()), os.environ)
    if login.read_login(info.home) is None:
        raise StandError(
            f"the login of the stand cannot be read below {info.home}: run `lanes up` as the user who started the stand"
        )
    return info.home / login.OF_STAND


def ui_url(api_url: str) -> str:
    """Return the address of the UI that belongs to an API address."""
    return api_url.rstrip("/").removesuffix("/api")


BLOCK_TYPE = "lanes-workload"
ROOM = ("-P", "-m", "tasks.edit")  # -P: the current folder must not shadow the package `tasks`
ANSWER_S = 5.0
LIMIT_S = 60.0


class Editor:
    """The workload blocks of the Prefect server that the environment names, else of the one of this checkout's stand.

    Raises:
        StandError: no server is known.
    """

    def __init__(self, settings: Settings) -> None:
        prefect_url(settings)
        self._settings = settings

    def read(self, name: str) -> dict[str, Any] | None:
        """Return the data of a workload's block; None without one.

        Raises:
            StandError: Prefect gives no answer.
        """
        with prefect(self._settings, timeout_s=ANSWER_S) as api:
            return api.block(BLOCK_TYPE, name)

    def save(self, edit: Edit) -> EditReply:
        """Apply an edit in a subprocess, and return its outcome.

        Raises:
            StandError: the outcome is not known.
        """
        command = [sys.executable, *ROOM]
        variables = environment(self._settings) | {"LANES_DATABASE_URL": database_url()}
        unknown = (
            f'whether the block "{edit.name}" was saved is not known ({{why}}); '
            "the same command again shows what differs then"
        )
        try:
            done = subprocess.run(
                command,
                input=edit.as_json(),
                env=variables,
                text=True,
                capture_output=True,
                timeout=LIMIT_S,
            )
        except subprocess.TimeoutExpired:
            raise StandError(unknown.format(why=f"no answer within {LIMIT_S:.0f} s")) from None
        if done.returncode != 0:
            why = next(iter(done.stderr.strip().splitlines()[-1:]), f"exit code {done.returncode}")
            raise StandError(unknown.format(why=why))
        return EditReply.read(done.stdout.strip().splitlines()[-1])

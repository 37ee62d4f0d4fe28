"""A command's access to Prefect, and to the blocks of workloads there.

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
    """Return the address of its API.

    Raises:
        StandError: no server is known.
    """
    info = stand_info(settings)
    url = settings.prefect_api_url or (info and info.prefect_api_url)
    if not url:
        raise StandError("no Prefect server is known: run `lanes up`, or set PREFECT_API_URL")
    return url


def prefect(settings: Settings, *, timeout_s: float = 10) -> PrefectApi:
    """Return a client of it.

    Raises:
        StandError: no server is known.
    """
    return PrefectApi.at(prefect_url(settings), stand_info(settings), timeout_s=timeout_s)


def ask_for(wanted: WantedRun) -> tuple[str, str]:
    """Ask Prefect for a run; return its id and the address of its page.

    Raises:
        StandError: no server is known, or it does not answer.
    """
    with prefect(Settings.read()) as api:
        run = api.run(wanted)
        return run, f"{ui_url(api.url)}{run_page(run)}"


def environment(settings: Settings) -> dict[str, str]:
    """Return what a program is given that speaks to it by Prefect's own client, its login included.

    Raises:
        StandError: no server is known.
    """
    url, info = prefect_url(settings), stand_info(settings)
    if info is None or url.rstrip("/") != info.prefect_api_url.rstrip("/"):
        return inherit_environment(without_prefect=False) | {"PREFECT_API_URL": url}
    return inherit_environment(without_prefect="prefect" in info.embedded) | info.environment()


def curl_config(settings: Settings) -> Path:
    """Return the file that logs curl in to it.

    Raises:
        StandError: no server is known, or the login of the stand is not here, or another user's to read.
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
    """Return where its pages are."""
    return api_url.rstrip("/").removesuffix("/api")


BLOCK_TYPE = "lanes-workload"
ROOM = ("-P", "-m", "tasks.edit")  # no folder that we stand in hides the room
ANSWER_S = 5.0
LIMIT_S = 60.0


class Editor:
    """The blocks of the Prefect server that the environment names, or else the stand of this checkout.

    Raises:
        StandError: neither names one.
    """

    def __init__(self, settings: Settings) -> None:
        prefect_url(settings)
        self._settings = settings

    def read(self, name: str) -> dict[str, Any] | None:
        """Return what the block of a workload says; None without one. StandError where Prefect gives no answer."""
        with prefect(self._settings, timeout_s=ANSWER_S) as api:
            return api.block(BLOCK_TYPE, name)

    def save(self, edit: Edit) -> EditReply:
        """Return what became of an edit.

        Raises:
            StandError: it is not known.
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

"""How a command reaches Prefect: the server that the environment names, else the one of this checkout's stand."""

import os
from pathlib import Path

from lanes.report.links import run_page
from lanes.settings import Settings
from lanes.stand import login
from lanes.stand.errors import StandError
from lanes.stand.prefect_api import PrefectApi
from lanes.stand.whereabouts import find_checkout, find_home, stand_info
from lanes.stand.worksite import NOT_INHERITED
from lanes.standing.runs import WantedRun


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
    kept = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    if info is None or url.rstrip("/") != info.prefect_api_url.rstrip("/"):
        return kept | {"PREFECT_API_URL": url}
    if "prefect" in info.embedded:
        kept = {name: value for name, value in kept.items() if not name.startswith("PREFECT_")}
    return kept | info.environment()


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
        return login.of_user(find_home(settings, find_checkout().resolve()), os.environ)
    if login.kept(info.home) is None:
        raise StandError(
            f"the login of the stand cannot be read below {info.home}: run `lanes up` as who put the stand up"
        )
    return info.home / login.OF_STAND


def ui_url(api_url: str) -> str:
    """Return where its pages are."""
    return api_url.rstrip("/").removesuffix("/api")

"""How a command reaches Prefect: the server that the environment names, else the one of this checkout's stand."""

from lanes.settings import Settings
from lanes.stand.errors import StandError
from lanes.stand.prefect_api import PrefectApi
from lanes.stand.whereabouts import stand_info


def prefect_url(settings: Settings) -> str:
    """The address of its API.

    Raises:
        StandError: no server is known.
    """
    info = stand_info(settings)
    url = settings.prefect_api_url or (info and info.prefect_api_url)
    if not url:
        raise StandError("no Prefect server is known: run `lanes up`, or set PREFECT_API_URL")
    return url


def prefect(settings: Settings, *, timeout_s: float = 10) -> PrefectApi:
    """A client of it. The stand's own server asks nobody who they are.

    Raises:
        StandError: no server is known.
    """
    info = stand_info(settings)
    ours = settings.prefect_api_url is None and (info is None or "prefect" in info.embedded)
    environment = {} if ours else None
    return PrefectApi(prefect_url(settings), environment=environment, timeout_s=timeout_s)


def ui_url(api_url: str) -> str:
    """Where its pages are."""
    return api_url.rstrip("/").removesuffix("/api")

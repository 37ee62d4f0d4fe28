"""Where the items are: the database that the environment names, else the one of this checkout's stand."""

from pathlib import Path

from lanes.errors import SetupError
from lanes.settings import Settings
from lanes.stand.info import load_info


def database_url() -> str:
    """Its address.

    Raises:
        SetupError: neither the environment nor a stand says so.
    """
    settings = Settings.read()
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    info = load_info(Path(settings.home).resolve())
    url = info.environment().get("LANES_DATABASE_URL") if info else None
    if url is None:
        raise SetupError("no database is known: run `lanes up`, or set LANES_DATABASE_URL")
    return url

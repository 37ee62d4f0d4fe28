"""The location of a stand, its state and its database, from the environment or else from this checkout."""

from pathlib import Path

from lanes import FILES, INSTALLED
from lanes.errors import SetupError
from lanes.settings import Settings
from lanes.stand.info import StandInfo, load_info
from lanes.stand.kept import DATABASE, DIRECT
from lanes.stand.runs_with import read_vault


def find_checkout() -> Path:
    """Return the checkout that contains this code; for an installed package, the current folder."""
    return Path.cwd() if FILES == INSTALLED else FILES


def find_home(settings: Settings, checkout: Path) -> Path:
    """Return the folder with the stand's state; a relative LANES_HOME is relative to the checkout."""
    return (checkout / settings.home.expanduser()).resolve()


def stand_info(settings: Settings) -> StandInfo | None:
    """Return the record of this checkout's stand, whatever the current folder; None while no stand is up."""
    return load_info(find_home(settings, find_checkout().resolve()))


def database_url(*, direct: bool = False) -> str:
    """Return the database's address, `direct` without a pooler: from this shell, else from the stand or its Prefect block.

    Raises:
        SetupError: neither the environment nor a stand names a usable address.
    """
    settings = Settings.read()
    if settings.database_url is not None:
        found = (settings.direct_database_url if direct else None) or settings.database_url
        return found.get_secret_value()
    info = stand_info(settings)
    if info is None:
        raise SetupError("no database is known: run `lanes up`, or set LANES_DATABASE_URL")
    if "database" in info.embedded:
        return _describe_own(info)
    wanted = [DIRECT, DATABASE] if direct else [DATABASE]
    kept = info.settings or {}
    known = read_vault(info, {each: kept[each] for each in wanted if each in kept})
    for each in wanted:
        if each in known:
            return known[each]
    raise SetupError(
        f"the stand of this checkout runs on your database at {info.database}, and no block of its Prefect tells how to get "
        "in: set LANES_DATABASE_URL as where `lanes up` ran"
    )


def _describe_own(info: StandInfo) -> str:
    try:
        return info.environment()[DATABASE]
    except (OSError, KeyError):
        raise SetupError(
            f"the password of the stand's own Postgres cannot be read below {info.home}: run `lanes up` as the user who "
            "started the stand"
        ) from None

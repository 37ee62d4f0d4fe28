"""Where a stand is and keeps its state, and where the items are: the environment says so, else this checkout."""

from pathlib import Path

import lanes
from lanes.errors import SetupError
from lanes.settings import Settings
from lanes.stand.info import load_info


def find_checkout() -> Path:
    """The folder that holds prefect.yaml: where this code lies, else where we are."""
    beside_code = Path(lanes.__file__).resolve().parents[1]
    return beside_code if (beside_code / "prefect.yaml").exists() else Path.cwd()


def find_home(settings: Settings, checkout: Path) -> Path:
    """Where the stand keeps its state; a relative LANES_HOME counts from the checkout."""
    return (checkout / settings.home.expanduser()).resolve()


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

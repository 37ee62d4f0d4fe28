"""The addresses of a stand, for people and other programs, and the psql command. No address contains a secret."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL

from lanes.errors import SetupError, StandError
from lanes.report.links import REPORT, report_page
from lanes.settings import Settings
from lanes.stand.database import read_address
from lanes.stand.postgres import programs
from lanes.stand.prefect_api import PrefectApi
from lanes.stand.reaching import prefect, prefect_url, ui_url
from lanes.stand.runs_with import ANTHROPIC, provider_in
from lanes.stand.whereabouts import database_url, stand_info
from lanes.text import LIBPQ_SECRETS, mask_address

PREFECT_S = 5.0
LIBPQ = "postgresql"


@dataclass(frozen=True)
class Address:
    """One address, or the reason why there is none."""

    name: str
    url: str | None
    why: str | None = None


def names() -> list[str]:
    """Return the names of the components that have an address."""
    return list(FOUND)


def find(name: str, settings: Settings) -> Address:
    """Return the address of the component `name`, or the reason why there is none."""
    try:
        return Address(name, FOUND[name](settings))
    except SetupError as reason:
        return Address(name, None, str(reason))


def strip_password(address: URL) -> URL:
    """Return the address in libpq's form, for a command line or a screen: without the password and other secrets."""
    bare = address.difference_update_query(LIBPQ_SECRETS).set(drivername=LIBPQ)
    return URL.create(
        bare.drivername, bare.username, None, bare.host, bare.port, bare.database, bare.query
    )


def password(address: URL) -> str | None:
    """Return the user's password from the query or the user part of the address; None if it contains none."""
    asked = address.query.get("password")
    return asked if isinstance(asked, str) else address.password


def _ui(settings: Settings) -> str:
    return ui_url(prefect_url(settings))


def _report(settings: Settings) -> str:
    with prefect(settings, timeout_s=PREFECT_S) as api:
        newest = api.newest_artifact(REPORT)
        if newest is None:
            raise StandError(
                "no report was written yet: run the deployment `report` in the Prefect UI"
            )
        return f"{ui_url(api.url)}{report_page(newest)}"


def _database(_: Settings) -> str:
    return strip_password(read_address(database_url())).render_as_string(hide_password=False)


def _provider(settings: Settings) -> str:
    if settings.anthropic_api_key is not None:
        return mask_address(settings.anthropic_base_url or ANTHROPIC).rstrip("/")
    info = stand_info(settings)
    if info is None and settings.prefect_api_url is not None:
        found = provider_in(PrefectApi(settings.prefect_api_url, timeout_s=PREFECT_S))
        if found is not None:
            return mask_address(found[0])
    if info is None or info.provider_base_url is None:
        raise StandError("no model provider is known: run `lanes up`, or set ANTHROPIC_API_KEY")
    return info.provider_base_url


FOUND: dict[str, Callable[[Settings], str]] = {
    "prefect": _ui,
    "report": _report,
    "database": _database,
    "provider": _provider,
}


def psql_program(path: str | None = None) -> Path:
    """Return the psql of the embedded Postgres, else the one on the PATH.

    Raises:
        StandError: there is no psql.
    """
    try:
        embedded = programs(None) / "psql"
    except StandError:
        embedded = None
    if embedded is not None and embedded.exists():
        return embedded
    found = shutil.which("psql", path=path)
    if found is None:
        raise StandError(
            "there is no psql: run `make setup`, or install the package `postgresql-client` (Debian, Ubuntu), "
            "`postgresql` (Fedora) or `libpq` (Homebrew)"
        )
    return Path(found)


def psql_command(psql: Path, database: URL, arguments: Sequence[str]) -> list[str]:
    """Return the psql command line, without the password: every process of the machine may read command lines."""
    url = strip_password(database).render_as_string(hide_password=False)
    return [str(psql), f"--dbname={url}", *arguments]


def psql_environment(database: URL, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of psql, with the password if the address contains one."""
    secret = password(database)
    return {**inherited, **({"PGPASSWORD": secret} if secret is not None else {})}

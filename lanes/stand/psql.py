"""psql on the database of Lanes: which program, and how it is told where without its password being seen."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from sqlalchemy.engine import URL

from lanes.stand.addresses import password, without_password
from lanes.stand.binaries import programs
from lanes.stand.errors import StandError


def program(path: str | None = None) -> Path:
    """The psql of the embedded Postgres, else the one on the PATH.

    Raises:
        StandError: there is none.
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


def command(psql: Path, database: URL, arguments: Sequence[str]) -> list[str]:
    """What is run. Every process of the machine may see it: it holds no password."""
    return [
        str(psql),
        f"--dbname={without_password(database).render_as_string(hide_password=False)}",
        *arguments,
    ]


def environment(database: URL, inherited: Mapping[str, str]) -> dict[str, str]:
    """What it is given besides: the password, where the address has one."""
    secret = password(database)
    return {**inherited, **({"PGPASSWORD": secret} if secret is not None else {})}

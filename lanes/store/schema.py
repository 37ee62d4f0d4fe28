"""Moves the database to the newest schema (migrations/schema), and says whether it is there."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text

from lanes.errors import SetupError
from lanes.store.discreet import discreet_engine
from lanes.store.tables import SCHEMA

CHECKOUT = Path(__file__).resolve().parents[2]
ONE_AT_A_TIME = 7_016_001  # advisory lock: two upgrades at once run one after the other


def config() -> Config:
    return Config(CHECKOUT / "alembic.ini")


def upgrade(url: str) -> None:
    """The database at `url` has the newest schema; nothing changes when it already has.

    Raises:
        SetupError: it was moved by migrations that this checkout does not have.
    """
    engine = discreet_engine(url)
    try:
        with engine.begin() as connection:
            connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": ONE_AT_A_TIME})
            settings = config()
            settings.attributes["connection"] = connection
            try:
                command.upgrade(settings, "head")
            except CommandError as error:
                raise SetupError(
                    f"the database cannot be moved to this checkout's schema ({error}): it was made by a newer one. "
                    "Use that checkout, or another LANES_DATABASE_URL; the embedded one starts anew after `make clean`"
                ) from error
    finally:
        engine.dispose()


def pending(connection: Connection) -> list[str]:
    """The migrations that this code has and the database has not, oldest first."""
    have = MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA}).get_current_revision()
    script = ScriptDirectory.from_config(config())
    missing = [revision.revision for revision in script.iterate_revisions("head", have or "base")]
    return list(reversed(missing))

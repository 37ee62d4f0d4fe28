"""Moves the database to the newest schema (migrations/schema), and says whether it is there."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from lanes.errors import SetupError
from lanes.store.current import roles
from lanes.store.current.roles import become_owner, schema_owner
from lanes.store.discreet import discreet_engine
from lanes.store.tables import SCHEMA

CHECKOUT = Path(__file__).resolve().parents[2]
ONE_AT_A_TIME = 7_016_001  # advisory lock: two upgrades at once run one after the other


def config() -> Config:
    return Config(CHECKOUT / "alembic.ini")


def upgrade(url: str) -> None:
    """The database at `url` has the newest schema; nothing changes when it already has.

    Raises:
        SetupError: it was moved by migrations that this checkout does not have, or the user may not move it.
    """
    engine = discreet_engine(url)
    try:
        with engine.begin() as connection:
            connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": ONE_AT_A_TIME})
            if not become_owner(connection):
                _refuse_to_migrate(connection, str(engine.url.username))
                return
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


def set_up_roles(url: str, *, shared: bool) -> list[str]:
    """Create the database roles, hand them the newest schema, and return those that were missing. Safe to repeat.

    `shared`: other programs use the database too, and logins that may connect now keep that right.

    Raises:
        SetupError: the user may not do that.
    """
    engine = discreet_engine(url)
    try:
        with engine.begin() as connection:
            created = roles.create(connection)
            roles.let_migrate(connection)
            roles.give_schema(connection)
        upgrade(url)
        with engine.begin() as connection:
            if not shared:
                roles.close_database(connection)
            become_owner(connection)
            roles.grant(connection)
    except ProgrammingError as error:
        if not isinstance(error.orig, InsufficientPrivilege):
            raise
        raise SetupError(
            f"user {engine.url.username} may not set up the roles ({error.orig}): set LANES_DATABASE_URL to a superuser, or to "
            "a user with CREATEROLE that owns the database and schema lanes"
        ) from error
    finally:
        engine.dispose()
    return created


def _refuse_to_migrate(connection: Connection, user: str) -> None:
    if missing := pending(connection):
        raise SetupError(
            f"the database lacks {len(missing)} migrations (the next is {missing[0]}), and user {user} may not change schema "
            f"{SCHEMA}, which belongs to {schema_owner(connection)}: run `lanes roles` as a member of that role first"
        )


def pending(connection: Connection) -> list[str]:
    """The migrations that this code has and the database has not, oldest first."""
    have = MigrationContext.configure(
        connection, opts={"version_table_schema": SCHEMA}
    ).get_current_revision()
    script = ScriptDirectory.from_config(config())
    missing = [revision.revision for revision in script.iterate_revisions("head", have or "base")]
    return list(reversed(missing))

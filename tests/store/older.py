"""Databases as earlier releases left them."""

from alembic import command
from sqlalchemy import Connection, text

from lanes.store import schema


def as_migrated_to(connection: Connection, revision: str) -> None:
    """The database has the tables of a revision, and no rows, functions or views."""
    connection.execute(text("drop schema lanes cascade"))
    settings = schema.config()
    settings.attributes["connection"] = connection
    command.upgrade(settings, revision)

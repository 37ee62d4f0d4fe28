"""Where the application's Postgres is."""

from prefect.blocks.core import Block
from pydantic import ConfigDict, Field, SecretStr

from lanes.store.database import Database


class DatabaseBlock(Block):
    """The Postgres that holds items, work, results and the ledger."""

    model_config = ConfigDict(
        title="Database", hide_input_in_errors=True, use_attribute_docstrings=True
    )

    _block_type_name = "Lanes database"
    _block_type_slug = "lanes-database"
    _description = "The Postgres that holds items, work, results and the ledger."

    url: SecretStr = Field(title="Address")
    """postgresql+psycopg://user:password@host:port/database"""

    def connect(self) -> Database:
        """Return a pool of connections; close it, or use it as a context manager."""
        return Database(self.url.get_secret_value())

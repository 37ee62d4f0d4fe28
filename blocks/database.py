"""The address of the application's Postgres."""

from prefect.blocks.core import Block
from prefect.runtime import flow_run
from pydantic import ConfigDict, Field, SecretStr

from blocks.slack_channel import in_order
from lanes.store.database import Database


class DatabaseBlock(Block):
    """The Postgres that holds items, work, results and the ledger."""

    model_config = ConfigDict(
        title="Database",
        json_schema_extra=in_order,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    _block_type_name = "Lanes database"
    _block_type_slug = "lanes-database"
    _description = "The Postgres that holds items, work, results and the ledger."

    url: SecretStr = Field(title="Address")
    """postgresql+psycopg://user:password@host:port/database"""

    direct_url: SecretStr | None = Field(default=None, title="Address without pooler")
    """Address of the same database without its pooler (PgBouncer), for roles and LISTEN. Empty: the address above."""

    def connect(self) -> Database:
        """Return a pool of connections; close it, or use it as a context manager."""
        direct = None if self.direct_url is None else self.direct_url.get_secret_value()
        return Database(self.url.get_secret_value(), direct_url=direct, part=flow_run.flow_name)

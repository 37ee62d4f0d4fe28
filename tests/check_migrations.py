"""`alembic check` against a Postgres of its own: the migrations must lead to the tables and functions in the code.

Every change of migrations/schema/current/ must have its migration.
"""

import sys
import tempfile
from pathlib import Path

from alembic import command
from sqlalchemy import create_engine

from lanes.stand.postgres import EmbeddedPostgres
from lanes.store import schema


def main() -> int:
    """Return 0 if the migrations agree with the code; alembic reports the differences otherwise."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        server = EmbeddedPostgres(Path(folder) / "postgres")
        try:
            url = server.start().url("lanes")
            schema.upgrade(url)
            engine = create_engine(url)
            with engine.begin() as connection:
                config = schema.config()
                config.attributes["connection"] = connection
                command.check(config)
            engine.dispose()
        finally:
            server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The command that rewrites docs/reference/ and BENCHMARKS.md from the code and BENCHMARKS.json, and prints what changed.

It needs no stand: it starts a Postgres of its own.
"""

import tempfile
from pathlib import Path

from sqlalchemy import create_engine

from lanes.stand.postgres import EmbeddedPostgres
from lanes.store import schema
from tests.docs.references.pages import FOLDER, pages


def main() -> None:
    """Write the pages that differ from the code, and print their paths."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        server = EmbeddedPostgres(Path(folder) / "postgres")
        try:
            url = server.start().url("lanes")
            schema.upgrade(url)
            engine = create_engine(url)
            with engine.connect() as connection:
                made = pages(connection)
            engine.dispose()
        finally:
            server.stop()
    for path, text in made.items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(path.relative_to(FOLDER.parents[1]))


if __name__ == "__main__":
    main()

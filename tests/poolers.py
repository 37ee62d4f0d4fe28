"""PgBouncer in front of a database, for tests; they are skipped where it is not installed."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from lanes.store.asking import plain_url

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
LOGIN = {"auth_type": "any", "auth_file": ""}  # takes the user from the database's address
needs_pgbouncer = pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")
EXAMPLE = Path(__file__).parents[1] / "deploy" / "pgbouncer.ini"


def configuration(url: str, port: int, **changed: object) -> str:
    """Return the configuration file in `deploy/`, adapted to a pooler of this machine on this port, with changed settings."""
    of, parser = make_url(url), ConfigParser(interpolation=None)
    parser.read(EXAMPLE)
    where = f"host={of.host} port={of.port} user={of.username} password={of.password}"
    parser["databases"] = {str(of.database): where}
    here = {"listen_addr": "127.0.0.1", "listen_port": port, "unix_socket_dir": ""}
    parser["pgbouncer"].update({k: str(v) for k, v in (here | LOGIN | changed).items()})
    text = StringIO()
    parser.write(text)
    return text.getvalue()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def pooler(
    url: str, folder: Path, *, mode: str, size: int = 20, prepared: int = 0
) -> Iterator[str]:
    """Run a PgBouncer with `prepared` prepared statements, and yield the address of `url` through it."""
    assert PROGRAM is not None
    port = free_port()
    file = folder / f"pgbouncer-{port}.ini"
    sizes = {"default_pool_size": size, "max_prepared_statements": prepared}
    file.write_text(configuration(url, port, pool_mode=mode, **sizes))
    file.chmod(0o644)
    command = [PROGRAM, "-u", "nobody", "-q", str(file)]
    log = file.with_suffix(".log").open("w")
    with log, subprocess.Popen(command, stdout=log, stderr=log) as running:
        try:
            through = (
                make_url(url).set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
            )
            _await(through, running)
            yield through
        finally:
            running.terminate()


def _await(url: str, running: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 10
    while True:
        try:
            psycopg.connect(plain_url(url), connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            if running.poll() is not None or time.monotonic() > until:
                raise

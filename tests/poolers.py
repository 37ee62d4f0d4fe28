"""PgBouncer in front of a database, for tests; where it is not installed, they are skipped."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from lanes.store.asking import plain_url

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
needs_pgbouncer = pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")
CONFIGURATION = """
[databases]
{database} = host={host} port={port} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listens}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
max_client_conn = 300
max_prepared_statements = {prepared}
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def pooler(
    url: str, folder: Path, *, mode: str, size: int = 20, prepared: int = 0
) -> Iterator[str]:
    """Return the address of `url` through a PgBouncer of its own, which keeps that many prepared statements."""
    assert PROGRAM is not None
    of, port = make_url(url), free_port()
    file = folder / f"pgbouncer-{port}.ini"
    values = {"host": of.host, "port": of.port, "user": of.username, "password": of.password}
    how = {"listens": port, "mode": mode, "size": size, "prepared": prepared}
    file.write_text(CONFIGURATION.format(**values, database=of.database, **how))
    file.chmod(0o644)
    command = [PROGRAM, "-u", "nobody", "-q", str(file)]
    log = file.with_suffix(".log").open("w")
    with log, subprocess.Popen(command, stdout=log, stderr=log) as running:
        try:
            through = of.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
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

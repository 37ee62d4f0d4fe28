"""A host whose network is cut: Postgres frees its role in time, and the host notices too. Needs root on Linux."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from lanes.stand.postgres import EmbeddedPostgres
from lanes.store.signals import Role, holder_exists

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
HERE, THERE = "10.231.7.1", "10.231.7.2"
FREED_S = 15
HOLDER = """
import asyncio, sys, time
from lanes.store.signals import Role, RoleLock

async def hold():
    lock = RoleLock(sys.argv[1], Role.ROUTER)
    print(await lock.try_take(), flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    try:
        print(await lock.holds())
    except Exception as error:
        print(type(error).__name__)
    print(time.monotonic() - began, flush=True)

asyncio.run(hold())
"""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=20)


class Namespace:
    """A host of its own, as a network namespace."""

    def __init__(self) -> None:
        self.name, self._near, self._far = (
            f"{word}{os.getpid()}" for word in ("lanes", "ln", "lf")
        )

    def join(self) -> None:
        ip("link", "add", self._near, "type", "veth", "peer", "name", self._far)
        ip("link", "set", self._far, "netns", self.name)
        ip("addr", "add", f"{HERE}/24", "dev", self._near)
        ip("link", "set", self._near, "up")
        ip("-n", self.name, "addr", "add", f"{THERE}/24", "dev", self._far)
        ip("-n", self.name, "link", "set", self._far, "up")

    def cut(self) -> None:
        """Lose every packet between the two hosts, as if a switch failed: nothing is refused, nothing is told."""
        nowhere = ("lladdr", "02:00:00:00:00:99", "nud", "permanent")
        ip("neigh", "replace", THERE, "dev", self._near, *nowhere)
        ip("-n", self.name, "neigh", "replace", HERE, "dev", self._far, *nowhere)

    def leave(self) -> None:
        with suppress(subprocess.CalledProcessError):
            ip("link", "delete", self._near)
        ip("netns", "delete", self.name)


@pytest.fixture
def host() -> Iterator[Namespace]:
    made = Namespace()
    try:
        ip("netns", "add", made.name)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("network namespaces are not permitted here")
    try:
        made.join()
        yield made
    finally:
        made.leave()


@pytest.fixture
def url(open_folder: Path, host: Namespace) -> Iterator[str]:
    """The address of a Postgres that both hosts reach."""
    postgres = EmbeddedPostgres(open_folder / "reached")
    postgres.start()
    postgres.stop()
    with (postgres.data / "postgresql.auto.conf").open("a") as file:
        file.write(f"listen_addresses = '127.0.0.1,{HERE}'\n")
    with (postgres.data / "pg_hba.conf").open("a") as file:
        file.write(f"host all all {THERE}/32 scram-sha-256\n")
    try:
        yield postgres.start().url("lanes")
    finally:
        postgres.stop()


def test_the_role_of_a_host_that_is_cut_off_is_free_in_time(host: Namespace, url: str) -> None:
    across = make_url(url).set(host=HERE).render_as_string(hide_password=False)
    command = ["ip", "netns", "exec", host.name, sys.executable, "-c", HOLDER, across]
    pool = create_engine(url, isolation_level="AUTOCOMMIT")
    with (
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as holder,
        pool.connect() as connection,
    ):
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        assert holder_exists(connection, Role.ROUTER)
        host.cut()
        began = time.monotonic()
        print("?", file=holder.stdin, flush=True)
        while holder_exists(connection, Role.ROUTER):
            assert time.monotonic() - began < 60
            time.sleep(0.1)
        freed_s = time.monotonic() - began
        said, noticed_s = holder.stdout.readline().strip(), float(holder.stdout.readline())
    pool.dispose()
    print(f"freed after {freed_s:.1f} s, noticed after {noticed_s:.1f} s ({said})")
    assert freed_s < FREED_S
    assert noticed_s < FREED_S
    assert said != "True"

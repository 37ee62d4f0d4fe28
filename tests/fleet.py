"""Two hosts that run Lanes and share Postgres behind PgBouncer, two Prefect API replicas, Valkey and the stand-in.

Every process listens on 127.0.0.1.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from lanes.stand.info import STAND_IN_KEY, StandInfo, load_info
from lanes.stand.postgres import EmbeddedPostgres
from lanes.stand.prefect_api import credentials
from lanes.stand.services import SERVER_SETTINGS
from tests.hosts import HOST, FleetPart, HostNode, may_cut_cables, namespace_of
from tests.poolers import configuration, free_port
from tests.running_stand import OWN, RunningStand, cli
from tests.waiting import until

PROGRAMS = ("pgbouncer", "haproxy", "valkey-server", "faketime")
LOGIN = "admin:fleet"
TAKEN_WITHIN_S = 120
REDIS = {
    "PREFECT_MESSAGING_BROKER": "prefect_redis.messaging",
    "PREFECT_MESSAGING_CACHE": "prefect_redis.messaging",
    "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
    "PREFECT_SERVER_WORKER_CHANNEL_CLEANUP_QUEUE_STORAGE": "prefect_redis.cleanup_queue",
    "PREFECT_REDIS_MESSAGING_PUBLISHER_BATCH_SIZE": "1",
    "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false",
}
HAPROXY = """
global
  maxconn 2000
defaults
  mode http
  timeout connect 2s
  timeout check 3s
  timeout client 300s
  timeout server 300s
  timeout tunnel 3600s
  option redispatch
  retries 3
frontend api
  bind 127.0.0.1:{port}
  default_backend replicas
backend replicas
  balance roundrobin
  option httpchk GET /api/health
  default-server check inter 1s fall 2 rise 1
  server one 127.0.0.1:{one}
  server two 127.0.0.1:{two}
"""


def missing_programs() -> str:
    """Return the programs that a fleet needs and this machine does not have, separated by commas."""
    return ", ".join(each for each in PROGRAMS if shutil.which(each, path=_path()) is None)


class FleetView(RunningStand):
    """A fleet as seen by a person who has all its addresses; it sends an event again until the API accepts it."""

    def emit(
        self, workload: str, payload: Mapping[str, Any], *, event: str = "lanes.item.arrived"
    ) -> str:
        end = time.monotonic() + TAKEN_WITHIN_S
        while True:
            try:
                return super().emit(workload, payload, event=event)
            except httpx2.HTTPError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.5)


@dataclass
class Fleet:
    """The shared processes, the hosts, and the view of a person who has every address."""

    folder: Path
    parts: dict[str, FleetPart]
    hosts: dict[str, HostNode]
    view: FleetView
    environment: dict[str, str]
    postgres: EmbeddedPostgres

    def crash_postgres(self) -> None:
        """Kill the Postgres server, and start it again."""
        running = self.postgres.running()
        assert running is not None
        os.kill(running.pid, signal.SIGKILL)
        self.postgres.start()

    def restart(self, part: str) -> None:
        """Kill a shared process, start it again, and wait until it answers."""
        again = self.parts[part]
        again.end()
        again.start()
        until(again.answers, what=part)

    def lanes(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a `lanes` command in the home of the person who deploys."""
        return cli(self.environment, *words)


@contextmanager
def fleet(
    hosts: Sequence[str] = ("a", "b"),
    *,
    pool_mode: str = "transaction",
    faketime: Mapping[str, str] | None = None,
    **settings: str,
) -> Iterator[Fleet]:
    """Run the shared parts, deploy Lanes once, and start a worker on each host; end everything at the end.

    `faketime` shifts the clocks of hosts, as in `{"b": "+30s"}`. `settings` are environment variables of every Lanes process;
    `latency_s` is the latency of the stand-in.
    """
    with tempfile.TemporaryDirectory(prefix="lanes-fleet-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        with ExitStack() as opened:
            parts = _Parts(folder, opened)
            environment = _shared(parts, pool_mode, settings.pop("latency_s", "0")) | settings
            person = environment | {"LANES_HOME": str(folder / "person")}
            done = cli(person, "deploy", "--samples")
            assert done.returncode == 0, done.stdout + done.stderr
            nodes = {
                each: _host(parts, each, number, environment, (faketime or {}).get(each))
                for number, each in enumerate(hosts, 1)
            }
            view = _view(opened, folder / "person", person)
            for each in nodes.values():
                each.start()
            opened.enter_context(
                _kept([*parts.made.values(), *(each.worker for each in nodes.values())])
            )
            yield Fleet(folder, parts.made, nodes, view, person, parts.postgres)


@contextmanager
def _kept(parts: Sequence[FleetPart]) -> Iterator[None]:
    """Restart parts within a second if they end by themselves."""
    over = threading.Event()

    def keep() -> None:
        while not over.wait(1):
            for each in parts:
                each.keep()

    keeper = threading.Thread(target=keep)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()


class _Parts:
    """The processes of a fleet by name; they are ended in reverse order."""

    def __init__(self, folder: Path, opened: ExitStack) -> None:
        self.folder, self.opened = folder, opened
        self.made: dict[str, FleetPart] = {}
        self.logs = folder / "logs"
        self.logs.mkdir()
        self.postgres = EmbeddedPostgres(folder / "postgres")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OWN)}
        self.base = kept | {"PATH": _path(), "PYTHONUNBUFFERED": "1"}

    def run(self, name: str, *command: str, **more: str) -> FleetPart:
        """Start a process that ends together with the fleet."""
        part = FleetPart(name, command, self.base | more, self.logs)
        part.start()
        self.opened.callback(part.end)
        self.made[name] = part
        return part

    def write(self, name: str, content: str) -> str:
        """Write a file that every user may read, and return its path."""
        path = self.folder / name
        path.write_text(content)
        return str(path)


def _shared(parts: _Parts, pool_mode: str, latency_s: str) -> dict[str, str]:
    """Start the shared parts, and return the environment of all processes of the fleet."""
    running = parts.postgres.start()
    parts.opened.callback(parts.postgres.stop)
    pooler, valkey, one, two, proxy, standin = (free_port() for _ in range(6))
    url = make_url(running.url("lanes"))
    settings = configuration(running.url("lanes"), pooler, pool_mode=pool_mode)
    ini = parts.write("pgbouncer.ini", settings)
    parts.run("pgbouncer", "pgbouncer", "-u", "nobody", "-q", ini)
    kept = ("--dir", str(parts.folder), "--appendonly", "yes", "--save", "")
    parts.run("valkey", "valkey-server", "--port", str(valkey), "--bind", "127.0.0.1", *kept)
    of_server = SERVER_SETTINGS | REDIS
    of_server |= {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": running.url("prefect", "asyncpg"),
        "PREFECT_SERVER_API_AUTH_STRING": LOGIN,
        "PREFECT_REDIS_MESSAGING_URL": f"redis://127.0.0.1:{valkey}/0",
        "PREFECT_REDIS_WORKER_CLEANUP_QUEUE_URL": f"redis://127.0.0.1:{valkey}/0",
        "PREFECT_SERVER_DOCKET_URL": f"redis://127.0.0.1:{valkey}/1",
        "PREFECT_HOME": str(parts.folder / "prefect"),
    }
    prefect = (sys.executable, "-m", "prefect")
    migrated = subprocess.run(
        [*prefect, "server", "database", "upgrade", "-y"],
        env=parts.base | of_server,
        capture_output=True,
        text=True,
    )
    assert migrated.returncode == 0, migrated.stdout + migrated.stderr
    for name, port in (("api-one", one), ("api-two", two)):
        serve = ("server", "start", "--no-services", "--host", "127.0.0.1", "--port", str(port))
        part = parts.run(name, *prefect, *serve, **of_server)
        part.answers = partial(_answers, f"http://127.0.0.1:{port}/api/health")
        until(part.answers, what=name)  # the first start registers blocks
    address = f"http://127.0.0.1:{proxy}/api"
    client = {"PREFECT_API_URL": address, "PREFECT_API_AUTH_STRING": LOGIN}
    parts.run("services", *prefect, "server", "services", "start", **of_server | client)
    config = parts.write("haproxy.cfg", HAPROXY.format(port=proxy, one=one, two=two))
    parts.run("proxy", "haproxy", "-f", config, "-db")
    where = ("--home", str(parts.folder / "standin"), "--port", str(standin))
    how = ("--engine", "echo", "--turnaround-s", "1", "--latency-s", latency_s)
    parts.run("standin", sys.executable, "-m", "anthropic_standin", *where, *how)
    until(lambda: _answers(f"{address}/health"), what="the API")
    provider = f"http://127.0.0.1:{standin}"
    until(lambda: _answers(f"{provider}/healthz"), what="the stand-in")
    pooled = url.set(port=pooler).render_as_string(hide_password=False)
    of_lanes = {
        "LANES_DATABASE_URL": pooled,
        "LANES_DIRECT_DATABASE_URL": url.render_as_string(hide_password=False),
        "ANTHROPIC_BASE_URL": provider,
        "ANTHROPIC_API_KEY": STAND_IN_KEY,
        "PREFECT_HOME": str(parts.folder / "prefect-client"),
    }
    return parts.base | client | of_lanes


def _host(
    parts: _Parts, name: str, number: int, environment: Mapping[str, str], clock: str | None
) -> HostNode:
    """Prepare a host whose worker is not started yet."""
    (home := parts.folder / name).mkdir()
    own = {
        **environment,
        HOST: name,
        "LANES_HOME": str(home),
        "PREFECT_HOME": str(home / "prefect"),
    }
    command: list[str] = [sys.executable, "-m", "lanes", "worker"]
    if clock is not None:
        command = ["faketime", "-f", clock, *command]
    namespace = cable = None
    if may_cut_cables():
        namespace, cable = namespace_of(parts.opened, name, number)
        said = f'hostname {name} && exec "$@"'
        command = [
            "ip",
            "netns",
            "exec",
            namespace,
            "unshare",
            "--uts",
            "sh",
            "-c",
            said,
            "sh",
            *command,
        ]
    node = HostNode(name, FleetPart(f"worker-{name}", command, own, parts.logs), namespace, cable)
    parts.opened.callback(node.kill)
    return node


def _view(opened: ExitStack, home: Path, environment: dict[str, str]) -> FleetView:
    """Return the view of the fleet that tests use; it reads Postgres directly."""
    info = load_info(home) or StandInfo(home, home, (), "", environment["PREFECT_API_URL"])
    client = httpx2.Client(
        base_url=f"{environment['PREFECT_API_URL']}/",
        headers=credentials(environment),
        trust_env=False,
        timeout=20,
    )
    endpoint = httpx2.Client(
        base_url=f"{environment['ANTHROPIC_BASE_URL']}/", trust_env=False, timeout=20
    )
    pool = create_engine(environment["LANES_DIRECT_DATABASE_URL"], pool_pre_ping=True)
    for each in (pool.dispose, client.close, endpoint.close):
        opened.callback(each)
    return FleetView(home, environment, environment, info, frozenset(), pool, client, endpoint)


def _answers(url: str) -> bool:
    try:
        headers = credentials({"PREFECT_API_AUTH_STRING": LOGIN})
        return httpx2.get(url, timeout=5, trust_env=False, headers=headers).is_success
    except httpx2.HTTPError:
        time.sleep(0.2)
        return False


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

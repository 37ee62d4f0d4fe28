"""The processes that serve a stand: model endpoint, Prefect server, workers, supervisor. Each is a step of `up`."""

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import httpx2

from lanes.errors import StandError
from lanes.settings import Settings
from lanes.stand import chain, local, login
from lanes.stand.deploying import release
from lanes.stand.info import NO_PROXY
from lanes.stand.kept import server_settings
from lanes.stand.local import ENDPOINT, POOLS, SERVER, SUPERVISOR
from lanes.stand.prefect_api import PrefectApi, is_local
from lanes.stand.processes import Process
from lanes.stand.runs_with import ANTHROPIC, provider_in
from lanes.stand.worksite import POLL_S, Site, python
from lanes.text import mask_address

ENDPOINT_LIMIT_S = 60
SERVER_LIMIT_S = 180
WORKER_LIMIT_S = 120
PERSISTER = "PREFECT_SERVER_SERVICES_EVENT_PERSISTER"
FLUSH_RETRIES, FLUSH_SIZE = f"{PERSISTER}_MAX_FLUSH_RETRIES", f"{PERSISTER}_BATCH_SIZE"
SERVER_SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    # With Prefect's default of 5 seconds, requests fail with status 500 while a busy machine is slow to open connections.
    "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": "60",
    # Write events once a second, whatever their number, and retry for two minutes while Postgres is unavailable. Prefect's
    # defaults of 20 and 5 lose events in a restart of two seconds. With many more retries, an event that Postgres refuses
    # blocks all others for hours.
    f"{PERSISTER}_FLUSH_INTERVAL": "1",
    FLUSH_SIZE: "50000",
    FLUSH_RETRIES: "120",
    "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "P7D",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": "1209600",  # 14 days
}
ORIGINS = "PREFECT_SERVER_CORS_ALLOWED_ORIGINS"
# A poll costs Prefect's API 22 ms of processor time. With many machines each can poll rarely, because one of them polls soon.
WORKER_SETTINGS = {"PREFECT_WORKER_QUERY_SECONDS": "2", "PREFECT_WORKER_HEARTBEAT_SECONDS": "3"}
# On a single machine, a run that answers an item must start at once.
QUICK_POLLS = {"realtime": {"PREFECT_WORKER_QUERY_SECONDS": "0.5"}}
WORKER_DEPENDS_ON = (
    "LANES_HOME",
    "LANES_DATABASE_URL",
    "LANES_DIRECT_DATABASE_URL",
    "LANES_HEARTBEAT_URL",
    "LANES_DIGEST_HOUR",
    "LANES_KEEP_WARM",
    "LANES_GRACE_S",
    "LANES_LOG_FORMAT",
    "PREFECT_API_URL",
    "PREFECT_HOME",
    "PREFECT_API_KEY",
    "PREFECT_API_AUTH_STRING",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_ADMIN_KEY",
    "ANTHROPIC_BASE_URL",
    "SLACK_BOT_TOKEN",
    "SLACK_CHANNEL",
    "SLACK_CHANNELS",
    "SLACK_WEBHOOK_URL",
    "SLACK_API_URL",
)
SUPERVISOR_DEPENDS_ON = (
    "LANES_HOST",
    "LANES_DATABASE_URL",
    "LANES_DIRECT_DATABASE_URL",
    "LANES_KEEP_WARM",
    "LANES_LOG_FORMAT",
    "PREFECT_API_URL",
    "PREFECT_API_KEY",
    "PREFECT_API_AUTH_STRING",
)


def endpoint(site: Site) -> str:
    """Find the model provider: the user's own, or the embedded stand-in, started if needed."""
    if not site.embeds_provider:
        own = site.settings.anthropic_base_url
        site.provider_base_url = mask_address(own) if own else None
        return f"yours at {site.provider_base_url or ANTHROPIC}"
    settings = site.settings
    _check_unclaimed(settings)

    def serve(port: int) -> bool:
        where = ("--home", str(site.home / ENDPOINT), "--port", str(port))
        turnaround = f"{settings.local_turnaround_s:g}"
        how = ("--engine", settings.local_engine, "--turnaround-s", turnaround)
        command = python("-m", "anthropic_standin", *where, *how)
        environment = site.base_environment()
        process, started = site.ensure(
            ENDPOINT, command, environment=environment, depends_on={}, port=port
        )

        def answers() -> bool:
            url = f"http://{local.LOOPBACK}:{port}/healthz"
            return _is_ready(process, port) and _is_well(url)

        site.wait(answers, process=process, what="it answered", limit_s=ENDPOINT_LIMIT_S)
        return started

    port, started = _start_on_port(site, ENDPOINT, serve)
    site.provider_base_url = f"http://{local.LOOPBACK}:{port}"
    return f"local stand-in ({settings.local_engine}) {_describe_start(started)} port {port}"


def _check_unclaimed(settings: Settings) -> None:
    """Raise StandError if the user's Prefect server names a provider, which the stand-in would replace for all machines."""
    if settings.prefect_api_url is None:
        return
    found = provider_in(PrefectApi(settings.prefect_api_url))
    if found is not None and not is_local(found[0]):
        raise StandError(
            f"Prefect's block names the provider {mask_address(found[0])}, and this shell sets no ANTHROPIC_API_KEY, so that "
            "`lanes up` would put the local stand-in in its place for every machine: set the key, or run `lanes worker`, which "
            "needs none"
        )


def server(site: Site) -> str:
    """Ensure that a Prefect server answers at `site.prefect_api_url`: the user's, or ours on the embedded Postgres.

    Our server requires a login, and accepts cross-origin requests only from its own pages and from origins that a person sets.
    A person's other settings for the server override ours.
    """
    if site.settings.prefect_api_url is not None:
        with PrefectApi(site.settings.prefect_api_url) as api:
            version = api.version()
        site.prefect_api_url = api.url
        return f"yours at {api.url}, version {version}"
    assert site.postgres is not None
    database_url = site.postgres.url("prefect", "asyncpg")
    pair = login.choose(site.home, os.environ)

    def serve(port: int) -> bool:
        chosen = server_settings(os.environ)
        own = f"http://{local.LOOPBACK}:{port}", f"http://localhost:{port}"
        settings = {
            **SERVER_SETTINGS,
            **chosen,
            ORIGINS: ",".join(filter(None, [*own, chosen.get(ORIGINS)])),
            login.CHOSEN: pair,
            "PREFECT_API_URL": f"http://{local.LOOPBACK}:{port}/api",
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": database_url,
            "NO_PROXY": NO_PROXY,
        }
        command = python("-m", "tasks.prefect_server", "--port", str(port))
        environment = site.base_environment() | settings
        process, started = site.ensure(
            SERVER, command, environment=environment, depends_on=settings, port=port
        )
        login.keep(site.home, pair)
        site.prefect_api_url = settings["PREFECT_API_URL"]
        url, credentials = settings["PREFECT_API_URL"], {login.PAIR: pair}
        with PrefectApi(url, environment=credentials, timeout_s=5) as api:
            site.wait(api.healthy, process=process, what="its API answered", limit_s=SERVER_LIMIT_S)
            if api.home() != str(site.home / "prefect"):
                raise StandError(
                    f"another Prefect server answers on port {port}: run `lanes up` once more"
                )
        return started

    port, started = _start_on_port(site, SERVER, serve)
    return f"{_describe_start(started)} port {port}"


def warm_workers(site: Site) -> str:
    """Start the workers while the server starts: they load Prefect, and wait until `worker` releases them."""
    while not site.prefect_api_url:
        site.check_canceled()
        time.sleep(POLL_S)
    started = [pool for pool in POOLS if _ensure_worker(site, pool)[1]]
    return f"loading {' and '.join(started)}" if started else "run on"


def worker(site: Site, pool: str) -> str:
    """Release the worker of the pool, and wait until Prefect reports it online."""
    name, begins = worker_name(pool, site.settings), _begins(site, pool)
    with site.prefect() as api:
        before = {each["name"]: each["last_heartbeat_time"] for each in api.workers(pool)}
        process, _ = _ensure_worker(site, pool)
        started = not begins.exists()
        begins.touch()

        def is_online() -> bool:
            """Return whether the new worker is online: Prefect also counts a recently ended one, but its heartbeat is old."""
            online = (each for each in api.workers(pool) if each["status"] == "ONLINE")
            beats = (each["last_heartbeat_time"] for each in online if each["name"] == name)
            return any(not started or beat != before.get(name) for beat in beats)

        site.wait(is_online, process=process, what="Prefect saw it online", limit_s=WORKER_LIMIT_S)
    return "online" if started else "online already"


def _ensure_worker(site: Site, pool: str) -> tuple[Process, bool]:
    """Return the process of the pool's worker, and whether it was started now; a new worker waits for its file."""
    settings = WORKER_SETTINGS | QUICK_POLLS.get(pool, {})
    environment = site.environment(**settings)
    depends_on = {key: environment.get(key, "") for key in WORKER_DEPENDS_ON} | settings
    begins, name = _begins(site, pool), f"worker-{pool}"
    start = worker_command(pool, site.settings)
    commands = [("tasks.warm_worker", str(begins)), start]
    command = python("-m", "lanes.stand.chain", *chain.join(commands))
    process, started = site.ensure(name, command, environment=environment, depends_on=depends_on)
    if started:
        begins.unlink(missing_ok=True)
    return process, started


def worker_name(pool: str, settings: Settings) -> str:
    """Return the name of this host's worker of the pool in Prefect, which is the same after a restart."""
    return f"{pool}-{settings.host}"


def worker_command(pool: str, settings: Settings) -> tuple[str, ...]:
    """Return the arguments of Python's `-m` that start this host's worker of the pool."""
    name = worker_name(pool, settings)
    return ("prefect", "worker", "start", "--pool", pool, "--name", name, "--type", "process")


def _begins(site: Site, pool: str) -> Path:
    """Return the file that a worker of the pool waits for."""
    return site.home / f"worker-{pool}.begins"


def supervisor(site: Site) -> str:
    """Start the process that replaces standing runs whose role is free."""
    environment = site.environment()
    depends_on = {key: environment.get(key, "") for key in SUPERVISOR_DEPENDS_ON}
    depends_on["release"] = release()
    command = python("-m", "lanes.stand.supervisor")
    _, started = site.ensure(SUPERVISOR, command, environment=environment, depends_on=depends_on)
    return "started" if started else "runs already"


def _start_on_port(site: Site, name: str, serve: Callable[[int], bool]) -> tuple[int, bool]:
    """Start a service with `serve` if needed; return its port and whether it was started now.

    The port is that of the running process, else that of the last run, else a new one. If another process took the port
    between the check and the start, a new port is used too.
    """
    remembered = site.home / f"{name}.port"
    current = site.processes.find(name)
    kept = None if current is None else current.port
    port = local.choose_port(remembered) if kept is None else kept
    try:
        return port, serve(port)
    except StandError:
        if site.processes.find(name) is not None or local.is_free_port(port):
            raise
    port = local.choose_port(remembered, fresh=True)
    return port, serve(port)


def _is_ready(process: Process, port: int) -> bool:
    ready = re.search(r"READY http://[\d.]+:(\d+)", process.output())
    return ready is not None and int(ready.group(1)) == port


def _is_well(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=5, trust_env=False).status_code == 200
    except httpx2.HTTPError:
        return False


def _describe_start(started: bool) -> str:
    return "started on" if started else "attached to"

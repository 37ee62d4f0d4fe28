"""The steps of `up`: what each makes true, and what it needs first."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import httpx2

from lanes.local import deployments, ports
from lanes.local.database import check_answers, read_address, shown
from lanes.local.errors import StandError
from lanes.local.info import NO_PROXY, PostgresInfo, ProcessInfo, StandInfo
from lanes.local.prefect_api import PrefectApi
from lanes.local.processes import Process
from lanes.local.worksite import ENDPOINT, POSTGRES, SERVER, Site, python

POOLS = {
    "realtime": "Flow runs that answer at once: drains, and what watches over them",
    "batch": "Flow runs that may take their time: submission, collection, replays, reports",
}
PREFECT_SERVER_SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "P7D",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": "1209600",
}
WORKER_SETTINGS = {"PREFECT_WORKER_QUERY_SECONDS": "0.5", "PREFECT_WORKER_HEARTBEAT_SECONDS": "3"}
WORKER_DEPENDS_ON = (
    "LANES_HOME", "LANES_DATABASE_URL", "LANES_HEARTBEAT_URL", "PREFECT_API_URL", "PREFECT_HOME",
    "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL",
    "SLACK_BOT_TOKEN", "SLACK_CHANNEL", "SLACK_WEBHOOK_URL", "SLACK_API_URL",
)  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One thing that `up` makes true. `run` returns, in a few words, how it became true."""

    name: str
    title: str
    run: Callable[[Site], str]
    after: tuple[str, ...] = ()


def all_steps() -> list[Step]:
    """Everything a stand consists of."""
    return [
        Step("database", "Postgres", database),
        Step("schema", "Schema", schema, after=("database",)),
        Step("endpoint", "Model provider", endpoint),
        Step("server", "Prefect server", server, after=("database",)),
        Step("pools", "Work pools", pools, after=("server",)),
        Step("deployments", "Deployments", deploy, after=("pools",)),
        Step(
            "install",
            "Blocks, workloads and automations",
            install,
            after=("deployments", "schema", "endpoint"),
        ),
        *(
            Step(f"worker-{pool}", f"Worker {pool}", partial(worker, pool=pool), after=("pools", "endpoint"))
            for pool in POOLS
        ),
    ]


def database(site: Site) -> str:
    """The database of Lanes answers; and an embedded server runs when it or Prefect needs one."""
    notes: list[str] = []
    if site.embeds_database or site.embeds_prefect:
        postgres = site.embedded_postgres
        found = postgres.running()
        running = postgres.start()
        if found is None:
            site.started.append(POSTGRES)
        site.postgres = running
        notes.append(f"{'attached to' if found else 'embedded on'} port {running.port}")
        if postgres.moved:
            notes.append(postgres.moved)
    if site.settings.database_url is None:
        assert site.postgres is not None
        site.database_url = site.postgres.url("lanes")
    else:
        address = read_address(site.settings.database_url.get_secret_value())
        check_answers(address)
        site.database_url = address.render_as_string(hide_password=False)
        notes.insert(0, f"yours at {shown(address)}")
    return "; ".join(notes)


def schema(site: Site) -> str:
    """The database has the newest schema."""
    from lanes.store.schema import upgrade

    assert site.database_url is not None
    upgrade(site.database_url)
    return "at the newest version"


def endpoint(site: Site) -> str:
    """A model provider is known: the user's own, or the embedded stand-in, which then answers."""
    if not site.embeds_provider:
        site.provider_base_url = site.settings.anthropic_base_url
        return f"yours at {site.provider_base_url or 'https://api.anthropic.com'}"
    remembered = site.home / "endpoint.port"
    current = site.processes.find(ENDPOINT)
    for fresh in (False, True):
        port = current.port if current and current.port else ports.choose(remembered, fresh=fresh)
        process, started = _start_endpoint(site, port)
        try:
            site.wait(
                lambda p=process, n=port: _endpoint_answers(p, n),
                process=process,
                what="it answered",
                limit_s=60,
            )
        except StandError:
            if fresh or ports.is_free(port) or site.processes.is_alive(process):
                raise
            current = None  # somebody took the port between our look and its start
            continue
        site.provider_base_url = f"http://{ports.LOOPBACK}:{port}"
        return f"local stand-in ({site.settings.local_engine}) {_how(started)} port {port}"
    raise AssertionError("unreachable")


def _start_endpoint(site: Site, port: int) -> tuple[Process, bool]:
    settings = site.settings
    command = python(
        "-m", "lanes.local.endpoint", "--home", str(site.home / ENDPOINT), "--port", str(port),
        "--engine", settings.local_engine, "--turnaround-s", f"{settings.local_turnaround_s:g}",
    )  # fmt: skip
    return site.ensure(ENDPOINT, command, environment=site.base_environment(), depends_on={}, port=port)


def _endpoint_answers(process: Process, port: int) -> bool:
    """Our process said READY on this port, and the port answers."""
    ready = re.search(r"READY http://[\d.]+:(\d+)", process.output())
    if ready is None or int(ready.group(1)) != port:
        return False
    try:
        return (
            httpx2.get(f"http://{ports.LOOPBACK}:{port}/healthz", timeout=5, trust_env=False).status_code
            == 200
        )
    except httpx2.HTTPError:
        return False


def server(site: Site) -> str:
    """A Prefect server answers at `site.prefect_api_url`: the user's, or ours on the embedded Postgres."""
    if site.settings.prefect_api_url is not None:
        with PrefectApi(site.settings.prefect_api_url) as api:
            version = api.version()
        site.prefect_api_url = api.url
        return f"yours at {api.url}, version {version}"
    assert site.postgres is not None
    remembered = site.home / "prefect.port"
    current = site.processes.find(SERVER)
    for fresh in (False, True):
        port = current.port if current and current.port else ports.choose(remembered, fresh=fresh)
        url = f"http://{ports.LOOPBACK}:{port}/api"
        process, started = _start_server(site, url, port)
        try:
            with PrefectApi(url, environment={}, timeout_s=5) as api:
                site.wait(api.healthy, process=process, what="its API answered", limit_s=180)
                if api.home() != str(site.home / "prefect"):
                    raise StandError(
                        f"another Prefect server answers on port {port}: run `lanes up` once more"
                    )
        except StandError:
            if fresh or ports.is_free(port) or site.processes.is_alive(process):
                raise
            current = None
            continue
        site.prefect_api_url = url
        return f"{_how(started)} port {port}"
    raise AssertionError("unreachable")


def _start_server(site: Site, url: str, port: int) -> tuple[Process, bool]:
    assert site.postgres is not None
    database_url = site.postgres.url("prefect", "asyncpg")
    said = {
        **PREFECT_SERVER_SETTINGS,
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database_url,
        "NO_PROXY": NO_PROXY,
    }
    command = python("-m", "prefect", "server", "start", "--host", ports.LOOPBACK, "--port", str(port))
    environment = site.base_environment() | said
    return site.ensure(SERVER, command, environment=environment, depends_on=said, port=port)


def pools(site: Site) -> str:
    """The two work pools exist."""
    with PrefectApi(_known(site.prefect_api_url), environment=_prefect_settings(site)) as api:
        created = [name for name, text in POOLS.items() if api.create_work_pool(name, description=text)]
    return f"created {', '.join(created)}" if created else "present"


def deploy(site: Site) -> str:
    """Every deployment of prefect.yaml is in Prefect as this checkout has it."""
    if not (site.checkout / "prefect.yaml").exists():
        raise StandError(f"{site.checkout} holds no prefect.yaml: run this inside a checkout of Lanes")
    stamp = site.home / "deployed.json"
    source = deployments.source_digest(site.checkout)
    with PrefectApi(_known(site.prefect_api_url), environment=_prefect_settings(site)) as api:
        present = api.deployments()
        if deployments.is_current(stamp, source, present):
            return f"{len(present)} up to date"
        site.run(
            "deploy", python("-m", "prefect", "--no-prompt", "deploy", "--all"),
            environment=site.environment(describe(site)), limit_s=240,
        )  # fmt: skip
        present = api.deployments()
    deployments.remember(stamp, source, present)
    return f"{len(present)} deployed"


def install(site: Site) -> str:
    """Blocks, workload versions, schedules and automations are in Prefect as this checkout has them."""
    site.run(
        "install", python("-m", "tasks.install"), environment=site.environment(describe(site)), limit_s=180
    )
    return "installed"


def worker(site: Site, pool: str) -> str:
    """A worker polls the pool, and Prefect sees it online."""
    name = f"{pool}-1"
    environment = site.environment(describe(site), **WORKER_SETTINGS)
    depends_on = {key: environment.get(key, "") for key in WORKER_DEPENDS_ON} | WORKER_SETTINGS
    command = python(
        "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process", "--name", name
    )  # fmt: skip
    with PrefectApi(_known(site.prefect_api_url), environment=_prefect_settings(site)) as api:
        before = {w["name"]: w["last_heartbeat_time"] for w in api.workers(pool)}
        process, started = site.ensure(
            f"worker-{pool}", command, environment=environment, depends_on=depends_on
        )

        def online() -> bool:
            return any(
                w["name"] == name
                and w["status"] == "ONLINE"
                and (not started or w["last_heartbeat_time"] != before.get(name))
                for w in api.workers(pool)
            )

        site.wait(online, process=process, what="Prefect saw it online", limit_s=120)
    return "online" if started else "online already"


def describe(site: Site) -> StandInfo:
    """The stand as far as it is up."""
    running = site.postgres
    if site.settings.database_url is not None:
        address = shown(read_address(site.settings.database_url.get_secret_value()))
    else:
        address = f"{ports.LOOPBACK}:{running.port}/lanes" if running else ""
    processes: Sequence[Process] = [p for p in site.processes.recorded() if site.processes.is_alive(p)]
    return StandInfo(
        home=site.home,
        checkout=site.checkout,
        embedded=site.embedded,
        database=address,
        prefect_api_url=site.prefect_api_url or "",
        provider_base_url=site.provider_base_url,
        postgres=PostgresInfo(running.data, running.pid, running.port) if running else None,
        processes=tuple(ProcessInfo(p.name, p.pid, p.log, p.port) for p in processes),
    )


def _prefect_settings(site: Site) -> dict[str, str]:
    """Where the credentials of Prefect come from: nowhere for our own server."""
    return {} if site.embeds_prefect else dict(os.environ)


def _known(value: str | None) -> str:
    assert value is not None
    return value


def _how(started: bool) -> str:
    return "started on" if started else "attached to"

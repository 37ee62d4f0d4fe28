"""The steps of `up`: what each makes true, and what it needs first."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from lanes.local import deployments
from lanes.local.database import check_answers, read_address, shown
from lanes.local.errors import StandError
from lanes.local.services import endpoint, server, worker
from lanes.local.worksite import POSTGRES, Site, python

POOLS = {
    "realtime": "Flow runs that answer at once: drains, and what watches over them",
    "batch": "Flow runs that may take their time: submission, collection, replays, reports",
}


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
        Step("install", "Blocks, workloads, automations", install, after=("deployments", "schema", "endpoint")),
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


def pools(site: Site) -> str:
    """The two work pools exist."""
    with site.prefect() as api:
        created = [name for name, text in POOLS.items() if api.create_work_pool(name, description=text)]
    return f"created {', '.join(created)}" if created else "present"


def deploy(site: Site) -> str:
    """Every deployment of prefect.yaml is in Prefect as this checkout has it."""
    if not (site.checkout / "prefect.yaml").exists():
        raise StandError(f"{site.checkout} holds no prefect.yaml: run this inside a checkout of Lanes")
    stamp = site.home / "deployed.json"
    source = deployments.source_digest(site.checkout)
    with site.prefect() as api:
        present = api.deployments()
        if deployments.is_current(stamp, source, present):
            return f"{len(present)} up to date"
        site.run(
            "deploy", python("-m", "prefect", "--no-prompt", "deploy", "--all"),
            environment=site.environment(), limit_s=240,
        )  # fmt: skip
        present = api.deployments()
    deployments.remember(stamp, source, present)
    return f"{len(present)} deployed"


def install(site: Site) -> str:
    """Blocks, workload versions, schedules and automations are in Prefect as this checkout has them."""
    site.run("install", python("-m", "tasks.install"), environment=site.environment(), limit_s=180)
    return "installed"

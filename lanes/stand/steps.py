"""The steps of `up`: the effect of each, its prerequisites, and their parallel execution."""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from lanes import FILES
from lanes.errors import StandError
from lanes.realtime.drains import POOL, POOL_LIMIT, limit_for_one_machine
from lanes.stand import chain, deploying
from lanes.stand.database import check_own, format_address
from lanes.stand.local import POOLS, POSTGRES, SERVER, digest_of_secrets, write_private
from lanes.stand.progress import StepProgress
from lanes.stand.services import endpoint, server, supervisor, warm_workers, worker
from lanes.stand.supervisor import ask_for_standing
from lanes.stand.worksite import Site, StepGivenUp, python
from lanes.standing.roles import STANDING
from lanes.store.database import clock
from lanes.store.engines import discreet_engine
from lanes.store.signals import read_standing_roles

DEPLOY = ("prefect", "--no-prompt", "deploy", "--all", "--prefect-file")
INSTALL = ("tasks.install",)
SAMPLES = "--samples"
INSTALL_LIMIT_S = 300
INSTALLED_FROM = ("LANES_", "ANTHROPIC_", "SLACK_")


@dataclass(frozen=True)
class StandStep:
    """One step of `up`, which runs after the steps in `after`. `run` returns its outcome in a few words."""

    name: str
    title: str
    run: Callable[[Site], str]
    after: tuple[str, ...] = ()


def list_steps() -> list[StandStep]:
    """Return the steps for a whole stand. Workers come last: a run that they start must find the blocks of this stand."""
    installed, begun = ("pools", "schema", "endpoint"), ("pools", "install", "warm")
    return [
        StandStep("database", "Postgres", database),
        StandStep("schema", "Schema", schema, after=("database",)),
        StandStep("endpoint", "Model provider", endpoint),
        StandStep("server", "Prefect server", server, after=("database",)),
        StandStep("warm", "Workers", warm_workers, after=("database", "endpoint")),
        StandStep("pools", "Work pools", pools, after=("server",)),
        StandStep("install", "Deployments, blocks, workloads", install, after=installed),
        StandStep("standing", "Standing runs", ensure_standing_runs, after=("install",)),
        *(
            StandStep(f"worker-{pool}", f"Worker {pool}", partial(worker, pool=pool), after=begun)
            for pool in POOLS
        ),
        StandStep("supervisor", "Supervisor", supervisor, after=("schema", "server", "standing")),
    ]


DEPLOYED = ("database", "schema", "server", "pools", "install", "standing")  # once for all hosts


def database(site: Site) -> str:
    """Check that the database of Lanes answers, and start an embedded server if Lanes or Prefect needs one."""
    notes: list[str] = []
    if site.embeds_database or site.embeds_prefect:
        postgres = site.embedded_postgres
        found = postgres.running()
        running = postgres.start()
        if found is None:
            site.started.append(POSTGRES)
        site.postgres = running
        notes.append(f"{'attached to' if found else 'embedded on'} port {running.port}")
        if postgres.relocation_note:
            notes.append(postgres.relocation_note)
    if site.settings.database_url is None:
        if site.settings.direct_database_url is not None:
            raise StandError(
                "LANES_DIRECT_DATABASE_URL is set and LANES_DATABASE_URL is not: set both, or neither"
            )
        assert site.postgres is not None
        site.database_url = site.postgres.url("lanes")
    else:
        address, direct = check_own(site.settings)
        site.database_url = address.render_as_string(hide_password=False)
        site.direct_url = direct.render_as_string(hide_password=False)
        notes.insert(0, f"yours at {format_address(address)}")
    return "; ".join(notes)


def schema(site: Site) -> str:
    """Bring the database to the newest schema."""
    from lanes.store.schema import upgrade

    assert site.database_url is not None
    upgrade(site.direct_url or site.database_url)
    return "at the newest version"


def pools(site: Site) -> str:
    """Create the two work pools, and leave those that exist as they are.

    A stand with a Prefect server of its own has the processors of this machine.
    """
    here = limit_for_one_machine(os.cpu_count() or 1)
    limits = {POOL: here if site.embeds_prefect else POOL_LIMIT}
    with site.prefect() as api:
        create = api.create_work_pool
        created = [
            name
            for name, text in POOLS.items()
            if create(name, description=text, limit=limits.get(name))
        ]
    return f"created {', '.join(created)}" if created else "present"


def install(site: Site) -> str:
    """Write deployments, blocks, versions, schedules and automations of this release to Prefect, one deploy at a time.

    Deployments are compared with those in Prefect. Blocks that an earlier `up` wrote from the same values are trusted, unless
    this `up` is thorough.
    """
    from lanes.store.schema import lock_deploy

    assert site.database_url is not None
    environment = site.environment(**{deploying.VERSION: deploying.release()})
    values = sorted(each for each in environment.items() if each[0].startswith(INSTALLED_FROM))
    command_line = list_installers(site)
    stamp, wanted = site.home / "installed", deploying.read_deployments()
    made_from = digest_of_secrets(site.home, [*command_line, *map("=".join, values)])
    with site.prefect() as api, lock_deploy(site.direct_url or site.database_url):
        stale = bool(deploying.shortcomings(api, wanted))
        site.renewed = stale or not stamp.exists() or stamp.read_text() != made_from
        if not site.thorough and not site.renewed:
            return f"{len(wanted)} deployments unchanged"
        deploy = [(*DEPLOY, str(FILES / "prefect.yaml"))] if stale else []
        command = python("-m", "lanes.stand.chain", *chain.join([*deploy, command_line]))
        site.run("install", command, environment=environment, limit_s=INSTALL_LIMIT_S)
    write_private(stamp, made_from)
    return f"{len(wanted)} deployments {'written' if stale else 'up to date'}"


def list_installers(site: Site) -> tuple[str, ...]:
    """Return the module and arguments that write blocks and workloads, with samples if embedded or requested."""
    return (*INSTALL, SAMPLES) if site.samples or site.embeds_database else INSTALL


def ensure_standing_runs(site: Site) -> str:
    """Ensure that standing runs of this source and these values hold their roles or will take them.

    Prefect's states do not prove that a run is alive: a run whose machine stopped still counts as running. A held role does.
    """
    restarted = bool({POSTGRES, SERVER} & set(site.started))
    if not site.thorough and not restarted:
        return "run on"
    with site.prefect() as api:
        if site.renewed or restarted:
            for each in STANDING:
                api.run(each.next)
            asked = list(STANDING)
        else:
            held, now = _read_standing(site)
            free = (each for each in STANDING if each.role not in held)
            asked = [each for each in free if ask_for_standing(api, each, now)]
    return f"asked for {', '.join(each.flow for each in asked)}" if asked else "run on"


def _read_standing(site: Site) -> tuple[set[int], datetime]:
    """Return the standing roles that are held, and the database's time."""
    assert site.database_url is not None
    engine = discreet_engine(site.database_url)
    try:
        with engine.connect() as connection:
            return read_standing_roles(connection), clock(connection)
    finally:
        engine.dispose()


def run_steps(steps: Sequence[StandStep], site: Site, progress: StepProgress) -> None:
    """Run every step after its prerequisites; the first failure cancels the other steps and is raised.

    A prerequisite that is not among `steps` counts as met.
    """
    names = {step.name for step in steps}
    waiting = list(steps)
    running: dict[Future[None], StandStep] = {}
    done: set[str] = set()
    with ThreadPoolExecutor(max_workers=max(1, len(steps))) as pool:
        try:
            while waiting or running:
                for step in [s for s in waiting if not (set(s.after) & names) - done]:
                    waiting.remove(step)
                    running[pool.submit(_run, step, site, progress)] = step
                if not running:
                    raise ValueError(
                        f"steps wait for each other: {', '.join(s.name for s in waiting)}"
                    )
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    step = running.pop(future)
                    future.result()
                    done.add(step.name)
        except BaseException:
            site.canceled.set()
            raise


def _run(step: StandStep, site: Site, progress: StepProgress) -> None:
    site.check_canceled()
    progress.begin(step.title)
    begin = time.monotonic()
    try:
        note = step.run(site)
    except BaseException as error:
        why = "given up" if isinstance(error, StepGivenUp) else "failed"
        progress.fail(step.title, time.monotonic() - begin, why=why)
        raise
    progress.end(step.title, note, time.monotonic() - begin)

"""The state of each component of a stand at this moment.

Modules are imported only when a check needs them: without a stand, none is imported.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lanes.errors import StandError
from lanes.stand.kept import DATABASE, PROVIDER, PROVIDER_URL
from lanes.stand.local import ENDPOINT, OLDEST_SERVER, POOLS, POSTGRES, SERVER, SUPERVISOR
from lanes.stand.runs_with import ANTHROPIC, RunsWith, provider_in
from lanes.store.asking import place_of
from lanes.text import mask_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lanes.stand.fleet import FleetWorker, HostReport
    from lanes.stand.processes import Process

LIMIT_S = 5  # of each check; the checks run in parallel


class Condition(StrEnum):
    """The condition of a component."""

    RUNNING = "running"  # ours, and answers
    YOURS = "yours"  # the user's own, and answers
    UNKNOWN = "unknown"  # the user's own, and this shell lacks the credentials
    SILENT = "silent"  # runs or should run, but does not answer
    STOPPED = "stopped"  # ours, and not running


@dataclass(frozen=True)
class ComponentStatus:
    """The status of one component, with its process, port and log for further diagnosis."""

    name: str
    condition: Condition
    detail: str
    pid: int | None = None
    port: int | None = None
    log: Path | None = None


def components(runs: RunsWith, home: Path) -> list[ComponentStatus]:
    """Return the current status of every component, checked in parallel; nothing is started or changed."""
    workers = (partial(_worker, pool=pool) for pool in POOLS)
    questions = [_database, _provider, _prefect, *workers, _supervisor]
    with ThreadPoolExecutor(len(questions)) as beside:
        return list(beside.map(lambda ask: ask(runs, home), questions))


def _database(runs: RunsWith, home: Path) -> ComponentStatus:
    if DATABASE in runs.unknown:
        return ComponentStatus(POSTGRES, Condition.UNKNOWN, runs.describe_missing(DATABASE))
    own = runs.settings.database_url
    if own is not None:
        return _check_own_database(own.get_secret_value())
    from lanes.stand.postgres import EmbeddedPostgres

    postgres = EmbeddedPostgres(home / POSTGRES)
    running = postgres.running()
    if running is None:
        where = f"data in {postgres.data}"
        return ComponentStatus(POSTGRES, Condition.STOPPED, where, log=postgres.log)
    where, pid, port = f"data in {running.data}", running.pid, running.port
    return ComponentStatus(POSTGRES, Condition.RUNNING, where, pid, port, postgres.log)


def _check_own_database(url: str) -> ComponentStatus:
    place = place_of(url)
    if place is not None and _is_new_enough(url):
        return ComponentStatus(POSTGRES, Condition.YOURS, place)
    # a slow import, needed only to explain what is wrong
    from lanes.stand.database import check_answers, format_address, read_address

    try:
        address = read_address(url)
        check_answers(address)
    except StandError as error:
        return ComponentStatus(POSTGRES, Condition.SILENT, str(error))
    return ComponentStatus(POSTGRES, Condition.YOURS, format_address(address))


def _is_new_enough(url: str) -> bool:
    """Return whether a server that Lanes can use answers; False also if a closer check is needed."""
    import psycopg

    from lanes.store.asking import ask_by_driver

    try:
        with ask_by_driver(url) as ask:
            (row,) = ask("select current_setting('server_version_num')::int / 10000 as version")
            return row.version >= OLDEST_SERVER
    except psycopg.Error:
        return False


def _provider(runs: RunsWith, home: Path) -> ComponentStatus:
    if PROVIDER_URL in runs.unknown:
        return ComponentStatus(ENDPOINT, Condition.UNKNOWN, runs.describe_missing(PROVIDER_URL))
    if runs.settings.anthropic_api_key is not None or PROVIDER in runs.unknown:
        address = mask_address(runs.settings.anthropic_base_url or ANTHROPIC)
        return ComponentStatus(ENDPOINT, Condition.YOURS, f"{address} (`lanes doctor` asks it)")
    if runs.info is None and (url := runs.settings.prefect_api_url):
        from lanes.stand.prefect_api import PrefectApi, is_local

        found = provider_in(PrefectApi(url, timeout_s=LIMIT_S))
        # a local provider that does not answer is a stand-in that `lanes down` has stopped
        if found is not None and (not is_local(found[0]) or _answers(f"{found[0]}/healthz")):
            detail = f"{mask_address(found[0])}, as its block in Prefect says"
            return ComponentStatus(ENDPOINT, Condition.YOURS, detail)
    process = _process(home, ENDPOINT)
    url = f"http://127.0.0.1:{process.port}" if process else ""
    return _ours(ENDPOINT, process, url, answers=bool(url) and _answers(f"{url}/healthz"))


def _prefect(runs: RunsWith, home: Path) -> ComponentStatus:
    own = runs.settings.prefect_api_url
    if own is not None:
        from lanes.stand.prefect_api import PrefectApi

        with PrefectApi(own, timeout_s=LIMIT_S) as api:
            if api.healthy():
                return ComponentStatus(SERVER, Condition.YOURS, own)
            return ComponentStatus(SERVER, Condition.SILENT, f"{own} gives no answer")
    process = _process(home, SERVER)
    url = f"http://127.0.0.1:{process.port}/api" if process else ""
    page, answers = url.removesuffix("/api"), bool(url) and _answers(f"{url}/health")
    return _ours(SERVER, process, page, answers=answers)


def _worker(runs: RunsWith, home: Path, *, pool: str) -> ComponentStatus:
    name, process = f"worker-{pool}", _process(home, f"worker-{pool}")
    online = [each.name for each in workers(runs, [pool], reports=()) if each.is_online]
    if process is None and online:
        return ComponentStatus(name, Condition.YOURS, f"pool {pool}: {', '.join(online)}")
    answers = f"{pool}-{runs.settings.host}" in online
    return _ours(name, process, f"pool {pool}", answers=answers, start=_start(runs))


def _supervisor(runs: RunsWith, home: Path) -> ComponentStatus:
    process = _process(home, SUPERVISOR)
    if process is None and (reports := host_reports(runs)):
        hosts = ", ".join(each.host for each in reports)
        return ComponentStatus(SUPERVISOR, Condition.YOURS, f"runs on {hosts}")
    does = "replaces standing runs that died"
    return _ours(SUPERVISOR, process, does, answers=True, start=_start(runs))


def _start(runs: RunsWith) -> str:
    """Return the commands that start workers here; a Prefect server of the user's own may serve several machines."""
    return "`lanes worker` or `lanes up`" if runs.settings.prefect_api_url else "`lanes up`"


def host_reports(runs: RunsWith) -> "Sequence[HostReport]":
    """Return the reports of the supervisors of all hosts; empty if no database answers."""
    url = runs.database_url()
    if url is None:
        return ()
    import psycopg

    from lanes.stand.fleet import reports
    from lanes.store.asking import ask_by_driver

    with suppress(psycopg.Error), ask_by_driver(url) as ask:
        return reports(ask)
    return ()


def workers(
    runs: RunsWith, pools: "Iterable[str]" = POOLS, *, reports: "Sequence[HostReport]"
) -> "Sequence[FleetWorker]":
    """Return the workers of all hosts, with the `reports` of their supervisors; empty if no Prefect answers."""
    url = runs.prefect_url()
    if not url:
        return ()
    from lanes.stand.fleet import fleet
    from lanes.stand.prefect_api import PrefectApi

    with suppress(StandError), PrefectApi.at(url, runs.info, timeout_s=LIMIT_S) as api:
        return fleet(api, reports, pools)
    return ()


def _process(home: Path, name: str) -> "Process | None":
    """Return the process of that name, if it runs."""
    records = home / "processes"
    if not records.exists():
        return None
    from lanes.stand.processes import Processes

    return Processes(records, home / "logs").find(name)


def _ours(
    name: str, process: "Process | None", detail: str, *, answers: bool, start: str = "`lanes up`"
) -> ComponentStatus:
    if process is None:
        return ComponentStatus(name, Condition.STOPPED, f"start it with {start}")
    condition = Condition.RUNNING if answers else Condition.SILENT
    return ComponentStatus(name, condition, detail, process.pid, process.port, process.log)


def _answers(url: str) -> bool:
    import httpx2

    try:
        return httpx2.get(url, timeout=LIMIT_S, trust_env=False).status_code == 200
    except httpx2.HTTPError:
        return False

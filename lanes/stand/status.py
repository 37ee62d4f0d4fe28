"""How each component of a stand is at this moment."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import httpx2

from lanes.stand.database import check_answers, read_address, shown
from lanes.stand.errors import StandError
from lanes.stand.info import load_info
from lanes.stand.postgres import EmbeddedPostgres
from lanes.stand.prefect_api import PrefectApi
from lanes.stand.processes import Process, Processes
from lanes.stand.stand import Stand
from lanes.stand.steps import POOLS
from lanes.stand.worksite import ENDPOINT, POSTGRES, SERVER, SUPERVISOR


class Condition(StrEnum):
    """What is true of a component."""

    RUNNING = "running"  # ours, and answers
    YOURS = "yours"  # the user's own, and answers
    SILENT = "silent"  # runs, or should, but does not answer
    STOPPED = "stopped"  # ours, and not running


@dataclass(frozen=True)
class ComponentStatus:
    """One component, with where to look further."""

    name: str
    condition: Condition
    detail: str
    pid: int | None = None
    port: int | None = None
    log: Path | None = None


def components(stand: Stand) -> list[ComponentStatus]:
    """Every component, asked now; nothing is started or changed."""
    processes = Processes(stand.home / "processes", stand.home / "logs")
    return [
        _database(stand),
        _provider(stand, processes),
        _prefect(stand, processes),
        *_workers(stand, processes),
        _ours(SUPERVISOR, processes.find(SUPERVISOR), "replaces standing runs that died", answers=True),
    ]


def _database(stand: Stand) -> ComponentStatus:
    own = stand.settings.database_url
    if own is not None:
        try:
            address = read_address(own.get_secret_value())
            check_answers(address)
        except StandError as error:
            return ComponentStatus(POSTGRES, Condition.SILENT, str(error))
        return ComponentStatus(POSTGRES, Condition.YOURS, shown(address))
    postgres = EmbeddedPostgres(stand.home / POSTGRES)
    running = postgres.running()
    if running is None:
        return ComponentStatus(POSTGRES, Condition.STOPPED, f"data in {postgres.data}", log=postgres.log)
    return ComponentStatus(POSTGRES, Condition.RUNNING, f"data in {running.data}", running.pid, running.port, postgres.log)


def _provider(stand: Stand, processes: Processes) -> ComponentStatus:
    if stand.settings.anthropic_api_key is not None:
        address = stand.settings.anthropic_base_url or "https://api.anthropic.com"
        return ComponentStatus(ENDPOINT, Condition.YOURS, f"{address} (`lanes doctor` asks it)")
    process = processes.find(ENDPOINT)
    url = f"http://127.0.0.1:{process.port}" if process else ""
    return _ours(ENDPOINT, process, url, answers=bool(url) and _answers(f"{url}/healthz"))


def _prefect(stand: Stand, processes: Processes) -> ComponentStatus:
    own = stand.settings.prefect_api_url
    if own is not None:
        with PrefectApi(own, timeout_s=5) as api:
            if api.healthy():
                return ComponentStatus(SERVER, Condition.YOURS, own)
            return ComponentStatus(SERVER, Condition.SILENT, f"{own} gives no answer")
    process = processes.find(SERVER)
    url = f"http://127.0.0.1:{process.port}/api" if process else ""
    return _ours(SERVER, process, url.removesuffix("/api"), answers=bool(url) and _answers(f"{url}/health"))


def _workers(stand: Stand, processes: Processes) -> list[ComponentStatus]:
    found: list[ComponentStatus] = []
    info = load_info(stand.home)
    for pool in POOLS:
        name = f"worker-{pool}"
        process = processes.find(name)
        online = process is not None and info is not None and _online(info.prefect_api_url, pool)
        found.append(_ours(name, process, f"pool {pool}", answers=online))
    return found


def _online(api_url: str, pool: str) -> bool:
    try:
        with PrefectApi(api_url, timeout_s=5) as api:
            return any(w["name"] == f"{pool}-1" and w["status"] == "ONLINE" for w in api.workers(pool))
    except StandError:
        return False


def _ours(name: str, process: Process | None, detail: str, *, answers: bool) -> ComponentStatus:
    if process is None:
        return ComponentStatus(name, Condition.STOPPED, "start it with `lanes up`")
    condition = Condition.RUNNING if answers else Condition.SILENT
    return ComponentStatus(name, condition, detail, process.pid, process.port, process.log)


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=5, trust_env=False).status_code == 200
    except httpx2.HTTPError:
        return False

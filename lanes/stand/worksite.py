"""The state that the steps of one `up` share: the settings, the results so far, and the start of each process."""

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from lanes.errors import StandError
from lanes.settings import Settings
from lanes.stand.database import format_address, read_address
from lanes.stand.info import (
    PostgresInfo,
    ProcessInfo,
    StandInfo,
    inherit_environment,
    prefect_client_environment,
)
from lanes.stand.local import ENDPOINT, LOOPBACK, POSTGRES, SERVER, digest_of_secrets
from lanes.stand.postgres import EmbeddedPostgres, Running
from lanes.stand.prefect_api import PrefectApi
from lanes.stand.processes import Process, Processes

POLL_S = 0.1
WORKER = "worker-"  # prefix of the names of workers
LAST = (ENDPOINT, SERVER)  # stopped after the workers, whose runs use them
STOP_S = 10.0  # the time that a process has to end
MARGIN_S = 15.0  # the time that a worker has in addition to its runs


class StepGivenUp(StandError):
    """A step was given up because another step failed."""


@dataclass
class Site:
    """One checkout's stand while `up` starts it. Later steps read the values that earlier steps write.

    A `thorough` start repairs objects that a person may have deleted in Prefect; otherwise it trusts a stand that runs.
    """

    settings: Settings
    home: Path
    checkout: Path
    others_present: bool = False
    thorough: bool = True
    samples: bool = False  # publish the sample workloads into the user's own database too
    postgres: Running | None = None
    database_url: str | None = None
    direct_url: str | None = None
    prefect_api_url: str | None = None
    provider_base_url: str | None = None
    started: list[str] = field(default_factory=list)
    changed: tuple[str, ...] = ()  # variables with other values than those the stand ran with
    renewed: bool = True  # the source or the values differ from those installed before
    canceled: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.processes = Processes(self.home / "processes", self.home / "logs")
        self.embedded_postgres = EmbeddedPostgres(self.home / POSTGRES)
        self._ending_workers = threading.Lock()

    @property
    def embeds_database(self) -> bool:
        return self.settings.database_url is None

    @property
    def embeds_prefect(self) -> bool:
        return self.settings.prefect_api_url is None

    @property
    def embeds_provider(self) -> bool:
        return self.settings.anthropic_api_key is None

    @property
    def embedded(self) -> tuple[str, ...]:
        chosen = {
            "database": self.embeds_database,
            "prefect": self.embeds_prefect,
            "provider": self.embeds_provider,
        }
        return tuple(name for name, ours in chosen.items() if ours)

    def base_environment(self) -> dict[str, str]:
        """Return the environment that every process of ours inherits, without variables that lead to another Prefect."""
        kept = inherit_environment(without_prefect=self.embeds_prefect)
        return kept | prefect_client_environment(self.home) if self.embeds_prefect else kept

    def prefect(self) -> PrefectApi:
        """Return a client of the stand's Prefect server; the user's credentials go only to the user's own."""
        return PrefectApi.from_stand(self.info())

    def info(self) -> StandInfo:
        """Return the record of the stand as far as it is up."""
        running = self.postgres
        if self.settings.database_url is not None:
            address = format_address(read_address(self.settings.database_url.get_secret_value()))
        else:
            address = f"{LOOPBACK}:{running.port}/lanes" if running else ""
        recorded = self.processes.list_recorded()
        alive = [each for each in recorded if self.processes.is_alive(each)]
        processes = tuple(ProcessInfo(each.name, each.pid, each.log, each.port) for each in alive)
        return StandInfo(
            home=self.home,
            checkout=self.checkout,
            embedded=self.embedded,
            database=address,
            prefect_api_url=self.prefect_api_url or "",
            provider_base_url=self.provider_base_url,
            postgres=PostgresInfo(running.data, running.pid, running.port) if running else None,
            processes=processes,
        )

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of the processes that belong to the stand."""
        variables = self.info().environment()
        if self.database_url is not None:
            variables["LANES_DATABASE_URL"] = self.database_url
            variables["LANES_DIRECT_DATABASE_URL"] = self.direct_url or self.database_url
        return self.base_environment() | variables | path_to_python() | more

    def ensure(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        depends_on: Mapping[str, str],
        port: int | None = None,
    ) -> tuple[Process, bool]:
        """Return the process, and whether it was started now; a process with the same command and values is kept.

        `depends_on` contains the values whose change requires a new process.

        Raises:
            StandError: the process must be replaced while another run uses the stand.
        """
        values = (f"{key}={value}" for key, value in sorted(depends_on.items()))
        made_from = digest_of_secrets(self.home, [*command, *values])
        current = self.processes.find(name)
        if current is not None and current.made_from == made_from:
            return current, False
        if current is not None:
            self.replace(current)
        process = self.processes.start(
            name,
            command,
            environment=environment,
            directory=self.checkout,
            made_from=made_from,
            port=port,
        )
        self.started.append(name)
        return process, True

    def replace(self, current: Process) -> None:
        """Stop the process, so that a changed one can take its place.

        If flow runs use the process, the workers stop first, so that their runs can finish their calls. A later step starts
        workers again.
        """
        if self.others_present:
            named = f" ({', '.join(self.changed)})" if self.changed else ""
            raise StandError(
                f"{current.name} runs with other settings{named} and another run is using it: wait for that run, or "
                "end the stand with `lanes down`"
            )
        if current.name in LAST:
            # Steps run in parallel: the lock lets only one of them stop each worker, because a second SIGTERM kills it.
            with self._ending_workers:
                recorded = self.processes.list_recorded()
                if workers := [each for each in recorded if each.name.startswith(WORKER)]:
                    stop_all(self.processes, workers, self.settings)
        self.processes.stop(current, grace_s_of(current, self.settings))

    def run(
        self, name: str, command: Sequence[str], *, environment: Mapping[str, str], limit_s: float
    ) -> None:
        """Run the command to its end within `limit_s` seconds; raise StandError with its log if it fails."""
        leftover = self.processes.find(name)
        if leftover is not None:
            self.processes.stop(leftover, grace_s=2)
        process = self.processes.start(
            name, command, environment=environment, directory=self.checkout
        )
        deadline = time.monotonic() + limit_s
        try:
            while (code := self.processes.exit_code(process)) is None:
                self.check_canceled()
                if time.monotonic() > deadline:
                    raise StandError(
                        f"{name} did not end within {limit_s:.0f} s: read its log", log=process.log
                    )
                time.sleep(POLL_S)
        finally:
            self.processes.stop(process, grace_s=2)
        if code != 0:
            raise StandError(
                f"{name} failed with exit code {code}: read the end of its log", log=process.log
            )

    def wait(
        self, condition: Callable[[], bool], *, process: Process, what: str, limit_s: float
    ) -> None:
        """Wait for the condition; raise StandError if the process ends first or `limit_s` seconds pass."""
        deadline = time.monotonic() + limit_s
        while not condition():
            self.check_canceled()
            if not self.processes.is_alive(process):
                raise StandError(
                    f"{process.name} ended before {what}: read the end of its log", log=process.log
                )
            if time.monotonic() > deadline:
                raise StandError(
                    f"{process.name} runs, but {what} took longer than {limit_s:.0f} s: read its log",
                    log=process.log,
                )
            time.sleep(POLL_S)

    def check_canceled(self) -> None:
        if self.canceled.is_set():
            raise StepGivenUp("another step failed, so this one was given up")


def path_to_python() -> dict[str, str]:
    """Return a PATH on which `python`, the command that starts flow runs, is this interpreter."""
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    return {"PATH": os.pathsep.join(folders)}


def grace_s_of(process: Process, settings: Settings) -> float:
    """Return the seconds that the process has to end before it is killed."""
    return settings.grace_s + MARGIN_S if process.name.startswith(WORKER) else STOP_S


def stop_all(processes: Processes, group: Sequence[Process], settings: Settings) -> list[Process]:
    """Stop the processes in parallel, and return those that ran."""
    with ThreadPoolExecutor(max_workers=len(group)) as pool:
        ran = pool.map(processes.stop, group, [grace_s_of(each, settings) for each in group])
        return [each for each, it in zip(group, ran, strict=True) if it]


def python(*arguments: str) -> list[str]:
    """Return a command for this Python interpreter."""
    return [sys.executable, *arguments]

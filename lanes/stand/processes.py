"""Processes that outlive the command that started them. A process is stopped only if its pid still belongs to it."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from pydantic import TypeAdapter, ValidationError

from lanes.errors import StandError
from lanes.stand.local import birth_mark, is_same, write_private

POLL_S = 0.05


@dataclass(frozen=True)
class Process:
    """The record of a started process, as stored on disk.

    `mark` proves that the pid still belongs to this process. `made_from` is a digest of the values that the process was
    started with, so that a changed setting is detected. `log_start` is the offset of its part of the log, in bytes.
    """

    name: str
    pid: int
    mark: str
    command: tuple[str, ...]
    log: Path
    log_start: int
    made_from: str
    port: int | None = None

    @property
    def alive(self) -> bool:
        return is_same(self.pid, self.mark)

    def output(self) -> str:
        """Return the output of the process since its start."""
        try:
            with self.log.open("rb") as log:
                log.seek(self.log_start)
                return log.read().decode(errors="replace")
        except FileNotFoundError:
            return ""


AS_JSON = TypeAdapter(Process)


class Processes:
    """The processes of one stand: records in `records`, one log file each in `logs`."""

    def __init__(self, records: Path, logs: Path) -> None:
        self.records = records
        self.logs = logs
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
        made_from: str = "",
        port: int | None = None,
    ) -> Process:
        """Start the command in its own session, with its output in its log, and write a record of the process."""
        for folder in (self.records, self.logs):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        log = self.logs / f"{name}.log"
        with log.open("ab") as out:
            log_start = out.tell()
            try:
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    cwd=directory,
                    env=dict(environment),
                    start_new_session=True,
                )
            except OSError as error:
                raise StandError(
                    f"{name} could not be started: {command[0]}: {error.strerror}"
                ) from error
        self._children[child.pid] = child
        mark = birth_mark(child.pid) or "gone"
        process = Process(name, child.pid, mark, tuple(command), log, log_start, made_from, port)
        self._write(process)
        return process

    def find(self, name: str) -> Process | None:
        """Return the process of this name if it still runs."""
        process = self._read(self.records / f"{name}.json")
        return process if process is not None and self.is_alive(process) else None

    def list_recorded(self) -> list[Process]:
        """Return every process on record, running or not."""
        found = (self._read(file) for file in sorted(self.records.glob("*.json")))
        return [process for process in found if process is not None]

    def is_alive(self, process: Process) -> bool:
        """Return whether the process runs; if it is a child of this process and has ended, also reap it."""
        child = self._children.get(process.pid)
        if child is not None and child.poll() is not None:
            return False
        return process.alive

    def exit_code(self, process: Process) -> int | None:
        """Return the exit code of a process; None while it runs, -1 if it ended and was not a child of this process."""
        child = self._children.get(process.pid)
        if child is not None:
            return child.poll()
        return None if process.alive else -1

    def stop(self, process: Process, grace_s: float = 10.0) -> bool:
        """Stop the process and its descendants: send SIGTERM, then SIGKILL after `grace_s` seconds.

        Return False, and send no signal, if the pid no longer belongs to this process.
        """
        ours = self.is_alive(process)
        if ours:
            family = {process.pid: process.mark} | _descendants(process.pid)
            _signal_group(process.pid, signal.SIGTERM)
            self._wait_until_ended(family, grace_s)
            for pid, mark in family.items():
                if is_same(pid, mark):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            self._wait_until_ended(family, 5.0)
        self._forget(process)
        return ours

    def _wait_until_ended(self, family: dict[int, str], limit_s: float) -> None:
        """Wait up to `limit_s` seconds for the family to end, including processes that it starts during the wait."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            for pid in family:
                if (child := self._children.get(pid)) is not None:
                    child.poll()
            alive = [pid for pid, mark in family.items() if is_same(pid, mark)]
            if not alive:
                return
            for pid in alive:
                family |= _descendants(pid)
            time.sleep(POLL_S)

    def _forget(self, process: Process) -> None:
        file = self.records / f"{process.name}.json"
        current = self._read(file)
        if current is not None and (current.pid, current.mark) == (process.pid, process.mark):
            file.unlink(missing_ok=True)
        child = self._children.pop(process.pid, None)
        if child is not None:
            child.poll()

    def _write(self, process: Process) -> None:
        file = self.records / f"{process.name}.json"
        write_private(file, AS_JSON.dump_json(process, indent=2).decode())

    @staticmethod
    def _read(file: Path) -> Process | None:
        try:
            return AS_JSON.validate_json(file.read_bytes())
        except (OSError, ValidationError):
            return None


def _descendants(pid: int) -> dict[int, str]:
    """Return the birth marks of the descendants of this process by pid, including those with their own session."""
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return {}
    marked = ((child.pid, birth_mark(child.pid)) for child in children)
    return {pid: mark for pid, mark in marked if mark is not None}


def _signal_group(pid: int, number: signal.Signals) -> None:
    """Send the signal to every process of the group that this process leads."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)

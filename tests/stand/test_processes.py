"""Processes of the stand: started once, found by every command, and never confused with other processes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from lanes.errors import StandError
from lanes.settings import Settings
from lanes.stand.local import birth_mark, is_same
from lanes.stand.processes import Process, Processes
from lanes.stand.worksite import LAST, WORKER, Site
from tests.waiting import until

FOREVER = ["sleep", "600"]
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
PARENT = (
    "import subprocess, signal; c = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
    "print(c.pid, flush=True); signal.pause()"
)
LATE_PARENT = (
    "import signal, subprocess, sys, time\n"
    "def last(*_):\n"
    "    print(subprocess.Popen(['sleep', '600'], start_new_session=True).pid, flush=True)\n"
    "    time.sleep(1)\n"
    "    sys.exit()\n"
    "signal.signal(signal.SIGTERM, last); print('up', flush=True)\n"
    "while True: signal.pause()"
)

SLOW_TO_END = (
    "import signal\n"
    "def ask(*_):\n"
    "    print('asked', flush=True)\n"
    "    signal.alarm(1)\n"
    "signal.signal(signal.SIGTERM, ask); print('up', flush=True)\n"
    "while True: signal.pause()"
)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    ours = Processes(tmp_path / "records", tmp_path / "logs")
    yield ours
    for process in ours.list_recorded():
        ours.stop(process, grace_s=0)


def start(processes: Processes, command: list[str], name: str = "one") -> Process:
    return processes.start(name, command, environment=os.environ, directory=Path("/"))


def said(process: Process) -> str:
    until(lambda: process.output().endswith("\n"))
    return process.output()


def test_a_started_process_is_found_by_another_command(processes: Processes) -> None:
    started = start(processes, FOREVER)
    assert Processes(processes.records, processes.logs).find("one") == started


def test_a_stopped_process_has_ended_and_has_no_record(processes: Processes) -> None:
    started = start(processes, FOREVER)
    assert processes.stop(started)
    assert birth_mark(started.pid) is None
    assert processes.list_recorded() == []


def test_a_process_with_a_reused_pid_is_never_stopped(processes: Processes) -> None:
    bystander = subprocess.Popen(FOREVER, start_new_session=True)
    try:
        mark = birth_mark(bystander.pid)
        assert mark is not None
        gone = replace(start(processes, FOREVER), pid=bystander.pid, mark="another life")
        assert not processes.stop(gone, grace_s=0)
        assert is_same(bystander.pid, mark)
    finally:
        bystander.kill()
        bystander.wait()


def test_a_process_that_ignores_sigterm_is_killed_after_the_grace_period(
    processes: Processes,
) -> None:
    stubborn = start(processes, [sys.executable, "-c", STUBBORN])
    said(stubborn)
    assert processes.stop(stubborn, grace_s=0.2)
    assert birth_mark(stubborn.pid) is None


def test_a_child_process_in_another_session_ends_with_its_parent(processes: Processes) -> None:
    parent = start(processes, [sys.executable, "-c", PARENT])
    child = int(said(parent))
    assert birth_mark(child) is not None
    processes.stop(parent, grace_s=0.2)
    assert birth_mark(child) is None


@pytest.mark.slow
def test_a_child_process_that_was_started_on_sigterm_ends_with_its_parent(
    processes: Processes,
) -> None:
    started = start(processes, [sys.executable, "-c", LATE_PARENT])
    said(started)
    processes.stop(started, grace_s=5)
    assert birth_mark(int(started.output().split()[-1])) is None


def test_a_zombie_counts_as_ended() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert birth_mark(child.pid) is None
    child.wait()


def test_the_output_of_a_process_excludes_its_earlier_runs(processes: Processes) -> None:
    said(start(processes, ["echo", "first"]))
    assert said(start(processes, ["echo", "second"])) == "second\n"


def test_a_missing_program_is_reported_in_a_sentence(processes: Processes) -> None:
    with pytest.raises(
        StandError, match="one could not be started: /no/such/program: No such file"
    ):
        start(processes, ["/no/such/program"])


@pytest.mark.slow
def test_concurrent_replacements_of_services_send_one_sigterm_to_a_worker(tmp_path: Path) -> None:
    """A second SIGTERM kills a Prefect worker."""
    site = Site(Settings(), tmp_path, tmp_path)
    worker = start(site.processes, [sys.executable, "-c", SLOW_TO_END], f"{WORKER}realtime")
    assert said(worker) == "up\n"
    services = [start(site.processes, FOREVER, name) for name in LAST]
    with ThreadPoolExecutor() as pool:
        list(pool.map(site.replace, services))
    assert worker.output() == "up\nasked\n"
    assert site.processes.list_recorded() == []

"""Putting a stand up and taking it down, with small steps in place of the real ones."""

import io
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lanes.errors import StandError
from lanes.settings import Settings
from lanes.stand.info import load_info, owner_of, password_of
from lanes.stand.local import POSTGRES, Users, birth_mark
from lanes.stand.postgres import Running
from lanes.stand.progress import Silent, StepLines
from lanes.stand.stand import Stand
from lanes.stand.steps import StandStep, database, run_steps
from lanes.stand.worksite import Site
from tests.waiting import until

MINIMAL = """
import sys
from pathlib import Path
from lanes.stand.stand import Stand
from lanes.stand.steps import StandStep
from lanes.stand.worksite import Site
from lanes.settings import Settings

def serve(site: Site) -> str:
    site.ensure("service", ["sleep", "600"], environment={"PATH": "/usr/bin:/bin"}, depends_on={})
    return "up"

stand = Stand(Settings(), Path(sys.argv[1]), Path(sys.argv[1]), steps=[StandStep("service", "Service", serve)])
up = stand.up(keep=False)
print(up.info.processes[0].pid, len(up.started), flush=True)
sys.stdin.readline()
print(*stand.leave(), flush=True)
"""


@pytest.fixture(autouse=True)
def ended(home: Path) -> Iterator[None]:
    yield
    Stand(Settings(), home, home).down()


def a_service(value: str = "1", name: str = "service") -> StandStep:
    """Make a step whose process runs until it is stopped and depends on `value`."""

    def run(site: Site) -> str:
        site.ensure(name, ["sleep", "600"], environment=os.environ, depends_on={"value": value})
        return "up"

    return StandStep(name, name, run)


def stand(home: Path, *steps: StandStep) -> Stand:
    return Stand(Settings(), home, home, steps=steps)


def recording(name: str, into: list[str], after: tuple[str, ...] = ()) -> StandStep:
    return StandStep(name, name, lambda _: into.append(name) or "done", after)


def test_a_step_runs_after_the_steps_that_it_needs(home: Path) -> None:
    order: list[str] = []
    steps = [
        recording("c", order, ("a", "b")),
        recording("b", order, ("a",)),
        recording("a", order),
    ]
    run_steps(steps, Site(Settings(), home, home), Silent())
    assert order == ["a", "b", "c"]


def test_independent_steps_run_concurrently(home: Path) -> None:
    both = threading.Barrier(2, timeout=10)
    steps = [StandStep(name, name, lambda _: str(both.wait())) for name in ("left", "right")]
    run_steps(steps, Site(Settings(), home, home), Silent())


def test_steps_that_wait_for_each_other_are_refused(home: Path) -> None:
    steps = [recording("a", [], ("b",)), recording("b", [], ("a",))]
    with pytest.raises(ValueError, match="wait for each other"):
        run_steps(steps, Site(Settings(), home, home), Silent())


def test_a_second_up_keeps_the_running_processes(home: Path) -> None:
    first = stand(home, a_service()).up()
    second = stand(home, a_service()).up()
    assert first.started == ("service",)
    assert second.started == ()
    assert second.info.processes == first.info.processes


def test_a_process_that_died_is_started_again(home: Path) -> None:
    first = stand(home, a_service()).up().info.processes[0]
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: birth_mark(first.pid) is None)
    second = stand(home, a_service()).up()
    assert second.started == ("service",)
    assert second.info.processes[0].pid != first.pid


def test_a_failed_up_stops_only_the_processes_that_it_started(home: Path) -> None:
    kept = stand(home, a_service()).up().info.processes[0]

    def fail(site: Site) -> str:
        site.ensure("half", ["sleep", "600"], environment=os.environ, depends_on={})
        command = [sys.executable, "-c", "print('it was the disk'); raise SystemExit(3)"]
        site.run("broken", command, environment=os.environ, limit_s=20)
        return ""

    with pytest.raises(StandError, match="broken failed with exit code 3") as caught:
        stand(home, a_service(), StandStep("fail", "fail", fail)).up()
    assert "it was the disk" in caught.value.tail()
    assert [process.name for process in stand(home).processes.list_recorded()] == ["service"]
    assert birth_mark(kept.pid) is not None


def test_the_first_failure_ends_the_waits_of_the_other_steps(home: Path) -> None:
    waits = threading.Event()

    def wait(site: Site) -> str:
        process, _ = site.ensure("slow", ["sleep", "600"], environment=os.environ, depends_on={})
        waits.set()
        site.wait(lambda: False, process=process, what="it answered", limit_s=60)
        return ""

    def fail(_: Site) -> str:
        waits.wait(10)
        raise StandError("the cause")

    out = io.StringIO()
    steps = StandStep("wait", "Waiting", wait), StandStep("fail", "Failing", fail)
    with pytest.raises(StandError, match="the cause"):
        stand(home, *steps).up(StepLines(out))
    assert [line.partition(" (")[0] for line in out.getvalue().splitlines()] == [
        "Failing: failed",
        "Waiting: given up",
    ]
    assert stand(home).processes.list_recorded() == []


def test_a_process_that_ends_before_it_answers_is_reported_in_a_sentence(home: Path) -> None:
    def run(site: Site) -> str:
        process, _ = site.ensure("brief", ["true"], environment=os.environ, depends_on={})
        site.wait(lambda: False, process=process, what="it answered", limit_s=60)
        return ""

    with pytest.raises(StandError, match="brief ended before it answered"):
        stand(home, StandStep("brief", "brief", run)).up()


def test_a_changed_setting_replaces_the_process(home: Path) -> None:
    first = stand(home, a_service("1")).up().info.processes[0]
    second = stand(home, a_service("2")).up().info.processes[0]
    assert second.pid != first.pid
    assert birth_mark(first.pid) is None


def test_a_process_that_another_run_uses_is_not_replaced(home: Path) -> None:
    stand(home, a_service("1")).up()
    other_run = subprocess.Popen(["sleep", "600"])
    users = Users(home / "users")
    users.enter()
    said = json.dumps({"pid": other_run.pid, "mark": birth_mark(other_run.pid)})
    next(users.folder.glob("*.json")).rename(users.folder / f"{other_run.pid}.json").write_text(
        said
    )
    try:
        with pytest.raises(StandError, match="another run is using it"):
            stand(home, a_service("2")).up()
    finally:
        other_run.kill()
        other_run.wait()
    assert users.others() == []


@pytest.mark.slow
def test_two_concurrent_runs_share_one_stand_and_the_last_run_stops_the_stand(home: Path) -> None:
    def begin() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", MINIMAL, str(home)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    runs = [begin(), begin()]
    lines = [run.stdout.readline().split() for run in runs if run.stdout]
    assert lines[0][0] == lines[1][0]
    assert sorted(line[1] for line in lines) == ["0", "1"]
    starter, other = sorted(runs, key=lambda run: lines[runs.index(run)][1], reverse=True)
    assert starter.communicate("\n", timeout=20)[0].strip() == ""
    assert birth_mark(int(lines[0][0])) is not None
    assert other.communicate("\n", timeout=20)[0].strip() == "service"
    assert birth_mark(int(lines[0][0])) is None


def test_a_run_does_not_stop_a_stand_that_was_already_up(home: Path) -> None:
    stand(home, a_service()).up()
    run = stand(home, a_service())
    run.up(keep=False)
    assert run.leave() == ()
    assert run.processes.find("service") is not None


def test_up_during_a_run_keeps_the_stand_up_after_the_run(home: Path) -> None:
    run = stand(home, a_service())
    run.up(keep=False)
    stand(home, a_service()).up()
    assert run.leave() == ()
    assert run.processes.find("service") is not None


@pytest.mark.slow
def test_down_stops_every_process_and_a_second_down_stops_none(home: Path) -> None:
    ours = stand(home, a_service(), StandStep("database", "Postgres", database))
    ours.up()
    assert ours.down() == ("service", POSTGRES)
    assert ours.down() == ()
    assert load_info(home) is None


@pytest.mark.slow
def test_the_stand_file_is_private_and_contains_no_secret(home: Path) -> None:
    info = stand(home, StandStep("database", "Postgres", database)).up().info
    file = home / "stand.json"
    secret = (home / "postgres.secret").read_text()
    password = password_of(owner_of("lanes"), secret)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not {each for each in (secret, password) if each in file.read_text()}
    assert password in info.environment()["LANES_DATABASE_URL"]
    assert load_info(home) == info


def test_a_users_own_database_is_used_and_not_stopped(
    home: Path, postgres: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.url("lanes", None)
    monkeypatch.setenv("LANES_DATABASE_URL", url)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    ours = Stand(Settings.read(), home, home, steps=[StandStep("database", "Postgres", database)])
    info = ours.up().info
    assert info.embedded == ("provider",)
    assert url.split("@")[1] == info.database
    assert ours.down() == ()


def test_a_home_that_cannot_be_created_is_reported_in_a_sentence(home: Path) -> None:
    (home / "file").write_text("")
    with pytest.raises(StandError, match="is not writable: set LANES_HOME"):
        stand(home / "file" / "home").up()


def test_the_environment_of_our_processes_excludes_other_prefect_settings(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_PROFILE", "work")
    monkeypatch.setenv("PREFECT_API_KEY", "secret")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    environment = Site(Settings(), home, home).base_environment()
    assert "PREFECT_PROFILE" not in environment
    assert "PREFECT_API_KEY" not in environment
    assert "PYTHONDONTWRITEBYTECODE" not in environment
    assert environment["PREFECT_HOME"] == str(home / "prefect")


def test_a_command_that_waits_for_another_reports_the_wait(home: Path) -> None:
    heard: list[str] = []

    class Listener(Silent):
        def say(self, sentence: str) -> None:
            heard.append(sentence)

    inside, leave = threading.Event(), threading.Event()

    def hold(_: Site) -> str:
        inside.set()
        leave.wait(10)
        return ""

    first = threading.Thread(target=stand(home, StandStep("hold", "hold", hold)).up)
    second = threading.Thread(target=stand(home, a_service()).up, args=(Listener(),))
    first.start()
    assert inside.wait(10)
    second.start()
    until(lambda: bool(heard))
    leave.set()
    first.join(10)
    second.join(10)
    assert "another `lanes` command is busy with this stand" in heard[0]

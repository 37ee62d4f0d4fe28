"""The commands of the stand: exit codes, and JSON that a program can read."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App

from lanes.commands import stand
from lanes.commands.run import run
from lanes.commands.status import status
from lanes.stand.processes import Processes
from lanes.stand.steps import StandStep
from lanes.stand.worksite import Site


@pytest.fixture
def app(home: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    monkeypatch.setenv("LANES_HOME", str(home))
    for variable in ("LANES_DATABASE_URL", "PREFECT_API_URL", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    app = App(name="lanes", result_action="return_value")
    for command in (stand.up, stand.down, status, stand.doctor):
        app.command(command)
    return app


def test_status_of_a_stand_that_is_down_fails_and_names_every_component(
    app: App, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app(["status", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    components = said["components"]
    names = [component["name"] for component in components]
    assert names == [
        "postgres",
        "endpoint",
        "prefect-server",
        "worker-realtime",
        "worker-batch",
        "supervisor",
    ]
    assert {component["condition"] for component in components} == {"stopped"}
    assert said["figures"] is None
    assert app(["status"]) == 1
    assert "lanes up" in capsys.readouterr().out


def test_down_of_a_stand_that_is_down_succeeds(
    app: App, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app(["down"]) == 0
    assert capsys.readouterr().out == "nothing was running\n"
    assert app(["down", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"stopped": []}


def test_doctor_reports_a_problem_and_fails(app: App, capsys: pytest.CaptureFixture[str]) -> None:
    assert app(["doctor"]) == 1
    assert "start it with `lanes up`" in capsys.readouterr().out
    assert app(["doctor", "--json"]) == 1
    findings = json.loads(capsys.readouterr().out)
    assert {"check", "verdict", "sentence"} == set(findings[0])


def test_up_with_an_unavailable_database_fails_and_names_the_address(
    app: App, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANES_DATABASE_URL", "postgresql://u:p@127.0.0.1:1/d")
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    assert app(["up"]) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "127.0.0.1:1" in last


@pytest.fixture
def sigterm_kept() -> Iterator[None]:
    """Restore the handler of SIGTERM after the test."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("sigterm_kept")
def test_sigterm_during_up_stops_the_processes_that_up_had_started(
    app: App, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pids: list[int] = []

    def start(site: Site) -> str:
        sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
        pids.append(site.ensure("sleeper", sleeper, environment={}, depends_on={})[0].pid)
        os.kill(os.getpid(), signal.SIGTERM)
        assert site.canceled.wait(10)
        return "started"

    monkeypatch.setattr("lanes.stand.stand.list_steps", lambda: [StandStep("one", "one", start)])
    assert app(["up"]) == 1
    assert "what this command had started was stopped again" in capsys.readouterr().err
    assert len(pids) == 1
    assert Processes(home / "processes", home / "logs").list_recorded() == []


def test_an_invalid_variable_is_a_usage_error(
    app: App, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANES_LOCAL_TURNAROUND_S", "soon")
    assert app(["status"]) == 2
    assert "LANES_LOCAL_TURNAROUND_S" in capsys.readouterr().err


def test_an_invalid_variable_is_a_usage_error_of_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANES_LOCAL_TURNAROUND_S", "soon")
    assert run(once=True) == 2
    assert "LANES_LOCAL_TURNAROUND_S" in capsys.readouterr().err

"""`lanes status` on a database without a stand: the components are down, and the figures are still shown."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from lanes.commands.status import status
from lanes.words import Lane
from tests.examples import admit, publish, route
from tests.rollouts import begin
from tests.store.tries import claim, save, tried

Told = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def letters(pool: Engine, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Create an answered item and an open rollout."""
    for variable in ("PREFECT_API_URL", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    two_hours_ago = datetime.now(UTC) - timedelta(hours=2)
    with pool.begin() as connection:
        publish(connection, now=two_hours_ago)
        admit(connection, "a", now=two_hours_ago, lane=Lane.REALTIME)
        route(connection, now=two_hours_ago)
        answers = [tried(each, at=two_hours_ago) for each in claim(connection, now=two_hours_ago)]
        save(connection, *answers, now=two_hours_ago)
        begin(connection, now=two_hours_ago)


@pytest.mark.slow
def test_status_shows_the_figures_of_the_requested_hours(capsys: Told) -> None:
    assert status(as_json=True) == 1
    said = json.loads(capsys.readouterr().out)
    assert {each["name"]: each["condition"] for each in said["components"]}["postgres"] == "yours"
    figures = said["figures"]
    assert [each["items"] for each in figures["states"]] == [1]
    assert [(each["workload"], each["state"], each["step"]) for each in figures["rollouts"]] == [
        ("letters", "running", 0)
    ]
    assert [each["workload"] for each in figures["advice"]] == ["letters"]
    status(hours=1, as_json=True)
    assert json.loads(capsys.readouterr().out)["figures"]["states"] == []


def test_status_prints_the_components_before_the_report(capsys: Told) -> None:
    status()
    shown = capsys.readouterr().out
    assert 0 < shown.index("postgres") < shown.index("What needs a person")
    assert "letters / real-time" in shown


def test_status_shows_the_components_when_the_database_does_not_answer(
    capsys: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANES_DATABASE_URL", "postgresql+psycopg://u:p@127.0.0.1:1/d")
    assert status(as_json=True) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["figures"] is None
    assert said["components"][0]["condition"] == "silent"


@pytest.mark.slow
def test_status_imports_no_modules_for_tables_rules_or_schemas() -> None:
    # numpy is loaded: advice needs the turnaround distribution of batches, which uses numpy
    heavy = (
        "aiohttp",
        "anthropic",
        "cel.cel",
        "jsonschema",
        "jsonschema_rs",
        "lanes.workload.context",
        "prefect",
        "pydantic_settings",
        "rich.console",
        "scipy",
        "slack_sdk",
        "sqlalchemy",
    )
    ask = "from lanes.commands.status import status; status(as_json=True)"
    program = f"import sys; {ask}; print(*set({heavy}) & sys.modules.keys(), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert [each["workload"] for each in json.loads(done.stdout)["figures"]["advice"]] == [
        "letters"
    ]
    assert done.stderr.split() == []

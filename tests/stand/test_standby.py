"""A standby, which can only be read: commands show its data and report which data it does not contain."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from lanes.commands.advise import advise
from lanes.commands.figures import metrics
from lanes.commands.items import explain
from lanes.commands.status import report, status
from lanes.stand.postgres import EmbeddedPostgres
from lanes.store.asking import ON_STANDBY, UNLOGGED
from lanes.store.schema import upgrade
from lanes.store.tables import metadata
from tests.examples import admit, publish, route

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def standby(open_folder: Path) -> Iterator[str]:
    """Start a server with one item as a standby; yield its address."""
    postgres = EmbeddedPostgres(open_folder / "standby")
    url, now = postgres.start().url("lanes"), datetime.now(UTC)
    upgrade(url)
    pool = create_engine(url)
    with pool.begin() as connection:
        publish(connection, now=now)
        admit(connection, "a", now=now)
        route(connection, now=now)
    pool.dispose()
    postgres.stop()
    (postgres.data / "standby.signal").touch()
    yield postgres.start().url("lanes")
    postgres.stop()


@pytest.fixture(autouse=True)
def shell(standby: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("PREFECT_API_URL", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("LANES_HOME", str(tmp_path))
    monkeypatch.setenv("LANES_DATABASE_URL", standby)


def test_status_shows_the_figures_and_reports_the_data_that_a_standby_misses(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status(as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert [each["items"] for each in said["figures"]["states"]] == [1]
    assert said["lacking"] == ON_STANDBY
    status()
    assert ON_STANDBY in capsys.readouterr().out


def test_commands_that_read_the_limits_of_the_provider_succeed_without_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert not advise("letters")
    assert not report(all_=True)
    assert not explain("letters", "a")
    assert "letters" in capsys.readouterr().out


def test_metrics_of_a_standby_omit_roles_and_limits(capsys: pytest.CaptureFixture[str]) -> None:
    metrics(once=True)
    said = capsys.readouterr().out
    assert "lanes_up 1.0" in said
    assert 'lanes_items{lane="batch",state="open",workload="letters"} 1.0' in said
    assert "lanes_roles_held" not in said
    assert "lanes_provider_limit" not in said


def test_every_unlogged_table_is_recognized() -> None:
    unlogged = [each.name for each in metadata.tables.values() if "UNLOGGED" in each._prefixes]  # pyright: ignore
    assert unlogged
    assert all(UNLOGGED.fullmatch(f"lanes.{name}") for name in unlogged)

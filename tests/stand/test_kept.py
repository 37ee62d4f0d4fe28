"""The settings of a stand, which are stored without secrets and known to every shell of the checkout."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lanes.cli import app
from lanes.errors import SetupError, StandError
from lanes.settings import Settings
from lanes.stand import whereabouts
from lanes.stand.checks import PREFECT_SERIES
from lanes.stand.doctor import CheckVerdict, examine
from lanes.stand.info import PostgresInfo, StandInfo, load_info
from lanes.stand.postgres import Running
from lanes.stand.runs_with import RunsWith, rewritten, runs_with
from lanes.stand.stand import Stand
from lanes.stand.status import Condition, components
from lanes.stand.whereabouts import database_url, stand_info
from lanes.stand.worksite import Site
from tests.prefect_standin import PrefectStandIn
from tests.stand.conftest import Answers
from tests.stand.shells import ADDRESS, OURS, VARIABLES, put_up, shell

pytestmark = pytest.mark.usefixtures("nothing_is_set")


def test_the_settings_of_a_stand_are_stored_without_secrets(
    home: Path, prefect: PrefectStandIn
) -> None:
    put_up(home, prefect)
    assert "geheim" not in (home / "stand.json").read_text()
    info = load_info(home)
    assert info is not None
    assert info.settings is not None
    assert {variable: each.shown for variable, each in info.settings.items()} == {
        "LANES_DATABASE_URL": "db.invalid:5432/letters",
        "LANES_HEARTBEAT_URL": "hc.example.com",
        "SLACK_BOT_TOKEN": "",
        "SLACK_CHANNEL": "#ops",
    }
    assert [variable for variable, each in info.settings.items() if not each.fingerprint] == [
        "SLACK_CHANNEL"
    ]


def test_a_shell_without_variables_knows_the_settings_of_the_stand(
    home: Path, prefect: PrefectStandIn
) -> None:
    put_up(home, prefect)
    prefect.blocks["lanes"] = {"url": ADDRESS, "bot_token": "xoxb-geheim"}
    runs = runs_with(Settings.read(), home)
    assert runs.database_url() == ADDRESS
    assert (runs.settings.slack_channel, list(runs.unknown)) == ("#ops", ["LANES_HEARTBEAT_URL"])
    assert [each.variable for each in runs.differences] == sorted(OURS)
    assert not any(each.is_conflict for each in runs.differences)


def test_a_secret_that_no_block_contains_is_unknown(home: Path, prefect: PrefectStandIn) -> None:
    put_up(home, prefect)
    prefect.blocks["lanes"] = {"url": ADDRESS.replace("geheim", "changed")}
    runs = runs_with(Settings.read(), home)
    assert runs.database_url() is None
    database = components(runs, home)[0]
    assert database.condition is Condition.UNKNOWN
    assert "yours at db.invalid:5432/letters" in database.detail
    by_name = {each.check: each for each in examine(None, home, home)}
    assert by_name["database"].verdict is by_name["schema"].verdict is CheckVerdict.NOT_LOOKED
    assert (
        "tells LANES_DATABASE_URL: set it as where `lanes up` ran" in by_name["database"].sentence
    )
    assert by_name["slack"].sentence == "alerts go to #ops, one message each, edited in place"
    assert by_name["heartbeat"].sentence == "pinged at hc.example.com"


def test_status_shows_the_provider_of_the_block_on_a_machine_that_only_runs_workers(
    home: Path, prefect: PrefectStandIn, serve: Callable[[Answers], str]
) -> None:
    runs = RunsWith(Settings.model_validate({"PREFECT_API_URL": prefect.api_url}))
    endpoint, *_, supervisor = components(runs, home)[1:]
    assert endpoint.condition is Condition.STOPPED
    assert supervisor.detail == "start it with `lanes worker` or `lanes up`"
    prefect.provider_blocks["lanes"] = {"api_key": "stand-in", "base_url": "http://127.0.0.1:1"}
    assert components(runs, home)[1].condition is Condition.STOPPED
    local = serve({"/healthz": (200, {})})
    prefect.provider_blocks["lanes"] = {"api_key": "stand-in", "base_url": local}
    assert components(runs, home)[1].condition is Condition.YOURS
    prefect.provider_blocks["lanes"] = {
        "api_key": "sk-geheim",
        "base_url": "https://llm.example.com",
    }
    endpoint = components(runs, home)[1]
    assert endpoint.condition is Condition.YOURS
    assert endpoint.detail == "https://llm.example.com, as its block in Prefect says"


def test_a_shell_with_the_settings_of_the_stand_reads_no_block(
    home: Path, prefect: PrefectStandIn
) -> None:
    put_up(home, prefect)
    with shell(**OURS) as settings:
        runs = runs_with(settings, home)
    assert (runs.database_url(), runs.unknown, runs.differences) == (ADDRESS, {}, [])
    assert prefect.requests == []


def test_the_key_of_a_users_own_prefect_is_known_only_if_the_shell_sets_it(
    home: Path, prefect: PrefectStandIn
) -> None:
    own = {"PREFECT_API_URL": prefect.api_url, "PREFECT_API_KEY": "geheim"}
    put_up(home, prefect, own)
    with shell(**own) as settings:
        assert runs_with(settings, home).unknown == {}
    with shell(PREFECT_API_URL=prefect.api_url) as settings:
        assert list(runs_with(settings, home).unknown) == ["PREFECT_API_KEY"]


def test_the_settings_of_the_shell_apply_without_a_stand(home: Path) -> None:
    with shell(**OURS) as settings:
        assert runs_with(settings, home) == RunsWith(settings)


def test_the_addresses_of_the_stands_own_parts_are_not_a_difference(
    home: Path, prefect: PrefectStandIn, postgres: Running
) -> None:
    where = PostgresInfo(postgres.data, postgres.pid, postgres.port)
    own = ("database", "prefect", "provider")
    info = StandInfo(
        home,
        home,
        own,
        f"127.0.0.1:{postgres.port}/lanes",
        prefect.api_url,
        "http://127.0.0.1:9",
        where,
        settings={},
    )
    info.save()
    with shell(
        **{name: value for name, value in info.environment().items() if name in VARIABLES}
    ) as settings:
        runs = runs_with(settings, home)
    assert (runs.differences, runs.settings.database_url) == ([], None)
    with shell(**OURS) as settings:
        found = {each.variable: each for each in runs_with(settings, home).differences}
    assert "the stand its own Postgres; unset it" in found["LANES_DATABASE_URL"].sentence
    assert "the stand none; unset it" in found["SLACK_CHANNEL"].sentence


def test_up_reports_the_settings_that_it_changes(home: Path, prefect: PrefectStandIn) -> None:
    assert put_up(home, prefect).sentences == []
    assert put_up(home, prefect).sentences == []
    heard = put_up(home, prefect, {**OURS, "SLACK_CHANNEL": "#dev", "LANES_KEEP_WARM": "0"})
    assert heard.sentences == [
        "LANES_KEEP_WARM was not set, and is 0 from now on",
        "SLACK_CHANNEL was #ops, and is #dev from now on",
    ]


def test_a_shell_that_names_the_stands_own_parts_changes_nothing(
    home: Path, prefect: PrefectStandIn
) -> None:
    put_up(home, prefect, {})
    before = load_info(home)
    assert put_up(home, prefect, {"PREFECT_API_URL": prefect.api_url}).sentences == []
    assert load_info(home) == before


def test_up_without_the_database_variable_does_not_take_the_database_from_the_stand(
    home: Path, prefect: PrefectStandIn
) -> None:
    put_up(home, prefect)
    with pytest.raises(
        StandError,
        match=r"LANES_DATABASE_URL db\.invalid:5432/letters \(fingerprint .*this shell sets none",
    ):
        put_up(home, prefect, {})
    Stand(Settings(), home, home).down()
    assert put_up(home, prefect, {}).sentences == []


def test_the_error_about_a_process_that_may_not_be_replaced_names_the_variables(home: Path) -> None:
    site = Site(Settings(), home, home, others_present=True, changed=("SLACK_CHANNEL",))
    process, _ = site.ensure(
        "service", ["sleep", "600"], environment={"PATH": "/usr/bin:/bin"}, depends_on={}
    )
    with pytest.raises(
        StandError, match=r"service runs with other settings \(SLACK_CHANNEL\) and another run"
    ):
        site.replace(process)
    site.processes.stop(process)


def test_a_block_that_has_changed_since_up_is_named_by_its_variable(
    home: Path, prefect: PrefectStandIn
) -> None:
    put_up(home, prefect)
    info = load_info(home)
    assert info is not None
    prefect.blocks["lanes"] = {"url": ADDRESS, "bot_token": "xoxb-geheim"}
    assert rewritten(info) == []
    prefect.blocks["lanes"]["bot_token"] = "xoxb-of-another-machine"
    assert rewritten(info) == ["SLACK_BOT_TOKEN"]


def test_status_shows_the_settings_of_the_stand_and_the_differences_of_the_shell(
    home: Path, prefect: PrefectStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    put_up(home, prefect)
    with shell(LANES_HOME=str(home), SLACK_CHANNEL="#dev"):
        assert app(["status", "--json"]) == 1
        found = json.loads(capsys.readouterr().out)
        assert app(["status"]) == 1
        shown = capsys.readouterr().out
    assert found["settings"]["SLACK_CHANNEL"] == {"shown": "#ops", "fingerprint": ""}
    by_name = {each["variable"]: each for each in found["differences"]}
    assert by_name["SLACK_CHANNEL"]["here"] == {"shown": "#dev", "fingerprint": ""}
    assert "set        SLACK_CHANNEL   #ops\n" in shown
    assert "differs    SLACK_CHANNEL   the stand has #ops, this shell #dev;" in shown


def test_doctor_checks_the_stand_and_reports_a_differing_shell_as_wrong(
    home: Path, prefect: PrefectStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    put_up(home, prefect)

    def found(**variables: str) -> dict[str, dict[str, str]]:
        with shell(LANES_HOME=str(home), **variables):
            app(["doctor", "--json"])
        return {each["check"]: each for each in json.loads(capsys.readouterr().out)}

    assert found(**OURS)["shell"] == {
        "check": "shell",
        "verdict": "ok",
        "sentence": "has the settings of the stand",
    }
    lacks = found()["shell"]
    assert lacks["verdict"] == "ok"
    assert "SLACK_CHANNEL: the stand has #ops, this shell has none" in lacks["sentence"]
    differs = found(SLACK_CHANNEL="#dev")
    assert differs["shell"]["verdict"] == "wrong"
    assert differs["slack"]["sentence"].startswith("alerts go to #ops")
    assert PREFECT_SERIES in differs["prefect"]["sentence"]


def test_doctor_reports_a_slack_channel_that_only_a_block_contains(
    home: Path, prefect: PrefectStandIn
) -> None:
    put_up(home, prefect, {})

    def slack() -> str:
        return next(
            each.sentence for each in examine(Settings(), home, home) if each.check == "slack"
        )

    assert slack() == "not set: alerts stay in incident_log"
    prefect.blocks["lanes"] = {"webhook_url": "https://hooks.slack.example/geheim"}
    assert (
        slack()
        == "not set here: alerts go where Prefect's block `lanes` of type Lanes Slack channel says"
    )


def test_doctor_reports_that_it_cannot_compare_without_stored_settings(home: Path) -> None:
    StandInfo(home, home, (), "db.invalid:5432/letters", "http://127.0.0.1:1/api").save()
    by_name = {each.check: each for each in examine(Settings(), home, home)}
    assert by_name["shell"].sentence.endswith(
        "those of the stand were not kept, and `lanes up` keeps them"
    )


def test_a_shell_without_variables_reaches_the_database_of_the_stand(
    home: Path, prefect: PrefectStandIn
) -> None:
    put_up(home, prefect)
    with shell(LANES_HOME=str(home)):
        with pytest.raises(SetupError, match=r"runs on your database at db\.invalid:5432/letters"):
            database_url()
        prefect.blocks["lanes"] = {"url": ADDRESS}
        assert database_url() == ADDRESS
    with shell(LANES_HOME=str(home), LANES_DATABASE_URL="postgresql://u@elsewhere/d"):
        assert database_url() == "postgresql+psycopg://u@elsewhere/d"


def test_a_stand_is_found_from_any_folder(
    home: Path, prefect: PrefectStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_up(home / "state", prefect)
    monkeypatch.setattr(whereabouts, "find_checkout", lambda: home)
    monkeypatch.chdir(tmp_path)
    with shell(LANES_HOME="state") as settings:
        assert stand_info(settings) == load_info(home / "state")


def test_a_command_that_fails_on_another_database_names_the_differing_variable(
    home: Path, prefect: PrefectStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    put_up(home, prefect)
    elsewhere = "postgres://ada:geheim@127.0.0.1:1/letters"
    with shell(LANES_HOME=str(home), LANES_DATABASE_URL=elsewhere):
        assert app(["explain", "letters", "k"]) == 1
    said = capsys.readouterr().err
    assert "LANES_DATABASE_URL: the stand has db.invalid:5432/letters" in said
    assert "this shell 127.0.0.1:1/letters" in said
    assert "geheim" not in said


def test_a_stand_whose_data_is_gone_is_reported_in_a_sentence(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = PostgresInfo(home / "postgres" / "data", 1, 1)
    StandInfo(
        home,
        home,
        ("database",),
        "127.0.0.1:1/lanes",
        "http://127.0.0.1:1/api",
        postgres=gone,
        settings={},
    ).save()
    with shell(LANES_HOME=str(home)):
        assert app(["explain", "letters", "k"]) == 1
        assert "password of the stand's own Postgres cannot be read" in capsys.readouterr().err
        assert app(["status"]) == 1
    assert "stopped    postgres" in capsys.readouterr().out

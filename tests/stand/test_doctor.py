"""Findings of `lanes doctor`: one sentence for each possible problem."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, text

from lanes.realtime.circuit import Fault
from lanes.settings import Settings
from lanes.stand import local
from lanes.stand.after_restore import CHECKS as AFTER_RESTORE
from lanes.stand.checks import REQUIRED_BLOCKS
from lanes.stand.doctor import CheckVerdict, Finding, examine, is_healthy
from lanes.stand.info import STAND_IN_KEY, StandInfo
from lanes.stand.postgres import Running
from lanes.store.batch.creates import find_copy, mark_orphans_found
from lanes.store.database import clock
from lanes.store.realtime import circuits
from lanes.store.signals import CLASS, Role
from tests.conftest import NOON, later
from tests.databases import Databases
from tests.examples import publish
from tests.prefect_standin import PrefectStandIn
from tests.stand.conftest import Answers

EVERY_VARIABLE = [str(each.validation_alias) for each in Settings.model_fields.values()]


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in EVERY_VARIABLE:
        monkeypatch.delenv(variable, raising=False)


def found(home: Path, check: str, **environment: str) -> Finding:
    """Return the finding of one check, with these variables set."""
    with pytest.MonkeyPatch.context() as patched:
        for variable, value in environment.items():
            patched.setenv(variable, value)
        return next(finding for finding in examine(None, home, home) if finding.check == check)


def test_a_stopped_database_is_reported_once_and_dependent_checks_are_skipped(home: Path) -> None:
    by_name = {finding.check: finding for finding in examine(None, home, home)}
    assert by_name["database"].sentence.endswith("does not run: start it with `lanes up`")
    assert by_name["schema"].verdict is CheckVerdict.NOT_LOOKED
    assert by_name["prefect"].verdict is CheckVerdict.WRONG
    assert by_name["workers"].verdict is CheckVerdict.NOT_LOOKED
    assert not is_healthy(list(by_name.values()))


def test_a_skipped_check_does_not_count_as_passed() -> None:
    assert not is_healthy(
        [Finding("a", CheckVerdict.OK, ""), Finding("b", CheckVerdict.NOT_LOOKED, "")]
    )


def test_an_invalid_variable_is_named(home: Path) -> None:
    finding = found(home, "settings", LANES_LOCAL_TURNAROUND_S="soon")
    assert finding.verdict is CheckVerdict.WRONG
    assert "LANES_LOCAL_TURNAROUND_S" in finding.sentence


def test_a_home_that_cannot_be_created_is_reported_in_a_sentence(home: Path) -> None:
    (home / "file").write_text("")
    sentence = next(
        f.sentence for f in examine(None, home / "file" / "x", home) if f.check == "home"
    )
    assert sentence == f"{home / 'file'} is not writable: set LANES_HOME to a folder that is"


def test_a_model_that_does_not_answer_is_reported_until_it_answers(
    home: Path, database_url: str, pool: Engine
) -> None:
    well = found(home, "circuits", LANES_DATABASE_URL=database_url)
    assert (well.verdict, well.sentence) == (
        CheckVerdict.OK,
        "no circuit is open: every model takes calls",
    )
    fault = Fault("the provider answered 529: Overloaded", 3, NOON, NOON)
    with pool.begin() as connection:
        circuits.record_fault(connection, "acme", "claude-haiku-5-5", fault, now=NOON)
        circuits.record_fault(connection, "acme", "claude-sonnet-5-5", fault, now=later(seconds=1))
    down = found(home, "circuits", LANES_DATABASE_URL=database_url)
    assert down.verdict is CheckVerdict.WRONG
    first, second, what_helps = down.sentence.split("; ", 2)
    assert first == (
        "claude-haiku-5-5 of account acme has not answered since 2026-11-24 12:00 UTC (3 calls in a row, the last met: the "
        "provider answered 529: Overloaded), and one call probes it as soon as work waits for it"
    )
    assert second.startswith("claude-sonnet-5-5 of account acme has not answered")
    assert what_helps.startswith("see the provider's status page")
    with pool.begin() as connection:
        circuits.record_answer(connection, "acme", "claude-haiku-5-5", began_at=later(seconds=2))
        circuits.record_answer(connection, "acme", "claude-sonnet-5-5", began_at=later(seconds=2))
    assert found(home, "circuits", LANES_DATABASE_URL=database_url).verdict is CheckVerdict.OK


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("mysql://u:p@h/d", "asks for the driver mysql"),
        ("postgresql+asyncpg://u:p@h/d", "asks for the driver postgresql+asyncpg"),
        ("somewhere", "is not an address of a database"),
        ("postgresql://u:p@h:no/d", "is not an address of a database"),
        ("postgresql://u:p@127.0.0.1:5432", "names no database"),
        ("postgresql://u:p@127.0.0.1:1/d", "nothing answers for the database at 127.0.0.1:1/d"),
        ("postgresql://u:p@no.such.host.invalid/d", "has no address: correct the host name"),
    ],
)
def test_each_kind_of_wrong_database_address_has_its_own_sentence(
    home: Path, address: str, said: str
) -> None:
    finding = found(home, "database", LANES_DATABASE_URL=address)
    assert finding.verdict is CheckVerdict.WRONG
    assert said in finding.sentence
    assert "u:p" not in finding.sentence


def test_a_refused_user_and_a_missing_database_are_distinguished(
    home: Path, postgres: Running
) -> None:
    wrong_password = replace(postgres, secret="wrong").url("lanes", None)
    assert (
        "refuses user lanes_stand"
        in found(home, "database", LANES_DATABASE_URL=wrong_password).sentence
    )
    missing = found(home, "database", LANES_DATABASE_URL=postgres.url("elsewhere", None))
    assert "does not exist on that server: create it, or correct the name" in missing.sentence


def test_a_session_of_another_user_that_holds_a_role_is_named(
    home: Path, databases: Databases, database_url: str, pool: Engine
) -> None:
    """Expect no finding for a session of our own user: that is Lanes."""
    take = f"select pg_advisory_lock({CLASS}, {int(Role.WATCHER)})"
    with pool.connect() as ours:
        ours.execute(text(take))
        assert found(home, "standing", LANES_DATABASE_URL=database_url).verdict is CheckVerdict.OK
    pool.dispose()
    with psycopg.connect(
        databases.as_superuser(database_url).replace("+psycopg", ""), application_name="psql"
    ) as foreign:
        foreign.execute(take.encode())
        finding = found(home, "standing", LANES_DATABASE_URL=database_url)
        assert finding.verdict is CheckVerdict.WRONG
        assert (
            f"role watcher is held by session {foreign.info.backend_pid} of user postgres"
            in finding.sentence
        )
        assert f'application "psql", address {local.LOOPBACK}' in finding.sentence
    assert found(home, "standing", LANES_DATABASE_URL=database_url).verdict is CheckVerdict.OK


def test_an_empty_database_passes_the_database_check_and_fails_the_schema_check(
    home: Path, postgres: Running
) -> None:
    with psycopg.connect(postgres.url("postgres", None), autocommit=True) as connection:
        connection.execute("CREATE DATABASE bare")
    address = postgres.url("bare", None)
    assert found(home, "database", LANES_DATABASE_URL=address).verdict is CheckVerdict.OK
    finding = found(home, "schema", LANES_DATABASE_URL=address)
    assert finding.verdict is CheckVerdict.WRONG
    assert finding.sentence.endswith("run `lanes up` or `lanes deploy`")


def test_a_prefect_that_is_silent_too_old_or_needs_a_login_is_reported(
    home: Path, serve: Callable[[Answers], str]
) -> None:
    silent = found(home, "prefect", PREFECT_API_URL=f"http://{local.LOOPBACK}:1/api")
    assert "gives no answer (ConnectError): start it, or correct PREFECT_API_URL" in silent.sentence
    old = f"{serve({'/api/admin/version': (200, '3.4.2')})}/api"
    assert (
        "has version 3.4.2, and Lanes needs 3.9"
        in found(home, "prefect", PREFECT_API_URL=old).sentence
    )
    closed = f"{serve({'/api/admin/version': (401, {})})}/api"
    assert (
        "set PREFECT_API_KEY or PREFECT_API_AUTH_STRING"
        in found(home, "prefect", PREFECT_API_URL=closed).sentence
    )


@pytest.mark.parametrize(
    ("size", "retries", "said"),
    [
        (20, 5, "; while its database is away it soon drops events: set "),
        (20, 120, "; while its database is away it soon drops events: set "),
        (50_000, 1_000_000, "; an event that its database refuses holds up all others: set "),
    ],
)
def test_a_prefect_with_settings_that_lose_or_delay_events_is_reported(
    home: Path, serve: Callable[[Answers], str], size: int, retries: int, said: str
) -> None:
    persister = {"batch_size": size, "max_flush_retries": retries}
    settings = {"server": {"services": {"event_persister": persister}}}
    answers: Answers = {
        "/api/admin/version": (200, "3.9.1"),
        "/api/admin/settings": (200, settings),
    }
    url = f"{serve(answers)}/api"
    assert said in found(home, "prefect", PREFECT_API_URL=url).sentence
    persister |= {"batch_size": 50_000, "max_flush_retries": 120}
    assert found(home, "prefect", PREFECT_API_URL=url).sentence == f"version 3.9.1 at {url}"


def test_missing_workers_deployments_and_blocks_are_named(
    home: Path, serve: Callable[[Answers], str]
) -> None:
    step = {"prefect.deployments.steps.set_working_directory": {"directory": "/their/checkout"}}
    answer = {"name": "answer", "id": "1", "pull_steps": [step], "path": None}
    answers: Answers = {
        "/api/health": (200, True),
        "/api/work_pools/realtime": (200, {"name": "realtime"}),
        "/api/work_pools/realtime/workers/filter": (
            200,
            [{"name": "realtime-alpha", "status": "OFFLINE"}],
        ),
        "/api/deployments/filter": (200, [answer]),
        "/api/automations/filter": (200, []),
        "/api/block_types/slug/lanes-database/block_documents/name/a": (200, {"data": {}}),
    }
    url = f"{serve(answers)}/api"
    workers = "no worker of the work pool `realtime` is online: run `lanes worker`, or `lanes up`"
    assert found(home, "workers", PREFECT_API_URL=url).sentence == workers
    deployments = found(home, "deployments", PREFECT_API_URL=url).sentence
    assert "Prefect lacks the deployments abort_rollout, " in deployments
    assert (
        "the deployments answer load their code from /their/checkout, a folder of one machine"
        in deployments
    )
    assert deployments.endswith("`lanes deploy` with the release that shall be in force")
    blocks = found(home, "blocks", PREFECT_API_URL=url).sentence
    # A block with another name does not belong to Lanes.
    lacking = "Prefect lacks blocks named `lanes` of type lanes-database, lanes-provider: "
    assert blocks.startswith(f"{lacking}set ANTHROPIC_API_KEY")


def test_a_database_block_without_an_address_is_reported(
    home: Path, serve: Callable[[Answers], str]
) -> None:
    named = "/api/block_types/slug/{}/block_documents/name/lanes"
    empty = {named.format(slug): (200, {"data": {}}) for slug in REQUIRED_BLOCKS}
    url = serve({"/api/health": (200, True), **empty}) + "/api"
    said = found(home, "blocks", PREFECT_API_URL=url).sentence
    assert said.startswith("Prefect's block `lanes` of type lanes-database has no address: ")


def test_a_provider_that_refuses_the_key_is_reported_without_the_key(
    home: Path, serve: Callable[[Answers], str]
) -> None:
    base = serve({"/v1/models": (401, {})})
    finding = found(home, "provider", ANTHROPIC_API_KEY="sk-secret", ANTHROPIC_BASE_URL=base)
    assert finding.sentence == (
        f"{base} refuses ANTHROPIC_API_KEY (401): set a key that is valid there, or correct ANTHROPIC_BASE_URL, then run "
        "`lanes up`"
    )


def test_a_provider_at_a_wrong_address_is_reported(
    home: Path, serve: Callable[[Answers], str]
) -> None:
    other = found(home, "provider", ANTHROPIC_API_KEY="k", ANTHROPIC_BASE_URL=serve({}))
    assert "has no /v1/models: correct ANTHROPIC_BASE_URL" in other.sentence
    nobody = found(
        home, "provider", ANTHROPIC_API_KEY="k", ANTHROPIC_BASE_URL=f"http://{local.LOOPBACK}:1"
    )
    assert "gives no answer (ConnectError)" in nobody.sentence


@pytest.mark.parametrize(
    ("status", "block", "said"),
    [
        (200, {"api_key": "sk-eu"}, "claude-haiku-5-5 known, for provider block eu"),
        (401, {"api_key": "sk-eu"}, "refuses the key of provider block eu (401): set a valid one"),
        (404, {"api_key": "sk-eu"}, 'knows no model "claude-haiku-5-5", which workload "letters"'),
        (200, None, 'workload "letters" names provider block "eu", which Prefect does not have'),
    ],
)
def test_the_models_of_another_account_are_checked_with_its_own_block(
    home: Path,
    serve: Callable[[Answers], str],
    database_url: str,
    pool: Engine,
    status: int,
    block: dict[str, str] | None,
    said: str,
) -> None:
    with pool.begin() as connection:
        publish(connection, now=NOON, provider="eu")
    there = serve({"/v1/models/claude-haiku-5-5": (status, {})})
    path = "/api/block_types/slug/lanes-provider/block_documents/name/eu"
    held = (404, {}) if block is None else (200, {"data": {**block, "base_url": there}})
    url = serve({"/api/health": (200, True), path: held}) + "/api"
    shell = {"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": serve({})}
    finding = found(home, "models", LANES_DATABASE_URL=database_url, PREFECT_API_URL=url, **shell)
    assert said in finding.sentence
    assert "sk-eu" not in finding.sentence


def test_the_stand_in_is_reported_as_a_local_stand_in(
    home: Path, serve: Callable[[Answers], str]
) -> None:
    base = serve({"/v1/models": (200, {"data": []})})
    StandInfo(
        home, home, ("provider",), "", "http://127.0.0.1:1/api", provider_base_url=base
    ).save()
    assert found(home, "provider").sentence == f"local stand-in at {base}"
    assert STAND_IN_KEY not in found(home, "provider").sentence


def test_a_machine_without_a_key_checks_the_provider_of_the_block(
    home: Path, prefect: PrefectStandIn, serve: Callable[[Answers], str]
) -> None:
    prefect.provider_blocks["lanes"] = {"api_key": "sk-secret", "base_url": "http://127.0.0.1:1"}
    silent = found(home, "provider", PREFECT_API_URL=prefect.api_url)
    assert "gives no answer (ConnectError)" in silent.sentence
    base = serve({"/v1/models": (200, {"data": []})})
    prefect.provider_blocks["lanes"]["base_url"] = base
    well = found(home, "provider", PREFECT_API_URL=prefect.api_url)
    assert (well.verdict, well.sentence) == (CheckVerdict.OK, f"{base} accepts the key")


@pytest.mark.parametrize(
    ("variables", "verdict", "said"),
    [
        ({}, CheckVerdict.OK, "not set: alerts stay in incident_log"),
        ({"SLACK_BOT_TOKEN": "xoxb"}, CheckVerdict.WRONG, "SLACK_CHANNEL is not"),
        ({"SLACK_CHANNEL": "#ops"}, CheckVerdict.WRONG, "SLACK_BOT_TOKEN is not"),
        (
            {"SLACK_BOT_TOKEN": "xoxb", "SLACK_CHANNEL": "#ops"},
            CheckVerdict.OK,
            "alerts go to #ops",
        ),
        (
            {"SLACK_WEBHOOK_URL": "https://hooks.example/1"},
            CheckVerdict.OK,
            "alerts go to the webhook",
        ),
        (
            {"SLACK_WEBHOOK_URL": "hooks.example/1"},
            CheckVerdict.WRONG,
            "SLACK_WEBHOOK_URL is not an http address",
        ),
    ],
)
def test_an_incomplete_slack_setting_is_wrong_and_a_missing_one_is_not(
    home: Path, variables: dict[str, str], verdict: CheckVerdict, said: str
) -> None:
    finding = found(home, "slack", **variables)
    assert finding.verdict is verdict
    assert said in finding.sentence
    assert "xoxb" not in finding.sentence


def test_after_a_restore_the_doctor_reports_batches_that_the_copy_does_not_know(
    home: Path, pool: Engine, database_url: str, serve: Callable[[Answers], str]
) -> None:
    with pool.begin() as connection:
        copied = clock(connection).replace(microsecond=0)
        find_copy(connection, now=copied)
        connection.execute(text("update lanes.watermark set position = position + 1"))
    created = copied + timedelta(minutes=1)
    listed = {
        "id": "msgbatch_1",
        "processing_status": "in_progress",
        "created_at": created.isoformat(),
    }
    page: Answers = {
        "/v1/messages/batches": (200, {"data": [listed], "has_more": False, "last_id": "x"})
    }
    given = {
        "LANES_DATABASE_URL": database_url,
        "ANTHROPIC_API_KEY": "k",
        "ANTHROPIC_BASE_URL": serve(page),
    }

    def look() -> dict[str, Finding]:
        with pytest.MonkeyPatch.context() as patched:
            for variable, value in given.items():
                patched.setenv(variable, value)
            return {each.check: each for each in examine(None, home, home, of=AFTER_RESTORE)}

    by_name = look()
    assert f"left since its rows: {copied:%Y-%m-%d %H:%M:%S} UTC" in by_name["copy"].sentence
    assert by_name["orphans"].verdict is CheckVerdict.WRONG
    assert "open at the provider and unknown here: msgbatch_1" in by_name["orphans"].sentence
    assert by_name["lost"].sentence == "0 batches adopted, with every item"
    listed["processing_status"] = "ended"
    by_name = look()
    assert by_name["orphans"].verdict is CheckVerdict.WRONG
    assert "ended at the provider and unknown here: msgbatch_1" in by_name["orphans"].sentence
    with pool.begin() as connection:
        found = find_copy(connection, now=copied)
        assert found is not None
        mark_orphans_found(connection, found)
    by_name = look()
    assert by_name["orphans"].verdict is CheckVerdict.OK
    assert "not ours, unless the search that begins now" in by_name["orphans"].sentence
    assert "looks for batches of the last 29 days" in look()["copy"].sentence


def test_a_database_of_a_newer_release_is_reported_with_advice(
    home: Path, pool: Engine, database_url: str
) -> None:
    with pool.begin() as connection:
        connection.execute(text("update lanes.alembic_version set version_num = '9999'"))
    finding = found(home, "schema", LANES_DATABASE_URL=database_url)
    assert finding.verdict is CheckVerdict.WRONG
    assert "at migration 9999" in finding.sentence
    assert "restore the backup from before its upgrade" in finding.sentence


def test_automations_that_do_not_fire_after_an_event_are_reported(
    home: Path, prefect: PrefectStandIn, database_url: str
) -> None:
    def ago(minutes: int) -> datetime:
        return datetime.now(UTC) - timedelta(minutes=minutes)

    def look() -> Finding:
        own = {"PREFECT_API_URL": prefect.api_url, "LANES_DATABASE_URL": database_url}
        return found(home, "automations", **own)

    assert look().sentence == "no event has called for one in the last hour"
    prefect.has_stored("lanes.item.arrived", ago(5))
    assert look().verdict is CheckVerdict.WRONG
    assert "no automation has fired since" in look().sentence
    prefect.has_stored("prefect.automation.triggered", ago(20))
    assert look().verdict is CheckVerdict.WRONG
    # After a firing, the trigger pauses for ten minutes.
    prefect.has_stored("prefect.automation.triggered", ago(14))
    assert look().sentence == "they fire"

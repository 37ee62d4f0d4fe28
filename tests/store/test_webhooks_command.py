"""`lanes webhooks`: adding, testing, rotating, replaying to and removing a subscriber; secrets are shown once."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from lanes.commands.webhooks import WebhookOptions, webhooks
from lanes.errors import StandError
from lanes.settings import Settings
from lanes.stand import checks
from lanes.stand.patient import Patient
from lanes.stand.runs_with import runs_with
from lanes.store import outbox
from lanes.webhooks import EVENTS
from tests.conftest import NOON
from tests.docs.references.events import out
from tests.prefect_standin import PrefectStandIn
from tests.webhook_receiver import Receiver

Told = pytest.CaptureFixture[str]
BLOCK = "lanes-webhook-crm"


@pytest.fixture
def crm() -> Iterator[Receiver]:
    """Run a receiver of webhooks."""
    running = Receiver()
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def secrets(
    address: str, prefect: PrefectStandIn, monkeypatch: pytest.MonkeyPatch
) -> dict[str, dict[str, Any]]:
    """Point the environment at a Prefect; return its blocks."""
    monkeypatch.setenv("PREFECT_API_URL", prefect.api_url)
    return prefect.blocks


def add(receiver: Receiver, **options: Any) -> int:
    return webhooks(
        "add",
        "crm",
        options=WebhookOptions(url=receiver.url, allow_private=True, **options),
        as_json=True,
    )


def test_a_secret_is_shown_once_and_kept_in_a_block_only(
    crm: Receiver, secrets: dict[str, dict[str, Any]], pool: Engine, capsys: Told
) -> None:
    assert add(crm, workload="letters") == 0
    secret = json.loads(capsys.readouterr().out)["secret"]
    assert secret in secrets[BLOCK]["value"]
    crm.secrets = [secret]
    assert webhooks("test", "crm") == 0
    assert [each["type"] for each in crm.taken] == ["lanes.webhook.test"]
    for as_json in (False, True):
        assert webhooks(as_json=as_json) == 0
        said = capsys.readouterr().out
        assert "token" not in said
        assert secret not in said
        assert f"http://127.0.0.1:{crm.port}" in said.replace("\n", "")
    with pool.connect() as connection:
        rows = connection.execute(text("select w::text from lanes.webhook w")).scalars().all()
    assert secret not in str(rows)
    assert "token" not in str(rows)
    assert webhooks("rotate", "crm", as_json=True) == 0
    newer = json.loads(capsys.readouterr().out)["secret"]
    crm.secrets = [secret, newer]
    assert webhooks("test", "crm") == 0
    assert webhooks("remove", "crm") == 0
    assert secrets == {}
    assert webhooks("test", "crm") == 2


def test_a_receiver_that_rejects_the_test_event_is_reported(crm: Receiver, capsys: Told) -> None:
    add(crm)
    crm.says = lambda _: 401
    assert webhooks("test", "crm") == 1
    assert "did not take the test event: HTTP 401" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://crm.example.com/", "must be https://HOST/PATH"),
        ("https://", "must be https://HOST/PATH"),
        ("https://crm.example.com:x/", "must be https://HOST/PATH"),
        ("https://me:secret@crm.example.com/", "may hold no login"),
        ("http://crm.example.com/", "must begin with https"),
    ],
)
def test_an_invalid_address_is_refused_and_its_secret_is_not_shown(
    url: str, said: str, capsys: Told, pool: Engine
) -> None:
    assert webhooks("add", "crm", options=WebhookOptions(url=url)) == 1
    complained = capsys.readouterr().err
    assert said in complained
    assert "secret" not in complained


def test_an_invalid_command_is_refused_with_advice(crm: Receiver, capsys: Told) -> None:
    add(crm)
    assert add(crm) == 2
    refused: list[tuple[Any, str | None, WebhookOptions, str]] = [
        ("add", None, WebhookOptions(), "add which webhook? Say its name"),
        ("add", "No", WebhookOptions(), "add which webhook? Say its name"),
        ("add", "x", WebhookOptions(), "Say its address with --url"),
        ("test", "x", WebhookOptions(), 'there is no webhook "x"; `lanes webhooks` lists them'),
        (
            "add",
            "x",
            WebhookOptions(url="https://x.example", types="lanes.item.won"),
            'no event "lanes.item.won"',
        ),
        ("replay", "crm", WebhookOptions(since="soon"), "is no moment"),
    ]
    for do, name, options, said in refused:
        assert webhooks(do, name, options=options) == 2
        assert said in capsys.readouterr().err
    assert webhooks("replay", "crm", options=WebhookOptions(from_=9)) == 1
    assert "is at position 0" in capsys.readouterr().err


def test_a_replay_prints_the_number_of_events_that_are_sent_again(
    crm: Receiver, pool: Engine, capsys: Told
) -> None:
    add(crm)
    with pool.begin() as connection:
        event = outbox.EventOut("lanes.item.failed", "lanes.workload.letters", {"key": "a"})
        outbox.add(connection, [event], now=NOON)
        connection.execute(text("update lanes.webhook_event set position = 1"))
        connection.execute(text("update lanes.webhook set position = 1"))
    capsys.readouterr()
    assert webhooks("replay", "crm", options=WebhookOptions(from_=1)) == 0
    assert "1 event will be sent to crm again" in capsys.readouterr().out
    assert webhooks("replay", "crm", options=WebhookOptions(since="1s")) == 0
    assert "0 events" in capsys.readouterr().out


def test_the_doctor_reports_a_webhook_that_rests(
    crm: Receiver, pool: Engine, tmp_path: Path
) -> None:
    patient = Patient(runs_with(Settings.read(), tmp_path), tmp_path)
    assert checks.webhooks(patient) == "none is set"
    add(crm)
    assert checks.webhooks(patient) == "1 webhook set, none in trouble"
    with pool.begin() as connection:
        connection.execute(text("update lanes.webhook set rests = 1, last_error = 'HTTP 503'"))
    with pytest.raises(StandError, match='webhook "crm" rests: HTTP 503; `lanes webhooks test'):
        checks.webhooks(patient)


def test_webhooks_accept_every_documented_event_except_work_waiting() -> None:
    assert {*EVENTS} == {*out()} - {"lanes.work.waiting"}

"""Passwords in settings: none reaches a status, finding, address, file, command line, block, error or log; fingerprints do."""

import asyncio
import logging
from pathlib import Path

import anthropic
import psycopg
import pytest
from pydantic import ValidationError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from blocks.provider import Provider
from lanes.cli import app
from lanes.errors import StandError
from lanes.settings import Settings
from lanes.stand import addresses
from lanes.stand.addresses import strip_password
from lanes.stand.database import check_answers, read_address
from lanes.stand.doctor import examine
from lanes.stand.kept import Said, differences, list_variables
from lanes.stand.services import endpoint
from lanes.stand.worksite import Site
from lanes.store.engines import discreet_engine
from tests.flows.raw_provider import saying
from tests.prefect_standin import PrefectStandIn
from tests.stand.shells import put_up, shell

pytestmark = pytest.mark.usefixtures("nothing_is_set")

GATEWAY = "http://ada:geheim@127.0.0.1:1"
CLIENT_KEY = "postgresql://ada:geheim@127.0.0.1:1/letters?sslkey=/k.pem&sslpassword=offen"
SECRETS = ("geheim", "offen")
OURS = {
    "ANTHROPIC_API_KEY": "sk-geheim",
    "ANTHROPIC_BASE_URL": GATEWAY,
    "LANES_DATABASE_URL": CLIENT_KEY,
    "LANES_HEARTBEAT_URL": "http://ada:geheim@127.0.0.1:1/ping",
}
Told = pytest.CaptureFixture[str]


def no_secret(*told: object) -> None:
    text = " ".join(map(str, told))
    assert text
    assert [each for each in SECRETS if each in text] == []


@pytest.mark.slow
def test_no_command_that_shows_settings_shows_a_password(
    home: Path, prefect: PrefectStandIn, capsys: Told
) -> None:
    put_up(home, prefect, OURS)
    for login in ("ada:geheim", "ada:offen"):  # the login of the stand, and another one
        with shell(
            LANES_HOME=str(home), **{**OURS, "ANTHROPIC_BASE_URL": f"http://{login}@127.0.0.1:1"}
        ):
            for command in ("status", "doctor", "url"):
                app([command])
                app([command, "--json"])
        told = capsys.readouterr()
        no_secret(told.out, told.err, (home / "stand.json").read_text())
        known = "http://127.0.0.1:1 (`lanes doctor` asks it)"
        unknown = "yours at 127.0.0.1; neither this shell nor a block of the stand's Prefect tells ANTHROPIC_BASE_URL"
        assert (known if login == "ada:geheim" else unknown) in told.out


def test_the_stand_shows_the_address_of_its_provider_without_the_login(home: Path) -> None:
    with shell(**OURS) as settings:
        site = Site(settings, home, home)
        no_secret(endpoint(site), site.provider_base_url, site.info())
    assert site.provider_base_url == "http://127.0.0.1:1"


@pytest.mark.parametrize("part", ["ge/heim", "ge?heim", "ge#heim"])
def test_a_login_that_cannot_be_separated_from_the_host_is_refused_and_not_shown(
    part: str, home: Path
) -> None:
    with (
        pytest.raises(ValidationError, match="as %XX") as refused,
        shell(ANTHROPIC_BASE_URL=f"https://ada:{part}@h/v1"),
    ):
        pass
    assert part not in str(refused.value)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ANTHROPIC_BASE_URL", f"https://ada:{part}@h/v1")
        assert part not in examine(None, home, home)[0].sentence


def test_an_invalid_setting_is_reported_without_its_value() -> None:
    with pytest.raises(ValidationError) as refused:
        Settings.model_validate({"PREFECT_API_URL": "https://ada:geheim@prefect.example.com/api"})
    no_secret(refused.value)


def test_no_command_line_contains_the_password_of_a_client_key() -> None:
    address = make_url(CLIENT_KEY)
    no_secret(
        strip_password(address),
        *addresses.psql_command(Path("psql"), address, ["-c", "select 1"]),
    )
    assert addresses.psql_environment(address, {}) == {"PGPASSWORD": "geheim"}
    assert strip_password(address).query == {"sslkey": "/k.pem"}


def test_an_error_of_libpq_about_an_address_is_reported_without_passwords(home: Path) -> None:
    for address in (CLIENT_KEY, CLIENT_KEY + "&sslmode=geheim&target_session_attrs=offen"):
        with pytest.raises(StandError) as refused:
            check_answers(read_address(address))
        no_secret(refused.value)


def test_an_error_of_the_driver_itself_quotes_no_password() -> None:
    def refuse(*_: object, **__: object) -> None:
        raise psycopg.OperationalError(
            'invalid token in "postgresql://ada:geheim@h/d?sslpassword=offen"'
        )

    engine = discreet_engine("postgresql+psycopg://h/d", creator=refuse)
    with pytest.raises(DBAPIError) as refused:
        engine.connect()
    no_secret(refused.value, refused.value.orig)


def test_a_block_stores_a_login_separately_from_the_address_that_is_shown() -> None:
    block = Provider.model_validate(
        {"api_key": "k", "base_url": "https://ada:ge%40heim@gateway.example.com/v1"}
    )
    assert (block.base_url, block.account) == (
        "https://gateway.example.com/v1",
        "gateway.example.com",
    )
    assert block.login is not None
    assert block.login.get_secret_value() == "ada:ge@heim"
    no_secret(repr(block), block.model_dump())
    with pytest.raises(ValidationError) as refused:
        Provider.model_validate({"base_url": "https://ada:geheim@gateway.example.com"})
    no_secret(refused.value)


async def test_the_gateway_receives_the_login_and_no_log_or_error_quotes_the_password(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heads: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")

    caplog.set_level(logging.DEBUG)
    async with saying(refuse, heads.append) as address:
        block = Provider.model_validate(
            {"api_key": "k", "base_url": address.replace("://", "://ada:geheim@")}
        )
        async with block.connect() as client:
            with pytest.raises(anthropic.PermissionDeniedError) as refused:
                await client.models.list()
    assert b"authorization: basic ywrhomdlagvpbq==" in heads[0].lower()
    no_secret(refused.value, repr(refused.value), caplog.text)
    async with block.connect() as client:  # no server listens there now
        with pytest.raises(anthropic.APIConnectionError) as gone:
            await client.models.list()
    no_secret(gone.value, gone.value.__cause__, caplog.text)


def test_a_password_in_any_address_is_a_secret() -> None:
    own = {"PREFECT_API_URL": "https://prefect.example.com/api/", "PREFECT_API_KEY": "geheim"}
    with shell(ANTHROPIC_BASE_URL="https://ada:geheim@gateway.example.com", **own) as settings:
        kept = list_variables(settings)
    assert {variable: each.shown for variable, each in kept.items()} == {
        "ANTHROPIC_BASE_URL": "gateway.example.com",
        "PREFECT_API_URL": "https://prefect.example.com/api",
        "PREFECT_API_KEY": "",
    }
    assert {variable for variable, each in kept.items() if each.fingerprint} == {
        "ANTHROPIC_BASE_URL",
        "PREFECT_API_KEY",
    }


def test_the_address_of_prefect_may_not_contain_a_password() -> None:
    with (
        pytest.raises(
            ValidationError, match="set PREFECT_API_AUTH_STRING to USER:PASSWORD"
        ) as refused,
        shell(PREFECT_API_URL="https://ada:geheim@prefect.example.com/api"),
    ):
        pass
    assert "geheim" not in str(refused.value.errors(include_input=False))


def test_equal_secrets_have_equal_fingerprints_and_different_secrets_differ() -> None:
    with shell(ANTHROPIC_API_KEY="one") as one, shell(ANTHROPIC_API_KEY="two") as two:
        assert list_variables(one) == list_variables(one)
        assert list_variables(one) != list_variables(two)


def test_a_difference_names_its_variable_and_the_remedy_and_no_secret() -> None:
    (set_otherwise,) = differences(
        {"SLACK_CHANNEL": Said("#ops")}, {"SLACK_CHANNEL": Said("#dev")}, {}
    )
    assert set_otherwise.sentence == (
        "SLACK_CHANNEL: the stand has #ops, this shell #dev; set it as the stand has it, or give this one to the stand by "
        "`lanes up`"
    )
    (only_there,) = differences({"LANES_HEARTBEAT_URL": Said("", "3fa9c2d1")}, {}, {})
    assert only_there.sentence == (
        "LANES_HEARTBEAT_URL: the stand has (fingerprint 3fa9c2d1), this shell has none; set it here before the next "
        "`lanes up`, which takes it away from the stand otherwise"
    )
    (kept,) = differences({"SLACK_BOT_TOKEN": Said("", "3fa9c2d1")}, {}, {})
    assert kept.change == (
        "SLACK_BOT_TOKEN was (fingerprint 3fa9c2d1), and is not set here; a `lanes up` that knows no Slack leaves the one in "
        "Prefect's block as it is"
    )
    assert kept.sentence == kept.change.replace(
        "SLACK_BOT_TOKEN was", "SLACK_BOT_TOKEN: the stand has"
    ).replace(", and is not set here", ", this shell has none")
    (never_taken_away,) = differences(
        {"LANES_DATABASE_URL": Said("db.invalid/letters", "3fa9c2d1")}, {}, {}
    )
    assert never_taken_away.sentence.endswith(
        "set it here before the next `lanes up`, which refuses without it"
    )


def test_the_quoting_of_a_password_does_not_change_its_fingerprint() -> None:
    one, two = (
        Settings.model_validate({"LANES_DATABASE_URL": f"postgres://ada:ge{each}heim@h/d"})
        for each in ("!", "%21")
    )
    assert list_variables(one) == list_variables(two)

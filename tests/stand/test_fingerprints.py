"""What of a secret is shown and kept: its fingerprint, by which a difference is known and named."""

import pytest
from pydantic import ValidationError

from lanes.settings import Settings
from lanes.stand.kept import Said, differences, said
from tests.stand.shells import shell

pytestmark = pytest.mark.usefixtures("nothing_is_set")


def test_a_password_in_any_address_is_a_secret() -> None:
    own = {"PREFECT_API_URL": "https://prefect.example.com/api/", "PREFECT_API_KEY": "geheim"}
    with shell(ANTHROPIC_BASE_URL="https://ada:geheim@gateway.example.com", **own) as settings:
        kept = said(settings)
    assert {variable: each.shown for variable, each in kept.items()} == {
        "ANTHROPIC_BASE_URL": "gateway.example.com",
        "PREFECT_API_URL": "https://prefect.example.com/api",
        "PREFECT_API_KEY": "",
    }
    assert {variable for variable, each in kept.items() if each.fingerprint} == {
        "ANTHROPIC_BASE_URL",
        "PREFECT_API_KEY",
    }


def test_the_address_of_prefect_holds_no_password_because_it_is_shown() -> None:
    with (
        pytest.raises(
            ValidationError, match="set PREFECT_API_AUTH_STRING to USER:PASSWORD"
        ) as refused,
        shell(PREFECT_API_URL="https://ada:geheim@prefect.example.com/api"),
    ):
        pass
    assert "geheim" not in str(refused.value.errors(include_input=False))


def test_the_same_secret_has_the_same_fingerprint_and_another_has_another() -> None:
    with shell(ANTHROPIC_API_KEY="one") as one, shell(ANTHROPIC_API_KEY="two") as two:
        assert said(one) == said(one)
        assert said(one) != said(two)


def test_a_difference_names_its_variable_and_what_to_do_and_no_secret() -> None:
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


def test_how_a_password_is_quoted_makes_no_other_secret() -> None:
    one, two = (
        Settings.model_validate({"LANES_DATABASE_URL": f"postgres://ada:ge{each}heim@h/d"})
        for each in ("!", "%21")
    )
    assert said(one) == said(two)


# -- as commands

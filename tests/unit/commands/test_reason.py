"""What people write beside a change: their reason, and an amount. What cannot be kept is wrong usage, said in a sentence."""

from contextlib import nullcontext
from inspect import signature

import pytest
from cyclopts import CycloptsError

from lanes.cli import app
from lanes.commands.options import NONE_GIVEN, check_reason


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("two hours less", None),
        ("x" * 500, None),
        ("", "1 to 500"),
        ("  ", "1 to 500"),
        ("x" * 501, "1 to 500"),
        ("\0", "It "),
    ],
)
def test_a_reason_is_as_long_as_a_form_takes_and_can_be_stored(said: str, why: str | None) -> None:
    with nullcontext() if why is None else pytest.raises(ValueError, match=why):
        check_reason(str, said)


CHANGES = (
    ["budget", "letters"],
    ["overhead", "set", "letters"],
    ["resubmit", "4"],
    ["give-up", "4"],
    ["replay", "letters"],
)


@pytest.mark.parametrize("command", CHANGES, ids=" ".join)
def test_every_command_that_keeps_a_reason_takes_none_too_and_refuses_an_empty_one(
    command: list[str],
) -> None:
    function, bound, _ = app.parse_args(command, exit_on_error=False, print_error=False)
    assert "why" not in bound.arguments
    assert signature(function).parameters["why"].default == NONE_GIVEN
    with pytest.raises(CycloptsError, match=r"--why. Write 1 to 500 characters"):
        app.parse_args([*command, "--why", " "], exit_on_error=False, print_error=False)


@pytest.mark.parametrize("said", ["nan", "inf", "-Infinity", "much", ""])
@pytest.mark.parametrize(
    "option",
    [["budget", "letters", "--hard"], ["budget", "letters", "--soft"], ["overhead", "--usd"]],
)
def test_what_is_no_amount_is_refused_in_a_sentence(option: list[str], said: str) -> None:
    with pytest.raises(
        CycloptsError, match=f'"{said}" is no amount in US dollars, such as 20 or 0.5$'
    ):
        app.parse_args([*option, said], exit_on_error=False, print_error=False)

"""Moments, periods, reasons and amounts as people write them on the command line."""

from contextlib import nullcontext
from datetime import UTC, datetime
from inspect import signature
from zoneinfo import ZoneInfo

import pytest
from cyclopts import CycloptsError

from lanes.cli import app
from lanes.commands.options import NONE_GIVEN, by, check_reason, parse_since
from lanes.workload.window import zone_of
from tests.conftest import NOON, later

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)  # 13:00 in Berlin


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("0s", NOON),
        ("90s", later(seconds=-90)),
        ("30m", later(minutes=-30)),
        ("2h", later(hours=-2)),
        ("1d", later(days=-1)),
        ("2w", later(days=-14)),
        (" 2 H ", later(hours=-2)),
        ("2026-11-24", datetime(2026, 11, 24, tzinfo=UTC)),
        ("2026-11-24T13:30:00+01:00", later(minutes=30)),
        ("2026-11-24T12:30:00Z", later(minutes=30)),
        ("2026-11-24 12:30", later(minutes=30)),
    ],
)
def test_a_span_counts_back_from_now_and_a_moment_without_an_offset_is_in_utc(
    text: str, moment: datetime
) -> None:
    assert parse_since(text, NOON) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2",
        "h",
        "-2h",
        "1.5h",
        "2y",
        "2026-13-01",
        "999999999w",
        "0001-01-01T00:00+14:00",
    ],
)
def test_an_invalid_moment_is_refused_with_the_accepted_formats(text: str) -> None:
    with pytest.raises(ValueError, match="write a span such as 30m, 2h or 1d"):
        parse_since(text, NOON)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("06:00", datetime(2026, 11, 25, 5, tzinfo=UTC)),
        ("13:01", datetime(2026, 11, 24, 12, 1, tzinfo=UTC)),
        ("13:00", datetime(2026, 11, 25, 12, tzinfo=UTC)),
        ("8h", datetime(2026, 11, 24, 20, tzinfo=UTC)),
        ("2026-12-24T18:00", datetime(2026, 12, 24, 17, tzinfo=UTC)),
        ("2026-12-24T18:00+00:00", datetime(2026, 12, 24, 18, tzinfo=UTC)),
    ],
)
def test_a_time_of_day_is_its_next_occurrence_and_a_span_or_date_is_literal(
    text: str, moment: datetime
) -> None:
    assert by(text, NOW, BERLIN) == moment


def test_a_time_skipped_by_a_clock_change_is_one_hour_later() -> None:
    evening = datetime(2026, 3, 28, 20, tzinfo=UTC)
    assert by("02:30", evening, BERLIN) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "soon", "25:00", "6:00", "9999999999d", "2026-13-01"])
def test_an_invalid_end_time_is_refused_with_the_accepted_formats(text: str) -> None:
    with pytest.raises(ValueError, match="write a time of day such as 06:00"):
        by(text, NOW, BERLIN)


def test_a_past_moment_and_an_unknown_time_zone_are_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r'"2026-11-24T12:00" has passed: it was 2026-11-24 12:00 \(Europe/Berlin\)',
    ):
        by("2026-11-24T12:00", NOW, BERLIN)
    with pytest.raises(ValueError, match="not an IANA time zone"):
        zone_of("Mars/Olympus")
    with pytest.raises(ValueError, match="not an IANA time zone"):
        zone_of("")


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
def test_a_reason_has_1_to_500_characters_that_can_be_stored(said: str, why: str | None) -> None:
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
def test_every_command_with_a_reason_may_omit_it_and_refuses_an_empty_one(
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
def test_an_invalid_amount_is_refused_with_a_sentence(option: list[str], said: str) -> None:
    with pytest.raises(
        CycloptsError, match=f'"{said}" is no amount in US dollars, such as 20 or 0.5$'
    ):
        app.parse_args([*option, said], exit_on_error=False, print_error=False)

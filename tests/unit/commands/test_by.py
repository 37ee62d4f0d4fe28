"""By when something is to be done, as people write it."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from lanes.commands.options import by
from lanes.workload.window import zone_of

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)  # 13:00 in Berlin


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
def test_a_time_of_day_is_the_next_one_in_its_zone_and_others_are_what_they_say(
    text: str, moment: datetime
) -> None:
    assert by(text, NOW, BERLIN) == moment


def test_a_time_that_the_clocks_skip_is_as_much_later() -> None:
    evening = datetime(2026, 3, 28, 20, tzinfo=UTC)
    assert by("02:30", evening, BERLIN) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "soon", "25:00", "6:00", "9999999999d", "2026-13-01"])
def test_what_names_no_moment_says_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="write a time of day such as 06:00"):
        by(text, NOW, BERLIN)


def test_what_is_over_and_what_is_no_zone_is_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r'"2026-11-24T12:00" has passed: it was 2026-11-24 12:00 \(Europe/Berlin\)',
    ):
        by("2026-11-24T12:00", NOW, BERLIN)
    with pytest.raises(ValueError, match="not an IANA time zone"):
        zone_of("Mars/Olympus")
    with pytest.raises(ValueError, match="not an IANA time zone"):
        zone_of("")

"""From when on, as people write it."""

from datetime import UTC, datetime

import pytest

from lanes.commands.options import since
from tests.conftest import NOON, later


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
    assert since(text, NOON) == moment


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
def test_what_is_no_moment_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="write a span such as 30m, 2h or 1d"):
        since(text, NOON)

"""From when on: a moment, or how long ago, as people write it."""

import re
from datetime import UTC, datetime, timedelta

SPAN = re.compile(r"(\d{1,9})\s*(s|m|h|d|w)", re.IGNORECASE)
SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def since(text: str, now: datetime) -> datetime:
    """The moment that `2h`, `1d` or an ISO 8601 moment names; one without an offset is in UTC.

    Raises:
        ValueError: it names none, or one beyond the calendar; the sentence says what to write.
    """
    try:
        if span := SPAN.fullmatch(text.strip()):
            return now - timedelta(seconds=int(span[1]) * SECONDS[span[2].lower()])
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            f'"{text}" is no moment: write a span such as 30m, 2h or 1d, or a moment such as 2026-12-24 or '
            "2026-12-24T18:00:00+01:00"
        ) from None

"""The options that several commands share, and the parsing of amounts, moments and reasons."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from cyclopts import Parameter, Token

from lanes.commands.running import WrongUsage
from lanes.doors.filedoor import Layout
from lanes.json_data import why_unstorable
from lanes.workload.window import TIME_OF_DAY

SPAN = re.compile(r"(\d{1,9})\s*(s|m|h|d|w)", re.IGNORECASE)
SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
MOST = 500  # characters in a reason
NONE_GIVEN = "no reason given"

AsJson = Annotated[bool, Parameter(name="--json", help="Print data as JSON on standard output.")]
Overwrite = Annotated[bool, Parameter(name="--force", help="Overwrite a file that is there.")]


@Parameter(name="*")
@dataclass(frozen=True)
class Columns(Layout):
    """The columns of a file whose lines are rows.

    Attributes:
        field: Column or field with the text.
        label: Column with the right answer; it is not sent.
        key: Column that identifies the item; the default is the file name and line.
        occurred_at: Column with the event time, ISO 8601.
        lane: Lane for every line.
        consumer: Name of the consumer of the results.
    """

    field: str | None = None
    label: str | None = None
    key: str | None = None
    occurred_at: str | None = None
    lane: Literal["realtime", "batch"] | None = None
    consumer: str | None = None


def check_reason(_: object, reason: str) -> None:
    """Check that the database can store a reason; the forms in the Prefect UI accept the same reasons.

    Raises:
        ValueError: the reason is empty, too long, or cannot be stored.
    """
    if not 1 <= len(reason.strip()) <= MOST:
        raise ValueError(f"Write 1 to {MOST} characters, or leave it out.")
    if (problem := why_unstorable(reason, "It")) is not None:
        raise ValueError(problem)


Why = Annotated[
    str,
    Parameter(validator=check_reason, help=f"Your reason, kept with it: up to {MOST} characters."),
]


def dollars(_: object, tokens: Sequence[Token]) -> Decimal:
    """Return the amount that the user typed.

    Raises:
        ValueError: the text is not a finite number.
    """
    text = tokens[0].value
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite():
        raise ValueError(f'"{text}" is no amount in US dollars, such as 20 or 0.5')
    return amount


def parse_since(text: str, now: datetime, option: str = "") -> datetime:
    """Return the moment that a span before now (`2h`, `1d`) or an ISO 8601 moment names; the default offset is UTC.

    Raises:
        WrongUsage: the text names no moment, or one beyond the calendar; the message gives valid examples for `option`.
    """
    try:
        if span := SPAN.fullmatch(text.strip()):
            return now - _length(span)
        return _read(text.strip(), UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        raise WrongUsage(
            f'{option}"{text}" is no moment: write a span such as 30m, 2h or 1d, or a moment such as 2026-12-24 or '
            "2026-12-24T18:00:00+01:00"
        ) from None


def by(text: str, now: datetime, zone: ZoneInfo) -> datetime:
    """Return the moment named by `06:00` (the next one in that zone), by a span from now (`2h`), or in ISO 8601.

    A moment without an offset is in that zone. A time that the clocks skip is moved forward by the skipped time.

    Raises:
        WrongUsage: the text names no moment, or one that has passed; the message says what to write.
    """
    try:
        moment = _next_occurrence(text.strip(), now, zone)
    except (ValueError, OverflowError):
        raise WrongUsage(
            f'"{text}" is no moment: write a time of day such as 06:00, a span such as 8h, or a moment such as 2026-12-24T06:00'
        ) from None
    if moment <= now:
        was = f"{moment.astimezone(zone):%Y-%m-%d %H:%M} ({zone.key})"
        raise WrongUsage(f'"{text}" has passed: it was {was}')
    return moment


def _next_occurrence(text: str, now: datetime, zone: ZoneInfo) -> datetime:
    if TIME_OF_DAY.fullmatch(text):
        today = now.astimezone(zone).date()
        hour = time.fromisoformat(text)
        days = (today + timedelta(days=ahead) for ahead in (0, 1, 2))
        moments = (datetime.combine(day, hour, zone).astimezone(now.tzinfo) for day in days)
        return next(each for each in moments if each > now)
    if span := SPAN.fullmatch(text):
        return now + _length(span)
    return _read(text, zone).astimezone(now.tzinfo)


def _read(moment: str, zone: tzinfo) -> datetime:
    parsed = datetime.fromisoformat(moment)
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=zone)


def _length(span: re.Match[str]) -> timedelta:
    return timedelta(seconds=int(span[1]) * SECONDS[span[2].lower()])

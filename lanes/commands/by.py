"""By when something is to be done, as people write it: a time of day, a moment, or how long from now."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from lanes.commands.since import SECONDS, SPAN
from lanes.workload.version import TIME_OF_DAY


def by(text: str, now: datetime, zone: ZoneInfo) -> datetime:
    """The moment that `06:00` (the next one in that zone), `2h` from now, or an ISO 8601 moment names; one without an offset is
    in that zone. A time that the clocks skip is as much later.

    Raises:
        ValueError: it names none, or one that is over; the sentence says what to write.
    """
    wanted = text.strip()
    try:
        moment = _read(wanted, now, zone)
    except (ValueError, OverflowError):
        raise ValueError(
            f'"{text}" is no moment: write a time of day such as 06:00, a span such as 8h, or a moment such as 2026-12-24T06:00'
        ) from None
    if moment <= now:
        raise ValueError(
            f'"{text}" is over: it was {moment.astimezone(zone):%Y-%m-%d %H:%M} ({zone.key})'
        )
    return moment


def _read(wanted: str, now: datetime, zone: ZoneInfo) -> datetime:
    if TIME_OF_DAY.fullmatch(wanted):
        today = now.astimezone(zone).date()
        days = (today + timedelta(days=ahead) for ahead in (0, 1, 2))
        moments = (
            datetime.combine(day, time.fromisoformat(wanted), zone).astimezone(now.tzinfo)
            for day in days
        )
        return next(each for each in moments if each > now)
    if span := SPAN.fullmatch(wanted):
        return now + timedelta(seconds=int(span[1]) * SECONDS[span[2].lower()])
    moment = datetime.fromisoformat(wanted)
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)).astimezone(
        now.tzinfo
    )

"""The off-peak window of a workload, and the departure times of batches in the window."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
LEAD = timedelta(minutes=2)  # one until the next request of a run, and one until the run begins


def zone_of(name: str) -> ZoneInfo:
    """Return the IANA time zone with that name.

    Raises:
        ValueError: no zone has that name.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, not a path, or a folder
        raise ValueError(f'"{name}" is not an IANA time zone; for example Europe/Berlin') from None


@dataclass(frozen=True)
class Window:
    """A daily span of local time in whole minutes; it may cross midnight, and an equal start and end mean the whole day."""

    start: time
    end: time
    zone: ZoneInfo

    def next_departure(self, now: datetime) -> datetime:
        """Return the next time after `now` at which the schedule fires, in UTC.

        As in Prefect, a local time that a clock change skips fires later by the skipped amount, and a repeated local time fires
        once.
        """
        today = now.astimezone(self.zone).date()
        days = (today + timedelta(days=ahead) for ahead in (-1, 0, 1, 2))
        times = [time(hour, self.start.minute) for hour in self._hours()]
        fires = (
            datetime.combine(day, at, self.zone).astimezone(UTC) for day in days for at in times
        )
        return min(each for each in fires if each > now)

    def find_opening(self, now: datetime) -> datetime | None:
        """Return the time at which the current window opened, in UTC; None while the window is closed."""
        today = now.astimezone(self.zone).date()
        for day in (today, today - timedelta(days=1)):
            last = day if self.end > self.start else day + timedelta(days=1)
            began, ended = (
                datetime.combine(on, at, self.zone).astimezone(UTC)
                for on, at in ((day, self.start), (last, self.end))
            )
            if began <= now < ended:
                return began
        return None

    def cron(self) -> str:
        """Return a cron schedule in local time that fires at the start and then hourly while the window is open."""
        hours = "*" if self.start == self.end else ",".join(map(str, self._hours()))
        return f"{self.start.minute} {hours} * * *"

    def _hours(self) -> list[int]:
        """Return the hours of the day in which the schedule fires, beginning with the start."""
        if self.start == self.end:
            return list(range(24))
        last = self.end.hour if self.end.minute > self.start.minute else self.end.hour - 1
        span = (last - self.start.hour) % 24
        return [(self.start.hour + step) % 24 for step in range(span + 1)]

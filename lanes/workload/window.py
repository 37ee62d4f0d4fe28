"""The off-peak window of a workload, and when a batch that waits for it leaves."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from lanes.workload.version import Spec

LEAD = timedelta(minutes=2)  # a run is asked for at most once a minute, and begins within another


def zone_of(name: str) -> ZoneInfo:
    """The IANA time zone of that name.

    Raises:
        ValueError: there is none.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; no path of the zones; one of their folders
        raise ValueError(f'"{name}" is no IANA time zone; for example Europe/Berlin') from None


@dataclass(frozen=True)
class Window:
    """A daily span of local time in whole minutes; it may cross midnight, and equal ends mean the whole day."""

    start: time
    end: time
    zone: ZoneInfo

    @classmethod
    def of(cls, spec: "Spec") -> "Window":
        """The off-peak window of a workload."""
        start, end = map(time.fromisoformat, (spec.off_peak_start, spec.off_peak_end))
        return cls(start, end, ZoneInfo(spec.timezone))

    def next_departure(self, now: datetime) -> datetime:
        """When the schedule fires next after `now`, in UTC; a run that has begun is not awaited.

        As Prefect has it, a time that the clocks skip fires as much later, and one that they repeat fires once.
        """
        today = now.astimezone(self.zone).date()
        days = (today + timedelta(days=ahead) for ahead in (-1, 0, 1, 2))
        times = [time(hour, self.start.minute) for hour in self._hours()]
        fires = (
            datetime.combine(day, at, self.zone).astimezone(UTC) for day in days for at in times
        )
        return min(each for each in fires if each > now)

    def cron(self) -> str:
        """A schedule that fires at the start and then hourly while the window is open, in local time."""
        hours = "*" if self.start == self.end else ",".join(map(str, self._hours()))
        return f"{self.start.minute} {hours} * * *"

    def _hours(self) -> list[int]:
        """In which hours of the day the schedule fires, from the start on."""
        if self.start == self.end:
            return list(range(24))
        last = self.end.hour if self.end.minute > self.start.minute else self.end.hour - 1
        span = (last - self.start.hour) % 24
        return [(self.start.hour + step) % 24 for step in range(span + 1)]


def expected_turnaround(spec: "Spec") -> timedelta:
    """How long a submitted batch of this workload usually takes until its answers are here: half of them take no longer."""
    return timedelta(minutes=spec.batch_expected_minutes)

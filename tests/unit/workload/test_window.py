"""The off-peak window: when it is open, when it opens next, and the schedule that follows from it."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.server.schemas.schedules import CronSchedule

from lanes.workload.window import Window
from tests.conftest import NOON, later
from tests.examples import spec

BERLIN, UTC_ZONE = ZoneInfo("Europe/Berlin"), ZoneInfo("UTC")
SPRING, AUTUMN = (
    date(2026, 3, 29),
    date(2026, 10, 25),
)  # in Berlin 02:00 becomes 03:00, 03:00 becomes 02:00
minutes_of_day = st.builds(time, st.integers(0, 23), st.integers(0, 59))
zones = st.sampled_from([UTC_ZONE, BERLIN, ZoneInfo("Asia/Kathmandu")])
windows = st.builds(Window, minutes_of_day, minutes_of_day, zones)
within_three_days = st.timedeltas(timedelta(0), timedelta(days=3))


def window(start: str, end: str, zone: ZoneInfo = UTC_ZONE) -> Window:
    return Window(time.fromisoformat(start), time.fromisoformat(end), zone)


def berlin(day: date, at: str, *, fold: int = 0) -> datetime:
    return datetime.combine(day, time.fromisoformat(at), BERLIN).replace(fold=fold)


def fires(of: Window) -> list[time]:
    """Return the times of day at which the window's schedule fires, in ascending order."""
    minute, hours, *rest = of.cron().split()
    assert rest == ["*", "*", "*"]
    named = range(24) if hours == "*" else map(int, hours.split(","))
    return sorted(time(hour, int(minute)) for hour in named)


def is_inside(of: Window, at: time) -> bool:
    """Return whether the time of day lies in the window, which includes its start and excludes its end."""
    if of.start < of.end:
        return of.start <= at < of.end
    return at >= of.start or at < of.end


def test_the_window_is_in_local_time() -> None:
    night = spec(off_peak_start="22:00", off_peak_end="06:00", timezone="Europe/Berlin").window
    assert night == window("22:00", "06:00", BERLIN)
    assert night.next_departure(datetime(2026, 11, 24, 12, tzinfo=UTC)) == datetime(
        2026, 11, 24, 21, tzinfo=UTC
    )  # winter
    assert night.next_departure(datetime(2026, 7, 1, 12, tzinfo=UTC)) == datetime(
        2026, 7, 1, 20, tzinfo=UTC
    )  # summer


@pytest.mark.parametrize(
    ("start", "end", "cron"),
    [
        ("22:00", "06:00", "0 22,23,0,1,2,3,4,5 * * *"),
        ("22:30", "01:00", "30 22,23,0 * * *"),
        ("22:30", "01:30", "30 22,23,0 * * *"),
        ("22:30", "01:31", "30 22,23,0,1 * * *"),
        ("01:15", "01:45", "15 1 * * *"),
        ("23:50", "00:10", "50 23 * * *"),
        ("06:30", "06:30", "30 * * * *"),
        (
            "06:30",
            "06:29",
            "30 6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,0,1,2,3,4,5 * * *",
        ),
    ],
)
def test_the_schedule_fires_at_the_start_and_then_hourly(start: str, end: str, cron: str) -> None:
    assert window(start, end).cron() == cron


@given(windows)
def test_every_firing_lies_in_the_window_and_none_is_missing(of: Window) -> None:
    times = fires(of)
    assert of.start in times
    for hour in range(24):
        at = time(hour, of.start.minute)
        assert (at in times) == is_inside(of, at)


async def first_firing(of: Window, *, after: datetime) -> datetime:
    """Return when Prefect starts the next run of the window's schedule."""
    schedule = CronSchedule(cron=of.cron(), timezone=of.zone.key)
    (fires,) = await schedule.get_dates(n=1, start=after + timedelta(microseconds=1))
    return fires.astimezone(UTC)


@given(windows, st.sampled_from([SPRING, AUTUMN, date(2026, 6, 1)]), within_three_days)
async def test_the_next_departure_is_the_next_run_that_prefect_schedules(
    of: Window, change: date, span: timedelta
) -> None:
    now = berlin(change, "00:00").astimezone(UTC) - timedelta(days=2) + span
    assert of.next_departure(now) == await first_firing(of, after=now)


@pytest.mark.parametrize(
    ("now", "start", "end", "leaves"),
    [
        (berlin(SPRING, "01:50"), "02:30", "06:00", berlin(SPRING, "03:30")),
        (berlin(SPRING, "01:50"), "02:30", "02:45", berlin(SPRING, "03:30")),
        (berlin(SPRING, "12:00"), "22:00", "06:00", berlin(SPRING, "22:00")),
        (berlin(AUTUMN, "01:50"), "02:30", "02:45", berlin(AUTUMN, "02:30")),
        (berlin(AUTUMN, "02:50"), "02:30", "02:45", berlin(date(2026, 10, 26), "02:30")),
    ],
)
def test_the_next_departure_is_correct_across_a_change_of_the_clocks(
    now: datetime, start: str, end: str, leaves: datetime
) -> None:
    assert window(start, end, BERLIN).next_departure(now) == leaves.astimezone(UTC)


def test_an_open_window_departs_at_its_next_hour_and_not_with_the_run_that_has_begun() -> None:
    assert window("06:00", "18:00").next_departure(later(seconds=3.5)) == later(hours=1)
    assert window("06:00", "18:00").next_departure(NOON) == later(hours=1)
    assert window("12:30", "12:30").next_departure(later(minutes=31)) == later(
        minutes=90
    )  # open all day
    assert window("18:00", "06:00").next_departure(later(seconds=3.5)) == later(hours=6)

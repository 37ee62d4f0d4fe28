"""What waits for the batch lane leaves when its off-peak window says."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from lanes.promises.assessment import BATCH, Assessment, verdict
from lanes.promises.incident import Promise
from lanes.units import clock, counted
from lanes.words import Verdict
from lanes.workload.version import Version
from lanes.workload.window import Window

START_WITHIN = timedelta(
    minutes=10
)  # of a departure: the opening of the off-peak window, and hourly while it is open


@dataclass(frozen=True)
class WaitingSeen:
    """What waits for the batch lane: since when the oldest is ready, and when the workload's newest batch was intended."""

    workload: str
    items: int
    ready_since: datetime
    last_intended_at: datetime | None


def never_started(version: Version, waiting: WaitingSeen | None, now: datetime) -> Assessment:
    """By the departure that the oldest of what waits has missed.

    As long as batches of that departure go on leaving, a backlog is neither breach nor end.
    """
    window, limit = Window.of(version.spec), START_WITHIN.total_seconds() / 60
    departure = window.next_departure(waiting.ready_since) if waiting else now
    if waiting is None or departure >= now:
        said = "Nothing waits for the batch lane that should have left."
        return Assessment(
            Promise.BATCH_NEVER_STARTED, version.workload, Verdict.PASSED, 0, limit, 1, said
        )
    left = waiting.last_intended_at
    leaving = left is not None and departure <= left < window.next_departure(departure)
    minutes = (now - (left if left is not None and leaving else departure)).total_seconds() / 60
    wait, newest = ("waits", "it") if waiting.items == 1 else ("wait", "the oldest")
    said = (
        f"{counted(waiting.items, 'item')} {wait} for the batch lane; {newest} should have left at "
        f"{clock(departure, beside=now)}."
    )
    if left is not None:
        said += f" The newest batch left at {clock(left, beside=now)}."
    judged = verdict(minutes, limit)
    if judged is Verdict.PASSED and now - departure > START_WITHIN:
        judged = Verdict.INCONCLUSIVE
    return Assessment(
        Promise.BATCH_NEVER_STARTED,
        version.workload,
        judged,
        minutes,
        limit,
        waiting.items,
        said,
        standstill=BATCH,
    )

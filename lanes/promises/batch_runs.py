"""Batches come home in time, and none of them needs a person to bring it home."""

from dataclasses import dataclass
from datetime import datetime

from lanes.ids import BatchId
from lanes.promises.assessment import BATCH, REALTIME, Assessment, verdict
from lanes.promises.incident import Promise
from lanes.units import counted, seconds
from lanes.words import BatchState, Verdict
from lanes.workload.version import Version

LET_GO = (
    BatchState.COLLECTED,
    BatchState.SUPERSEDED,
    BatchState.RELEASED,
)  # none of its items waits for it


@dataclass(frozen=True)
class BatchSeen:
    """A batch as it is now; counts are items, `failed` are errored, canceled, expired or missing.

    We `cancelled` it ourselves where no item needed it any more. It is `in_force` where its version is the workload's. One of
    its `missing` items at least is `owed` an answer still.
    """

    id: BatchId
    workload: str
    state: BatchState
    items: int
    succeeded: int
    invalid: int
    failed: int
    begun_at: datetime
    over_at: datetime | None = None
    note: str | None = None
    missing: int = 0
    cancelled: bool = False
    in_force: bool = True
    owed: bool = False


def of_batch(batch_id: BatchId) -> str:
    """The subject of a batch's incidents."""
    return f"batch {batch_id}"


def number_of(subject: str) -> BatchId | None:
    """Of the batch whose incidents have this subject; None where they are about something else."""
    said, _, number = subject.partition(" ")
    return BatchId(int(number)) if said == "batch" and number.isdecimal() else None


def batch_slow(version: Version, batch: BatchSeen, now: datetime) -> Assessment:
    """By how long the batch has been open, or was."""
    limit = version.spec.promises.batch_max_minutes
    over = batch.state in LET_GO or batch.cancelled
    minutes = (
        (batch.over_at if over and batch.over_at else now) - batch.begun_at
    ).total_seconds() / 60
    judged = Verdict.PASSED if over else verdict(minutes, limit)
    open_for, promised = seconds(minutes * 60), seconds(limit * 60)
    match batch.state:
        case BatchState.COLLECTED:
            said = f"Batch {batch.id} came home after {open_for}; {promised} were promised."
        case BatchState.RELEASED | BatchState.SUPERSEDED:
            said = f"Batch {batch.id} was given up after {open_for}; its items are ready for the next batch."
        case _ if batch.cancelled:
            said = f"Batch {batch.id} was cancelled: no item of it needs an answer any more."
        case _:
            said = f"Batch {batch.id} has been open for {open_for}; {promised} were promised. {_stuck_at(batch)}"
    return Assessment(
        Promise.BATCH_SLOW,
        version.workload,
        judged,
        minutes,
        limit,
        1,
        said,
        of_batch(batch.id),
        standstill=REALTIME | BATCH,
    )


def _stuck_at(batch: BatchSeen) -> str:
    items = counted(batch.items, "item")
    match batch.state:
        case BatchState.INTENDED:
            return f"The provider never confirmed it; `collect` finds out whether it exists. It holds {items}."
        case BatchState.HELD:
            why = batch.note or "nobody knows whether it exists"
            return f"It is held for a person to decide: {why}. It holds {items}."
        case BatchState.ENDED:
            why = f": {batch.note}" if batch.note else ""
            return f"It has ended at the provider and its results are not all collected{why}. It holds {items}."
        case _:
            return f"It still runs at the provider with {items}."


def batch_unclear(workload: str, batch_id: BatchId, items: int, why: str) -> Assessment:
    """The breach that a batch cannot be brought home until a person decides; it holds so many items."""
    said = (
        f"Batch {batch_id} needs a decision: {why}. It holds {counted(items, 'item')}; `lanes batches` says what adopting, "
        "resubmitting or giving it up may cost."
    )
    return Assessment(
        Promise.BATCH_UNCLEAR,
        workload,
        Verdict.FAILED,
        items,
        0,
        items,
        said,
        of_batch(batch_id),
        why=why,
    )

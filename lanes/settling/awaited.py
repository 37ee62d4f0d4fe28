"""The status line for a person who follows some items: it names the process that moves them on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from lanes.ids import BatchId
from lanes.units import clock, counted, seconds
from lanes.words import BatchState, Lane, Purpose, WorkState

MOST_BATCHES = 3  # named one by one


@dataclass(frozen=True)
class OpenWork:
    """Open work of one kind, counted. `rests` says that it is not ready yet, `paused` that its workload is paused."""

    workload: str
    lane: Lane
    purpose: Purpose
    state: WorkState
    items: int
    batch_id: BatchId | None = None
    rests: bool = False
    paused: bool = False


@dataclass(frozen=True)
class FollowedBatch:
    """A batch with some of the items, `since` the provider has it or it was intended."""

    id: BatchId
    state: BatchState
    requests: int
    processed: int
    since: datetime
    expected_end_at: datetime | None


@dataclass(frozen=True)
class OpenCounts:
    """The open work of the followed items."""

    unrouted: int
    owed: Sequence[OpenWork]
    batches: Sequence[FollowedBatch]


@dataclass(frozen=True)
class DepartRun:
    """A run of `depart` that was asked for, for one workload or for all (None), with the type of its state, as RUNNING."""

    workload: str | None
    run_id: str
    state: str


@dataclass(frozen=True)
class Movers:
    """The processes that move batch work on.

    These are the run of `depart` that was asked for, how often `collect` looks, and whether batches take their usual
    time, which those of the local stand-in do not.
    """

    departing: DepartRun | None = None
    looks_every_s: float | None = None
    usual_time: bool = True


def sentence(awaited: OpenCounts, movers: Movers, *, now: datetime) -> str:
    """Say what is waited for: routing, real time, the next batch, and each batch that is out."""
    served = [each for each in awaited.owed if not each.paused or each.state is WorkState.SUBMITTED]
    parts = [
        *([f"{counted(awaited.unrouted, 'item')} to be routed"] if awaited.unrouted else []),
        *_realtime([each for each in served if each.lane is Lane.REALTIME]),
        *_departing(served, awaited.unrouted, movers),
        *_paused([each for each in awaited.owed if each not in served]),
        *_out(awaited, movers, now),
    ]
    return f"waiting for {'; '.join(parts)}" if parts else "nothing is waited for any more"


def _realtime(owed: Sequence[OpenWork]) -> list[str]:
    asked = _sum(each for each in owed if each.state is WorkState.CLAIMED)
    resting = _sum(each for each in owed if each.state is WorkState.READY and each.rests)
    counts = {
        "being asked": asked,
        "in the queue": _sum(owed) - asked - resting,
        "resting after a fault": resting,
    }
    states = ", ".join(f"{number:,} {state}" for state, number in counts.items() if number)
    return [f"{counted(_sum(owed), 'real-time answer')}: {states}"] if owed else []


def _departing(owed: Sequence[OpenWork], unrouted: int, movers: Movers) -> list[str]:
    waiting = [
        each for each in owed if each.lane is Lane.BATCH and each.state is not WorkState.SUBMITTED
    ]
    answering = {each.workload for each in owed if each.lane is Lane.REALTIME}
    said: list[str] = []
    for name in sorted({each.workload for each in waiting}):
        if movers.departing is not None and movers.departing.workload in (name, None):
            why = f"`depart` takes them, its run is {movers.departing.state.lower()}"
        elif unrouted or name in answering:
            why = "they leave together once real time has answered"
        elif movers.departing is not None:
            why = f"`depart` takes them after those of {movers.departing.workload}"
        else:
            why = "`depart` is asked for next"
        mine = counted(_sum(each for each in waiting if each.workload == name), "item")
        said.append(f"{mine} of {name} to leave in a batch: {why}")
    return said


def _paused(owed: Sequence[OpenWork]) -> list[str]:
    return [
        f"{counted(_sum(each for each in owed if each.workload == name), 'item')} of {name}, which is paused: "
        f"`lanes resume {name}` serves it again"
        for name in sorted({each.workload for each in owed})
    ]


def _out(awaited: OpenCounts, movers: Movers, now: datetime) -> list[str]:
    said: list[str] = []
    for batch in awaited.batches[:MOST_BATCHES]:
        inside = [each for each in awaited.owed if each.batch_id == batch.id]
        authoritative = all(each.purpose is Purpose.AUTHORITATIVE for each in inside)
        kind = "authoritative answer" if authoritative else "batch answer"
        said.append(
            f"{counted(_sum(inside), kind)}: batch {batch.id} {_stands(batch, movers, now)}"
        )
    more = len(awaited.batches) - MOST_BATCHES
    return said + ([f"{counted(more, 'more batch')}"] if more > 0 else [])


def _stands(batch: FollowedBatch, movers: Movers, now: datetime) -> str:
    age = seconds(max(0.0, (now - batch.since).total_seconds()))
    match batch.state:
        case BatchState.INTENDED:
            return f"is being created for {age}"
        case BatchState.SUBMITTED:
            said = [f"is in progress for {age}"]
            if batch.processed:
                said.append(f"{batch.processed:,} of {counted(batch.requests, 'request')} done")
            if movers.usual_time and batch.expected_end_at is not None:
                said.append(f"expected by {clock(batch.expected_end_at, beside=now)}")
            if movers.looks_every_s is not None:
                said.append(f"`collect` looks every {movers.looks_every_s:g} s")
            return ", ".join(said)
        case BatchState.ENDED:
            return "has ended, its results are being read"
        case BatchState.HELD:
            return "is held: `lanes batches` says why"
        case _:
            return f"is {batch.state}"


def _sum(owed: Iterable[OpenWork]) -> int:
    return sum(each.items for each in owed)

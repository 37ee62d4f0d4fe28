"""The reasons why work waits: the cause, its start, and its end, for one item and for the items that a person follows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from lanes.ids import BatchId
from lanes.money.budget import BudgetStatus
from lanes.realtime.circuit import Circuit
from lanes.realtime.limiter import CallWait, WaitReason
from lanes.routing.capacity import RESERVE, Limit
from lanes.units import clock, pluralize, seconds, usd
from lanes.words import BatchState, Lane, Purpose, WorkState

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Holds:
    """Everything in the database that may hold an item's work."""

    paused_at: datetime | None = None  # when its workload was paused
    budgets: Sequence[BudgetStatus] = ()  # the budgets that pay for it
    # open incidents of the promises that hold work: promise, subject, why, opened_at
    incidents: Sequence[Row] = ()
    # open circuits by model, with the account
    circuits: Mapping[str, tuple[str, Circuit]] = field(
        default_factory=dict[str, tuple[str, Circuit]]
    )
    # by model, as the provider last reported them
    limits: Mapping[str, Sequence[Limit]] = field(default_factory=dict[str, Sequence[Limit]])
    # the batches that own its work
    batches: Mapping[int, Row] = field(default_factory=dict[int, Row])
    primer: Row | None = None  # the batch that primes the cache, if its workload waits for it
    departs_at: datetime | None = None  # when `depart` is next scheduled for its workload
    # the waits of its workload, as drains report them now, the most calls first
    waits: Sequence[CallWait] = ()


def explain_hold(work: Row, holds: Holds, now: datetime) -> str | None:
    """Return the cause that holds this open work, its start, and its end; None if the work only waits for its turn.

    `work` is a row of `lanes.work` with the `model` of its lane and with `urgent` of its item. If there are several causes, a
    cause that a person must end comes first.
    """
    match WorkState(work["state"]):
        case WorkState.READY:
            causes = (
                _explain_refused_version,
                _explain_paused,
                _explain_frozen,
                _explain_unpaid,
                _explain_context,
                _explain_circuit,
                _explain_back_off,
                _explain_limit,
                _explain_primer,
                _explain_window,
                _explain_turn,
            )
            return next(
                (reason for cause in causes if (reason := cause(work, holds, now)) is not None),
                None,
            )
        case WorkState.CLAIMED:
            return _explain_turn(work, holds, now)
        case WorkState.SUBMITTED:
            return _explain_batch(work, holds, now)
        case _:
            return None


def _explain_refused_version(work: Row, holds: Holds, now: datetime) -> str | None:
    """Explain that the provider refuses every call of its version, for example because of its schema."""
    incident = next(
        (
            e
            for e in holds.incidents
            if e["promise"] == "provider_frozen" and e["subject"].startswith("version ")
        ),
        None,
    )
    if incident is None:
        return None
    return (
        f"waits: the provider has refused {incident['subject']} since {clock(incident['opened_at'], beside=now)} "
        f"({incident['why']}); a corrected version, once published, goes on with it, and "
        f"`lanes resume {work['workload']}` asks the same one again"
    )


def _explain_paused(work: Row, holds: Holds, now: datetime) -> str | None:
    if holds.paused_at is None:
        return None
    since = clock(holds.paused_at, beside=now)
    return f"waits: its workload has been paused since {since}; `lanes resume {work['workload']}` ends that"


def _explain_frozen(work: Row, holds: Holds, now: datetime) -> str | None:
    """Explain that the provider refuses the account (its key, its spend limit, a setting), or has no such model for it."""
    refused = [
        each
        for each in holds.incidents
        if each["promise"] == "provider_frozen" and not each["subject"].startswith("version ")
    ]
    mine = f"model {work['model']}"
    incidents = [
        each
        for each in refused
        if each["subject"] == mine or not each["subject"].startswith("model ")
    ]
    if not incidents:
        return None
    since = clock(incidents[0]["opened_at"], beside=now)
    why = incidents[0]["why"] or "the provider refuses every call"
    return (
        f"waits: the provider has refused calls since {since} ({why}); it ends with the first call that is accepted: correct "
        "the setting (after a new key, `lanes up`), `lanes doctor` names it"
    )


def _explain_unpaid(work: Row, holds: Holds, now: datetime) -> str | None:
    spent = next((each for each in holds.budgets if each.is_used_up), None)
    if spent is None:
        return _explain_reserved(work, holds, now)
    since = f" since {clock(spent.refused_at, beside=now)}" if spent.refused_at else ""
    return (
        f"waits for money: {spent.sentence}; it has paid for no call{since}, and pays again once it is raised "
        f"(`lanes budget {work['workload']}`), or at {clock(spent.ends_at, beside=now)}"
    )


def _explain_reserved(work: Row, holds: Holds, now: datetime) -> str | None:
    """Explain that its call costs more than the remaining budget, or waits for money that is reserved for other calls."""
    if (bound := work.get("bound_usd")) is not None and work["ready_at"] > now:
        stands = "; ".join(each.sentence for each in holds.budgets)
        return (
            f"waits for money: its call may cost {usd(bound)}, more than is left ({stands}); it is tried again when a "
            f"budget is raised (`lanes budget {work['workload']}`), or at {clock(work['ready_at'], beside=now)}"
        )
    waits = next((each for each in holds.budgets if each.waits), None)
    if waits is None:
        return None
    since = f" since {clock(waits.refused_at, beside=now)}" if waits.refused_at else ""
    return f"has waited for reserved money{since}: {waits.sentence}; it continues as calls and batches end"


def _explain_context(work: Row, holds: Holds, now: datetime) -> str | None:
    """Explain that the context that its batch would read is missing, forbidden or slow."""
    incidents = [
        e for e in holds.incidents if e["subject"] == "context" and work["lane"] == Lane.BATCH
    ]
    if not incidents:
        return None
    since = clock(incidents[0]["opened_at"], beside=now)
    return (
        f"has waited since {since}, because its context cannot be read ({incidents[0]['why']}); `depart` tries it again by "
        f"itself, or at once by `lanes depart {work['workload']}`"
    )


def _explain_circuit(work: Row, holds: Holds, now: datetime) -> str | None:
    if work["lane"] != Lane.REALTIME or work["model"] not in holds.circuits:
        return None
    account, circuit = holds.circuits[work["model"]]
    return f"waits: {circuit.describe(work['model'], account, now)}; it ends with the first call that is answered"


def _explain_back_off(work: Row, holds: Holds, now: datetime) -> str | None:
    if work["ready_at"] <= now:
        return None
    failures = f" after {pluralize(work['failures'], 'failure')}" if work["failures"] else ""
    return f"rests{failures} until {clock(work['ready_at'], beside=now)}, then it is tried again automatically"


def _explain_limit(work: Row, holds: Holds, now: datetime) -> str | None:
    """Explain that the provider's limits leave nothing for it; work that is not urgent must leave a share of each limit."""
    if work["lane"] != Lane.REALTIME:
        return None
    kept = 0.0 if work["urgent"] else RESERVE
    reached = [
        each
        for each in holds.limits.get(work["model"], ())
        if each.estimate_remaining(now) <= max(1, kept * each.limit)
    ]
    if not reached:
        return None
    last = max(reached, key=lambda each: each.reset_at)
    kind = last.kind.replace("_", " ")
    return (
        f"waits: the provider's limit of {last.limit} {kind} a minute for {work['model']} has been reached since "
        f"{clock(last.seen_at, beside=now)}; this ends automatically, at {clock(last.reset_at, beside=now)} at the latest"
    )


def _explain_turn(work: Row, holds: Holds, now: datetime) -> str | None:
    """Explain why drains hold back the calls of its workload: the reason that most of them wait for."""
    if work["lane"] != Lane.REALTIME or not holds.waits:
        return None
    turns = (each for each in holds.waits if each.reason is WaitReason.TURN)
    if work["state"] == WorkState.READY and (turn := next(turns, None)) is not None:
        return f"waits for its turn: {turn.reason.explanation}"
    most = holds.waits[0]
    return f"waits for its turn among {pluralize(most.calls, 'call')} of its workload: {most.reason.explanation}"


def _explain_primer(work: Row, holds: Holds, now: datetime) -> str | None:
    """Explain that the batches of its version wait for the first one, whose prefix they then read from the provider's cache."""
    primer = holds.primer
    if work["lane"] != Lane.BATCH or primer is None or primer["version_id"] != work["version_id"]:
        return None
    until = clock(primer["stated_back_at"], beside=now)
    return (
        f"waits for batch {primer['id']}, which primes the provider's cache for it: it leaves when that batch is back, at "
        f"{until} at the latest, or sooner if a due time needs it"
    )


def _explain_window(work: Row, holds: Holds, now: datetime) -> str | None:
    if (
        work["lane"] != Lane.BATCH
        or holds.departs_at is None
        or holds.departs_at - now < timedelta(minutes=1)
    ):
        return None
    return (
        f"has waited for the off-peak window since {clock(work['ready_at'], beside=now)}: the next batch leaves at "
        f"{clock(holds.departs_at, beside=now)}, or at once by `lanes depart {work['workload']}`"
    )


def _explain_batch(work: Row, holds: Holds, now: datetime) -> str | None:
    """Explain which batch has the work, and whether a person must decide about that batch."""
    number = work["batch_id"]
    batch = holds.batches.get(number)
    if batch is None:
        return None
    decide = f"a person decides: `lanes batches`, then `lanes adopt`, `lanes resubmit` or `lanes give-up {number}`"
    unclear = [
        e
        for e in holds.incidents
        if e["promise"] == "batch_unclear" and e["subject"] == f"batch {number}"
    ]
    if unclear or batch["state"] == BatchState.HELD:
        since = (
            unclear[0]["opened_at"] if unclear else batch["create_ended_at"] or batch["intended_at"]
        )
        why = (
            (unclear[0]["why"] if unclear else None)
            or batch["note"]
            or "it is not known which batch at the provider it is"
        )
        return f"batch {number} has been held since {clock(since, beside=now)} ({why}); {decide}"
    match BatchState(batch["state"]):
        case BatchState.INTENDED:
            since = clock(batch["create_ended_at"] or batch["intended_at"], beside=now)
            return f"the create of batch {number} has had no answer since {since}; `collect` searches for it automatically"
        case BatchState.SUBMITTED:
            expected = batch["expected_end_at"]
            when = "" if expected is None else f", expected at {clock(expected, beside=now)}"
            incident_key = ("batch_slow", f"batch {number}")
            late = any((e["promise"], e["subject"]) == incident_key for e in holds.incidents)
            late = late or (expected is not None and expected < now)
            overdue = "; it is late: a batch ends within a day" if late else ""
            return f"batch {number} has been at the provider since {clock(batch['submitted_at'], beside=now)}{when}{overdue}"
        case BatchState.ENDED:
            return f"batch {number} ended at {clock(batch['ended_at'], beside=now)}; `collect` reads its results"
        case _:
            return None


MOST_BATCHES = 3  # batches that are named individually


@dataclass(frozen=True)
class OpenWork:
    """A count of open work of one kind; `rests` is true if the work is not ready yet, `paused` if its workload is paused."""

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
    """A batch with some of the items; `since` is when the provider received it, or else when it was intended."""

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
    """A requested run of `depart`, for one workload or for all (None); `state` is the type of its state, such as RUNNING."""

    workload: str | None
    run_id: str
    state: str


@dataclass(frozen=True)
class Movers:
    """The processes that advance batch work.

    `departing` is the requested run of `depart`. `collect` polls every `looks_every_s` seconds. `usual_time` is true if batches
    take their usual time, and false for batches of the local stand-in.
    """

    departing: DepartRun | None = None
    looks_every_s: float | None = None
    usual_time: bool = True


def sentence(awaited: OpenCounts, movers: Movers, *, now: datetime) -> str:
    """Describe the pending work: routing, real time, the next batch, and each batch in flight."""
    served = [each for each in awaited.owed if not each.paused or each.state is WorkState.SUBMITTED]
    parts = [
        *([f"{pluralize(awaited.unrouted, 'item')} to be routed"] if awaited.unrouted else []),
        *_describe_realtime([each for each in served if each.lane is Lane.REALTIME]),
        *_describe_departing(served, awaited.unrouted, movers),
        *_describe_paused([each for each in awaited.owed if each not in served]),
        *_describe_out(awaited, movers, now),
    ]
    return f"waiting for {'; '.join(parts)}" if parts else "nothing is pending"


def _describe_realtime(owed: Sequence[OpenWork]) -> list[str]:
    asked = _sum(each for each in owed if each.state is WorkState.CLAIMED)
    resting = _sum(each for each in owed if each.state is WorkState.READY and each.rests)
    counts = {
        "being asked": asked,
        "in the queue": _sum(owed) - asked - resting,
        "resting after a fault": resting,
    }
    states = ", ".join(f"{number:,} {state}" for state, number in counts.items() if number)
    return [f"{pluralize(_sum(owed), 'real-time answer')}: {states}"] if owed else []


def _describe_departing(owed: Sequence[OpenWork], unrouted: int, movers: Movers) -> list[str]:
    waiting = [
        work for work in owed if work.lane is Lane.BATCH and work.state is not WorkState.SUBMITTED
    ]
    answering = {work.workload for work in owed if work.lane is Lane.REALTIME}
    sentences: list[str] = []
    for name in sorted({work.workload for work in waiting}):
        if movers.departing is not None and movers.departing.workload in (name, None):
            why = f"`depart` takes them, its run is {movers.departing.state.lower()}"
        elif unrouted or name in answering:
            why = "they leave together once real time has answered"
        elif movers.departing is not None:
            why = f"`depart` takes them after those of {movers.departing.workload}"
        else:
            why = "`depart` is asked for next"
        mine = pluralize(_sum(work for work in waiting if work.workload == name), "item")
        sentences.append(f"{mine} of {name} to leave in a batch: {why}")
    return sentences


def _describe_paused(owed: Sequence[OpenWork]) -> list[str]:
    return [
        f"{pluralize(_sum(each for each in owed if each.workload == name), 'item')} of {name}, which is paused: "
        f"`lanes resume {name}` serves it again"
        for name in sorted({each.workload for each in owed})
    ]


def _describe_out(awaited: OpenCounts, movers: Movers, now: datetime) -> list[str]:
    sentences: list[str] = []
    for batch in awaited.batches[:MOST_BATCHES]:
        inside = [each for each in awaited.owed if each.batch_id == batch.id]
        authoritative = all(each.purpose is Purpose.AUTHORITATIVE for each in inside)
        kind = "authoritative answer" if authoritative else "batch answer"
        sentences.append(
            f"{pluralize(_sum(inside), kind)}: batch {batch.id} {_describe_batch_state(batch, movers, now)}"
        )
    more = len(awaited.batches) - MOST_BATCHES
    return sentences + ([f"{pluralize(more, 'more batch')}"] if more > 0 else [])


def _describe_batch_state(batch: FollowedBatch, movers: Movers, now: datetime) -> str:
    age = seconds(max(0.0, (now - batch.since).total_seconds()))
    match batch.state:
        case BatchState.INTENDED:
            return f"is being created for {age}"
        case BatchState.SUBMITTED:
            parts = [f"is in progress for {age}"]
            if batch.processed:
                parts.append(f"{batch.processed:,} of {pluralize(batch.requests, 'request')} done")
            if movers.usual_time and batch.expected_end_at is not None:
                parts.append(f"expected by {clock(batch.expected_end_at, beside=now)}")
            if movers.looks_every_s is not None:
                parts.append(f"`collect` looks every {movers.looks_every_s:g} s")
            return ", ".join(parts)
        case BatchState.ENDED:
            return "has ended, its results are being read"
        case BatchState.HELD:
            return "is held: `lanes batches` says why"
        case _:
            return f"is {batch.state}"


def _sum(owed: Iterable[OpenWork]) -> int:
    return sum(each.items for each in owed)

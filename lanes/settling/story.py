"""The story of one item: its events in order, and its next step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from lanes.money.caching import CachingDecision
from lanes.settling.holds import Holds, Row, explain_hold
from lanes.units import pluralize, seconds, usd
from lanes.words import (
    OPEN_WORK,
    ItemState,
    Lane,
    Outcome,
    Purpose,
    Reason,
    SettledReason,
    WorkState,
)
from lanes.workload.context import LATE


@dataclass(frozen=True)
class StoryEvent:
    """An event in the life of an item."""

    at: datetime
    what: str
    detail: str


@dataclass(frozen=True)
class ItemRecords:
    """Everything that the database stores about one item: rows of the views and of `work`, by their column names."""

    item: Row  # item_status
    routes: Sequence[Row]
    work: Sequence[Row]
    attempts: Sequence[Row]
    results: Sequence[Row]
    corrections: Sequence[Row]
    revisions: Sequence[Row]
    reads: Sequence[Row]
    checks: Sequence[Row]  # pack_check
    holds: Holds  # the causes that may hold its open work
    # caching decisions of the version of its workload that is in force
    caching: Sequence[tuple[Lane, CachingDecision]] = ()
    archived_at: datetime | None = None


def happenings(records: ItemRecords) -> list[StoryEvent]:
    """Return all events of the item, oldest first."""
    item = records.item
    events = [StoryEvent(item["received_at"], "received", _door(item))]
    events += [StoryEvent(each["received_at"], *_revision(each)) for each in records.revisions]
    events += _each(records.routes[:1], "decided_at", "routed", _route)
    events += _each(records.attempts, "ended_at", "tried", _attempt)
    events += [
        StoryEvent(each["decided_at"], _name_move(before, each), _route(each))
        for before, each in pairwise(records.routes)
    ]
    events += _each(records.results, "created_at", "answered", _result)
    events += _each(records.corrections, "corrected_at", "corrected", _correction)
    events += _each(records.reads, "read_at", "read", _read)
    events += _each(records.checks, "compared_at", "compared", _check)
    events += _each(records.checks, "repeated_at", "compared", _describe_repeat)
    if item["settled_at"] is not None:
        why = f"on the provisional answer: {item['failure']}" if item["failure"] else ""
        if item["settled_reason"] == SettledReason.NOT_SAMPLED:
            why = "on the provisional answer: its second pass was not sampled"
        events.append(StoryEvent(item["settled_at"], "settled", why))
    if item["emptied_at"] is not None:
        why = "because of its age: its workload keeps payloads and answers for a limited time"
        events.append(StoryEvent(item["emptied_at"], "emptied", why))
    if records.archived_at is not None:
        why = "because of its age: its workload keeps rows in their tables for a limited time"
        events.append(StoryEvent(records.archived_at, "archived", why))
    return sorted(events, key=lambda each: each.at)


def _each(rows: Sequence[Row], at: str, what: str, say: Callable[[Row], str]) -> list[StoryEvent]:
    """Return an event for each row in which the column `at`, the time of the event, is set."""
    return [StoryEvent(row[at], what, say(row)) for row in rows if row[at] is not None]


def next_step(records: ItemRecords, now: datetime) -> str:
    """Describe the cause that holds the item, or its next step. Work for older revisions is ignored."""
    owed = [
        work
        for work in records.work
        if work["state"] in OPEN_WORK and work["revision"] == records.item["revision"]
    ]
    if owed:
        return "; ".join(_moves(work, records, now) for work in owed)
    match records.item["state"]:
        case ItemState.RECEIVED:
            return "the router routes it: see `lanes status` for a drain that runs"
        case ItemState.FAILED if records.item["emptied_at"] is not None:
            return "Done: its input was deleted because of its age, so it cannot be retried"
        case _ if records.archived_at is not None:
            return "Done: it is archived, and it can no longer be amended, labeled or retried"
        case ItemState.FAILED:
            return f"Failed; to try again: lanes retry {records.item['workload']} --key {records.item['key']}"
        case _:
            return "Done"


def describe_shared_context(records: ItemRecords) -> list[str]:
    """Return for each lane whether calls of its workload mark their prefix for the provider's cache, and why."""
    return [f"{how.describe(lane)}: {how.why}" for lane, how in records.caching]


def _door(item: Row) -> str:
    of = [f"{name} {item[name]}" for name in ("consumer", "entity") if item[name] is not None]
    due = [f"due {item['due_at']:%Y-%m-%d %H:%M} UTC"] if item["due_at"] is not None else []
    return ", ".join([f"through the door {item['source']}", *of, *due])


def _revision(revision: Row) -> tuple[str, str]:
    label = f"revision {revision['revision']}"
    if revision["source"] == LATE:
        return "asked again", f"{label}, because its context changed: {revision['position']}"
    outdated = ", outdated: what is in force occurred later" if revision["outdated"] else ""
    return "amended", label + outdated


def _name_move(before: Row, route: Row) -> str:
    match route["reason"]:
        case Reason.RESCUE:
            return "rescued"
        case Reason.SHED:
            return "shed"
        case _:
            return "routed" if before["lane"] == route["lane"] else "handed over"


def _route(route: Row) -> str:
    estimates = (
        f"about {usd(route['realtime_usd'])} in real time, {usd(route['batch_usd'])} in a batch"
    )
    return f"to {route['lane']}, {route['reason'].replace('_', ' ')}: {route['explanation']}; {estimates}"


def _attempt(attempt: Row) -> str:
    where = f"on the {attempt['lane']} lane"
    if attempt["batch_id"] is not None:
        where = f"in batch {attempt['batch_id']}"
    error = f" ({attempt['error']})" if attempt["error"] else ""
    is_late = attempt["outcome"] == Outcome.VALID and not attempt["shown"]
    late = ", late: billed, not shown" if is_late else ""
    if attempt["purpose"] == Purpose.SHADOW:
        late = ", alone, to check packing: billed, never shown"
    took = seconds(attempt["latency_ms"] / 1000)
    how = f"{where} by {attempt['model']}{_describe_pack(attempt)}"
    return f"{how}: {attempt['outcome']}{error}{late}, {usd(attempt['cost_usd'])}, {took}"


def _describe_pack(attempt: Row) -> str:
    """Return how many items shared its call, and why no more did."""
    if attempt["size"] is not None and attempt["size"] < attempt["allowed"]:
        why = f" (packs of {attempt['size']} of {attempt['allowed']} allowed: {attempt['why']})"
    else:
        why = ""
    return f" in a call of {attempt['shared']}{why}" if why or (attempt["shared"] or 1) > 1 else ""


def _result(result: Row) -> str:
    replayed = f", replay {result['generation']}" if result["generation"] else ""
    return f"{result['standing']} on the {result['lane']} lane by version {result['version']}{replayed}"


def _correction(correction: Row) -> str:
    return "changed: " + ", ".join(correction["changed_fields"])


def _read(read: Row) -> str:
    return f"by {read['reader']}" + (
        "" if read["result_id"] is not None else ", before there was an answer"
    )


def _check(check: Row) -> str:
    comparison = "the same as" if check["agrees"] else "something else than"
    return f"asked alone, to check packing, it answers {comparison} in its call of {pluralize(check['pack'], 'item')}"


def _describe_repeat(check: Row) -> str:
    return f"asked alone again, it answers {'the same' if check['repeats'] else 'something else'}"


def _moves(work: Row, records: ItemRecords, now: datetime) -> str:
    failures = f" after {pluralize(work['failures'], 'failure')}" if work["failures"] else ""
    name = f"{work['purpose']} work on the {work['lane']} lane"
    cause = explain_hold(work, records.holds, now)
    match WorkState(work["state"]):
        case WorkState.READY if cause is not None:
            return f"{name} {cause}"
        case WorkState.READY if work["lane"] == Lane.BATCH:
            return f"{name} is ready{failures}: `depart` takes it in the off-peak window, or at once by hand"
        case WorkState.READY:
            return f"{name} is ready{failures}: a drain claims it"
        case WorkState.CLAIMED:
            until = f"until {work['lease_until']:%H:%M:%S} UTC"
            waits = "" if cause is None else f"; if it is not asked yet, it {cause}"
            return f"{name} is claimed by {work['claimed_by']} {until}{waits}"
        case _:
            late = (
                "; its answer is billed and recorded, never shown"
                if records.item["settled_at"] is not None
                else ""
            )
            return f"{name} is in batch {work['batch_id']}: {cause or '`collect` fetches its results'}{late}"

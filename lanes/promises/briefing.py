"""What whoever is on call is told of an incident beside its sentence: why, what is at stake, whether it grows, where to look.

A part that is not known says so. Pure: the numbers come in.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from lanes.ids import ItemId
from lanes.promises.batch_results import JUDGED_FOR
from lanes.promises.failures import kind_of
from lanes.promises.incident import Incident, Promise, in_words
from lanes.promises.last_answers import SETTLED_FOR
from lanes.promises.realtime import RECENT
from lanes.text import plain
from lanes.units import counted, seconds
from lanes.words import Lane, Outcome, Purpose

MOST_CAUSES = 5
LEAST_SAMPLES = 20  # with which a figure may be compared
STEADY = 0.1  # a figure that moved by less than this part of itself is as before
SOON = timedelta(minutes=2)  # an incident that is no older has just begun
LONGEST_KEY = 120
JUST_OPENED = "it has just begun: there is nothing yet to compare with"
BAD = frozenset(Outcome) - {Outcome.VALID}
NO_ANSWER = frozenset(
    {
        Outcome.ERRORED,
        Outcome.POISON,
        Outcome.PACK_REFUSED,
        Outcome.UNSERVED,
        Outcome.CANCELED,
        Outcome.EXPIRED,
        Outcome.MISSING,
    }
)
UNUSABLE = frozenset({Outcome.INVALID, Outcome.REFUSED, Outcome.TRUNCATED})


@dataclass(frozen=True)
class Scope:
    """Which attempts speak of a promise: those of this lane that ended badly within `window` before it was measured."""

    window: timedelta
    lane: Lane | None = None  # None: both
    outcomes: Collection[Outcome] = BAD
    purpose: Purpose | None = None


SCOPES: Mapping[Promise, Scope] = {
    Promise.REALTIME_SLOW: Scope(RECENT, Lane.REALTIME),
    Promise.REALTIME_FAILING: Scope(RECENT, Lane.REALTIME),
    Promise.BATCH_FAILING: Scope(JUDGED_FOR, Lane.BATCH, NO_ANSWER),
    Promise.BATCH_INVALID: Scope(JUDGED_FOR, Lane.BATCH, UNUSABLE),
    Promise.BATCH_INCOMPLETE: Scope(JUDGED_FOR, Lane.BATCH, frozenset({Outcome.MISSING})),
    Promise.AUTHORITATIVE_FAILED: Scope(SETTLED_FOR, Lane.BATCH, purpose=Purpose.AUTHORITATIVE),
    Promise.PROVIDER_DOWN: Scope(RECENT, Lane.REALTIME),
    Promise.PROVIDER_FROZEN: Scope(RECENT, None, frozenset({Outcome.UNSERVED})),
}

UNEXPLAINED: Mapping[Promise, str] = {
    Promise.BATCH_UNCLEAR: "nothing is noted of it",
    Promise.BATCH_INCOMPLETE: "its results held no line for them, and say nothing of why",
    Promise.BATCH_NEVER_STARTED: "no batch of it was refused: no run of `depart` came so far",
    Promise.ITEMS_FAILED: "no failed item says why",
    Promise.APPROVAL_WAITS: "nothing failed: a person was asked",
    Promise.BUDGET: "nothing failed: the query below shows what it was spent on",
    Promise.DEADLINE_MISSED: "no due time of the last hour was missed any more",
    Promise.WORKLOAD_INVALID: "its fields at fault stand above",
    Promise.PROVIDER_DOWN: "the last call met what stands above",
    Promise.PROVIDER_FROZEN: "the last call met what stands above",
}
UNSTAKED: Mapping[Promise, str] = {
    Promise.APPROVAL_WAITS: "no item waits for the answer: the share in force stays",
}
UNSAMPLED: Mapping[Promise, str] = {
    Promise.WORKLOAD_INVALID: "it is about a block, not about an item",
    Promise.APPROVAL_WAITS: "it is about a rollout, not about an item",
    Promise.ROLE_TAKEN: "it is about a session of the database, not about an item",
}
NO_RUN: Mapping[Promise, str] = {
    Promise.WORKLOAD_INVALID: "no run is at fault: its author has to correct the block",
    Promise.BATCH_NEVER_STARTED: "no run of `depart` is known that began for it",
    Promise.DEADLINE_MISSED: "no run is at fault: answers came too late",
    Promise.DEADLINE_AT_RISK: "no run is at fault: batches take their time",
    Promise.ROLE_TAKEN: "no run is at fault: the session is none of Lanes",
}
GROWS_UNTIL: Mapping[Promise, str] = {
    Promise.BATCH_SLOW: "the batch is home",
    Promise.BATCH_NEVER_STARTED: "a batch leaves",
    Promise.APPROVAL_WAITS: "somebody answers",
}
STAYS: Mapping[Promise, str] = {
    Promise.BATCH_UNCLEAR: "it holds what it holds until somebody decides",
    Promise.BATCH_INCOMPLETE: "a batch is counted once, when it comes home",
    Promise.WORKLOAD_INVALID: "it stays so until the block is corrected",
    Promise.ROLE_TAKEN: "the role stays taken until that session ends",
}


class Part(BaseModel):
    """Stored with its incident, as JSON."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Cause(Part):
    """An error, and how often it was met; None: it was met, and nobody counted."""

    error: str
    times: int | None = None


class Stake(Part):
    """Items that the incident keeps from their answer; of `uncorrected` ones a provisional answer stands.

    `due_at` is the nearest due time that is still to come. `at_least`: there are more, which were not counted.
    """

    unanswered: int
    uncorrected: int = 0
    overdue: int = 0
    due_at: datetime | None = None
    at_least: bool = False

    def in_words(self, moment: Callable[[datetime], str]) -> str:
        """For a person; `moment` writes a moment."""
        many = "at least " if self.at_least else ""
        overdue = f", {self.overdue:,} of them overdue" if self.overdue else ""
        nearest = f"; the nearest is due {moment(self.due_at)}" if self.due_at else ""
        if not overdue and not nearest and self.unanswered:
            nearest = "; none of them has a due time to come"
        answered = (
            f"; {counted(self.uncorrected, 'provisional answer')} uncorrected"
            if self.uncorrected
            else ""
        )
        return f"{many}{counted(self.unanswered, 'unanswered item')}{overdue}{nearest}{answered}"


class Sample(Part):
    """One item that an incident is about."""

    workload: str
    key: str


class Briefing(Part):
    """As of one moment. Each part has beside it the sentence that stands in its place where it is not known."""

    causes: tuple[Cause, ...] = ()  # the most frequent first
    counted_over: str = ""  # what the causes were counted over; empty where nobody counted
    more: int = 0  # errors of other kinds
    unexplained: str = ""
    stake: Stake | None = None
    unstaked: str = ""
    trend: str = ""
    sample: Sample | None = None
    unsampled: str = ""
    flow_run_id: UUID | None = None
    no_run: str = ""


@dataclass(frozen=True)
class Met:
    """An error as attempts met it, so often; `item_id` is that of one of them."""

    error: str
    times: int
    item_id: ItemId | None = None


def kinds(met: Iterable[Met]) -> list[Met]:
    """Errors that differ only in numbers and names are one kind, told as the most frequent of them; the most frequent first."""
    of_kind: dict[str, list[Met]] = {}
    for each in met:
        of_kind.setdefault(kind_of(each.error), []).append(each)
    merged = [
        Met(most.error, sum(each.times for each in group), most.item_id)
        for group in of_kind.values()
        for most in [max(group, key=lambda each: each.times)]
    ]
    return sorted(merged, key=lambda each: -each.times)


def sample_of(items: Iterable[tuple[str, str]]) -> Sample | None:
    """The first of these (workload, key) whose key can be typed as it is shown."""
    return next((Sample(workload=of, key=key) for of, key in items if _typed(key)), None)


def _typed(key: str) -> bool:
    return bool(key) and not key.startswith("-") and plain(key, most=LONGEST_KEY) == key


def compared(
    of: Incident, before: float, *, when: str, now: float | None = None, lately: str = ""
) -> str:
    """How the figure moved: "rising: 96 %, from 12 % in the 15 minutes before"; `now` where it is not the incident's value."""
    value = of.value if now is None else now
    moved = (
        "rising"
        if value > before * (1 + STEADY)
        else "falling"
        if value < before * (1 - STEADY)
        else "steady"
    )
    return f"{moved}: {in_words(of.promise, value)}{lately}, from {in_words(of.promise, before)} {when}"


def too_few(number: int, noun: str, when: str) -> str:
    """Why nothing is said about how the figure moved."""
    return f"not known: {counted(number, noun)} {when} {'is' if number == 1 else 'are'} too few to compare with"


def enough(samples: int) -> bool:
    """Whether a figure over so many may be compared with."""
    return samples >= LEAST_SAMPLES


def since_opening(of: Incident, now: datetime) -> str:
    """How the figure moved since the incident opened, or that it only grows with time, or stays."""
    promise = of.promise
    if promise in GROWS_UNTIL:
        return f"grows with time, until {GROWS_UNTIL[promise]}"
    if promise in STAYS:
        return f"steady: {STAYS[promise]}"
    if of.opened_value is None or of.opened_value == of.value:
        return (
            JUST_OPENED
            if now - of.opened_at < SOON
            else f"steady: {in_words(promise, of.value)} as when it opened"
        )
    return compared(of, of.opened_value, when="when it opened")


def usual_turnaround(batches: int, median_s: float) -> str:
    """How long the batches before took."""
    took = seconds(median_s)
    return (
        f"the batch before took {took}"
        if batches == 1
        else f"the {batches} batches before took {took} at the median"
    )

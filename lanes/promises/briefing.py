"""The briefing of an incident: its causes, the items at stake, its trend, and an item and a run to inspect.

A part that is not known has a sentence that says why.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from lanes.ids import ItemId
from lanes.promises.answers import RECENT, SETTLED_FOR
from lanes.promises.batches import JUDGED_FOR
from lanes.promises.incident import Incident, Promise, format_value
from lanes.text import plain
from lanes.units import pluralize, seconds
from lanes.words import Lane, Outcome, Purpose

VARIES = re.compile(r"\b(?:req|msg|msgbatch)_\w+|\b(?=[a-f]*\d)[0-9a-f]{8,}\b|\d+")
MOST_KINDS = 100  # further kinds are counted as one
OTHERS = "other errors"
MOST_CAUSES = 5
LEAST_SAMPLES = 20  # fewest samples with which a figure may be compared
STEADY = 0.1  # a figure that moved by less than this share of itself is steady
SOON = timedelta(minutes=2)  # a younger incident has just begun
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
class AttemptFilter:
    """The attempts that explain a promise: those of this lane with a bad outcome within `window` before the measurement."""

    window: timedelta
    lane: Lane | None = None  # None: both
    outcomes: Collection[Outcome] = BAD
    purpose: Purpose | None = None


SCOPES: Mapping[Promise, AttemptFilter] = {
    Promise.REALTIME_SLOW: AttemptFilter(RECENT, Lane.REALTIME),
    Promise.REALTIME_FAILING: AttemptFilter(RECENT, Lane.REALTIME),
    Promise.BATCH_FAILING: AttemptFilter(JUDGED_FOR, Lane.BATCH, NO_ANSWER),
    Promise.BATCH_INVALID: AttemptFilter(JUDGED_FOR, Lane.BATCH, UNUSABLE),
    Promise.BATCH_INCOMPLETE: AttemptFilter(JUDGED_FOR, Lane.BATCH, frozenset({Outcome.MISSING})),
    Promise.AUTHORITATIVE_FAILED: AttemptFilter(
        SETTLED_FOR, Lane.BATCH, purpose=Purpose.AUTHORITATIVE
    ),
    Promise.PROVIDER_DOWN: AttemptFilter(RECENT, Lane.REALTIME),
    Promise.PROVIDER_FROZEN: AttemptFilter(RECENT, None, frozenset({Outcome.UNSERVED})),
}

UNEXPLAINED: Mapping[Promise, str] = {
    Promise.BATCH_UNCLEAR: "no reason was noted",
    Promise.BATCH_INCOMPLETE: "its results held no line for them, and give no reason",
    Promise.BATCH_NEVER_STARTED: "no batch of it was refused: no run of `depart` got that far",
    Promise.COLLECT_STOPPED: "no run of `collect` is known that failed, and its work pool is ready",
    Promise.ITEMS_FAILED: "no failed item says why",
    Promise.APPROVAL_WAITS: "nothing failed: a person was asked",
    Promise.BILL_DIFFERS: "nothing failed: the sentence above names what differs",
    Promise.WEBHOOK_GONE: "its receiver said so",
    Promise.BUDGET: "nothing failed: the query below shows what it was spent on",
    Promise.QUALITY_DRIFT: "nothing failed: the answers themselves changed",
    Promise.MODEL_CHANGED: "nothing failed: the provider names another model, tier, place or speed",
    Promise.DEADLINE_MISSED: "no due time of the last hour was missed",
    Promise.WORKLOAD_INVALID: "the sentence above names the fields at fault",
    Promise.ROUTING_SHIFTED: "nothing was changed on purpose: the items themselves changed",
    Promise.GUARDS_FIRE: "nothing was changed on purpose within a day",
    Promise.CHANCE_WRONG: "batches took longer than those before them",
    Promise.READ_LATE: "nothing failed: its readers come later",
    Promise.PROVIDER_DOWN: "the sentence above is what the last call met",
    Promise.PROVIDER_FROZEN: "the sentence above is what the last call met",
    Promise.FEED_SILENT: "nothing failed in Lanes: its sender sends nothing, or does not reach a door",
}
UNSTAKED: Mapping[Promise, str] = {
    Promise.QUALITY_DRIFT: "no item waits: the answers are there, and differ",
    Promise.MODEL_CHANGED: "no item waits: the answers are there, and something else gave them",
    Promise.APPROVAL_WAITS: "no item waits for the answer: the share in force stays",
    Promise.FEED_SILENT: "no item waits because of it: none came",
    Promise.BILL_DIFFERS: "no item waits for it",
    Promise.WEBHOOK_GONE: "no item waits for it: its events do",
}
UNSAMPLED: Mapping[Promise, str] = {
    Promise.WORKLOAD_INVALID: "it is about a block, not about an item",
    Promise.APPROVAL_WAITS: "it is about a rollout, not about an item",
    Promise.ROLE_TAKEN: "it is about a session of the database, not about an item",
    Promise.FEED_SILENT: "it is about items that did not come",
    Promise.BILL_DIFFERS: "it is about all responses of a day, not about an item",
    Promise.WEBHOOK_GONE: "it is about a receiver, not about an item",
}
NO_RUN: Mapping[Promise, str] = {
    Promise.WORKLOAD_INVALID: "no run is at fault: its author has to correct the block",
    Promise.BATCH_NEVER_STARTED: "no run of `depart` is known that began for it",
    Promise.COLLECT_STOPPED: "no run of `collect` is known that began",
    Promise.DEADLINE_MISSED: "no run is at fault: answers came too late",
    Promise.QUALITY_DRIFT: "no run is at fault: the answers themselves changed",
    Promise.MODEL_CHANGED: "no run is at fault: the provider serves something else",
    Promise.DEADLINE_AT_RISK: "no run is at fault: batches take their time",
    Promise.ROLE_TAKEN: "no run is at fault: the session is none of Lanes",
    Promise.FEED_SILENT: "no run is at fault: nothing came in",
    Promise.RULE_RAISES: "no run is at fault: the rule is",
    Promise.CHANCE_WRONG: "no run is at fault: batches take their time",
    Promise.BILL_DIFFERS: "no run is at fault: two books of the same day differ",
    Promise.WEBHOOK_GONE: "no run is at fault: the receiver wants no events",
}
GROWS_UNTIL: Mapping[Promise, str] = {
    Promise.BATCH_SLOW: "the batch is home",
    Promise.BATCH_NEVER_STARTED: "a batch leaves",
    Promise.COLLECT_STOPPED: "a run of `collect` looks at them",
    Promise.APPROVAL_WAITS: "a person answers",
    Promise.FEED_SILENT: "an item arrives",
}
STAYS: Mapping[Promise, str] = {
    Promise.BATCH_UNCLEAR: "it keeps its items until a person decides",
    Promise.BATCH_INCOMPLETE: "a batch is counted once, when it comes back",
    Promise.WORKLOAD_INVALID: "it stays so until the block is corrected",
    Promise.ROLE_TAKEN: "the role stays taken until that session ends",
    Promise.BILL_DIFFERS: "it is compared once a day",
    Promise.WEBHOOK_GONE: "nothing is sent until the receiver takes a test event",
}


class BriefingPart(BaseModel):
    """A part of a briefing, stored with its incident as JSON."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Cause(BriefingPart):
    """An error and how often it occurred; None if it was not counted."""

    error: str
    times: int | None = None


class Stake(BriefingPart):
    """Items that wait for an answer because of the incident; `uncorrected` items have a provisional answer.

    `due_at` is the nearest future due time. `at_least` is true if there are more items that were not counted.
    """

    unanswered: int
    uncorrected: int = 0
    overdue: int = 0
    due_at: datetime | None = None
    at_least: bool = False

    def format(self, moment: Callable[[datetime], str]) -> str:
        """Return the stake as a sentence; `moment` formats a time."""
        many = "at least " if self.at_least else ""
        overdue = f", {self.overdue:,} of them overdue" if self.overdue else ""
        nearest = f"; the nearest is due {moment(self.due_at)}" if self.due_at else ""
        if not overdue and not nearest and self.unanswered:
            nearest = "; none of them has a due time to come"
        answered = (
            f"; {pluralize(self.uncorrected, 'provisional answer')} uncorrected"
            if self.uncorrected
            else ""
        )
        return f"{many}{pluralize(self.unanswered, 'unanswered item')}{overdue}{nearest}{answered}"


class SampleItem(BriefingPart):
    """An item that an incident is about."""

    workload: str
    key: str


class Briefing(BriefingPart):
    """The details of an incident at one moment; each part has a sentence that replaces it if it is not known.

    `failed_lookup` is the reason why a part could not be looked up; a later lookup may find it.
    """

    causes: tuple[Cause, ...] = ()  # the most frequent first
    counted_over: str = ""  # the population of the counts; empty without counts
    more: int = 0  # number of errors of other kinds
    unexplained: str = ""
    stake: Stake | None = None
    unstaked: str = ""
    trend: str = ""
    sample: SampleItem | None = None
    unsampled: str = ""
    flow_run_id: UUID | None = None
    no_run: str = ""
    failed_lookup: str = ""


def not_looked_up(incident: Incident, reason: str) -> Briefing:
    """Return the briefing of an incident whose details could not be looked up: only the cause that its opener encountered."""
    failed = f"it could not be looked up ({reason})"
    return Briefing(
        causes=stated_cause(incident),
        unexplained=failed,
        unstaked=f"not known: {failed}",
        trend=f"not known: {failed}",
        unsampled=failed,
        no_run=failed,
        failed_lookup=failed,
    )


def stated_cause(incident: Incident) -> tuple[Cause, ...]:
    """Return the cause that the opener of the incident encountered, if any; it has no count."""
    return (Cause(error=incident.why),) if incident.why else ()


@dataclass(frozen=True)
class ErrorCount:
    """An error, the number of attempts that failed with it, and one of their items."""

    error: str
    times: int
    item_id: ItemId | None = None


def kinds(met: Iterable[ErrorCount]) -> list[ErrorCount]:
    """Merge errors that differ only in numbers and names into their most frequent one, the most frequent kind first."""
    of_kind: dict[str, list[ErrorCount]] = {}
    for each in met:
        of_kind.setdefault(kind_of(each.error), []).append(each)
    merged = [
        ErrorCount(most.error, sum(each.times for each in group), most.item_id)
        for group in of_kind.values()
        for most in [max(group, key=lambda each: each.times)]
    ]
    return sorted(merged, key=lambda each: -each.times)


def pick_sample(items: Iterable[tuple[str, str]]) -> SampleItem | None:
    """Return the first (workload, key) pair whose key can be typed as it is shown."""
    return next((SampleItem(workload=of, key=key) for of, key in items if _is_typeable(key)), None)


def _is_typeable(key: str) -> bool:
    return bool(key) and not key.startswith("-") and plain(key, most=LONGEST_KEY) == key


def describe_trend(
    incident: Incident, before: float, *, when: str, now: float | None = None, lately: str = ""
) -> str:
    """Return the trend of the figure, as "rising: 96 %, from 12 % in the hour before"; `now` replaces the incident's value."""
    value = incident.value if now is None else now
    moved = (
        "rising"
        if value > before * (1 + STEADY)
        else "falling"
        if value < before * (1 - STEADY)
        else "steady"
    )
    return f"{moved}: {format_value(incident.promise, value)}{lately}, from {format_value(incident.promise, before)} {when}"


def too_few(number: int, noun: str, when: str) -> str:
    """Return the reason why the figure is not compared."""
    return f"not known: {pluralize(number, noun)} {when} {'is' if number == 1 else 'are'} too few to compare with"


def is_enough(samples: int) -> bool:
    """Return whether a figure over that many samples may be compared."""
    return samples >= LEAST_SAMPLES


def describe_since_opening(incident: Incident, now: datetime) -> str:
    """Return the trend of the figure since the incident opened; some figures can only grow with time, and some never change."""
    promise = incident.promise
    if promise in GROWS_UNTIL:
        return f"grows with time, until {GROWS_UNTIL[promise]}"
    if promise in STAYS:
        return f"steady: {STAYS[promise]}"
    if incident.opened_value is None or incident.opened_value == incident.value:
        if now - incident.opened_at < SOON:
            return JUST_OPENED
        return f"steady: {format_value(promise, incident.value)} as when it opened"
    return describe_trend(incident, incident.opened_value, when="when it opened")


def usual_turnaround(batches: int, median_s: float) -> str:
    """Return the turnaround of the earlier batches in words."""
    took = seconds(median_s)
    if batches == 1:
        return f"the batch before took {took}"
    return f"the {batches} batches before took {took} at the median"


def kind_of(error: str) -> str:
    """Return the error with its numbers and names masked: equal for errors of one kind."""
    return VARIES.sub("#", error)


@dataclass
class ErrorTally:
    """Counts of errors by kind; each kind is shown as its first error."""

    _kinds: dict[str, tuple[str, int]] = field(default_factory=dict)

    def record_error(self, error: str, times: int = 1) -> None:
        """Count an error."""
        kind = kind_of(error)
        if kind not in self._kinds and len(self._kinds) >= MOST_KINDS:
            kind = error = OTHERS
        example, before = self._kinds.get(kind, (error, 0))
        self._kinds[kind] = (example, before + times)

    @property
    def total(self) -> int:
        """Return the number of errors."""
        return sum(times for _, times in self._kinds.values())

    def describe(self, *, most: int = 3) -> str:
        """Return the most frequent errors, as "10x the batch expired; 2x the answer is not JSON; 3 of other kinds"."""
        ordered = sorted(self._kinds.values(), key=lambda each: -each[1])
        rest = sum(times for _, times in ordered[most:])
        lines = [f"{times:,}x {error}" for error, times in ordered[:most]] + (
            [f"{rest:,} of other kinds"] if rest else []
        )
        return "; ".join(lines)


@dataclass(frozen=True)
class FailureReport:
    """Calls that failed with one kind of error, or unusable answers (0 calls), with their number of items."""

    workload: str
    error: str
    items: int
    calls: int

    def merge(self, other: "FailureReport") -> "FailureReport":
        """Return the sum of both."""
        return FailureReport(
            self.workload, self.error, self.items + other.items, self.calls + other.calls
        )

    @property
    def sentence(self) -> str:
        """Return the log line."""
        if not self.calls:
            return (
                f"{pluralize(self.items, 'answer')} of {self.workload} cannot be used: {self.error}"
            )
        return f"{pluralize(self.calls, 'call')} of {self.workload} failed, with {pluralize(self.items, 'item')}: {self.error}"

"""Promises and incidents: names, units, advice, subjects and Slack messages: one file because the lists must agree."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from lanes.backoff import Backoff
from lanes.ids import BatchId, IncidentId
from lanes.units import pluralize, seconds, share
from lanes.words import Lane

EVERYBODY = "*"  # the workload of a breach that concerns all workloads; no workload has that name
BACKOFF = Backoff(timedelta(seconds=5), timedelta(minutes=10))  # after failed posts to Slack
EDIT_EVERY = timedelta(minutes=5)  # minimum time between two edits for changed figures
READ_WITHIN = timedelta(minutes=1)  # maximum age of a message's figures when it is sent


class Promise(StrEnum):
    """A promise about a workload."""

    BATCH_SLOW = "batch_slow"  # no batch takes longer than its kind usually does, or than its limit
    BATCH_FAILING = "batch_failing"  # few items of a batch stay without an answer
    BATCH_INVALID = "batch_invalid"  # few answers of a batch break the output schema
    BATCH_UNCLEAR = "batch_unclear"  # every batch can be collected without a person
    # every item of a collected batch has exactly one outcome, from a result
    BATCH_INCOMPLETE = "batch_incomplete"
    BATCH_NEVER_STARTED = "batch_never_started"  # waiting batch work leaves in its off-peak window
    COLLECT_STOPPED = "collect_stopped"  # runs of `collect` check the open batches
    # 95 % of the answers come within the limit, from received to answered
    REALTIME_SLOW = "realtime_slow"
    REALTIME_FAILING = "realtime_failing"  # few attempts of the real-time lane fail
    # every provisional answer gets its authoritative pass
    AUTHORITATIVE_FAILED = "authoritative_failed"
    WORKLOAD_INVALID = "workload_invalid"  # a saved workload block can be published
    ITEMS_FAILED = "items_failed"  # no item ends without an answer
    PROVIDER_DOWN = "provider_down"  # the provider answers the calls of a model
    APPROVAL_WAITS = "approval_waits"  # a rollout that asks for approval gets a decision
    PROVIDER_FROZEN = "provider_frozen"  # the provider accepts calls: neither limits, account nor settings forbid them
    BUDGET = "budget"  # there is enough of a budget left for its period
    DEADLINE_MISSED = "deadline_missed"  # few items are answered after they were due
    DEADLINE_AT_RISK = "deadline_at_risk"  # due items will be answered in time, surely enough
    # answers have the classes, outcomes and accuracy of their version's first answers
    QUALITY_DRIFT = "quality_drift"
    MODEL_CHANGED = "model_changed"  # the model that serves the answers stays the same
    ROLE_TAKEN = "role_taken"  # no session of another user holds a role of Lanes
    FEED_SILENT = "feed_silent"  # items arrive as they usually do in that hour of the week
    RULE_RAISES = "rule_raises"  # every rule can be evaluated for every item
    # the mix of routing reasons is as in the same hours of earlier days
    ROUTING_SHIFTED = "routing_shifted"
    GUARDS_FIRE = "guards_fire"  # guards divert few items from real time, as in the same hours of earlier days
    CHANCE_WRONG = "chance_wrong"  # batches come back in the stated time as often as stated
    READ_LATE = "read_late"  # real-time answers are read soon
    BILL_DIFFERS = "bill_differs"  # the provider's bill of each day agrees with the ledger
    WEBHOOK_GONE = "webhook_gone"  # no receiver of a webhook ends its subscription (HTTP 410)


class Severity(StrEnum):
    """The importance of a breach, mildest first."""

    DIGEST = "digest"  # reported only in the daily digest
    WARNING = "warning"
    CRITICAL = "critical"


class IncidentState(StrEnum):
    """The state of an incident; the comments name the next transition."""

    OPEN = "open"  # `watch` resolves it once the promise is kept again
    RESOLVED = "resolved"  # final


class Handling(StrEnum):
    """A person's way of handling an open incident, until an end time."""

    SILENCED = "silenced"  # Slack gets no message about it, nor about the next incident of its kind
    ACKNOWLEDGED = "acknowledged"  # a person handles it: Slack learns when it worsens and ends


@dataclass(frozen=True)
class Terms:
    """The terms of a promise: its name and unit, the multiple of its limit that is critical (0: always), and the advice.

    `mildest` is the severity of a breach that is not critical.
    """

    title: str
    unit: str
    critical_at: float
    advice: str
    mildest: Severity = Severity.WARNING


TERMS: Mapping[Promise, Terms] = {
    Promise.BATCH_SLOW: Terms(
        "Batch runs too long",
        "minutes",
        2,
        "Its items stay with the batch until it ends. See whether `collect` runs, then the provider's status page. A batch "
        "that is not worth waiting for can be given up, or its items sent again: the first run says what that may cost.",
    ),
    Promise.BATCH_FAILING: Terms(
        "Batch items fail",
        "percent",
        6,
        "Failed items are tried again until their retry budget is spent. Their errors are in lanes.attempt_log.",
    ),
    Promise.BATCH_INVALID: Terms(
        "Batch answers are invalid",
        "percent",
        6,
        "The answers break the output schema. Compare instructions, schema and model with the version before.",
    ),
    Promise.BATCH_UNCLEAR: Terms(
        "Batch needs a decision",
        "items",
        0,
        "Its items stay with it until a person decides. `lanes batches` says what it holds and what each way out may cost: "
        "`lanes adopt`, `lanes resubmit` or `lanes give-up`; deployment `decide_batch` does the same.",
    ),
    Promise.BATCH_INCOMPLETE: Terms(
        "Batch results are incomplete",
        "items",
        math.inf,
        "Items without a result are asked again automatically: the provider counts no answer for them, so they are paid once. "
        "The attempts are in lanes.attempt_log, by batch_id.",
    ),
    Promise.BATCH_NEVER_STARTED: Terms(
        "Batch never started",
        "minutes",
        6,
        "Send it by hand. If that does not start, its work pool in Prefect may be paused, or have no worker online: resume it "
        "there; `lanes up` starts a worker.",
    ),
    Promise.COLLECT_STOPPED: Terms(
        "Batches are not collected",
        "minutes",
        6,
        "Their answers stay at the provider, and no due item is rescued. Start `collect` by hand. If that does not start, its "
        "work pool in Prefect may be paused, or have no worker online: resume it there; `lanes up` starts a worker.",
    ),
    Promise.REALTIME_SLOW: Terms(
        "Real-time is slow",
        "seconds",
        3,
        "See `lanes status`: does a drain run, and does the provider limit its rate? Waiting items are answered late; items "
        'that fail for good are reported as "Items were given up".',
    ),
    Promise.REALTIME_FAILING: Terms(
        "Real-time attempts fail",
        "percent",
        6,
        "Failed attempts are tried again until their retry budget is spent. Their errors are in lanes.attempt_log.",
    ),
    Promise.AUTHORITATIVE_FAILED: Terms(
        "Authoritative pass failed",
        "items",
        math.inf,
        "The provisional answers stand, uncorrected. The reasons are in lanes.item_status, column failure. Fix the cause, "
        "mostly instructions, schema or model, and replay the workload.",
    ),
    Promise.WORKLOAD_INVALID: Terms(
        "Workload cannot be published",
        "fields",
        math.inf,
        "The last valid version stays in force. Correct the block of the workload in Prefect.",
    ),
    Promise.ITEMS_FAILED: Terms(
        "Items were given up",
        "items",
        math.inf,
        "Their reasons are in lanes.item_status, column failure. Fix the cause; the command in the sentence above tries "
        "them again.",
    ),
    Promise.PROVIDER_DOWN: Terms(
        "The provider does not answer",
        "calls",
        0,
        "The items are kept, spend no retry budget and are asked again automatically; those that can wait leave for a batch. "
        "See the provider's status page. If it lasts, set another real-time model in the workload: it answers what arrives "
        "from then on.",
    ),
    Promise.APPROVAL_WAITS: Terms(
        "A rollout waits for approval",
        "minutes",
        math.inf,
        "Anyone who may resume runs in Prefect decides: open the run, choose Resume in the menu with the three dots, and fill "
        "the form in, with your name and why. Unanswered, the share before the rollout is set again.",
    ),
    Promise.PROVIDER_FROZEN: Terms(
        "The provider takes nothing",
        "items",
        0,
        "The items are kept, spend no retry budget and are tried again automatically. A refused key: set ANTHROPIC_API_KEY, "
        "then `lanes up`. A spend limit or an unpaid bill: settle it at the "
        "provider. A model: correct it in the workload; what was "
        "routed before keeps its model, and is cancelled, or fails and is retried with the new one.",
    ),
    Promise.BUDGET: Terms(
        "A budget runs out",
        "percent",
        1.25,
        "At 100 % nothing more is paid from it: its work is kept, and continues once the budget is raised or the "
        "next period begins. `lanes budget` shows all of them and sets one; deployment `set_budget` sets one too.",
    ),
    Promise.DEADLINE_MISSED: Terms(
        "Due times are missed",
        "percent",
        4,
        "`lanes report --all`, section Deadlines by reason, says where they were missed. With a higher confidence, or by a "
        "rule, more of what is due goes to real-time.",
    ),
    Promise.DEADLINE_AT_RISK: Terms(
        "Due times are at risk",
        "items",
        math.inf,
        "Lanes cannot move these items: they are bound to batch, or real time is full. `lanes explain` says which of each; "
        "`lanes status` says what real time can take.",
    ),
    Promise.QUALITY_DRIFT: Terms(
        "Answers have changed",
        "percent",
        math.inf,
        "See whether inputs like the examples are new, or only their answers. Accept answers that are right as the reference; "
        "else correct the workload and publish it. The incident ends automatically once the share is back.",
    ),
    Promise.MODEL_CHANGED: Terms(
        "The model behind the name has changed",
        "percent",
        math.inf,
        "Compare labels and corrections of before and since. Name a dated model in the workload to keep one, or accept the "
        "new one as the reference.",
    ),
    Promise.ROLE_TAKEN: Terms(
        "A role of Lanes is taken",
        "sessions",
        0,
        "A session of another user took the advisory lock of the role. Find out what it is for, then end it by the statement "
        "above, as an administrator of the database: Lanes then takes the role automatically. `lanes roles` lets only members "
        "of its roles connect.",
    ),
    Promise.FEED_SILENT: Terms(
        "A feed fell silent",
        "minutes",
        math.inf,
        "See whether its sender runs and reaches the door: `lanes doctor` looks at Lanes, view rejected_log holds what was "
        "refused. The next item ends this, and so does a week of silence; a feed that rests on purpose can be paused.",
    ),
    Promise.RULE_RAISES: Terms(
        "A rule cannot be evaluated",
        "items",
        math.inf,
        "It counted as not met for these items, which may have taken the wrong lane. Correct the rule, mostly by has() around "
        "the field that it reads, try it by `lanes dry-run --with`, and publish it: that ends this.",
    ),
    Promise.ROUTING_SHIFTED: Terms(
        "The mix of routes shifted",
        "percent",
        math.inf,
        "`lanes why` says which reason, consumer and version moved the batch share. If the senders changed on purpose, the "
        "new mix is the usual one after two days; else move the traffic, or correct the rule.",
        mildest=Severity.DIGEST,
    ),
    Promise.GUARDS_FIRE: Terms(
        "Items are kept from real time",
        "percent",
        math.inf,
        "A soft budget, full capacity or failed calls send items to a batch that were to be answered at once. `lanes status` "
        "says what real time can take, `lanes budget` what is spent; a lower split asks less of real time.",
    ),
    Promise.CHANCE_WRONG: Terms(
        "Batches come back later than stated",
        "percent",
        math.inf,
        "`lanes report --all`, section Predicted batch times, says how far off the probabilities are. They correct "
        "themselves with each batch; until then a higher confidence sends more of what is due to real time.",
    ),
    Promise.READ_LATE: Terms(
        "Real-time answers are read late",
        "percent",
        math.inf,
        "These items could cost half in a batch. The weekly proposal of a rollout says what that saves: `lanes proposals`.",
        mildest=Severity.DIGEST,
    ),
    Promise.BILL_DIFFERS: Terms(
        "The bill differs from the ledger",
        "lines",
        math.inf,
        "More than the ledger: another program may use the key. Less: the bill of that day may not be "
        "complete yet; it is compared again each day. Another price: update genai-prices. It ends once they agree, or "
        "after a week.",
    ),
    Promise.WEBHOOK_GONE: Terms(
        "A webhook's receiver is gone",
        "webhooks",
        math.inf,
        "If its program ended on purpose, remove the webhook. If not, fix the receiver and test it: that ends this, and what "
        "waited is sent.",
    ),
}


@dataclass(frozen=True)
class Incident:
    """The current state of a breach; `uid` identifies it outside this database.

    `why` is the cause, if its opener encountered it, `flow_run_id` the run that did, and `block_id` the block concerned.
    `briefing` is the newest report of cause, stakes and trend (`lanes.promises.briefing`). `parent_id` is the incident that
    explains this one and is reported instead of it while it is open. `handling` is a person's latest handling, if any.
    """

    id: IncidentId
    uid: str
    promise: Promise
    workload: str
    subject: str
    severity: Severity
    state: IncidentState
    value: float
    limit_value: float
    samples: int  # number of items, attempts or calls that the value was measured over
    unit: str
    sentence: str
    opened_at: datetime
    updated_at: datetime
    resolved_at: datetime | None
    why: str | None = None
    opened_value: float | None = None
    flow_run_id: UUID | None = None
    block_id: UUID | None = None
    briefing: Mapping[str, Any] | None = None
    parent_id: IncidentId | None = None
    handling: Handling | None = None
    handled_by: str | None = None
    handled_why: str | None = None
    handled_at: datetime | None = None
    handled_until: datetime | None = None

    @property
    def handling_summary(self) -> str:
        """Return a person's handling, as "silenced until 2026-11-24 14:00 UTC by ada: a test", or ""."""
        if self.handling is None or self.handled_until is None:
            return ""
        until = self.handled_until.astimezone(UTC)
        return f"{self.handling} until {until:%Y-%m-%d %H:%M} UTC by {self.handled_by}: {self.handled_why}"

    def is_silent(self, now: datetime) -> bool:
        """Return whether Slack gets no news of it now; an incident that ended while it was silenced is never posted."""
        until, at = self.handled_until, self.resolved_at or now
        return self.handling is Handling.SILENCED and until is not None and at < until

    @property
    def because(self) -> str:
        """Return the incident that explains this one, as "because of incident 12", or ""."""
        return "" if self.parent_id is None else f"because of incident {self.parent_id}"

    @property
    def whose(self) -> str:
        """Return the workload in words."""
        return "every workload" if self.workload == EVERYBODY else self.workload


@dataclass(frozen=True)
class IncidentChanges:
    """Ids of the incidents that were opened and resolved, and a sentence for each incident that could not be written."""

    opened: list[IncidentId] = field(default_factory=list)
    resolved: list[IncidentId] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def lane_of(promise: Promise) -> Lane | None:
    """Return the lane that a promise is about, or None for both."""
    if promise == Promise.COLLECT_STOPPED:
        return Lane.BATCH
    return next((lane for lane in Lane if promise.startswith(f"{lane}_")), None)


def format_value(promise: Promise, value: float) -> str:
    """Return a value of the promise with its unit, such as "3.2 h", "12 %", "8.1 s" or "4 items"."""
    unit = TERMS[promise].unit
    if unit == "minutes":
        return seconds(value * 60)
    if unit == "percent":
        return share(value / 100)
    return seconds(value) if unit == "seconds" else pluralize(round(value), unit.removesuffix("s"))


def describe_severity(incident: Incident) -> str:
    """Return the figure of an incident and its limit, as "69 % (limit 2 %)"."""
    if incident.promise == Promise.APPROVAL_WAITS:
        return f"asked; taken back unanswered after {format_value(incident.promise, incident.limit_value)}"
    value = format_value(incident.promise, incident.value)
    return (
        f"{value} (limit {format_value(incident.promise, incident.limit_value)})"
        if incident.limit_value
        else value
    )


def batch_subject(batch_id: BatchId) -> str:
    """Return the subject of a batch's incidents."""
    return f"batch {batch_id}"


def batch_of_subject(subject: str) -> BatchId | None:
    """Return the batch whose incidents have this subject, or None if the subject is not a batch."""
    kind, _, number = subject.partition(" ")
    return BatchId(int(number)) if kind == "batch" and number.isdecimal() else None


class IncidentNews(StrEnum):
    """The news in the thread of an incident's message; replies notify people, edits do not."""

    WORSE = "worse"  # its severity rose
    ENDED = "ended"
    AGAIN = "again"  # it is still open after a person's handling has expired


class SlackStep(StrEnum):
    """The next step with an incident's message."""

    NOTHING = "nothing"
    POST = "post"
    EDIT = "edit"


@dataclass(frozen=True)
class SlackPost:
    """An incident and the state of its Slack message; `unsure` is true if a post was started and its result is not known.

    `last_error` is why the last try failed, or why the message lacks links or details.
    """

    incident: Incident
    channel: str | None = None
    ts: str | None = None
    posted_state: IncidentState | None = None
    posted_severity: Severity | None = None
    posted_at: datetime | None = None
    unsure: bool = False
    attempts: int = 0
    last_error: str | None = None


def next_step(post: SlackPost, *, edits: bool, now: datetime) -> SlackStep:
    """Return whether to post a new incident or its end, or to edit a message whose figures changed or that is incomplete.

    Without `edits` (a webhook), messages cannot be changed. A silenced incident is not posted; if it may already have been
    posted (`unsure`), the step is still POST, because posting first searches for the existing message.
    """
    if post.posted_state is None:
        is_silent = post.incident.is_silent(now) and not post.unsure
        return SlackStep.NOTHING if is_silent else SlackStep.POST
    if post.posted_state is IncidentState.RESOLVED:
        return SlackStep.NOTHING
    can_edit = edits and post.ts is not None
    if post.incident.state is IncidentState.RESOLVED:
        return SlackStep.EDIT if can_edit else SlackStep.POST
    return SlackStep.EDIT if can_edit and _is_outdated(post, now) else SlackStep.NOTHING


def find_news(post: SlackPost, now: datetime) -> IncidentNews | None:
    """Return the news for a reply once the message of `post` is edited, None if there is none."""
    if post.posted_state is None or post.incident.is_silent(now):
        return None
    if post.incident.state is IncidentState.RESOLVED:
        return IncidentNews.ENDED
    is_worse = post.posted_severity not in (None, post.incident.severity)
    return IncidentNews.WORSE if is_worse else None


def delay_after(attempts: int, *, retry_after_s: float | None = None) -> timedelta:
    """Return the delay after the n-th failed post: 5 s, doubling up to 10 minutes, or longer on Slack's request (up to 1 h)."""
    asked = timedelta(seconds=min(retry_after_s or 0, 3600))
    return max(BACKOFF.rest_after(max(attempts, 1)), asked)


def _is_outdated(post: SlackPost, now: datetime) -> bool:
    posted_at, handled_at = post.posted_at, post.incident.handled_at
    if post.posted_severity != post.incident.severity:
        return True
    if posted_at is not None and handled_at is not None and handled_at > posted_at:
        return True
    if posted_at is None or now - posted_at < EDIT_EVERY:
        return False
    return post.last_error is not None or post.incident.updated_at > posted_at - READ_WITHIN

"""docs/reference/promises.md: the default promises, and for each breach the Slack message and the advice."""

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy

from lanes.batch.batch import Tally
from lanes.ids import BatchId, IncidentId, VersionId
from lanes.money.bill import BillDifference, BillKey, Tokens
from lanes.money.budget import TOLD_AT, Budget, BudgetStatus, Period
from lanes.promises import batches
from lanes.promises.answers import (
    RealtimeFigures,
    RecentItems,
    authoritative_failed,
    items_failed,
    judge_failing,
    realtime_slow,
)
from lanes.promises.assessment import FAST, Assessment
from lanes.promises.batches import START_WITHIN, BatchProgress, WaitingBatchWork, never_started
from lanes.promises.breaches import (
    ApprovalRequest,
    ForeignHolder,
    approval_waits,
    bill_differs,
    budget_lasts,
    frozen,
    invalid_workload,
    provider_down,
    role_taken,
    webhook_gone,
)
from lanes.promises.deadlines import AtRisk, DueCounts, deadline_at_risk, deadline_missed
from lanes.promises.decisions import (
    EARLIER,
    HOUR,
    LATE_BATCHES,
    LATE_READS,
    MOVED,
    PUSHED,
    ConsumerReads,
    RaisedRules,
    RoutedHours,
    chance_wrong,
    read_late,
    rule_raises,
    shares_grew,
)
from lanes.promises.feeds import LONGER, WEEK, WEEKS, ArrivalPattern, Feed, feed_silent
from lanes.promises.incident import TERMS, Incident, IncidentState, Promise, Severity, format_value
from lanes.promises.quality import AnswerWatch, Drift, QualityMeasure, WatchedFigure, quality_drift
from lanes.promises.remedy import FormLink, FormTarget, commands, form
from lanes.rollouts.gates import Judgement, Measurement
from lanes.rollouts.playbook import parse
from lanes.rollouts.rollout import AskApproval, RolloutState, Situation, next_move
from lanes.routing.prospect import Prospects
from lanes.routing.turnaround import ObservedBatches, Turnarounds
from lanes.slack.wording import message
from lanes.standing.roles import Role
from lanes.statistics.shares import SampleShare
from lanes.units import share
from lanes.words import BatchState, Lane, Reason, Verdict
from lanes.workload.form import Promises
from lanes.workload.version import Spec, Version
from tests.docs.references.fields import default
from tests.docs.references.glossary import comments
from tests.docs.references.markdown import code, document, of_each, table
from tests.docs.references.playbooks import SHIPPED

ABOUT = """
A promise is judged every few seconds by the standing run of `watch`. A breach is an incident: one row of view
[`incident_log`](views.md#incident_log), one event, one message in Slack, which is edited in place until it is over. `lanes
alerts` shows the open ones, deployment `watch` writes what is known of each into an artifact that the message links.

Limits are fields of the workload, below `promises`; a limit of 0 promises nothing. A limit in percent is an error budget, and
how fast it burns is judged over [several windows](../concepts/monitoring.md#burn-rates). A share breaks its promise only where
its lower bound lies above the limit (confidence sequence, so that it does not matter how often it is looked at), and
keeps it once its upper bound lies below; in between nothing changes. The incident of a share stays
open for 15 minutes at least. While the provider does not answer, that is one incident, and what it explains is told by it.
"""
AT = datetime(2026, 11, 24, 23, 30, tzinfo=UTC)
NAME = "tickets"
VERSION = Version(
    VersionId(1),
    NAME,
    1,
    Spec(
        instructions="Sort the ticket.",
        output_schema={
            "type": "object",
            "properties": {"category": {"type": "string"}},
            "required": ["category"],
            "additionalProperties": False,
        },
    ),
)
BATCH = BatchProgress(
    BatchId(41), NAME, BatchState.SUBMITTED, 200, 0, 0, 0, AT - timedelta(hours=3)
)
LATE = replace(BATCH, begun_at=AT - timedelta(minutes=95))
SEEN = ObservedBatches.of([(3_600, 60 * (35 + n % 30), 1, 20, 200, math.nan) for n in range(400)])
OUT = Prospects(Turnarounds({VERSION.spec.batch_model: SEEN}, AT), AT).underway(
    VERSION, left_at=LATE.begun_at, requests=20
)
PATTERN = ArrivalPattern(
    numpy.arange(AT.timestamp() // 60 - WEEKS * WEEK - 99, AT.timestamp() // 60 - 39).astype(int),
    int(AT.timestamp() // 60) - 40,
)
HOME = BatchProgress(
    BatchId(41), NAME, BatchState.COLLECTED, 200, 140, 30, 30, AT - timedelta(hours=1), over_at=AT
)
SHORT = [SampleShare(9, 60), SampleShare(20, 150), SampleShare(60, 500)]
WINDOWS = [*SHORT, *[SampleShare(90, 900)] * 3]
REALTIME = RealtimeFigures(
    NAME,
    p95_s=8.1,
    answered=240,
    late=2,
    waits_s=14.0,
    timely=WINDOWS,
    tried=WINDOWS,
)
BURNT = (
    Promise.BATCH_FAILING,
    Promise.BATCH_INVALID,
    Promise.REALTIME_FAILING,
    Promise.REALTIME_SLOW,
)
BUDGET = Budget(NAME, None, Period.DAY, "UTC", Decimal(15), Decimal(20))
SPENT = BudgetStatus(
    BUDGET,
    AT.replace(hour=0, minute=0),
    AT.replace(day=25, hour=0, minute=0),
    Decimal(17),
    Decimal(0),
    Decimal(1),
)
RISK = AtRisk(
    NAME, bound=12, crowded=0, due_at=AT + timedelta(hours=2), probability=0.61, confidence=0.95
)


ERROR = "`payload.amount > 100` reads 'amount', which this item lacks; guard it with has()"
RAISED = RaisedRules(
    NAME, 3, {"urgent_when": 41}, AT - timedelta(hours=2), "t-17", {"urgent_when": ERROR}
)


def _routed(reason: Reason, usual: int, now: int) -> RoutedHours:
    """Return hours of which the latest route more items for a reason than the earlier ones."""
    hour = AT.replace(minute=0)
    split, its = f"{Lane.REALTIME} {Reason.SPLIT}", f"{Lane.REALTIME} {reason}"
    hours = {at - ago: {split: 1_000, its: usual} for ago in EARLIER for at in (hour - HOUR, hour)}
    return RoutedHours(NAME, hours | {at: {split: 1_000, its: now} for at in (hour - HOUR, hour)})


def _question(name: str) -> Assessment:
    """Return the question of the shipped playbook's first step that needs approval, as `migrate` decides and posts it."""
    playbook = parse(name, (SHIPPED / f"{name}.yaml").read_text())
    number, step = next(
        (number, each) for number, each in enumerate(playbook.steps) if each.approval
    )
    situation = Situation(RolloutState.RUNNING, step, is_last=False, answered=step.hold.items)
    passed = [
        Judgement(gate, Measurement(gate.measure, 0, step.hold.items), Verdict.PASSED, "")
        for gate in step.gates
    ]
    move = next_move(situation, passed, None, AT)
    assert isinstance(move, AskApproval)
    limit = 60 * playbook.approval_within_hours
    asked = ApprovalRequest(
        NAME, 7, name, number, len(playbook.steps), step.percent, "real-time", limit
    )
    return approval_waits(asked, move.why, waited_minutes=0)


BILL = BillDifference(
    BillKey(AT, "claude-haiku-5-5", Lane.REALTIME),
    Tokens(),
    "1,840 input tokens, 62 output tokens ($0.000215) more than the ledger (from 14:00)",
)


def _drifted(
    measure: QualityMeasure, field: str, name: str, before: tuple[int, int], since: tuple[int, int]
) -> WatchedFigure:
    """Return a figure whose class `name` had the (hits, answers) of `before`, and has those of `since` since the drift."""
    hits, whole = since
    drift = Drift(
        place=0,
        name=name,
        usual='"claude-haiku-5-5"',
        at=AT.replace(hour=14, minute=0),
        before=before,
        counts=(hits, whole - hits),
        alarmed=hits / whole,
    )
    watch = AnswerWatch(drift=drift)
    return WatchedFigure(NAME, 7, Lane.REALTIME, measure, field, watch, ["t-17", "t-21"])


EXAMPLES: Mapping[Promise, Assessment] = {
    Promise.BATCH_SLOW: batches.batch_slow(VERSION, LATE, AT, OUT),
    Promise.BATCH_FAILING: batches.batch_share(VERSION, Promise.BATCH_FAILING, [HOME], AT),
    Promise.BATCH_INVALID: batches.batch_share(VERSION, Promise.BATCH_INVALID, [HOME], AT),
    Promise.BATCH_UNCLEAR: batches.batch_unclear(
        NAME, BatchId(41), 200, "its create ended without an answer"
    ),
    Promise.BATCH_INCOMPLETE: batches.incomplete(NAME, BatchId(41), Tally(200, 200, 3)),
    Promise.BATCH_NEVER_STARTED: never_started(
        VERSION, WaitingBatchWork(NAME, 120, AT - timedelta(hours=4), None), AT
    ),
    Promise.COLLECT_STOPPED: batches.collect_stopped(
        [LATE], AT, looked_at=AT - timedelta(minutes=25), watched_since=LATE.begun_at
    ),
    Promise.REALTIME_SLOW: realtime_slow(VERSION, REALTIME),
    Promise.REALTIME_FAILING: judge_failing(VERSION, REALTIME),
    Promise.AUTHORITATIVE_FAILED: authoritative_failed(
        NAME, RecentItems(NAME, 4, "t-17", "the answer was cut at 300 tokens")
    ),
    Promise.WORKLOAD_INVALID: invalid_workload(
        NAME, ["batch_pack: Input should be less than or equal to 50"]
    ),
    Promise.ITEMS_FAILED: items_failed(
        NAME, RecentItems(NAME, 2, "t-18", "the answer was cut at 300 tokens")
    ),
    Promise.PROVIDER_DOWN: provider_down(
        "api.anthropic.com", ["claude-haiku-5-5"], 12, "529: Overloaded"
    ),
    Promise.APPROVAL_WAITS: _question("batch-to-realtime"),
    Promise.PROVIDER_FROZEN: frozen(
        "api.anthropic.com", 120, "400: Your credit balance is too low"
    ),
    Promise.BUDGET: budget_lasts(SPENT),
    Promise.DEADLINE_MISSED: deadline_missed(
        VERSION, DueCounts(NAME, met=66, missed=13, overdue=1, in_realtime=2)
    ),
    Promise.DEADLINE_AT_RISK: deadline_at_risk(RISK, AT),
    Promise.FEED_SILENT: feed_silent(Feed(NAME, AT - timedelta(minutes=40), PATTERN), AT),
    Promise.QUALITY_DRIFT: quality_drift(
        _drifted(QualityMeasure.FIELD, "category", '"complaint"', (504, 4_200), (372, 1_200)), AT
    ),
    Promise.MODEL_CHANGED: quality_drift(
        _drifted(QualityMeasure.SERVED, "", '"claude-haiku-5-5-b"', (0, 4_200), (40, 40)), AT
    ),
    Promise.ROLE_TAKEN: role_taken(
        Role.ROUTER, [ForeignHolder(Role.ROUTER, 4711, "grafana", "psql", "10.0.0.7")]
    ),
    Promise.RULE_RAISES: rule_raises(NAME, RAISED, AT),
    Promise.ROUTING_SHIFTED: shares_grew(
        Promise.ROUTING_SHIFTED, _routed(Reason.URGENT, 60, 400), AT
    ),
    Promise.GUARDS_FIRE: shares_grew(Promise.GUARDS_FIRE, _routed(Reason.CAPACITY, 0, 120), AT),
    Promise.CHANCE_WRONG: chance_wrong(NAME, SampleShare(14, 30)),
    Promise.READ_LATE: read_late(NAME, [ConsumerReads(NAME, "digest", SampleShare(812, 940))]),
    Promise.WEBHOOK_GONE: webhook_gone("crm", "https://crm.example.com"),
    Promise.BILL_DIFFERS: bill_differs(BILL.of.at.date(), [BILL]),
}
LIMITED = {
    Promise.BATCH_SLOW: "batch_max_minutes",
    Promise.BATCH_FAILING: "batch_max_failure_percent",
    Promise.BATCH_INVALID: "batch_max_invalid_percent",
    Promise.REALTIME_SLOW: "realtime_p95_s",
    Promise.REALTIME_FAILING: "realtime_max_error_percent",
    Promise.DEADLINE_MISSED: "deadline_max_missed_percent",
}
REFERENCE = "quality_reference_answers"
OTHERWISE = {
    Promise.QUALITY_DRIFT: f"beyond chance; `{REFERENCE}` are the reference",
    Promise.MODEL_CHANGED: "beyond chance",
    Promise.BATCH_NEVER_STARTED: f"{START_WITHIN.total_seconds() / 60:g} minutes after a departure of its window",
    Promise.COLLECT_STOPPED: f"{batches.COLLECT_WITHIN.total_seconds() / 60:g} minutes without a look",
    Promise.APPROVAL_WAITS: "`approval_within_hours` of the playbook",
    Promise.FEED_SILENT: f"{LONGER:g} times the longest silence of its last {WEEKS} weeks",
    Promise.ROUTING_SHIFTED: f"{share(MOVED)} of the decisions more than usual",
    Promise.GUARDS_FIRE: f"{share(PUSHED)} of the decisions more than usual",
    Promise.CHANCE_WRONG: f"{share(LATE_BATCHES)} of the batches of 7 days",
    Promise.READ_LATE: f"{share(LATE_READS)} of the reads",
    Promise.BUDGET: f"told from {100 * TOLD_AT:g} % of the hard limit on",
}
ANY = "any is told"
MARKS = {":red_circle:": "🔴", ":large_yellow_circle:": "🟡"}


def page() -> str:
    """Return the page."""
    assert all(each.verdict is Verdict.FAILED for each in EXAMPLES.values())
    of_each(
        Promises.model_fields,
        dict.fromkeys([*LIMITED.values(), REFERENCE], ""),
        what="limits of promises",
    )
    said = comments(Promise)
    overview = [
        (f"[{TERMS[each].title}](#{each.value})", said[each.name], _limit(each)) for each in Promise
    ]
    return document(
        "Promises",
        ABOUT,
        table(("promise", "what is promised", "limit"), overview),
        *(_section(each, said[each.name]) for each in Promise),
    )


def incident(judged: Assessment) -> Incident:
    """Return the incident that this breach opens."""
    return Incident(
        IncidentId(7),
        "",
        judged.promise,
        judged.workload,
        judged.subject,
        judged.severity,
        IncidentState.OPEN,
        judged.value,
        judged.limit,
        judged.samples,
        TERMS[judged.promise].unit,
        judged.sentence,
        AT,
        AT,
        None,
        judged.why,
    )


def _limit(promise: Promise) -> str:
    if field := LIMITED.get(promise):
        unit = (
            ""
            if TERMS[promise].unit == "percent"
            else f" ({format_value(promise, float(_value(field)))})"
        )
        return f"{code(field)}: {_value(field)}{' %' if TERMS[promise].unit == 'percent' else unit}"
    return OTHERWISE.get(promise, ANY)


def _value(field: str) -> str:
    return default(Promises.model_fields[field]).strip("`")


def _section(promise: Promise, said: str) -> str:
    opened = incident(EXAMPLES[promise])
    asked, lines = form(opened), commands(opened)
    parts = [
        f"## {promise.value}",
        f"**{TERMS[promise].title}.** Promised: {said}. Limit: {_limit(promise)}. {_critical(promise)}",
        "In Slack, for instance:",
        f"> {_in_slack(opened)}",
        f"What to do: {TERMS[promise].advice}",
        *(["\n".join(map(_command, lines))] if lines else []),
        *([f"The message links {_form(asked)}."] if asked else []),
    ]
    return "\n\n".join(parts)


def _in_slack(opened: Incident) -> str:
    said = message(opened, ui_url="http://prefect.example").text
    for name, mark in MARKS.items():
        said = said.replace(name, mark)
    return said


def _command(line: str) -> str:
    typed, _, what = line.partition("#")
    return f"- {code(typed.strip())}" + (f": {what.strip()}" if what else "")


def _critical(promise: Promise) -> str:
    multiple = TERMS[promise].critical_at
    if multiple == 0:
        return "Always critical."
    if promise in BURNT:
        single = f", or if one item waits {multiple:g} times as long" if multiple != FAST else ""
        return f"Critical from {FAST} times its budget on{single}."
    told = " Told in the daily digest." if TERMS[promise].mildest is Severity.DIGEST else ""
    if math.isinf(multiple):
        return told.strip() or "Always a warning."
    return f"Critical from {multiple:g} times the limit on.{told}"


def _form(asked: FormLink) -> str:
    match asked.where:
        case FormTarget.DEPLOYMENT:
            return f"the form of deployment {code(asked.name)}, filled in: *{asked.label}*"
        case FormTarget.BLOCK:
            return f"the editor of the workload: *{asked.label}*"
        case FormTarget.PROVIDER:
            return f"the editor of the account that answers: *{asked.label}*"
        case FormTarget.RUN:
            return f"the run that waits: *{asked.label}*"

"""A rollout as a Prefect Markdown artifact: its state, the verdicts of its gates, and the history of its shares."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import Any

from lanes.promises.incident import TERMS, Incident
from lanes.report import charts, rollout_charts
from lanes.report.links import REPORTS, artifact_page, render_links
from lanes.report.table import (
    NO_BREAK,
    Table,
    figure,
    label,
    phrase,
    render_legend,
    render_markdown,
)
from lanes.rollouts.gates import (
    MEANS,
    MOST_TIMES,
    Gate,
    Judgement,
    Measure,
    Scope,
    confidence,
    format_value,
    points,
)
from lanes.rollouts.rollout import LogEntry, Rollout, ShadowsSpent
from lanes.routing.split import SplitRecord
from lanes.text import cell, code, plain
from lanes.units import MISSING, clock, dollars, pluralize, seconds, sentence, share
from lanes.words import RolloutState, Verdict

MARKS = {
    Verdict.PASSED: "✅ passed",
    Verdict.FAILED: "❌ failed",
    Verdict.INCONCLUSIVE: "⏳ inconclusive",
    Verdict.ERROR: "⚠️ error",
}
NAMES = {
    Measure.ERROR_RATE: "error rate",
    Measure.P95_S: "p95, received to answered",
    Measure.DEADLINES_MET: "deadlines met",
    Measure.AGREEMENT: "agreement",
    Measure.CORRECTION_RATE: "corrected by the authoritative pass",
    Measure.ACCURACY: "accuracy",
    Measure.COST_USD: "cost per item",
    Measure.SAVING: "saving",
}
STEP_STATES = {
    RolloutState.WAITING_APPROVAL: "✋ waits for approval",
    RolloutState.FINISHED: "✅ done",
    RolloutState.ROLLED_BACK: "❌ rolled back",
    RolloutState.ABORTED: "⏹ aborted",
}
LINKS = (
    ("Steps", '/v2/events?events=["lanes.rollout.stepped"]'),
    ("Rolled back", '/v2/events?events=["lanes.rollout.rolled_back"]'),
    ("Runs of migrate", "/v2/runs?tags=rollout"),
    REPORTS,
)
MEASURES = {
    Measure.ERROR_RATE: "share of items with an attempt that failed or was not served, that the lane gave away, or that "
    "are out too long",
    Measure.P95_S: "95 % of the answers came within this time, or the part that took longer; what still waits longer counts as "
    "slow",
    Measure.DEADLINES_MET: "share of the due items that were answered in time",
    Measure.AGREEMENT: "share of provisional answers that the authoritative pass confirmed; with shadows, share of items that "
    "both lanes answered alike",
    Measure.CORRECTION_RATE: "share of provisional answers that the authoritative pass corrected",
    Measure.ACCURACY: "share of labeled items whose every labeled field was answered as the label says",
    Measure.COST_USD: f"what an item was billed on average; a more expensive one counts as {MOST_TIMES} times the limit",
    Measure.SAVING: "saving of an item against one of {}, each relative to its estimate in real time; a more expensive one "
    f"counts as {MOST_TIMES} times its estimate",
}
BAR_MEANS = "Bar: the steps done, and the answers that the step in force still waits for."
GATES_MEAN = (
    "A gate passes and fails with {} confidence, however often one looks; inconclusive and error hold the step. Bounds: at "
    "that confidence, of the true share on the wrong side, its excess over {}, or the cost or saving. Whole rollout: of all "
    "steps until now, beside their loosest limit; beyond it the gate fails."
)
FROM_THEN_ON = "the share from then on"
MOST_ROWS = 50
SPLIT_CHART = "The share to {} since the rollout began"
GATES_CHART = "The bounds of each gate beside its limit"
BAR = 20  # characters of the progress bar


@dataclass(frozen=True)
class Progress:
    """A rollout at one moment. `judged` are the judgements of the step in force; `splits` are ordered newest first.

    `hindrances` are the critical incidents that hold the rollout, and `plan` is the Markdown section with its plan.
    """

    rollout: Rollout
    answered: int
    judged: Sequence[Judgement]
    says: str
    log: Sequence[LogEntry]
    splits: Sequence[SplitRecord]
    now: datetime
    hindrances: Sequence[Incident] = ()
    shadows: ShadowsSpent | None = None
    plan: str = ""

    @property
    def until(self) -> datetime:
        """The end of the rollout; now, while it is open."""
        return self.rollout.ended_at or self.now


def headline(progress: Progress) -> str:
    """Return the rollout in one line, for the description of the artifact."""
    return describe_state(progress.rollout)


def describe_state(rollout: Rollout) -> str:
    """Return the state of a rollout in one line."""
    where = f"step {rollout.asks_about + 1} of {len(rollout.playbook.steps)}"
    match rollout.state:
        case RolloutState.RUNNING | RolloutState.WAITING_APPROVAL:
            state = (
                "waits for approval" if rollout.state is RolloutState.WAITING_APPROVAL else "runs"
            )
            return f"{rollout.workload}: {rollout.basis_points / 100:g} % to {rollout.goes_to}, {where}, {state}"
        case RolloutState.FINISHED:
            return (
                f"{rollout.workload}: finished at {rollout.now_at.percent:g} % to {rollout.goes_to}"
            )
        case RolloutState.ROLLED_BACK | RolloutState.ABORTED:
            ended = rollout.state.replace("_", " ")
            return f"{rollout.workload}: {ended} at {where}, {rollout.back_to}"


def render(progress: Progress) -> str:
    """Return the artifact's Markdown."""
    rollout = progress.rollout
    whose = f" for consumer {code(rollout.consumer)}" if rollout.consumer is not None else ""
    started = f"started by {cell(rollout.started_by)} at {clock(rollout.started_at, beside=progress.now)}: {cell(rollout.why)}"
    bounded = [window for each in progress.judged for window in each.of_windows]
    parts = [
        f"**{cell(headline(progress))}**",
        f"`{bar(progress)}` {cell(progress.says, most=300)}",
        BAR_MEANS,
        f"Playbook {code(rollout.playbook.name)}{whose}, {started}",
        *_shadows(progress),
        *_incidents(progress),
        charts.data_uri(_split_chart(progress), SPLIT_CHART.format(_name_target(rollout))),
        charts.data_uri(rollout_charts.gates(bounded, _gate_in_words), GATES_CHART),
        "### Steps\n\n" + _steps(progress),
        "### Gates of this step\n\n" + _gates(progress),
        *([progress.plan] if progress.plan else []),
        "### Log\n\n" + _log(progress),
        *(["### Split history\n\n" + _splits(progress)] if rollout.version is None else []),
        render_links(LINKS),
    ]
    return "\n\n".join(parts) + "\n"


def _name_target(rollout: Rollout) -> str:
    return "real time" if rollout.version is None else rollout.goes_to


def _split_chart(progress: Progress) -> str:
    return rollout_charts.split(
        progress.log, until=progress.until, to=_name_target(progress.rollout)
    )


def _share_title(rollout: Rollout) -> str:
    """Return the title of a column of shares: the target of the traffic."""
    return rollout.goes_to.capitalize()


def key(workload: str) -> str:
    """Return the key of the artifacts of a workload's rollouts."""
    return f"lanes-rollout-{workload}"


def page(rollout: Rollout, artifact_id: str | None) -> str:
    """Return the address of the rollout's newest artifact, or of the list of all if the id is not known."""
    return artifact_page(key(rollout.workload), artifact_id)


def question(progress: Progress, *, artifact_id: str | None = None) -> str:
    """Return the question to the approver: the gates, the effects of approving and declining, and a link to the artifact."""
    of = progress.rollout
    yes = f"the rollout ends at {of.now_at.percent:g} %"
    if of.step + 1 < len(of.playbook.steps):
        yes = f"{of.playbook.steps[of.step + 1].percent:g} % go to {of.goes_to}"
    terms = "if the gates still pass and no critical incident is open"
    evidence = _gates(progress)
    if not of.entered:
        yes, terms = (
            f"{of.now_at.percent:g} % go to {of.goes_to}",
            "if no critical incident is open",
        )
        evidence = (
            f"The share was past step {of.asks_about + 1}, which asks for approval before anything goes further: no step of "
            "this rollout is in force yet, so no gate was judged."
        )
    return "\n\n".join(
        [
            f"**{cell(headline(progress))}**",
            *_incidents(progress),
            evidence,
            f"Approve: {yes}, {terms}. Decline, or leave it for {of.playbook.approval_within_hours:g} h: {of.back_to}.",
            f"The whole rollout: [{key(of.workload)}]({page(of, artifact_id)})",
        ]
    )


def bar(progress: Progress) -> str:
    """Return a text bar of the completed steps and the answered part of the step in force."""
    rollout = progress.rollout
    part = float(rollout.entered)
    if rollout.state is not RolloutState.FINISHED:
        part *= min(1.0, progress.answered / rollout.now_at.hold.items)
    done = round(BAR * (rollout.step + part) / len(rollout.playbook.steps))
    return "█" * done + "░" * (BAR - done)


def _steps(progress: Progress) -> str:
    of, steps = progress.rollout, progress.rollout.playbook.steps
    share_of = "of the undecided items" if of.version is None else "of the newly routed items"
    table = Table(
        "Steps",
        range(len(steps)),
        figure("Step", "", lambda number: str(number + 1)),
        figure(_share_title(of), share_of, lambda at: f"{steps[at].percent:g} %"),
        phrase(
            "Hold",
            f"answers {'of the receiving lane' if of.version is None else 'by the new version'} that it waits for, and for how "
            "long at most; an approval restarts that time",
            lambda number: _hold(progress, number),
        ),
        label("Approval", lambda number: _approval(progress, number)),
        label("State", lambda number: _state(progress, number)),
    )
    return _render_table(table)


def _incidents(progress: Progress) -> list[str]:
    """Return the critical incidents that hold the rollout, if any."""
    if not progress.hindrances:
        return []
    held_by = pluralize(len(progress.hindrances), "critical incident")
    lines = [f"**🔴 Held by {held_by} where its traffic goes**", ""]
    for each in progress.hindrances:
        since = f"since {clock(each.opened_at, beside=progress.now)}"
        text = cell(each.sentence, most=300)
        lines.append(f"- #{each.id} {TERMS[each.promise].title}, {since}: {text}")
    return ["\n".join(lines)]


def _shadows(progress: Progress) -> list[str]:
    """Return the cost of the shadows so far, if the playbook has any."""
    spent, wanted = progress.shadows, progress.rollout.playbook.shadows
    if spent is None or wanted is None:
        return []
    cost = f"{dollars(float(spent.usd))} of at most {dollars(wanted.budget_usd)}"
    return [f"{pluralize(spent.shadows, 'shadow')} sent down the other lane, for {cost}."]


def _approval(progress: Progress, number: int) -> str:
    """Return the approval of a step: none, needed, waiting with its start, answered with the person, or passed over."""
    rollout = progress.rollout
    if not rollout.playbook.steps[number].approval:
        return MISSING
    marks = {"approved": "✅", "declined": "❌"}
    entries = [each for each in progress.log if each.step == number and each.event in marks]
    if entries:
        return (
            f"{marks[entries[-1].event]} {entries[-1].event} by {plain(entries[-1].who, most=60)}"
        )
    if number == rollout.asks_about and rollout.state is RolloutState.WAITING_APPROVAL:
        since = f" since {clock(rollout.asked_at, beside=progress.now)}" if rollout.asked_at else ""
        return f"✋ waiting{since}"
    return (
        "passed over" if number < rollout.first_step and number != rollout.asks_about else "needed"
    )


def _hold(progress: Progress, number: int) -> str:
    rollout, hold = progress.rollout, progress.rollout.playbook.steps[number].hold
    minutes = rollout.at_most_minutes if number == rollout.step else hold.at_most_minutes
    if minutes is None:
        return f"{hold.items} items"
    limits = f"{hold.items} items, at most {seconds(minutes * 60)}"
    if number != rollout.step or rollout.step_ends_at is None:
        return limits
    return f"{limits}, until {clock(rollout.step_ends_at, beside=progress.now)}"


def _state(progress: Progress, number: int) -> str:
    rollout = progress.rollout
    if number < rollout.first_step:
        return "⏭ skipped"
    if number < rollout.step:
        return "✅ done"
    if number > rollout.step or (rollout.is_open and not rollout.entered):
        return MISSING
    if rollout.state is RolloutState.RUNNING:
        return f"▶ {progress.answered:,} of {rollout.now_at.hold.items:,} answered"
    return STEP_STATES[rollout.state]


def _gates(progress: Progress) -> str:
    """Return the gates as a list: the form behind Resume is too narrow for a table with sentences."""
    judged = {each.gate.measure: each for each in progress.judged}
    gates, playbook = progress.rollout.now_at.gates, progress.rollout.playbook
    beside = playbook.direction.giving
    lines = [f"- {_gate(each, judged.get(each.measure), beside)}" for each in gates]
    meanings = {NAMES[gate.measure]: MEASURES[gate.measure].format(beside) for gate in gates}
    note = GATES_MEAN.format(confidence(playbook.gate_alpha), beside)
    return "\n".join(lines) + f"\n\n{render_legend(meanings, note)}"


def _gate(gate: Gate, judgement: Judgement | None, beside: str) -> str:
    """Return a gate with its verdict, the explanation, and the bounds of the step and of the whole rollout."""
    dry = ", dry run" if gate.dry_run else ""
    name = f"**{NAMES[gate.measure]} {_unbroken(format_limit(gate, beside))}**{dry}"
    if judgement is None:
        return f"{name}: not judged yet"
    step, *whole = judgement.of_windows
    verdict = _unbroken(MARKS[judgement.verdict]) + (
        ", whole rollout" if judgement.scope is Scope.ROLLOUT else ""
    )
    bounds = f"Bounds: {_unbroken(_between(step))}"
    for each in whole:
        bounds += f"; whole rollout: {_unbroken(_between(each))}, {_unbroken(format_limit(each.gate, beside))}"
    needs = f"needs {pluralize(gate.at_least, 'sample')}"
    return (
        f"{name}: {verdict}. {sentence(cell(judgement.explanation, most=300))} {bounds}; {needs}."
    )


def _unbroken(text: str) -> str:
    """Return the text with non-breaking spaces."""
    return text.replace(" ", NO_BREAK)


def _gate_in_words(judgement: Judgement) -> str:
    """Return the line above a gate's bounds, short enough for a card: the gate, its limit and the bounds of the true value."""
    gate = judgement.gate
    bounds = _between(judgement)
    if gate.worse_by is not None:
        bounds += " worse"
    elif gate.measure not in MEANS:
        bounds += f" are wrong, {share(gate.tolerance)} may be"
    dry = " (dry run)" if gate.dry_run else ""
    over = ", whole rollout" if judgement.scope is Scope.ROLLOUT else ""
    name, _, _ = NAMES[gate.measure].partition(",")
    return f"{name} {format_limit(gate)}{dry}{over}, {judgement.verdict}: {bounds}"


def _between(judgement: Judgement) -> str:
    """Return the formatted bounds of a gate."""
    if judgement.between is None:
        return MISSING
    low, high = (_format_bound(judgement.gate, each) for each in judgement.between)
    return f"{low.removesuffix(' points')} to {high}"


def _render_table(table: Table[Any]) -> str:
    """Return a Markdown table with its legend below."""
    return f"{render_markdown(table, most=MOST_ROWS)}\n\n{table.legend}"


def _format_bound(gate: Gate, value: float) -> str:
    if gate.measure is Measure.COST_USD or not isfinite(value):
        return format_value(gate.measure, value)
    return share(value) if gate.worse_by is None else points(value)


def format_limit(gate: Gate, beside: str = "") -> str:
    """Return the formatted limit of a gate; `beside` names the lane or version it is compared with, empty to omit it."""
    if gate.worse_by is not None:
        slow = f"over {seconds(gate.max)}: " if gate.max is not None else ""
        return f"{slow}≤ {points(gate.worse_by)} worse{beside and f' than {beside}'}"
    if gate.measure is Measure.COST_USD:
        return f"≤ {format_value(gate.measure, gate.limit)}"
    value = seconds(gate.limit) if gate.measure is Measure.P95_S else share(gate.limit)
    return f"{'≤' if gate.max is not None else '≥'} {value}"


def _log(progress: Progress) -> str:
    table = Table(
        "Log",
        progress.log[-30:],
        label("When", lambda of: clock(of.at, beside=progress.now)),
        label("What", lambda of: of.event.replace("_", " ")),
        figure(
            _share_title(progress.rollout), FROM_THEN_ON, lambda of: f"{of.basis_points / 100:g} %"
        ),
        label("Who", lambda of: of.who),
        label("Why", lambda of: of.why),
    )
    return _render_table(table)


def _splits(progress: Progress) -> str:
    def percent(of: SplitRecord) -> str:
        return "inherited" if of.basis_points is None else f"{of.basis_points / 100:g} %"

    table = Table(
        "Split history",
        progress.splits,
        label("Set at", lambda of: clock(of.set_at, beside=progress.now)),
        figure("Real-time", FROM_THEN_ON, percent),
        label("Who", lambda of: of.who),
        label("Why", lambda of: of.why),
    )
    return _render_table(table)

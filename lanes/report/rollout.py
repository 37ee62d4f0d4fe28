"""A rollout as a Prefect Markdown artifact: where it stands, what its gates say, and who set which share."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from lanes.promises.incident import TERMS, Incident
from lanes.report.links import REPORT, artifact_page, versions_page
from lanes.report.rollout_legends import BAR_MEANS, GATES, HISTORY, MEASURES, STEPS
from lanes.report.section import Legend, explained
from lanes.rollouts.gates import Gate, Judgement, Measure
from lanes.rollouts.rollout import Rollout
from lanes.text import cell, code
from lanes.units import MISSING, clock, counted, seconds, share
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
    Measure.AGREEMENT: "agreement with the authoritative pass",
}
LINKS = (
    ("Steps", '/v2/events?events=["lanes.rollout.stepped"]'),
    ("Rolled back", '/v2/events?events=["lanes.rollout.rolled_back"]'),
    ("Runs of migrate", "/v2/runs?tags=rollout"),
    ("Reports", versions_page(REPORT)),
)
BAR = 20  # characters of the progress bar
NO_BREAK = "\u00a0"  # a space at which no line ends


class Line(Protocol):
    """A line of the rollout's log."""

    @property
    def event(self) -> str: ...
    @property
    def step(self) -> int: ...
    @property
    def basis_points(self) -> int: ...
    @property
    def who(self) -> str: ...
    @property
    def why(self) -> str: ...
    @property
    def at(self) -> datetime: ...


class SplitLine(Protocol):
    """A split that was set; without basis points its consumer inherits the workload's."""

    @property
    def basis_points(self) -> int | None: ...
    @property
    def who(self) -> str: ...
    @property
    def why(self) -> str: ...
    @property
    def set_at(self) -> datetime: ...


@dataclass(frozen=True)
class Progress:
    """A rollout at one moment. `judged` holds the step in force; `splits` are the newest first.

    `hindrances` are the critical incidents that hold it.
    """

    rollout: Rollout
    answered: int
    judged: Sequence[Judgement]
    says: str
    log: Sequence[Line]
    splits: Sequence[SplitLine]
    now: datetime
    hindrances: Sequence[Incident] = ()


def headline(progress: Progress) -> str:
    """The rollout in one line, for the description of the artifact."""
    return where_it_stands(progress.rollout)


def where_it_stands(of: Rollout) -> str:
    """Where a rollout stands, in one line."""
    where = f"step {of.asks_about + 1} of {len(of.playbook.steps)}"
    match of.state:
        case RolloutState.RUNNING | RolloutState.WAITING_APPROVAL:
            state = "waits for approval" if of.state is RolloutState.WAITING_APPROVAL else "runs"
            return f"{of.workload}: {of.basis_points / 100:g} % to real-time, {where}, {state}"
        case RolloutState.FINISHED:
            return f"{of.workload}: finished at {of.now_at.percent:g} % to real-time"
        case RolloutState.ROLLED_BACK | RolloutState.ABORTED:
            ended = of.state.replace("_", " ")
            return f"{of.workload}: {ended} at {where}, {of.back_to}"


def render(progress: Progress) -> str:
    """The whole artifact."""
    of = progress.rollout
    whose = f" for consumer {code(of.consumer)}" if of.consumer is not None else ""
    started = f"started by {cell(of.started_by)} at {clock(of.started_at, beside=progress.now)}: {cell(of.why)}"
    return (
        "\n\n".join(
            [
                f"**{cell(headline(progress))}**",
                f"`{bar(progress)}` {cell(progress.says, most=300)}",
                BAR_MEANS,
                f"Playbook {code(of.playbook.name)}{whose}, {started}",
                *_incidents(progress),
                "### Steps\n\n" + _steps(progress),
                "### Gates of this step\n\n" + _gates(progress),
                "### Log\n\n" + _log(progress),
                "### Split history\n\n" + _splits(progress),
                " · ".join(f"[{name}]({address})" for name, address in LINKS),
            ]
        )
        + "\n"
    )


def key(workload: str) -> str:
    """The key of the artifacts of its rollouts."""
    return f"lanes-rollout-{workload}"


def page(rollout: Rollout, artifact_id: str | None) -> str:
    """The newest artifact of the rollout; the list of all where its id is not known."""
    return artifact_page(key(rollout.workload), artifact_id)


def question(progress: Progress, *, artifact_id: str | None = None) -> str:
    """What a person is asked who has to approve: the gates, what a yes and a no lead to, and where all of it stands."""
    of = progress.rollout
    following = of.playbook.steps[of.step + 1] if of.step + 1 < len(of.playbook.steps) else None
    yes = (
        f"{following.percent:g} % go to real-time"
        if following
        else f"the rollout ends at {of.now_at.percent:g} %"
    )
    terms = "if the gates still pass and no critical incident is open"
    evidence = _gates(progress)
    if not of.entered:
        yes, terms = f"{of.now_at.percent:g} % go to real-time", "if no critical incident is open"
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
            f"All of it: [{key(of.workload)}]({page(of, artifact_id)})",
        ]
    )


def bar(progress: Progress) -> str:
    """How much of the playbook is done, as a bar of text: whole steps, and the answered part of the one in force."""
    of = progress.rollout
    part = (
        1.0
        if of.state is RolloutState.FINISHED
        else min(1.0, progress.answered / of.now_at.hold.items)
    )
    part = part if of.entered else 0.0
    done = round(BAR * (of.step + part) / len(of.playbook.steps))
    return "█" * done + "░" * (BAR - done)


def _steps(progress: Progress) -> str:
    lines = ["| Step | Real-time | Hold | Approval | State |", "|---:|---:|---|---|---|"]
    for number, step in enumerate(progress.rollout.playbook.steps):
        approval = _approval(progress, number) if step.approval else MISSING
        hold, state = _hold(progress, number), _state(progress, number)
        lines.append(f"| {number + 1} | {step.percent:g} % | {hold} | {approval} | {state} |")
    return _with(lines, STEPS)


def _incidents(progress: Progress) -> list[str]:
    """What holds it, where something does."""
    if not progress.hindrances:
        return []
    lines = [
        f"- #{each.id} {TERMS[each.promise].title}, since {clock(each.opened_at, beside=progress.now)}: "
        f"{cell(each.sentence, most=300)}"
        for each in progress.hindrances
    ]
    heading = (
        f"**🔴 It holds: {counted(len(lines), 'critical incident')} open where its traffic goes**"
    )
    return [heading + "\n\n" + "\n".join(lines)]


def _approval(progress: Progress, number: int) -> str:
    """Of a step that asks: needed, waiting since when, answered by whom, or passed over."""
    of = progress.rollout
    said = [
        each
        for each in progress.log
        if each.step == number and each.event in ("approved", "declined")
    ]
    if said:
        mark = "✅" if said[-1].event == "approved" else "❌"
        return f"{mark} {said[-1].event} by {cell(said[-1].who, most=60)}"
    if number == of.asks_about and of.state is RolloutState.WAITING_APPROVAL:
        since = f" since {clock(of.asked_at, beside=progress.now)}" if of.asked_at else ""
        return f"✋ waiting{since}"
    return "passed over" if number < of.first_step and number != of.asks_about else "needed"


def _hold(progress: Progress, number: int) -> str:
    of, hold = progress.rollout, progress.rollout.playbook.steps[number].hold
    if hold.at_most_minutes is None:
        return f"{hold.items} items"
    said = f"{hold.items} items, at most {seconds(hold.at_most_minutes * 60)}"
    if number != of.step or of.step_ends_at is None:
        return said
    return f"{said}, until {clock(of.step_ends_at, beside=progress.now)}"


def _state(progress: Progress, number: int) -> str:
    of = progress.rollout
    if number < of.first_step:
        return "⏭ skipped"
    if number < of.step:
        return "✅ done"
    if number > of.step or (of.is_open and not of.entered):
        return MISSING
    match of.state:
        case RolloutState.RUNNING:
            return f"▶ {progress.answered} of {of.now_at.hold.items} answered"
        case RolloutState.WAITING_APPROVAL:
            return "✋ waits for approval"
        case RolloutState.FINISHED:
            return "✅ done"
        case RolloutState.ROLLED_BACK:
            return "❌ rolled back"
        case RolloutState.ABORTED:
            return "⏹ aborted"


def _gates(progress: Progress) -> str:
    judged = {each.gate.measure: each for each in progress.judged}
    lines = ["| Gate | Limit | Needs | Verdict | Why |", "|---|---|---:|---|---|"]
    for gate in progress.rollout.now_at.gates:
        found = judged.get(gate.measure)
        verdict = _whole(MARKS[found.verdict]) if found is not None else MISSING
        why = cell(found.explanation) if found is not None else "not judged yet"
        lines.append(
            f"| {NAMES[gate.measure]} | {_limit(gate)} | {gate.at_least} | {verdict} | {why} |"
        )
    asked = {NAMES[gate.measure]: MEASURES[gate.measure] for gate in progress.rollout.now_at.gates}
    return _with(lines, {**GATES, **asked})


def _with(lines: Sequence[str], legend: Legend) -> str:
    """A table with what its figures mean below it."""
    return "\n".join(lines) + f"\n\n{explained(legend)}"


def _limit(gate: Gate) -> str:
    value = seconds(gate.limit) if gate.measure is Measure.P95_S else share(gate.limit)
    return _whole(f"{'≤' if gate.max is not None else '≥'} {value}")


def _whole(words: str) -> str:
    """Never broken over two lines, as a narrow column of the approval's form would."""
    return words.replace(" ", NO_BREAK)


def _log(progress: Progress) -> str:
    lines = ["| When | What | Real-time | Who | Why |", "|---|---|---:|---|---|"]
    for each in progress.log[-30:]:
        when = clock(each.at, beside=progress.now)
        what = each.event.replace("_", " ")
        lines.append(
            f"| {when} | {what} | {each.basis_points / 100:g} % | {cell(each.who)} | {cell(each.why)} |"
        )
    return _with(lines, HISTORY)


def _splits(progress: Progress) -> str:
    lines = ["| Set at | Real-time | Who | Why |", "|---|---:|---|---|"]
    for each in progress.splits:
        when = clock(each.set_at, beside=progress.now)
        percent = "inherited" if each.basis_points is None else f"{each.basis_points / 100:g} %"
        lines.append(f"| {when} | {percent} | {cell(each.who)} | {cell(each.why)} |")
    return _with(lines, HISTORY)

"""The rollout's state machine, one file because its row, its situation and its moves are read together.

It gives the progress of a rollout, the judgements of its gates, and its next move.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, assert_never
from uuid import UUID

from lanes.ids import RolloutId
from lanes.rollouts.gates import Figures, Gate, Judgement, judge, judge_both, worst
from lanes.rollouts.playbook import APPROVAL_HOURS, Direction, Playbook, PlaybookStep
from lanes.words import OPEN_ROLLOUT, RolloutState, Verdict


@dataclass(frozen=True)
class Approval:
    """A person's decision about the step in force."""

    approved: bool
    who: str
    why: str


@dataclass(frozen=True)
class MeasuredWindow:
    """The items to measure for these gates: those whose lane, or version, the split has decided since `since`.

    Their routes come after `routes_before` and before `until`. `direction` gives the receiving and the giving lane. For a
    version, `version` and `version_before` are the numbers of the receiving and the giving version.
    """

    workload: str
    consumer: str | None
    direction: Direction
    gates: Sequence[Gate]
    since: datetime
    routes_before: int
    version: int | None = None
    version_before: int | None = None
    until: datetime | None = None  # None: until now


@dataclass(frozen=True)
class Rollout:
    """A stored rollout of a playbook. `step` counts from 0; shares are in basis points to real-time, or to `version`."""

    id: RolloutId
    playbook: Playbook
    workload: str
    consumer: str | None
    state: RolloutState
    step: int
    step_started_at: datetime
    routes_before: int
    share_before: int
    holds: "HoldReason | None"
    asked: int
    approval: Approval | None
    started_by: str
    why: str
    started_at: datetime
    ended_at: datetime | None
    flow_run_id: UUID | None
    entered: bool = True  # False while the first step's share waits for a skipped approval
    asked_at: datetime | None = None  # time of the open request for approval
    inherited_before: bool = False  # whether the consumer had no split of its own before
    approved_at: datetime | None = None  # time of the approval to leave the step in force
    extended_minutes: int = 0  # minutes that people added to `at_most_minutes` of the step in force
    passes: int = 0  # the newest looks in a row at which every gate passed but the step went on
    routes_at_start: int = 0  # the newest route when the share of the first step came into force
    version: int | None = None  # number of the candidate that gets the share
    version_before: int | None = None  # number of the version in force during the rollout

    @property
    def is_open(self) -> bool:
        """Whether the rollout has not ended."""
        return self.state in OPEN_ROLLOUT

    @property
    def is_waiting(self) -> bool:
        """Whether the rollout waits for a person's approval."""
        return self.state is RolloutState.WAITING_APPROVAL

    @property
    def now_at(self) -> PlaybookStep:
        """The step in force."""
        return self.playbook.steps[self.step]

    @property
    def step_window(self) -> MeasuredWindow:
        """The window of the items of the step in force."""
        whose = self.workload, self.consumer, self.playbook.direction
        since = self.step_started_at, self.routes_before
        versions = self.version, self.version_before
        return MeasuredWindow(*whose, self.now_at.gates, *since, *versions)

    @property
    def whole_window(self) -> MeasuredWindow | None:
        """The window of all steps so far, for `Playbook.whole_gates`; None while it equals the window of the step."""
        gates = self.playbook.whole_gates(self.step)
        if not gates or self.routes_at_start == self.routes_before:
            return None
        began, routes = self.started_at, self.routes_at_start
        return replace(self.step_window, gates=gates, since=began, routes_before=routes)

    def judge_figures(self, figures: Figures) -> list[Judgement]:
        """Return the judgement of each gate of the step in force; empty while its share is not in force, and not measured."""
        alpha, judgements = self.playbook.gate_alpha, list[Judgement]()
        loosest = {gate.measure: gate for gate in self.playbook.whole_gates(self.step)}
        whole = {measurement.measure: measurement for measurement in figures.whole}
        for gate, unnamed in zip(self.now_at.gates, figures.measurements, strict=False):
            measurement = replace(unnamed, workload=self.workload)
            if gate.measure in loosest:
                both = loosest[gate.measure], whole.get(gate.measure)
                judgements.append(judge_both(gate, measurement, *both, alpha=alpha))
            else:
                judgements.append(judge(gate, measurement, alpha=alpha))
        return judgements

    @property
    def basis_points(self) -> int:
        """The share in force while the rollout is open, in basis points."""
        return self.now_at.basis_points if self.entered else self.share_before

    @property
    def goes_to(self) -> str:
        """The name of the side that gets the share, for sentences."""
        return "real-time" if self.version is None else f"version {self.version}"

    @property
    def back_to(self) -> str:
        """A phrase for the share that a failure, an abort or a declined approval restores."""
        if self.version is not None:
            return f"back to version {self.version_before} for all items"
        if self.inherited_before:
            return "back to the split of the workload"
        return f"back to {self.share_before / 100:g} % to real-time"

    @property
    def at_most_minutes(self) -> int | None:
        """The time limit of the step in force in minutes, with extensions; None without a limit."""
        minutes = self.now_at.hold.at_most_minutes
        return None if minutes is None else minutes + self.extended_minutes

    @property
    def step_ends_at(self) -> datetime | None:
        """The end of the step's time limit; None without a limit, and unless the step is entered and the rollout runs."""
        minutes = self.at_most_minutes
        if minutes is None or not self.entered or self.state is not RolloutState.RUNNING:
            return None
        return (self.approved_at or self.step_started_at) + timedelta(minutes=minutes)

    @property
    def first_step(self) -> int:
        """The first step of the rollout; earlier steps of the playbook were skipped, because the share was past them."""
        return self.playbook.first_step(self.share_before) or 0

    @property
    def asks_about(self) -> int:
        """The step that a person is asked to approve: the step in force, or a skipped step that needs approval."""
        passed_over = None if self.entered else self.playbook.find_owed_step(self.first_step)
        return self.step if passed_over is None else passed_over

    def situation(
        self, answered: int, hindrances: Sequence[str] = (), mismatch: str | None = None
    ) -> "Situation":
        """Return the input of `next_move`."""
        is_last = self.step + 1 == len(self.playbook.steps)
        within = timedelta(hours=self.playbook.approval_within_hours)
        return Situation(
            self.state,
            self.now_at,
            is_last,
            answered,
            self.step_ends_at,
            self.entered,
            self.asked_at,
            within,
            hindrances,
            mismatch,
            self.at_most_minutes,
            self.passes,
        )


@dataclass(frozen=True)
class Situation:
    """A rollout at one moment. `answered` counts the split items that the receiving lane answered during this step.

    `step_ends_at` is the end of the step's `at_most_minutes`, None without a limit. `hindrances` are sentences about the open
    critical incidents that stop the rollout. `mismatch` is a sentence about a sample-ratio mismatch, if there is one. `passes`
    counts the looks in a row before this one at which every gate passed.
    """

    state: RolloutState
    step: PlaybookStep
    is_last: bool
    answered: int
    step_ends_at: datetime | None = None
    entered: bool = True
    asked_at: datetime | None = None
    approval_within: timedelta = timedelta(hours=APPROVAL_HOURS)
    hindrances: Sequence[str] = ()
    mismatch: str | None = None
    at_most_minutes: int | None = None
    passes: int = 0


@dataclass(frozen=True)
class ShadowsSpent:
    """The number of a rollout's shadows, and their cost so far in US dollars; an unanswered one counts with its estimate."""

    shadows: int
    usd: Decimal


class HoldReason(StrEnum):
    """The reason why a step holds."""

    GATHERING = "gathering"  # too few items were answered in the step, or its gates passed at too few looks in a row
    INCONCLUSIVE = "inconclusive"  # a gate has too little evidence
    ERROR = "error"  # a gate could not be evaluated
    SAMPLE_RATIO = "sample_ratio"  # the lanes did not get the items in the ratio of the split
    INCIDENT = "incident"  # an open critical incident stops the rollout
    APPROVAL = "approval"  # a person has to approve
    ENDED = "ended"  # the rollout has ended


class Happened(StrEnum):
    """The event in a line of a rollout's log; Prefect has it as the event `lanes.rollout.<word>`."""

    STARTED = "started"
    STEPPED = "stepped"  # the share of a step is in force
    HELD = "held"  # logged once for each reason
    APPROVAL_ASKED = "approval_asked"
    APPROVED = "approved"
    DECLINED = "declined"
    EXTENDED = "extended"  # a person gave the step more time
    ROLLED_BACK = "rolled_back"
    FINISHED = "finished"
    ABORTED = "aborted"


@dataclass(frozen=True)
class LogEntry:
    """A line of a rollout's log."""

    event: Happened
    step: int
    basis_points: int
    who: str
    why: str
    at: datetime


@dataclass(frozen=True)
class Hold:
    """The move that keeps the split. `passes` counts the looks in a row at which every gate passed."""

    reason: HoldReason
    why: str
    passes: int = 0


@dataclass(frozen=True)
class Advance:
    """The move that sets the share of the next step."""

    why: str


@dataclass(frozen=True)
class Enter:
    """The move that sets the share of the first step, after a person gave the skipped approval."""

    why: str


@dataclass(frozen=True)
class AskApproval:
    """The move that asks a person for approval: to leave this step, or to enter it despite a skipped approval."""

    why: str


@dataclass(frozen=True)
class RollBack:
    """The move that restores the share before the rollout."""

    why: str


@dataclass(frozen=True)
class Finish:
    """The move that ends the rollout and keeps the share of the last step."""

    why: str


Move = Hold | Advance | Enter | AskApproval | RollBack | Finish


def next_move(
    situation: Situation, judgements: Sequence[Judgement], approval: Approval | None, now: datetime
) -> Move:
    """Return the next move. A rollout advances only if every gate of the step passed; a failed gate always rolls it back.

    Dry runs are ignored. The gates are evaluated again after an approval, so that a step that has failed since does not
    advance. An approved step gets its time limit again from the approval; without evidence by then it is rolled back, as
    before the approval. A declined approval rolls back, and so does a request without an answer in time. A rollout does not
    advance while a critical incident is open.
    """
    match situation.state:
        case RolloutState.FINISHED | RolloutState.ROLLED_BACK | RolloutState.ABORTED:
            return Hold(HoldReason.ENDED, f"the rollout is {situation.state.replace('_', ' ')}")
        case RolloutState.RUNNING | RolloutState.WAITING_APPROVAL:
            deciding = [each for each in judgements if not each.gate.dry_run]
            return _open_move(situation, deciding, approval, now)
        case _:
            assert_never(situation.state)


def _open_move(
    situation: Situation, judgements: Sequence[Judgement], approval: Approval | None, now: datetime
) -> Move:
    worst_judgement = worst(judgements) if situation.entered else None
    if worst_judgement is not None and worst_judgement.verdict is Verdict.FAILED:
        return RollBack(f"{worst_judgement.gate.measure} failed: {worst_judgement.explanation}")
    if approval is not None and not approval.approved:
        return RollBack(f"declined by {approval.who}: {approval.why}")
    if approval is None and is_unanswered(situation, now):
        return RollBack(
            f"no answer came within {_days(situation.approval_within)} of being asked to approve"
        )
    if not situation.entered:
        return _entry(situation, approval)
    hold = _hold_for_evidence(situation, judgements, worst_judgement)
    if hold is not None:
        if is_overdue(situation, now):
            since = f" of the approval by {approval.who}" if approval is not None else ""
            return RollBack(
                f"no evidence within {situation.at_most_minutes} minutes{since}: {hold.why}"
            )
        return hold
    if situation.hindrances:
        return _hold_for_incidents(situation)
    if situation.state is RolloutState.WAITING_APPROVAL and approval is None:
        return Hold(HoldReason.APPROVAL, "a person has to approve")
    passes = situation.passes + 1
    if approval is None and passes < situation.step.consecutive_passes:
        in_a_row = f"{passes} of {situation.step.consecutive_passes} looks in a row"
        return Hold(HoldReason.GATHERING, f"every gate passed at {in_a_row}", passes)
    if situation.step.approval and approval is None:
        return AskApproval(f"every gate passed at {situation.step.percent:g} %")
    passed = f"every gate passed at {situation.step.percent:g} %" + (
        f", approved by {approval.who}" if approval else ""
    )
    return Finish(passed) if situation.is_last else Advance(passed)


def _entry(situation: Situation, approval: Approval | None) -> Move:
    """Return the move of a rollout that has not entered its first step, because a skipped approval is missing."""
    if situation.hindrances:
        return _hold_for_incidents(situation)
    if approval is not None:
        return Enter(f"the approval that was passed over was given by {approval.who}")
    if situation.state is RolloutState.WAITING_APPROVAL:
        return Hold(
            HoldReason.APPROVAL,
            "a person has to approve: the share was past a step that asks for it",
        )
    return AskApproval("the share was past a step that asks for approval")


def _hold_for_incidents(situation: Situation) -> Hold:
    return Hold(HoldReason.INCIDENT, "; ".join(situation.hindrances))


def is_unanswered(situation: Situation, now: datetime) -> bool:
    """Return whether a request for approval has waited longer than the playbook allows."""
    if situation.state is not RolloutState.WAITING_APPROVAL or situation.asked_at is None:
        return False
    return now - situation.asked_at >= situation.approval_within


def _days(time: timedelta) -> str:
    hours = round(time.total_seconds() / 3600)
    return f"{hours} hours" if hours % 24 else f"{hours // 24} days"


def is_overdue(situation: Situation, now: datetime) -> bool:
    """Return whether the time limit of the step has passed."""
    return (
        situation.state is RolloutState.RUNNING
        and situation.step_ends_at is not None
        and now >= situation.step_ends_at
    )


def _hold_for_evidence(
    situation: Situation, judgements: Sequence[Judgement], worst_judgement: Judgement | None
) -> Hold | None:
    """Return the reason to hold for lack of evidence, None if the evidence is complete."""
    if situation.answered < situation.step.hold.items:
        return Hold(
            HoldReason.GATHERING,
            f"{situation.answered} of {situation.step.hold.items} items answered under this step",
        )
    judged = [each.gate for each in judgements]
    if worst_judgement is None or any(gate not in judged for gate in situation.step.deciding):
        return Hold(HoldReason.ERROR, "not every gate was judged")
    match worst_judgement.verdict:
        case Verdict.ERROR:
            return Hold(
                HoldReason.ERROR,
                f"{worst_judgement.gate.measure} could not be judged: {worst_judgement.explanation}",
            )
        case Verdict.INCONCLUSIVE:
            return Hold(
                HoldReason.INCONCLUSIVE,
                f"{worst_judgement.gate.measure} is inconclusive: {worst_judgement.explanation}",
            )
        case Verdict.PASSED | Verdict.FAILED:
            return (
                Hold(HoldReason.SAMPLE_RATIO, situation.mismatch)
                if situation.mismatch is not None
                else None
            )
        case _:
            assert_never(worst_judgement.verdict)


def read_rollout(row: Any) -> Rollout:
    """Return the rollout in a row with the columns of the table `rollout`."""
    approval = (
        Approval(True, row.approved_by, row.approved_why or "")
        if row.approved_by is not None
        else None
    )
    return Rollout(
        row.id,
        Playbook.model_validate(row.content),
        row.workload,
        row.consumer,
        RolloutState(row.state),
        row.step,
        row.step_started_at,
        row.routes_before,
        row.share_before,
        HoldReason(row.holds) if row.holds else None,
        row.asked,
        approval,
        row.started_by,
        row.why,
        row.started_at,
        row.ended_at,
        row.flow_run_id,
        row.entered,
        row.asked_at,
        row.inherited_before,
        row.approved_at,
        row.extended_minutes,
        row.passes,
        row.routes_at_start,
        row.version,
        row.version_before,
    )

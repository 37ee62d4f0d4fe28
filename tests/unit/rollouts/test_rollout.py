"""The state machine of a rollout: the conditions for each move, and the inputs that never cause one."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.ids import RolloutId
from lanes.rollouts.gates import Gate, Judgement, Measure, Measurement
from lanes.rollouts.playbook import Length, PlaybookStep
from lanes.rollouts.rollout import (
    Advance,
    Approval,
    AskApproval,
    Enter,
    Finish,
    Hold,
    HoldReason,
    RollBack,
    Rollout,
    Situation,
    next_move,
)
from lanes.words import OPEN_ROLLOUT, RolloutState, Verdict
from tests.conftest import NOON, later
from tests.rollouts import playbook, rollout_of, step

GATES = (
    Gate(measure=Measure.ERROR_RATE, max=0.1, at_least=5),
    Gate(measure=Measure.P95_S, max=3, at_least=5),
)
YES, NO = Approval(True, "ada", "looks well"), Approval(False, "ada", "not on a Friday")


def situation(
    *,
    answered: int = 10,
    approval: bool = False,
    is_last: bool = False,
    minutes: int | None = None,
    state: RolloutState = RolloutState.RUNNING,
    entered: bool = True,
    asked_at: datetime | None = None,
    hindrances: tuple[str, ...] = (),
    needed: int = 1,
    passes: int = 0,
) -> Situation:
    stage = PlaybookStep(
        percent=50,
        hold=Length(items=10, at_most_minutes=minutes),
        approval=approval,
        consecutive_passes=needed,
        gates=GATES,
    )
    ends_at = None if minutes is None else NOON + timedelta(minutes=minutes)
    return Situation(
        state,
        stage,
        is_last,
        answered,
        ends_at,
        entered,
        asked_at,
        timedelta(hours=72),
        hindrances,
        at_most_minutes=minutes,
        passes=passes,
    )


def judged(*verdicts: Verdict) -> list[Judgement]:
    return [
        Judgement(gate, Measurement(gate.measure, 0.0, 10), verdict, "said")
        for gate, verdict in zip(GATES, verdicts, strict=False)
    ]


WELL = judged(Verdict.PASSED, Verdict.PASSED)


def test_a_step_with_passed_gates_advances_and_the_last_step_finishes_the_rollout() -> None:
    assert isinstance(next_move(situation(), WELL, None, NOON), Advance)
    assert isinstance(next_move(situation(is_last=True), WELL, None, NOON), Finish)


def test_a_step_advances_only_after_its_required_number_of_consecutive_passes() -> None:
    held = next_move(situation(needed=3), WELL, None, NOON)
    assert held == Hold(HoldReason.GATHERING, "every gate passed at 1 of 3 looks in a row", 1)
    unclear = judged(Verdict.PASSED, Verdict.INCONCLUSIVE)
    broken = next_move(situation(needed=3, passes=2), unclear, None, NOON)
    assert isinstance(broken, Hold)
    assert broken.passes == 0
    assert isinstance(next_move(situation(needed=3, passes=2), WELL, None, NOON), Advance)
    asks = situation(needed=3, passes=2, approval=True)
    assert isinstance(next_move(asks, WELL, None, NOON), AskApproval)
    assert isinstance(next_move(asks, WELL, YES, NOON), Advance)


def test_a_failed_gate_rolls_back_before_enough_items_are_answered_and_despite_an_approval() -> (
    None
):
    failed = judged(Verdict.PASSED, Verdict.FAILED)
    assert isinstance(next_move(situation(answered=0), failed, None, NOON), RollBack)
    assert isinstance(next_move(situation(approval=True), failed, YES, NOON), RollBack)
    waiting = situation(approval=True, state=RolloutState.WAITING_APPROVAL)
    assert isinstance(next_move(waiting, failed, None, NOON), RollBack)


@pytest.mark.parametrize(
    ("answered", "judgements", "holds"),
    [
        (9, WELL, HoldReason.GATHERING),
        (10, judged(Verdict.PASSED, Verdict.INCONCLUSIVE), HoldReason.INCONCLUSIVE),
        (10, judged(Verdict.ERROR, Verdict.PASSED), HoldReason.ERROR),
        (10, judged(Verdict.PASSED), HoldReason.ERROR),
        (10, [], HoldReason.ERROR),
    ],
)
def test_missing_evidence_holds_the_rollout(
    answered: int, judgements: list[Judgement], holds: HoldReason
) -> None:
    for approval in (None, YES):
        move = next_move(situation(answered=answered), judgements, approval, later(days=30))
        assert isinstance(move, Hold)
        assert move.reason is holds


def test_a_sample_ratio_mismatch_holds_the_step_until_its_time_has_passed() -> None:
    at = replace(situation(minutes=60, approval=True), mismatch="the split sends 20 %, but")
    assert next_move(at, WELL, None, NOON) == Hold(
        HoldReason.SAMPLE_RATIO, "the split sends 20 %, but"
    )
    assert isinstance(next_move(at, WELL, YES, later(minutes=60)), RollBack)
    failed = judged(Verdict.FAILED, Verdict.PASSED)
    assert isinstance(next_move(at, failed, None, NOON), RollBack)


@pytest.mark.parametrize("verdict", Verdict)
def test_a_dry_run_gate_never_changes_the_next_move(verdict: Verdict) -> None:
    tried = Gate(measure=Measure.DEADLINES_MET, min=0.9, at_least=5, dry_run=True)
    at = situation()
    at = replace(at, step=at.step.model_copy(update={"gates": (*GATES, tried)}))
    of_it = Judgement(tried, Measurement(tried.measure, 0.0, 10), verdict, "said")
    for others in (WELL, judged(Verdict.FAILED, Verdict.PASSED), judged(Verdict.PASSED)):
        without = next_move(situation(), others, None, NOON)
        assert next_move(at, [*others, of_it], None, NOON) == without
        assert next_move(at, others, None, NOON) == without


def test_a_step_that_needs_approval_advances_only_after_approval() -> None:
    assert isinstance(next_move(situation(approval=True), WELL, None, NOON), AskApproval)
    waiting = next_move(
        situation(approval=True, state=RolloutState.WAITING_APPROVAL), WELL, None, later(days=9)
    )
    assert isinstance(waiting, Hold)
    assert waiting.reason is HoldReason.APPROVAL
    assert isinstance(next_move(situation(approval=True), WELL, YES, NOON), Advance)
    assert isinstance(next_move(situation(approval=True), WELL, NO, NOON), RollBack)


BROKEN = ("critical incident 7 is open: Real-time is slow",)


def test_no_rollout_advances_while_a_critical_incident_is_open() -> None:
    for at, approval in (
        (situation(hindrances=BROKEN), None),
        (situation(hindrances=BROKEN, is_last=True), None),
        (situation(hindrances=BROKEN, approval=True), None),
        (situation(hindrances=BROKEN, approval=True), YES),
        (situation(hindrances=BROKEN, entered=False), None),
        (situation(hindrances=BROKEN, entered=False), YES),
    ):
        move = next_move(at, WELL, approval, NOON)
        assert isinstance(move, Hold)
        assert (move.reason, move.why) == (HoldReason.INCIDENT, BROKEN[0])


def test_a_critical_incident_does_not_prevent_a_rollback() -> None:
    failed = judged(Verdict.PASSED, Verdict.FAILED)
    assert isinstance(next_move(situation(hindrances=BROKEN), failed, None, NOON), RollBack)
    assert isinstance(
        next_move(situation(hindrances=BROKEN, approval=True), WELL, NO, NOON), RollBack
    )


def test_an_approval_request_without_a_timely_answer_rolls_back() -> None:
    waits = situation(approval=True, state=RolloutState.WAITING_APPROVAL, asked_at=NOON)
    assert isinstance(next_move(waits, WELL, None, later(hours=71.9)), Hold)
    move = next_move(waits, WELL, None, later(hours=72))
    assert isinstance(move, RollBack)
    assert move.why == "no answer came within 3 days of being asked to approve"
    assert isinstance(
        next_move(replace(waits, hindrances=BROKEN), WELL, None, later(hours=72)), RollBack
    )


def test_a_skipped_approval_is_requested_before_the_first_share_is_set() -> None:
    begun = situation(entered=False, answered=0)
    assert isinstance(next_move(begun, [], None, NOON), AskApproval)
    waits = replace(begun, state=RolloutState.WAITING_APPROVAL, asked_at=NOON)
    assert isinstance(next_move(waits, [], None, later(hours=1)), Hold)
    assert isinstance(next_move(waits, [], None, later(hours=72)), RollBack)
    assert isinstance(next_move(begun, [], YES, NOON), Enter)
    assert isinstance(next_move(begun, [], NO, NOON), RollBack)


def test_a_step_without_enough_evidence_in_its_time_rolls_back_and_never_advances() -> None:
    few = situation(answered=3, minutes=60)
    assert isinstance(next_move(few, WELL, None, later(minutes=59.9)), Hold)
    move = next_move(few, WELL, None, later(minutes=60))
    assert isinstance(move, RollBack)
    assert "no evidence within 60 minutes" in move.why
    assert isinstance(next_move(situation(minutes=60), WELL, None, later(minutes=90)), Advance)


def test_a_step_that_waits_for_approval_does_not_roll_back_at_its_time_limit() -> None:
    unclear = judged(Verdict.PASSED, Verdict.INCONCLUSIVE)
    waiting = situation(approval=True, minutes=60, state=RolloutState.WAITING_APPROVAL)
    assert isinstance(next_move(waiting, unclear, None, later(days=3)), Hold)


def test_an_approved_step_gets_its_time_again_and_rolls_back_if_it_ends_without_evidence() -> None:
    unclear = judged(Verdict.PASSED, Verdict.INCONCLUSIVE)
    approved = under_way(minutes=60, approved_at=later(days=3))
    ends = later(days=3, minutes=60)
    assert approved.step_ends_at == ends
    at = approved.situation(10)
    assert isinstance(next_move(at, unclear, YES, ends - timedelta(minutes=1)), Hold)
    move = next_move(at, unclear, YES, ends)
    assert isinstance(move, RollBack)
    assert (
        move.why
        == "no evidence within 60 minutes of the approval by ada: p95_s is inconclusive: said"
    )
    assert isinstance(next_move(at, WELL, YES, ends), Advance)
    asking = replace(approved, state=RolloutState.WAITING_APPROVAL, approved_at=None)
    assert asking.step_ends_at is None


def under_way(*, minutes: int | None, approved_at: datetime | None) -> Rollout:
    steps = [step(50, items=10, at_most_minutes=minutes, approval=True), step(60)]
    return rollout_of(
        playbook(*steps),
        id=RolloutId(1),
        share_before=100,
        asked=1,
        approval=YES,
        approved_at=approved_at,
    )


ANY_VERDICTS = st.lists(st.sampled_from(Verdict), max_size=2)
ANY_SITUATION = st.builds(
    situation,
    answered=st.integers(0, 30),
    approval=st.booleans(),
    is_last=st.booleans(),
    minutes=st.one_of(st.none(), st.integers(1, 100)),
    state=st.sampled_from(RolloutState),
    entered=st.booleans(),
    asked_at=st.sampled_from([None, NOON]),
    hindrances=st.sampled_from([(), BROKEN]),
)


@given(ANY_SITUATION, ANY_VERDICTS, st.sampled_from([None, YES, NO]), st.integers(0, 10_000))
def test_a_rollout_advances_only_with_passed_gates_enough_items_and_the_required_approval(
    at: Situation, verdicts: list[Verdict], approval: Approval | None, minutes: int
) -> None:
    now: datetime = NOON + timedelta(minutes=minutes)
    move = next_move(at, judged(*verdicts), approval, now)
    if isinstance(move, Advance | Enter | Finish | AskApproval):
        assert at.hindrances == ()
    if isinstance(move, Enter):
        assert (at.entered, approval) == (False, YES)
    if isinstance(move, Advance | Finish | AskApproval) and at.entered:
        assert verdicts == [Verdict.PASSED, Verdict.PASSED]
        assert at.answered >= at.step.hold.items
        assert at.state in OPEN_ROLLOUT
    if isinstance(move, Advance | Finish):
        assert at.entered
        assert approval == YES or (approval is None and not at.step.approval)
    if isinstance(move, Hold) and move.reason in (
        HoldReason.GATHERING,
        HoldReason.INCONCLUSIVE,
        HoldReason.ERROR,
    ):
        ends = at.step_ends_at if at.state is RolloutState.RUNNING else None
        assert ends is None or now < ends  # a step with a time limit never holds beyond it
    if at.state not in OPEN_ROLLOUT:
        assert isinstance(move, Hold)
        assert move.reason is HoldReason.ENDED

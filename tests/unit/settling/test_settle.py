"""The consequence of an attempt for its work and its item, row by row of the table of cases and outcomes:
one file because it is one table."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.settling.outcome import Judgment
from lanes.settling.settle import (
    FREE,
    HOPELESS,
    BatchDebt,
    Consequence,
    Correction,
    Obligation,
    compare,
    consequence,
)
from lanes.words import Lane, Mode, Outcome, Purpose, Standing, WorkState
from tests.conftest import NOON, later

A, B = {"category": "a"}, {"category": "b"}
UNANSWERED = [outcome for outcome in Outcome if outcome is not Outcome.VALID]
ASIDE = [Purpose.SHADOW, Purpose.REPLAY]

outputs = st.none() | st.sampled_from([A, B])
obligations = st.builds(
    Obligation,
    purpose=st.sampled_from(Purpose),
    lane=st.sampled_from(Lane),
    mode=st.sampled_from(Mode),
    failures=st.integers(0, 6),
    max_failures=st.integers(1, 5),
    is_newest_revision=st.booleans(),
    item_canceled=st.booleans(),
    item_settled=st.booleans(),
    item_answered=st.booleans(),
    others_open=st.booleans(),
    may_wait=st.booleans(),
    other_model=st.booleans(),
    not_sampled=st.booleans(),
    compare_fields=st.sampled_from([(), ("category",)]),
)
attempts = st.sampled_from(
    [Judgment(Outcome.VALID, A), *(Judgment(outcome, error="why") for outcome in UNANSWERED)]
)


def plain(lane: Lane = Lane.REALTIME, **fields: Any) -> Obligation:
    return Obligation(Purpose.ANSWER, lane, Mode.PLAIN, fields.pop("failures", 0), 3, **fields)


def lambda_(
    lane: Lane = Lane.REALTIME, purpose: Purpose = Purpose.ANSWER, **fields: Any
) -> Obligation:
    return replace(plain(lane, **fields), mode=Mode.LAMBDA, purpose=purpose)


def valid(
    of: Obligation, output: dict[str, Any] = A, *, provisional: dict[str, Any] | None = None
) -> Consequence:
    return consequence(of, Judgment(Outcome.VALID, output), provisional=provisional, now=NOON)


def fails(
    of: Obligation, outcome: Outcome, *, provisional: dict[str, Any] | None = None
) -> Consequence:
    return consequence(of, Judgment(outcome, error="why"), provisional=provisional, now=NOON)


def moves_nothing(then: Consequence) -> bool:
    """Return whether the item stays unchanged."""
    return not (then.settles or then.fails or then.owes or then.correction)


def shows_nothing(then: Consequence) -> bool:
    """Return whether the item stays unchanged and no result is written."""
    return then.standing is None and moves_nothing(then)


# "workload without Lambda, first valid answer: authoritative; answered and settled at once"
@pytest.mark.parametrize("lane", Lane)
def test_without_lambda_the_first_valid_answer_is_authoritative_and_settles(lane: Lane) -> None:
    assert valid(plain(lane)) == Consequence(
        WorkState.DONE, 0, standing=Standing.AUTHORITATIVE, settles=True
    )


# "Lambda, answered in real time: provisional, `answered`; owes one authoritative pass"
def test_with_lambda_a_realtime_answer_is_provisional_and_owes_one_authoritative_pass() -> None:
    assert valid(lambda_()) == Consequence(
        WorkState.DONE, 0, standing=Standing.PROVISIONAL, owes=BatchDebt.PASS
    )


def test_an_answer_whose_second_pass_is_not_sampled_settles_the_item_at_once() -> None:
    then = valid(lambda_(not_sampled=True))
    assert then == Consequence(WorkState.DONE, 0, standing=Standing.PROVISIONAL, settles=True)
    assert not valid(lambda_(not_sampled=True, others_open=True)).settles


def test_a_second_provisional_answer_is_not_shown_and_owes_the_pass_only_without_open_work() -> (
    None
):
    assert valid(lambda_(others_open=True), B, provisional=A) == Consequence(WorkState.DONE, 0)
    # the second look took this work out of the batch that would have been the pass
    owed = Consequence(WorkState.DONE, 0, owes=BatchDebt.PASS)
    assert valid(lambda_(), B, provisional=A) == owed


# "Lambda, routed to batch: one pass, authoritative"
def test_with_lambda_an_item_routed_to_batch_is_settled_by_one_pass() -> None:
    assert valid(lambda_(Lane.BATCH)) == Consequence(
        WorkState.DONE, 0, standing=Standing.AUTHORITATIVE, settles=True
    )


def test_the_authoritative_pass_settles_and_corrects_a_different_provisional_answer() -> None:
    then = valid(lambda_(Lane.BATCH, Purpose.AUTHORITATIVE), B, provisional=A)
    assert (then.standing, then.settles) == (Standing.AUTHORITATIVE, True)
    assert then.correction == Correction(["category"], 1.0)


def test_a_correction_is_written_only_when_the_authoritative_result_differs() -> None:
    then = valid(lambda_(Lane.BATCH, Purpose.AUTHORITATIVE), A, provisional=A)
    assert (then.standing, then.settles, then.correction) == (Standing.AUTHORITATIVE, True, None)


def test_an_authoritative_answer_corrects_the_shown_answer_of_an_older_revision() -> None:
    for of in (plain(), plain(Lane.BATCH), lambda_(Lane.BATCH)):
        then = consequence(of, Judgment(Outcome.VALID, B), provisional=None, earlier=A, now=NOON)
        assert (then.settles, then.correction) == (True, Correction(["category"], 1.0))


# "authoritative pass fails for good: settled on the provisional result, reason kept, incident"
@pytest.mark.parametrize("outcome", [each for each in UNANSWERED if each not in FREE])
def test_an_authoritative_pass_that_fails_for_good_settles_provisionally_with_the_reason(
    outcome: Outcome,
) -> None:
    then = fails(lambda_(Lane.BATCH, Purpose.AUTHORITATIVE, failures=2), outcome, provisional=A)
    assert (then.work_state, then.settles, then.fails, then.standing) == (
        WorkState.FAILED,
        True,
        False,
        None,
    )
    assert then.failure == f"{outcome}: why (after 3 failed attempts)"


def test_an_authoritative_pass_that_fails_without_a_provisional_result_fails_the_item() -> None:
    then = fails(lambda_(Lane.BATCH, Purpose.AUTHORITATIVE, failures=2), Outcome.INVALID)
    assert (then.work_state, then.settles, then.fails) == (WorkState.FAILED, False, True)


# "batch `answer` rescued by real-time: first valid answer wins; the late one is billed and recorded, never shown"
@pytest.mark.parametrize("late", Lane)
def test_the_first_valid_answer_of_a_rescued_item_wins_and_the_late_one_is_never_shown(
    late: Lane,
) -> None:
    assert valid(plain(late, item_settled=True), B) == Consequence(WorkState.DONE, 0)
    assert valid(lambda_(late, item_settled=True), B, provisional=A) == Consequence(
        WorkState.DONE, 0
    )


@pytest.mark.parametrize("outcome", UNANSWERED)
def test_a_late_attempt_at_a_settled_item_is_not_retried_if_it_fails(outcome: Outcome) -> None:
    then = fails(plain(Lane.BATCH, item_settled=True), outcome, provisional=A)
    assert then.work_state is WorkState.DONE
    assert shows_nothing(then)


# "shadow, replay: never move the item"
@given(obligations, attempts, outputs, st.sampled_from(ASIDE))
def test_shadow_and_replay_never_move_the_item(
    of: Obligation, judged: Judgment, provisional: dict[str, Any] | None, purpose: Purpose
) -> None:
    then = consequence(
        replace(of, purpose=purpose), judged, provisional=provisional, earlier=provisional, now=NOON
    )
    assert moves_nothing(then)
    assert purpose is Purpose.REPLAY or shows_nothing(then)


def test_a_replay_writes_an_authoritative_result_and_a_shadow_writes_none() -> None:
    for settled in (True, False):
        replayed = lambda_(Lane.BATCH, Purpose.REPLAY, item_settled=settled)
        assert valid(replayed, provisional=B) == Consequence(
            WorkState.DONE, 0, standing=Standing.AUTHORITATIVE
        )
        shadow = lambda_(Lane.BATCH, Purpose.SHADOW, item_settled=settled)
        assert valid(shadow, provisional=B) == Consequence(WorkState.DONE, 0)


@pytest.mark.parametrize("purpose", ASIDE)
def test_shadow_and_replay_are_retried_even_if_the_item_is_settled(purpose: Purpose) -> None:
    then = fails(lambda_(Lane.BATCH, purpose, item_settled=True), Outcome.INVALID)
    assert (then.work_state, then.failures, then.ready_at) == (WorkState.READY, 1, NOON)


@given(obligations, attempts, outputs)
def test_a_canceled_settled_or_amended_item_is_never_moved(
    of: Obligation, judged: Judgment, provisional: dict[str, Any] | None
) -> None:
    then = consequence(of, judged, provisional=provisional, now=NOON)
    if of.item_canceled or of.item_settled or not of.is_newest_revision:
        assert moves_nothing(then)
    if of.item_canceled or not of.is_newest_revision:
        assert then.standing is None
        assert then.work_state in (WorkState.DONE, WorkState.CANCELED)


@given(obligations, attempts, outputs)
def test_every_attempt_gives_its_work_a_valid_state_and_its_item_at_most_one_change(
    of: Obligation, judged: Judgment, provisional: dict[str, Any] | None
) -> None:
    then = consequence(of, judged, provisional=provisional, now=NOON)
    assert (then.work_state is WorkState.READY) == (then.ready_at is not None)
    assert then.work_state not in (WorkState.CLAIMED, WorkState.SUBMITTED)
    assert then.settles + then.fails + bool(then.owes) <= 1
    assert (then.standing is Standing.AUTHORITATIVE) <= (
        then.settles or of.purpose is Purpose.REPLAY
    )
    is_provisional = then.standing is Standing.PROVISIONAL or provisional is not None
    assert (then.owes is not None and then.failure is None) <= is_provisional
    assert (then.owes is BatchDebt.ANSWER) <= (then.standing is None and not of.item_answered)
    assert bool(then.owes) <= (not of.others_open)
    assert then.fails <= (then.failure is not None)
    assert of.failures <= then.failures <= of.failures + 1
    if then.correction is not None:
        assert then.standing is Standing.AUTHORITATIVE
    if judged.outcome is not Outcome.VALID:
        assert then.standing is None


@given(obligations, attempts, outputs)
def test_work_is_retried_only_while_its_retry_budget_lasts(
    of: Obligation, judged: Judgment, provisional: dict[str, Any] | None
) -> None:
    then = consequence(of, judged, provisional=provisional, now=NOON)
    if then.work_state is WorkState.READY:
        assert then.failures < of.max_failures
        assert judged.outcome not in (*HOPELESS, Outcome.VALID)


@pytest.mark.parametrize(
    ("outcome", "failures", "rest"),
    [
        (Outcome.INVALID, 1, timedelta(0)),
        (Outcome.REFUSED, 1, timedelta(0)),
        (Outcome.TRUNCATED, 1, timedelta(0)),
        (Outcome.ERRORED, 1, timedelta(seconds=2)),
        (Outcome.MISSING, 1, timedelta(seconds=2)),
        (Outcome.UNKNOWN, 1, timedelta(seconds=2)),
        (Outcome.CANCELED, 0, timedelta(0)),
        (Outcome.EXPIRED, 0, timedelta(0)),
        (Outcome.PACK_REFUSED, 0, timedelta(0)),
        (Outcome.UNSERVED, 0, timedelta(minutes=5)),
    ],
)
def test_a_first_failure_rests_only_after_a_provider_fault_and_spends_budget_only_if_it_ran(
    outcome: Outcome, failures: int, rest: timedelta
) -> None:
    then = fails(plain(), outcome)
    assert (then.work_state, then.failures, then.ready_at) == (
        WorkState.READY,
        failures,
        NOON + rest,
    )
    assert shows_nothing(then)


def test_an_input_the_provider_will_never_accept_fails_at_once() -> None:
    for of in (plain(), plain(Lane.BATCH), lambda_(), lambda_(Lane.BATCH)):
        then = fails(of, Outcome.POISON)
        assert (then.work_state, then.fails) == (WorkState.FAILED, True)
        assert then.failure == "poison: why (after 1 failed attempt)"


def test_an_expired_batch_never_spends_the_retry_budget() -> None:
    assert fails(plain(Lane.BATCH, failures=2), Outcome.EXPIRED) == Consequence(
        WorkState.READY, 2, ready_at=later(seconds=4)
    )


@pytest.mark.parametrize("outcome", UNANSWERED)
def test_only_work_whose_pack_was_refused_is_sent_alone_from_then_on(outcome: Outcome) -> None:
    assert fails(plain(Lane.BATCH), outcome).alone is (outcome is Outcome.PACK_REFUSED)


@pytest.mark.parametrize("lane", Lane)
def test_without_lambda_a_spent_budget_fails_the_item(lane: Lane) -> None:
    then = fails(plain(lane, failures=2), Outcome.INVALID)
    assert (then.work_state, then.fails, then.owes) == (WorkState.FAILED, True, None)


def test_with_lambda_a_spent_realtime_budget_hands_an_item_that_may_wait_to_the_batch_lane() -> (
    None
):
    then = fails(lambda_(failures=2), Outcome.INVALID)
    assert (then.work_state, then.fails, then.owes) == (WorkState.FAILED, False, BatchDebt.ANSWER)


# Whether plain mode hands an item to batch after real time failed, by the last outcome: if batch uses the same model, and if
# it uses another. Outcomes that spend no retry budget, or that only batches have, are left out.
HANDED_OVER = {
    Outcome.ERRORED: (True, True),
    Outcome.UNKNOWN: (True, True),
    Outcome.GIVEN_UP: (True, True),
    Outcome.INVALID: (False, True),
    Outcome.REFUSED: (False, True),
    Outcome.TRUNCATED: (False, True),
    Outcome.POISON: (False, False),
}


@pytest.mark.parametrize("outcome", HANDED_OVER)
@pytest.mark.parametrize("other_model", [False, True])
def test_in_plain_mode_batch_gets_an_item_that_failed_in_real_time_unless_it_would_fail_too(
    outcome: Outcome, other_model: bool
) -> None:
    handed_over = HANDED_OVER[outcome][other_model]
    then = fails(plain(failures=2, other_model=other_model), outcome)
    assert (then.work_state, then.fails) == (WorkState.FAILED, not handed_over)
    assert then.owes is (BatchDebt.ANSWER if handed_over else None)


@given(obligations, attempts, outputs)
def test_only_failed_realtime_answer_work_that_may_wait_is_handed_to_batch(
    of: Obligation, judged: Judgment, provisional: dict[str, Any] | None
) -> None:
    then = consequence(of, judged, provisional=provisional, now=NOON)
    if then.owes is not None and then.failure is not None:
        assert (of.lane, of.purpose, of.may_wait) == (Lane.REALTIME, Purpose.ANSWER, True)


def test_with_an_answer_of_an_older_revision_batch_owes_the_pass_and_not_an_answer() -> None:
    then = fails(lambda_(failures=2, item_answered=True), Outcome.INVALID)
    assert (then.work_state, then.fails, then.owes) == (WorkState.FAILED, False, BatchDebt.PASS)


@pytest.mark.parametrize("outcome", [each for each in UNANSWERED if each not in FREE])
def test_an_item_that_must_be_realtime_is_never_handed_to_the_batch_lane(outcome: Outcome) -> None:
    for of in (lambda_(failures=2, may_wait=False), plain(failures=2, may_wait=False)):
        then = fails(of, outcome)
        assert (then.work_state, then.fails, then.owes) == (WorkState.FAILED, True, None)


# "work fails while other work of the item is open: nothing yet: an item fails only when none of its work is open"
@pytest.mark.parametrize("outcome", [each for each in UNANSWERED if each not in FREE])
@pytest.mark.parametrize("lane", Lane)
def test_an_item_never_fails_while_other_work_of_it_is_open(lane: Lane, outcome: Outcome) -> None:
    for of in (
        plain(lane, failures=2),
        lambda_(lane, failures=2),
        lambda_(lane, Purpose.AUTHORITATIVE, failures=2),
    ):
        for provisional in (None, A):
            then = fails(replace(of, others_open=True), outcome, provisional=provisional)
            assert (then.work_state, then.failures) == (WorkState.FAILED, 3)
            assert shows_nothing(then)


# "the same in Lambda mode: the rescued answer is provisional, the open batch work is the owed pass"
def test_with_lambda_open_batch_work_is_the_pass_that_a_realtime_answer_owes() -> None:
    then = valid(lambda_(others_open=True))
    assert then == Consequence(WorkState.DONE, 0, standing=Standing.PROVISIONAL)


def test_batch_work_of_a_rescued_item_that_fails_for_good_settles_on_the_provisional_answer() -> (
    None
):
    then = fails(lambda_(Lane.BATCH, failures=2), Outcome.INVALID, provisional=A)
    assert (then.work_state, then.settles, then.fails) == (WorkState.FAILED, True, False)


def test_failed_work_of_a_canceled_or_amended_item_is_canceled_and_not_retried() -> None:
    for of in (plain(item_canceled=True), plain(is_newest_revision=False)):
        assert fails(of, Outcome.ERRORED) == Consequence(WorkState.CANCELED, 0)
        assert valid(of) == Consequence(WorkState.DONE, 0)


@pytest.mark.parametrize(
    ("provisional", "authoritative", "fields", "changed"),
    [
        ({"x": 1, "y": 2}, {"x": 1, "y": 3}, (), ["y"]),
        ({"x": 1, "y": 2}, {"x": 1, "y": 3}, ("x",), []),
        ({"x": 1}, {"x": 1, "y": None}, (), ["y"]),
        ({"x": 1}, {}, (), ["x"]),
        ({}, {}, (), []),
        ({"x": 1}, {"x": 1.0}, (), []),
        ({"x": 1}, {"x": True}, (), ["x"]),
        ({"x": [0, {"y": False}]}, {"x": [0, {"y": 0}]}, (), ["x"]),
        ({"x": {"a": 1, "b": 2}}, {"x": {"b": 2, "a": 1}}, (), []),
        ({"x": [1, 2]}, {"x": [2, 1]}, (), ["x"]),
        ({"x": 1}, {"x": 2}, ("z",), []),
    ],
)
def test_a_correction_names_the_fields_that_differ_as_json(
    provisional: dict[str, Any],
    authoritative: dict[str, Any],
    fields: tuple[str, ...],
    changed: list[str],
) -> None:
    correction = compare(provisional, authoritative, fields)
    assert (correction.changed_fields if correction else []) == changed
    if correction:
        names = fields or provisional.keys() | authoritative.keys()
        assert correction.distance == len(changed) / len(names)

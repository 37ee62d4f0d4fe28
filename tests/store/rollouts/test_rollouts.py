"""Rollouts in the database: one open per workload, moves with their split, log and event, and measurements;
one file because every move is seen from the rollout that it changes."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, insert
from sqlalchemy.exc import IntegrityError

from lanes.doors.item import Amendment
from lanes.errors import ActionRefused, UnknownWorkload
from lanes.promises.assessment import Assessment
from lanes.promises.incident import Promise
from lanes.realtime.circuit import Fault
from lanes.rollouts.gates import Figures
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
)
from lanes.routing.shedding import Shed
from lanes.routing.split import Split
from lanes.store import incidents
from lanes.store.doors.items import amend
from lanes.store.realtime import outages
from lanes.store.report import snapshot
from lanes.store.rollouts import rollout_measures, rollout_moves, rollouts
from lanes.store.routing import second_look
from lanes.store.tables import rollout as table
from lanes.store.workload import workloads
from lanes.words import Lane, Outcome, RolloutState, Verdict
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.rollouts import ERRORS, begin, judged, playbook, step
from tests.store.tries import A, B, claim, events, row, rows, save, submit, tried

P95 = {"measure": "p95_s", "max": 2, "at_least": 2}


def share(connection: Connection, consumer: str | None = None) -> float:
    return workloads.splits(connection).of("letters", consumer).basis_points / 100


def test_a_rollout_starts_at_its_first_share_and_logs_who_started_it(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, split_percent=1)
    begun = begin(connection)
    assert share(connection) == 10
    assert (begun.state, begun.step, begun.share_before) == (RolloutState.RUNNING, 0, 100)
    told = rows(connection, "rollout_log")
    assert [(t.event, t.percent, t.who, t.why) for t in told] == [("started", 10, "ada", "trial")]
    (event,) = events(connection, "lanes.rollout.started")
    assert event.resource == "lanes.workload.letters"
    assert event.payload["percent"] == 10


def test_a_rollout_stores_its_playbook_unchanged(connection: Connection) -> None:
    publish(connection, now=NOON)
    book = playbook(step(10, P95, approval=True, at_most_minutes=9), step(50.5))
    begun = begin(connection, book)
    assert rollouts.find(connection, begun.id).playbook == book


def test_the_database_allows_only_one_open_rollout_per_workload(connection: Connection) -> None:
    publish(connection, now=NOON)
    begin(connection)
    columns = [column for column in table.columns if column.name != "id"]
    present = connection.execute(table.select().with_only_columns(*columns)).mappings().one()
    with pytest.raises(IntegrityError, match="uq_rollout_open"):
        connection.execute(insert(table).values(**present))


def test_a_rollout_that_does_not_fit_its_workload_is_refused(connection: Connection) -> None:
    with pytest.raises(UnknownWorkload, match='workload "letters" has no published version'):
        begin(connection)
    publish(connection, now=NOON, split_percent=60)
    with pytest.raises(ActionRefused, match="sends 60 % to real-time already"):
        begin(connection)
    agreement = {"measure": "agreement", "min": 0.9, "at_least": 5}
    with pytest.raises(ActionRefused, match="not in lambda mode"):
        begin(connection, playbook(step(70, agreement)))
    assert rows(connection, "rollout") == []


def test_advancing_sets_the_next_share_and_restarts_the_measurement(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    begun = begin(connection)
    assert rollout_moves.apply(connection, begun, Advance("well"), [], now=later(minutes=5))
    moved = rollouts.find(connection, begun.id)
    assert (moved.step, moved.step_started_at, share(connection)) == (1, later(minutes=5), 50)
    assert events(connection, "lanes.rollout.stepped")[0].payload["step"] == 2


def test_a_move_decided_on_a_stale_rollout_changes_nothing(connection: Connection) -> None:
    publish(connection, now=NOON)
    begun = begin(connection)
    rollout_moves.apply(connection, begun, Advance("well"), [], now=NOON)
    assert not rollout_moves.apply(connection, begun, Advance("well"), [], now=NOON)
    assert not rollout_moves.apply(connection, begun, RollBack("ill"), [], now=NOON)
    assert share(connection) == 50


def test_rolling_back_restores_the_earlier_share_and_allows_a_new_rollout(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, split_percent=3)
    begun = begin(connection)
    rollout_moves.apply(connection, begun, Advance("well"), [], now=NOON)
    rollout_moves.apply(
        connection, rollouts.find(connection, begun.id), RollBack("ill"), [], now=NOON
    )
    ended = rollouts.find(connection, begun.id)
    assert (ended.state, share(connection), ended.ended_at) == (RolloutState.ROLLED_BACK, 3, NOON)
    assert events(connection, "lanes.rollout.rolled_back")[0].payload["why"] == "ill"
    assert begin(connection).id != begun.id


def test_finishing_keeps_the_last_share(connection: Connection) -> None:
    publish(connection, now=NOON)
    begun = begin(connection, playbook(step(30)))
    rollout_moves.apply(connection, begun, Finish("well"), [], now=NOON)
    assert share(connection) == 30
    assert rollouts.list_open(connection) == []
    assert len(events(connection, "lanes.rollout.finished")) == 1


def test_an_approval_is_stored_and_allows_the_next_step(connection: Connection) -> None:
    publish(connection, now=NOON)
    begun = begin(connection)
    rollout_moves.apply(connection, begun, AskApproval("well"), [], now=NOON)
    waiting = rollouts.find(connection, begun.id)
    assert (waiting.state, waiting.asked) == (RolloutState.WAITING_APPROVAL, 1)
    assert rollout_moves.hear(connection, waiting, Approval(True, "bob", "fine"), now=NOON)
    approved = rollouts.find(connection, begun.id)
    assert (approved.state, approved.approval) == (
        RolloutState.RUNNING,
        Approval(True, "bob", "fine"),
    )
    assert not rollout_moves.hear(connection, waiting, Approval(False, "eve", "too late"), now=NOON)
    rollout_moves.apply(connection, approved, Advance("well"), [], now=NOON)
    assert rollouts.find(connection, begun.id).approval is None
    assert rollouts.split_history(connection, "letters", None, 1)[0].who == "bob"


def test_an_unusable_answer_is_requested_again_and_a_declined_approval_rolls_back(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    begun = begin(connection)
    rollout_moves.apply(connection, begun, AskApproval("well"), [], now=NOON)
    rollout_moves.ask_again(
        connection, rollouts.find(connection, begun.id), why="unusable", now=NOON
    )
    waiting = rollouts.find(connection, begun.id)
    assert (waiting.state, waiting.asked) == (RolloutState.WAITING_APPROVAL, 2)
    rollout_moves.hear(connection, waiting, Approval(False, "bob", "not today"), now=NOON)
    assert rollouts.find(connection, begun.id).state is RolloutState.ROLLED_BACK
    assert share(connection) == 0
    told = [each.event for each in rollouts.log(connection, begun.id)]
    assert told == ["started", "approval_asked", "approval_asked", "declined", "rolled_back"]


def past_an_approval(connection: Connection) -> Rollout:
    """Begin a rollout that starts at 30 %, past a step that asks for approval."""
    publish(connection, now=NOON, split_percent=30)
    return begin(
        connection, playbook(step(5), step(20, approval=True), step(50, approval=True), step(100))
    )


def test_a_rollout_that_starts_past_an_approval_step_moves_nothing_until_approved(
    connection: Connection,
) -> None:
    begun = past_an_approval(connection)
    assert (begun.step, begun.first_step, begun.entered, begun.asks_about, share(connection)) == (
        2,
        2,
        False,
        1,
        30,
    )
    assert [each.basis_points for each in rollouts.log(connection, begun.id)] == [3_000]
    rollout_moves.apply(connection, begun, AskApproval("past it"), [], now=later(hours=1))
    waiting = rollouts.find(connection, begun.id)
    assert (waiting.asked_at, waiting.basis_points) == (later(hours=1), 3_000)
    rollout_moves.hear(connection, waiting, Approval(True, "bob", "fine"), now=later(hours=2))
    approved = rollouts.find(connection, begun.id)
    assert (share(connection), approved.asked_at) == (30, None)
    assert rollout_moves.apply(connection, approved, Enter("given by bob"), [], now=later(hours=3))
    entered = rollouts.find(connection, begun.id)
    assert (share(connection), entered.entered, entered.approval) == (50, True, None)
    assert (entered.step_started_at, entered.asks_about) == (later(hours=3), 2)
    told = [(each.event, each.step, each.who) for each in rollouts.log(connection, begun.id)]
    book = "playbook batch-to-realtime"
    assert told == [
        ("started", 1, "ada"),
        ("approval_asked", 1, book),
        ("approved", 1, "bob"),
        ("stepped", 2, "bob"),
    ]


def test_declining_a_skipped_approval_leaves_the_share_unchanged(
    connection: Connection,
) -> None:
    begun = past_an_approval(connection)
    rollout_moves.apply(connection, begun, AskApproval("past it"), [], now=NOON)
    rollout_moves.hear(
        connection, rollouts.find(connection, begun.id), Approval(False, "bob", "no"), now=NOON
    )
    assert rollouts.find(connection, begun.id).state is RolloutState.ROLLED_BACK
    assert share(connection) == 30


def waiting_incidents(connection: Connection) -> list[tuple[str, str]]:
    found = rows(connection, "incident", "id", promise="approval_waits")
    return [(each.state, each.severity) for each in found]


@pytest.mark.parametrize("how", ["approved", "declined", "rolled back", "aborted"])
def test_a_pending_approval_is_an_open_incident_until_the_decision(
    connection: Connection, how: str
) -> None:
    publish(connection, now=NOON)
    begun = begin(connection)
    rollout_moves.apply(connection, begun, AskApproval("every gate passed at 10 %"), [], now=NOON)
    assert waiting_incidents(connection) == [("open", "warning")]
    asked = row(connection, "incident")
    assert (asked.workload, asked.limit_value, asked.unit) == ("letters", 72 * 60, "minutes")
    assert asked.sentence.endswith(
        "at step 1 of 2: every gate passed at 10 %. 10 % go to real-time."
    )
    assert len(rows(connection, "slack_post")) == 1
    waiting = rollouts.find(connection, begun.id)
    rollout_moves.apply(
        connection, waiting, Hold(HoldReason.APPROVAL, "a person"), [], now=later(minutes=30)
    )
    assert (row(connection, "incident").value, row(connection, "incident").sentence) == (
        30,
        asked.sentence,
    )
    rollout_moves.ask_again(connection, waiting, why="unusable", now=later(hours=1))
    waiting = rollouts.find(connection, begun.id)
    assert waiting.asked_at == NOON
    match how:
        case "rolled back":
            rollout_moves.apply(connection, waiting, RollBack("ill"), [], now=NOON)
        case "aborted":
            rollout_moves.abort(connection, "letters", who="bob", why="enough", now=NOON)
        case _:
            rollout_moves.hear(
                connection, waiting, Approval(how == "approved", "bob", "so"), now=NOON
            )
    assert waiting_incidents(connection) == [("resolved", "warning")]


def breach(
    promise: Promise, workload: str = "letters", subject: str = "", *, value: float = 1_000
) -> Assessment:
    return Assessment(promise, workload, Verdict.FAILED, value, 5, 40, "It is ill.", subject)


@pytest.mark.parametrize(
    ("found", "hinders"),
    [
        (breach(Promise.REALTIME_SLOW), True),
        (breach(Promise.REALTIME_SLOW, value=6), False),  # a warning
        (breach(Promise.REALTIME_SLOW, "archive"), False),
        (breach(Promise.BATCH_SLOW, subject="batch 4"), False),
        (breach(Promise.PROVIDER_FROZEN, "*", "acme"), True),
        (breach(Promise.PROVIDER_FROZEN, subject="model claude-haiku-5-5"), True),
        (breach(Promise.PROVIDER_FROZEN, subject="model claude-opus-5-5"), False),
    ],
)
def test_only_a_critical_incident_of_the_receiving_lane_hinders_a_rollout(
    connection: Connection, found: Assessment, hinders: bool
) -> None:
    publish(connection, now=NOON, realtime_model="claude-haiku-5-5")
    begun = begin(connection)
    incidents.record(connection, [found], now=NOON)
    assert [each.promise for each in rollouts.list_hindering(connection, begun)] == (
        [found.promise] if hinders else []
    )
    ended = replace(found, verdict=Verdict.PASSED, value=0)
    incidents.resolve(
        connection, ended.promise, ended.workload, ended.subject, sentence="well", now=NOON
    )
    assert rollouts.list_hindering(connection, begun) == []


@pytest.mark.parametrize(
    ("model", "hinders"), [("claude-haiku-5-5", True), ("claude-opus-5-5", False)]
)
def test_an_outage_hinders_only_rollouts_that_use_its_model(
    connection: Connection, model: str, hinders: bool
) -> None:
    publish(connection, now=NOON, realtime_model="claude-haiku-5-5")
    begun = begin(connection)
    outages.record_fault(
        connection, "acme", model, Fault("it is overloaded", 5, NOON, NOON), now=NOON
    )
    assert [each.promise for each in rollouts.list_hindering(connection, begun)] == [
        "provider_down"
    ] * hinders


def test_consecutive_passes_are_stored_and_reset_at_each_step(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    begun = begin(connection)
    for passes in (1, 2, 0, 1):
        seen = rollouts.find(connection, begun.id)
        hold = Hold(HoldReason.GATHERING, "in a row", passes)
        assert rollout_moves.apply(connection, seen, hold, [], now=NOON)
        assert rollouts.find(connection, begun.id).passes == passes
    rollout_moves.apply(
        connection, rollouts.find(connection, begun.id), Advance("well"), [], now=NOON
    )
    assert rollouts.find(connection, begun.id).passes == 0


def test_a_rollout_emits_one_held_event_per_reason_and_none_while_gathering(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    begun = begin(connection)
    for holds in (
        HoldReason.GATHERING,
        HoldReason.ERROR,
        HoldReason.ERROR,
        HoldReason.INCONCLUSIVE,
        HoldReason.INCONCLUSIVE,
    ):
        seen = rollouts.find(connection, begun.id)
        assert rollout_moves.apply(connection, seen, Hold(holds, f"for {holds}"), [], now=NOON)
    told = [each.payload["why"] for each in events(connection, "lanes.rollout.held")]
    assert told == ["for error", "for inconclusive"]
    assert share(connection) == 10


def test_aborting_restores_the_earlier_share_and_requires_an_open_rollout(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, split_percent=2)
    begin(connection)
    assert (
        rollout_moves.abort(connection, "letters", who="bob", why="enough", now=NOON).state
        is RolloutState.ABORTED
    )
    assert share(connection) == 2
    assert len(events(connection, "lanes.rollout.aborted")) == 1
    with pytest.raises(ActionRefused, match="has no open rollout"):
        rollout_moves.abort(connection, "letters", who="bob", why="enough", now=NOON)


def test_a_split_under_an_open_rollout_cannot_be_set_by_hand(connection: Connection) -> None:
    publish(connection, now=NOON)
    said = rollouts.set_split_by_hand(
        connection, Split("letters", None, 700), who="bob", why="trial", now=NOON
    )
    assert said == "letters: 7 % of undecided items go to real-time, 0 % before"
    begin(connection)
    with pytest.raises(ActionRefused, match="abort the rollout first"):
        rollouts.set_split_by_hand(
            connection, Split("letters", None, 0), who="bob", why="trial", now=NOON
        )
    rollouts.set_split_by_hand(
        connection, Split("letters", "desk", 300), who="bob", why="trial", now=NOON
    )
    assert (share(connection), share(connection, "desk")) == (10, 3)
    with pytest.raises(UnknownWorkload):
        rollouts.set_split_by_hand(
            connection, Split("ghosts", None, 0), who="bob", why="trial", now=NOON
        )


def test_pausing_and_resuming_a_workload_report_its_state(connection: Connection) -> None:
    publish(connection, now=NOON)
    assert rollouts.pause_workload(connection, "letters", now=NOON).startswith("letters is paused:")
    assert rollouts.pause_workload(connection, "letters", now=later(hours=1)).endswith(
        "since 2026-11-24 12:00 UTC"
    )
    assert rollouts.resume_workload(connection, "letters").startswith("letters is resumed")
    assert rollouts.resume_workload(connection, "letters") == "letters is not paused"
    with pytest.raises(UnknownWorkload, match='no workload "ghosts"'):
        rollouts.pause_workload(connection, "ghosts", now=NOON)


def answered(
    connection: Connection, *keys: str, at: datetime, wrong: bool = False, **fields: Any
) -> None:
    """Admit items, route them by the split, and try the real-time ones at `at`."""
    admit(connection, *keys, now=NOON, **fields)
    route(connection, now=NOON)
    outcome = Outcome.INVALID if wrong else Outcome.VALID
    save(connection, *(tried(each, outcome, at=at) for each in claim(connection, now=NOON)), now=at)


def figures(connection: Connection, *gates: dict[str, object], now: datetime) -> Figures:
    publish(connection, now=NOON)
    seen = rollouts.read_open(connection, "letters") or begin(
        connection, playbook(step(100, *gates))
    )
    return rollout_measures.take(connection, seen, now=now)


@pytest.mark.slow
def test_figures_count_only_items_that_the_split_routed_during_the_step(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    workloads.set_split(
        connection, Split("letters", None, 5_000), who="ada", why="before", now=NOON
    )
    workloads.set_split(
        connection, Split("letters", "own", 10_000), who="ada", why="before", now=NOON
    )
    answered(connection, *(f"before{n}" for n in range(9)), at=later(seconds=1))
    error_rate = {"measure": "error_rate", "max": 0.1, "at_least": 5}
    figures(connection, error_rate, P95, now=NOON)
    answered(connection, "a", "b", at=later(seconds=1))
    answered(connection, "pinned", at=later(seconds=1), lane=Lane.REALTIME)
    answered(connection, "urgent", at=later(seconds=1), urgent=True)
    answered(connection, "own", at=later(seconds=1), consumer="own")
    answered(connection, "ill", at=later(seconds=1), wrong=True)
    taken = figures(connection, now=later(seconds=1))
    errors, p95 = taken.measurements
    assert taken.answered == 2
    assert (errors.samples, errors.wrong) == (3, 1)
    assert (p95.samples, p95.wrong, p95.value) == (2, 0, 1)


def test_unanswered_items_count_as_slow_in_the_latency_gate(connection: Connection) -> None:
    figures(connection, P95, now=NOON)
    answered(connection, "quick", at=later(seconds=1))
    admit(connection, "stuck1", "stuck2", now=NOON)
    route(connection, now=NOON)
    (young,) = figures(connection, now=later(seconds=1.5)).measurements
    assert (young.samples, young.wrong) == (1, 0)
    (old,) = figures(connection, now=later(seconds=30)).measurements
    assert (old.samples, old.wrong) == (3, 2)


def test_a_consumers_rollout_measures_only_items_of_that_consumer(connection: Connection) -> None:
    publish(connection, now=NOON)
    begun = begin(connection, playbook(step(100)), consumer="desk")
    answered(connection, "theirs", at=later(seconds=1), consumer="desk")
    admit(connection, "other", now=NOON)
    route(connection, now=NOON)
    assert rollout_measures.take(connection, begun, now=NOON).answered == 1
    assert share(connection) == 0


@pytest.mark.slow
def test_missed_deadlines_and_agreement_are_measured(connection: Connection) -> None:
    met = {"measure": "deadlines_met", "min": 0.5, "at_least": 1}
    agreement = {"measure": "agreement", "min": 0.5, "at_least": 1}
    publish(connection, now=NOON, mode="lambda", batch_expected_minutes=1)
    begun = begin(connection, playbook(step(100, met, agreement)))
    answered(connection, "in-time", at=later(hours=1), due_at=later(hours=9))
    answered(connection, "late", at=later(hours=10), due_at=later(hours=9))
    deadlines, agreed = rollout_measures.take(connection, begun, now=later(hours=10)).measurements
    assert (deadlines.samples, deadlines.wrong, deadlines.value) == (2, 1, 0.5)
    assert (agreed.samples, agreed.value) == (0, None)
    owed = claim(connection, Lane.BATCH, now=later(hours=10))
    other = {"category": "b"}
    save(
        connection,
        tried(owed[0], output=other, at=later(hours=11)),
        tried(owed[1], at=later(hours=11)),
    )
    _, agreed = rollout_measures.take(connection, begun, now=later(hours=11)).measurements
    assert (agreed.samples, agreed.wrong, agreed.value) == (2, 1, 0.5)


def retried(connection: Connection, outcomes: dict[str, list[Outcome]]) -> datetime:
    """Try each item once per outcome, ten minutes apart; return the time of the last attempt."""
    admit(connection, *outcomes, now=NOON)
    route(connection, now=NOON)
    at, left = NOON, {key: list(each) for key, each in outcomes.items()}
    while any(left.values()):
        at += timedelta(minutes=10)
        for each in claim(connection, now=at):
            if left[each.key]:
                save(connection, tried(each, left[each.key].pop(0), at=at), now=at)
    return at


@pytest.mark.slow
def test_an_item_with_five_failed_attempts_counts_once_and_fails_no_gate(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, max_failures=6)
    error_rate = {"measure": "error_rate", "max": 0.05, "at_least": 20}
    begun = begin(connection, playbook(step(100, error_rate, items=20)))
    tries = {f"good{n}": [Outcome.VALID] for n in range(250)} | {"ill": [Outcome.INVALID] * 5}
    now = retried(connection, tries)
    taken = rollout_measures.take(connection, begun, now=now)
    (errors,) = taken.measurements
    assert (taken.answered, errors.samples, errors.wrong) == (250, 251, 1)
    assert judged(begun, taken)[0].verdict is Verdict.PASSED


@pytest.mark.slow
@given(
    tries=st.lists(
        st.lists(st.sampled_from([Outcome.INVALID, Outcome.ERRORED]), max_size=4),
        min_size=1,
        max_size=6,
    ),
    ends_well=st.booleans(),
)
def test_a_gate_counts_items_and_not_attempts(
    connection: Connection, tries: list[list[Outcome]], ends_well: bool
) -> None:
    with connection.begin_nested() as trial:
        publish(connection, now=NOON, max_failures=6, patience_s=86_400)
        begun = begin(connection, playbook(step(100)))
        outcomes = {
            f"k{n}": [*each, Outcome.VALID] if ends_well else each for n, each in enumerate(tries)
        }
        now = retried(connection, outcomes)
        (errors,) = rollout_measures.take(connection, begun, now=now).measurements
        assert errors.samples == sum(bool(each) for each in outcomes.values())
        assert errors.wrong == sum(bool(each) for each in tries)
        trial.rollback()


def test_a_refused_pack_does_not_count_as_an_error_of_an_item_answered_later(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    begun = begin(connection, playbook(step(100)))
    now = retried(connection, {"neighbour": [Outcome.PACK_REFUSED, Outcome.VALID]})
    (errors,) = rollout_measures.take(connection, begun, now=now).measurements
    assert (errors.samples, errors.wrong) == (1, 0)


@pytest.mark.slow
@pytest.mark.parametrize("outcome", [Outcome.UNSERVED, Outcome.UNKNOWN])
def test_overload_and_calls_without_an_answer_count_as_failures_of_the_lane(
    connection: Connection, outcome: Outcome
) -> None:
    publish(connection, now=NOON)
    begun = begin(connection, playbook(step(100)))
    outcomes = {f"never{n}": [outcome] for n in range(10)}
    outcomes |= {f"later{n}": [outcome, Outcome.VALID] for n in range(10)}
    taken = rollout_measures.take(connection, begun, now=retried(connection, outcomes))
    (errors,) = taken.measurements
    assert (taken.answered, errors.samples, errors.wrong) == (10, 20, 20)
    assert judged(begun, taken)[0].verdict is Verdict.FAILED


def test_a_shed_item_counts_as_a_failed_sample_of_the_lane_that_shed_it(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    begun = begin(connection, playbook(step(100, ERRORS, P95)))
    now = retried(connection, {f"good{n}": [Outcome.VALID] for n in range(5)})
    admit(connection, "shed", "waits", now=now)
    route(connection, now=now)
    waiting = second_look.queue_tail(connection, ["letters"], now=NOON).waiting
    left = min(waiting, key=lambda each: each.id)
    assert second_look.shed(connection, {left.id: Shed("no model answers")}, now=now) == 1
    errors, _ = rollout_measures.take(connection, begun, now=now).measurements
    assert (errors.samples, errors.wrong) == (6, 1)
    _, slow = rollout_measures.take(connection, begun, now=now + timedelta(seconds=3)).measurements
    assert slow.wrong == 7  # includes the five answers, each ten minutes late
    letters = workloads.read_versions(connection)["letters"]
    batch_id, works = submit(connection, letters, now=now)
    save(connection, *(tried(each, at=now) for each in works), now=now, batch_id=batch_id)
    taken = rollout_measures.take(connection, begun, now=now)
    assert taken.answered == 5  # the batch answer does not count for real-time
    assert (taken.measurements[0].samples, taken.measurements[0].wrong) == (6, 1)


def test_a_rollout_whose_load_is_shed_fails_its_gate(connection: Connection) -> None:
    publish(connection, now=NOON)
    begun = begin(connection, playbook(step(100)))
    admit(connection, *(f"k{n}" for n in range(20)), now=NOON)
    route(connection, now=NOON)
    leaving = {
        each.id: Shed("no model answers")
        for each in second_look.queue_tail(connection, ["letters"], now=NOON).waiting
    }
    assert second_look.shed(connection, leaving, now=NOON) == 20
    (errors,) = judged(begun, rollout_measures.take(connection, begun, now=NOON))
    assert errors.verdict is Verdict.FAILED


def amended_in_lambda(connection: Connection, *, again: dict[str, str]) -> Rollout:
    """Answer an item, confirm it by its pass, amend it, and answer the newer revision by its own pass."""
    agreement = {"measure": "agreement", "min": 0.9, "at_least": 1}
    letters = publish(connection, now=NOON, mode="lambda")
    begun = begin(connection, playbook(step(100, agreement)))
    answered(connection, "k", at=later(seconds=1))
    for minutes, output in enumerate((A, again), 1):
        batch_id, works = submit(connection, letters, now=later(minutes=minutes))
        at = later(minutes=minutes, seconds=30)
        save(
            connection,
            *(tried(each, output=output, at=at) for each in works),
            now=at,
            batch_id=batch_id,
        )
        asked = Amendment("letters", "k", {"text": f"version {minutes}"}, place="trial")
        amend(connection, asked, door="client", now=at)
    return begun


def test_an_amended_item_is_compared_once_with_the_answer_to_the_same_revision(
    connection: Connection,
) -> None:
    begun = amended_in_lambda(connection, again=B)
    (agreed,) = rollout_measures.take(connection, begun, now=later(hours=1)).measurements
    assert (agreed.samples, agreed.wrong, agreed.value) == (1, 0, 1)


@pytest.mark.slow
def test_the_report_compares_only_answers_to_the_same_revision(connection: Connection) -> None:
    amended_in_lambda(connection, again=B)
    (agreement,) = snapshot.take(connection, since=NOON, now=later(hours=1)).agreement
    assert (agreement.compared, agreement.corrected) == (1, 0)


def test_a_measurement_is_stored_when_its_verdict_changes_or_the_rollout_moves(
    connection: Connection,
) -> None:
    begun_figures = figures(
        connection, {"measure": "error_rate", "max": 0.5, "at_least": 1}, now=NOON
    )
    seen = rollouts.read_open(connection, "letters")
    assert seen is not None
    none = judged(seen, begun_figures)
    for _ in range(3):
        rollout_moves.apply(connection, seen, Hold(HoldReason.GATHERING, "few"), none, now=NOON)
    answered(connection, *(f"k{n}" for n in range(8)), at=later(seconds=1))
    some = judged(seen, figures(connection, now=later(seconds=1)))
    rollout_moves.apply(
        connection, rollouts.find(connection, seen.id), Finish("well"), some, now=later(seconds=1)
    )
    kept = rows(connection, "rollout_measurement", "id")
    assert [(each.samples, each.verdict) for each in kept] == [(0, "inconclusive"), (8, "passed")]


def test_two_runs_with_the_same_decision_make_one_move(pool: Engine) -> None:
    with pool.begin() as connection:
        publish(connection, now=NOON)
        begun = begin(connection)
    made = []
    for _ in range(2):
        with pool.begin() as connection:
            made.append(
                rollout_moves.apply(
                    connection, begun, Advance("well"), [], now=NOON + timedelta(minutes=1)
                )
            )
    assert made == [True, False]

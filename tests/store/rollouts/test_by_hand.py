"""Rollout steps that a person promotes past their gates or gives more time."""

import pytest
from sqlalchemy import Connection

from lanes.errors import ActionRefused
from lanes.promises.incident import Promise
from lanes.rollouts.playbook import LONGEST_MINUTES
from lanes.rollouts.rollout import AskApproval, RollBack, is_overdue
from lanes.store import incidents
from lanes.store.rollouts import rollout_moves, rollouts
from lanes.store.workload import workloads
from lanes.words import RolloutState
from tests.conftest import NOON, later
from tests.examples import publish
from tests.rollouts import ERRORS, begin, playbook, step
from tests.store.rollouts.test_rollouts import breach

BY = {"who": "bob", "why": "seen enough"}
GROWING = playbook(step(10, at_most_minutes=60), step(50, at_most_minutes=60))


def share(connection: Connection) -> float:
    return workloads.splits(connection).of("letters", None).basis_points / 100


def test_promoting_a_step_skips_its_unmet_gates_and_logs_who_promoted_it(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    begin(connection, playbook(step(10, ERRORS, approval=True), step(50)))
    moved = rollout_moves.promote(connection, "letters", **BY, now=later(minutes=5))
    assert (moved.step, moved.step_started_at, share(connection)) == (1, later(minutes=5), 50)
    ended = rollout_moves.promote(connection, "letters", **BY, now=later(minutes=6))
    assert (ended.state, share(connection)) == (RolloutState.FINISHED, 50)
    told = [(each.event, each.who, each.why) for each in rollouts.log(connection, moved.id)[1:]]
    why = "promoted by bob: seen enough"
    assert told == [("stepped", "bob", why), ("finished", "bob", why)]
    with pytest.raises(ActionRefused, match="no open rollout"):
        rollout_moves.promote(connection, "letters", **BY, now=later(minutes=7))


def test_promoting_is_refused_during_a_critical_incident_or_a_pending_approval(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    begun = begin(connection)
    incidents.record(connection, [breach(Promise.REALTIME_FAILING)], now=NOON)
    with pytest.raises(ActionRefused, match=r"critical incident \d+ is open.*then promote"):
        rollout_moves.promote(connection, "letters", **BY, now=NOON)
    rollout_moves.apply(connection, begun, AskApproval("well"), [], now=NOON)
    with pytest.raises(ActionRefused, match="approve or decline it"):
        rollout_moves.promote(connection, "letters", **BY, now=NOON)
    assert share(connection) == 10


def test_extending_a_step_moves_its_time_limit_but_not_that_of_the_next_step(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    begun = begin(connection, GROWING)
    extended = rollout_moves.extend(connection, "letters", 120, **BY, now=later(minutes=30))
    assert extended.step_ends_at == later(minutes=180)
    situation = extended.situation(0)
    assert not is_overdue(situation, later(minutes=179))
    assert is_overdue(situation, later(minutes=180))
    (told,) = rollouts.log(connection, begun.id)[1:]
    assert (told.event, told.who, told.why) == ("extended", "bob", "120 minutes more: seen enough")
    moved = rollout_moves.promote(connection, "letters", **BY, now=later(minutes=40))
    assert moved.step_ends_at == later(minutes=100)


def test_a_rollback_decided_before_an_extension_is_not_applied(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    seen = begin(connection, GROWING)
    rollout_moves.extend(connection, "letters", 60, **BY, now=later(minutes=61))
    overdue = RollBack("no evidence within 60 minutes")
    assert not rollout_moves.apply(connection, seen, overdue, [], now=later(minutes=61))
    assert share(connection) == 10


def test_an_extension_is_refused_for_a_step_without_a_limit_and_beyond_the_maximum(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    begin(connection)
    with pytest.raises(ActionRefused, match="has no time limit now"):
        rollout_moves.extend(connection, "letters", 60, **BY, now=NOON)
    rollout_moves.abort(connection, "letters", **BY, now=NOON)
    begun = begin(connection, GROWING)
    with pytest.raises(ActionRefused, match=r"at most 43,200 minutes; it has 60 already"):
        rollout_moves.extend(connection, "letters", LONGEST_MINUTES, **BY, now=NOON)
    assert rollouts.find(connection, begun.id) == begun

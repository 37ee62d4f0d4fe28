"""Circuits: all drains share one circuit per model; one drain probes it, and all see the outcome."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, text

from lanes.realtime.circuit import PROBE, Circuit, CircuitState, Fault
from lanes.store import work
from lanes.store.realtime import circuits, outages
from lanes.words import Lane, Outcome
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import claimed_item, rows, save, tried

ACCOUNT, MODEL, OTHER = "acme", "claude-haiku-5-5", "claude-opus-5-5"
BY = {"worker": "me", "lease": timedelta(minutes=1), "now": later()}


def fault(
    began_at: datetime = NOON, *, failing_since: datetime | None = None, turn: int | None = None
) -> Fault:
    return Fault("529", 3, began_at, failing_since or began_at, turn)


def opened(connection: Connection, *, model: str = MODEL, now: datetime = NOON) -> Circuit:
    circuit, moved = circuits.record_fault(connection, ACCOUNT, model, fault(now), now=now)
    assert moved
    assert circuit is not None
    return circuit


def known(connection: Connection) -> Circuit:
    return circuits.open_circuits(connection, ACCOUNT)[MODEL]


def test_a_circuit_opened_by_a_fault_is_read_back_as_it_was_written(connection: Connection) -> None:
    circuit = opened(connection)
    assert circuits.open_circuits(connection, ACCOUNT) == {MODEL: circuit}
    assert circuits.open_circuits(connection, "others") == {}
    assert (circuit.state, circuit.since, circuit.faults, circuit.why) == (
        CircuitState.RESTING,
        NOON,
        3,
        "529",
    )


def test_each_model_of_an_account_has_its_own_circuit(connection: Connection) -> None:
    opened(connection)
    opened(connection, model=OTHER, now=later(seconds=9))
    assert circuits.record_answer(connection, ACCOUNT, MODEL, began_at=later(seconds=1)) is not None
    assert set(circuits.list_not_closed(connection, now=later(seconds=9))) == {(ACCOUNT, OTHER)}


@pytest.fixture
def two(pool: Engine) -> Iterator[tuple[Connection, Connection]]:
    """Yield the connections of two drains."""
    with pool.connect() as one, pool.connect() as other:
        yield one, other


def test_one_of_two_drains_takes_the_probe_without_blocking_the_other(
    two: tuple[Connection, Connection],
) -> None:
    one, other = two
    seen, due = opened(one), later(seconds=1)
    one.commit()
    assert circuits.take_probe(one, seen, now=NOON) is None  # the circuit rests
    probed = circuits.take_probe(one, seen, now=due)
    assert probed is not None
    other.execute(text("set lock_timeout = '1s'"))
    assert circuits.take_probe(other, seen, now=due) is None  # the first has not committed yet
    one.commit()
    assert circuits.take_probe(other, seen, now=due) is None
    assert circuits.take_probe(other, known(other), now=due) is None
    assert known(other) == probed


def test_an_expired_probe_passes_to_the_next_drain_and_only_a_late_answer_of_the_first_counts(
    connection: Connection,
) -> None:
    first = circuits.take_probe(connection, opened(connection), now=later(seconds=1))
    assert first is not None
    at = later(seconds=1) + PROBE
    second = circuits.take_probe(connection, known(connection), now=at)
    assert second is not None
    late = fault(later(seconds=1), turn=first.turn)
    assert circuits.record_fault(
        connection, ACCOUNT, MODEL, late, now=at + timedelta(seconds=1)
    ) == (
        second,
        False,
    )
    closed = circuits.record_answer(connection, ACCOUNT, MODEL, began_at=later(seconds=1))
    assert closed is not None
    assert closed.state is CircuitState.CLOSED


def test_a_failed_probe_lengthens_the_back_off_for_all_drains(connection: Connection) -> None:
    probed = circuits.take_probe(connection, opened(connection), now=later(seconds=1))
    assert probed is not None
    told = fault(later(seconds=1), turn=probed.turn)
    after, moved = circuits.record_fault(connection, ACCOUNT, MODEL, told, now=later(seconds=2))
    assert moved
    assert after is not None
    assert (after.next_probe_at, after.faults) == (later(seconds=4), 4)
    assert known(connection) == after


def test_an_answer_to_a_call_from_before_the_last_fault_does_not_close_the_circuit(
    connection: Connection,
) -> None:
    before = opened(connection)
    assert circuits.record_answer(connection, ACCOUNT, MODEL, began_at=later(seconds=-1)) == before
    assert circuits.record_answer(connection, ACCOUNT, OTHER, began_at=later(seconds=9)) is None


def test_a_returned_probe_is_due_at_once_unless_its_call_was_made(
    connection: Connection,
) -> None:
    for asked, again in ((False, later(seconds=2)), (True, later(seconds=3))):
        probed = circuits.take_probe(
            connection, known(connection) if asked else opened(connection), now=later(seconds=2)
        )
        assert probed is not None
        at = {"turn": probed.turn, "asked": asked, "now": later(seconds=2)}
        freed = circuits.give_back_probe(connection, ACCOUNT, MODEL, **at)
        assert freed is not None
        assert freed.next_probe_at == again
        # A second return changes nothing.
        assert circuits.give_back_probe(connection, ACCOUNT, MODEL, **at) == freed


def test_a_drain_that_alone_receives_no_answers_opens_no_circuit(connection: Connection) -> None:
    publish(connection, now=NOON)
    answered = claimed_item(connection, "of another drain")
    save(connection, tried(answered, at=later(seconds=9)), now=later(seconds=10))
    alone = fault(later(seconds=9), failing_since=NOON)
    assert circuits.record_fault(connection, ACCOUNT, MODEL, alone, now=later(seconds=11)) == (
        None,
        False,
    )
    assert outages.record_fault(connection, ACCOUNT, MODEL, alone, now=later(seconds=11)) is None
    assert rows(connection, "incident_log") == []
    # After a minute the other drain's answer proves nothing.
    _, moved = circuits.record_fault(connection, ACCOUNT, MODEL, alone, now=later(minutes=2))
    assert moved


def test_answers_by_an_old_versions_model_do_not_hide_the_faults_of_a_new_model(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    old = claimed_item(connection, "old")
    publish(connection, now=NOON, realtime_model=OTHER)
    save(connection, tried(old, at=later(seconds=9)), now=later(seconds=10))
    alone = fault(later(seconds=9), failing_since=NOON)
    assert circuits.record_fault(connection, ACCOUNT, MODEL, alone, now=later(seconds=11)) == (
        None,
        False,
    )
    _, moved = circuits.record_fault(connection, ACCOUNT, OTHER, alone, now=later(seconds=11))
    assert moved


def test_the_versions_of_ready_work_decide_which_models_are_needed(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    admit(connection, "old", now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    publish(connection, now=NOON, realtime_model=OTHER)

    def needed() -> set[str]:
        return {
            each.version.spec.realtime_model
            for each in circuits.list_needed(connection, [MODEL, OTHER], now=later())
        }

    assert needed() == {MODEL}
    admit(connection, "new", now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    assert needed() == {MODEL, OTHER}
    of_old = circuits.list_versions(connection, [MODEL])
    assert [
        each.key
        for each in work.claim(
            connection, Lane.REALTIME, {"letters": 9}, within=work.ClaimBounds(but=of_old), **BY
        )
    ] == ["new"]
    assert needed() == {MODEL}
    assert work.read_waiting(connection, Lane.REALTIME, but=of_old, now=later()).versions == {}
    assert [
        each.key
        for each in work.claim(
            connection, Lane.REALTIME, {"letters": 9}, within=work.ClaimBounds(only=of_old), **BY
        )
    ] == ["old"]
    assert needed() == set()


def test_unserved_attempts_of_other_drains_do_not_count_as_answers(connection: Connection) -> None:
    publish(connection, now=NOON)
    save(
        connection,
        tried(claimed_item(connection, "a"), Outcome.UNSERVED, at=later(seconds=9)),
        now=later(seconds=10),
    )
    _, moved = circuits.record_fault(
        connection, ACCOUNT, MODEL, fault(failing_since=NOON), now=later(seconds=11)
    )
    assert moved


def test_a_closed_circuit_reopens_in_the_same_outage(connection: Connection) -> None:
    first = opened(connection)
    circuits.record_answer(connection, ACCOUNT, MODEL, began_at=later(seconds=1))
    again, moved = circuits.record_fault(
        connection, ACCOUNT, MODEL, fault(later(seconds=5)), now=later(seconds=6)
    )
    assert moved
    assert again is not None
    assert (again.id, again.since, again.state) == (first.id, NOON, CircuitState.RESTING)


def test_open_circuits_are_listed_until_no_drain_probes_them_any_more(
    connection: Connection,
) -> None:
    circuit = opened(connection)
    assert circuits.list_not_closed(connection, now=NOON) == {(ACCOUNT, MODEL): circuit}
    circuits.take_probe(connection, circuit, now=later(seconds=1))
    assert (
        circuits.list_not_closed(connection, now=later(seconds=2))[ACCOUNT, MODEL].state
        is CircuitState.PROBING
    )
    assert circuits.list_not_closed(connection, now=later(minutes=2)) == {}


@pytest.mark.slow
def test_recording_an_answer_on_a_locked_circuit_fails_by_a_lock_timeout(
    two: tuple[Connection, Connection],
) -> None:
    one, other = two
    opened(one)
    one.commit()
    one.execute(text("select from lanes.outage for update"))
    with pytest.raises(Exception, match="lock timeout"):
        circuits.record_answer(other, ACCOUNT, MODEL, began_at=later(seconds=1))

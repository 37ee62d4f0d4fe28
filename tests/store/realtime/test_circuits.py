"""All drains share one circuit a model: one of them probes it, and each knows how that ended."""

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


def test_a_circuit_that_a_fault_opened_is_known_as_it_was_written(connection: Connection) -> None:
    circuit = opened(connection)
    assert circuits.open_circuits(connection, ACCOUNT) == {MODEL: circuit}
    assert circuits.open_circuits(connection, "others") == {}
    assert (circuit.state, circuit.since, circuit.faults, circuit.why) == (
        CircuitState.RESTING,
        NOON,
        3,
        "529",
    )


def test_models_of_one_account_have_circuits_of_their_own(connection: Connection) -> None:
    opened(connection)
    opened(connection, model=OTHER, now=later(seconds=9))
    assert circuits.record_answer(connection, ACCOUNT, MODEL, began_at=later(seconds=1)) is not None
    assert set(circuits.list_not_closed(connection, now=later(seconds=9))) == {(ACCOUNT, OTHER)}


@pytest.fixture
def two(pool: Engine) -> Iterator[tuple[Connection, Connection]]:
    """Two drains' connections."""
    with pool.connect() as one, pool.connect() as other:
        yield one, other


def test_of_two_drains_one_takes_the_probe_and_nobody_waits(
    two: tuple[Connection, Connection],
) -> None:
    one, other = two
    seen, due = opened(one), later(seconds=1)
    one.commit()
    assert circuits.take_probe(one, seen, now=NOON) is None  # it rests
    probed = circuits.take_probe(one, seen, now=due)
    assert probed is not None
    other.execute(text("set lock_timeout = '1s'"))
    assert circuits.take_probe(other, seen, now=due) is None  # while the first has not committed
    one.commit()
    assert circuits.take_probe(other, seen, now=due) is None
    assert circuits.take_probe(other, known(other), now=due) is None
    assert known(other) == probed


def test_a_dead_probers_probe_is_the_next_drains_and_what_the_first_says_late_counts_as_an_answer_alone(
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


def test_a_probe_that_faults_lengthens_the_rest_for_all(connection: Connection) -> None:
    probed = circuits.take_probe(connection, opened(connection), now=later(seconds=1))
    assert probed is not None
    told = fault(later(seconds=1), turn=probed.turn)
    after, moved = circuits.record_fault(connection, ACCOUNT, MODEL, told, now=later(seconds=2))
    assert moved
    assert after is not None
    assert (after.next_probe_at, after.faults) == (later(seconds=4), 4)
    assert known(connection) == after


def test_an_answer_of_a_call_that_began_before_the_last_fault_closes_nothing(
    connection: Connection,
) -> None:
    before = opened(connection)
    assert circuits.record_answer(connection, ACCOUNT, MODEL, began_at=later(seconds=-1)) == before
    assert circuits.record_answer(connection, ACCOUNT, OTHER, began_at=later(seconds=9)) is None


def test_a_probe_that_is_given_back_is_free_at_once_unless_it_was_asked(
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
        assert circuits.give_back_probe(connection, ACCOUNT, MODEL, **at) == freed  # once


def test_a_drain_that_alone_is_answered_nothing_opens_no_circuit(connection: Connection) -> None:
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
    # A minute later that proves nothing any more.
    _, moved = circuits.record_fault(connection, ACCOUNT, MODEL, alone, now=later(minutes=2))
    assert moved


def test_answers_of_an_old_versions_backlog_do_not_hide_that_a_new_model_answers_nobody(
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


def test_which_models_are_needed_is_judged_by_the_versions_of_ready_work(
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
    of_old = circuits.by_models(connection, [MODEL])
    assert [
        each.key
        for each in work.claim(
            connection, Lane.REALTIME, {"letters": 9}, within=work.ClaimBounds(but=of_old), **BY
        )
    ] == ["new"]
    assert needed() == {MODEL}
    assert work.waiting(connection, Lane.REALTIME, but=of_old, now=later()).versions == {}
    assert [
        each.key
        for each in work.claim(
            connection, Lane.REALTIME, {"letters": 9}, within=work.ClaimBounds(only=of_old), **BY
        )
    ] == ["old"]
    assert needed() == set()


def test_faults_of_others_are_no_answers(connection: Connection) -> None:
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


def test_what_was_closed_opens_again_in_the_same_outage(connection: Connection) -> None:
    first = opened(connection)
    circuits.record_answer(connection, ACCOUNT, MODEL, began_at=later(seconds=1))
    again, moved = circuits.record_fault(
        connection, ACCOUNT, MODEL, fault(later(seconds=5)), now=later(seconds=6)
    )
    assert moved
    assert again is not None
    assert (again.id, again.since, again.state) == (first.id, NOON, CircuitState.RESTING)


def test_who_may_wait_is_told_of_circuits_that_are_open_and_of_none_that_nobody_probes(
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
def test_a_row_that_somebody_holds_is_waited_for_no_longer_than_a_second(
    two: tuple[Connection, Connection],
) -> None:
    one, other = two
    opened(one)
    one.commit()
    one.execute(text("select from lanes.outage for update"))
    with pytest.raises(Exception, match="lock timeout"):
        circuits.record_answer(other, ACCOUNT, MODEL, began_at=later(seconds=1))

"""The circuits that a drain knows: while a model's circuit is open, the drain makes no call except the probe it holds."""

from dataclasses import replace
from datetime import datetime

from lanes.ids import WorkId
from lanes.realtime.circuit import Circuit, Fault, KnownCircuits, open_circuit
from lanes.realtime.health import Blame, Health
from tests.conftest import NOON, later

MODEL, OTHER = "claude-haiku-5-5", "claude-opus-5-5"
ONE, TWO = WorkId(1), WorkId(2)


def fault(began_at: datetime = NOON, turn: int | None = None) -> Fault:
    return Fault("529", 3, began_at, began_at, turn)


def circuit() -> Circuit:
    return replace(open_circuit(fault(), NOON), id=7)


def known() -> KnownCircuits:
    """Return known circuits in which the circuit of one model opened at noon."""
    one = KnownCircuits()
    one.learn_shared({MODEL: circuit()}, NOON)
    return one


def probing() -> KnownCircuits:
    """Return known circuits in which this drain took the probe a second after noon."""
    one, at = known(), later(seconds=1)
    one.record_probe(MODEL, circuit().take_probe(at), at)
    return one


def test_a_resting_model_gets_no_calls_and_other_models_are_not_limited() -> None:
    one = known()
    assert one.room(MODEL, NOON) == 0
    assert one.room(OTHER, NOON) is None
    assert one.next_probe_at(NOON) == later(seconds=1)
    assert one.to_probe(NOON) == {}
    assert one.to_probe(later(seconds=1)) == {MODEL: circuit()}


def test_the_holder_of_a_probe_may_start_one_call_and_identifies_the_call_by_its_items() -> None:
    one, now = probing(), later(seconds=1)
    assert one.room(MODEL, now) == 1
    assert one.list_unused_probes() == {MODEL: 1}
    one.record_call(MODEL, [ONE, TWO])
    assert (one.room(MODEL, now), one.list_unused_probes()) == (0, {})
    assert one.turn_of(MODEL, [TWO]) == 1  # also for a part of the call's items
    assert one.turn_of(MODEL, [WorkId(3)]) is None
    one.record_no_call(MODEL, [ONE, TWO])
    assert one.room(MODEL, now) == 1


def test_a_drain_loses_its_probe_once_another_probe_may_be_taken() -> None:
    one, now = probing(), later(seconds=16)
    one.learn_shared({MODEL: circuit().take_probe(later(seconds=1))}, now)
    assert one.room(MODEL, now) == 0
    assert MODEL in one.to_probe(now)


def test_a_drain_that_missed_the_probe_waits_for_the_probing_drain() -> None:
    one = known()
    one.record_missed_probe(MODEL, circuit(), later(seconds=1))
    assert one.to_probe(later(seconds=4)) == {}


def test_a_drain_that_missed_the_probe_may_probe_once_a_read_shows_that_the_probe_is_free() -> None:
    one = known()
    one.record_missed_probe(MODEL, circuit(), later(seconds=1))
    one.learn_shared({MODEL: circuit()}, later(seconds=2))
    assert one.to_probe(later(seconds=2)) == {MODEL: circuit()}


def test_a_circuit_without_news_for_five_seconds_does_not_block_calls() -> None:
    assert known().room(MODEL, later(seconds=6)) is None
    one = known()
    one.forget()
    assert one.room(MODEL, NOON) is None


def test_a_closed_or_deleted_circuit_ends_the_outage_and_is_reported_once() -> None:
    for newest in ({MODEL: circuit().apply_answer(later(seconds=1))}, {}):
        one = known()
        assert one.learn_shared(newest, later(seconds=2)) == [MODEL]
        assert one.room(MODEL, later(seconds=2)) is None
        assert one.learn_shared(newest, later(seconds=3)) == []


def test_a_read_from_before_the_drains_own_change_is_ignored() -> None:
    one = known()
    assert one.record_answer(MODEL, later(seconds=1))
    one.learn_shared({MODEL: circuit()}, later(seconds=1))
    assert one.room(MODEL, later(seconds=1)) is None
    fresh = KnownCircuits()
    fresh.record_change(MODEL, circuit(), later(seconds=1))
    assert fresh.learn_shared({}, NOON) == []
    assert fresh.room(MODEL, later(seconds=1)) == 0


def test_an_answer_closes_the_circuit_in_this_drain_at_once_and_is_reported_once() -> None:
    one = probing()
    one.record_call(MODEL, [ONE])
    assert one.record_answer(MODEL, later(seconds=1))
    assert one.room(MODEL, later(seconds=2)) is None
    assert not one.record_answer(MODEL, later(seconds=1))
    # This call began before the last fault.
    assert not known().record_answer(MODEL, later(seconds=-1))


def test_only_a_fault_that_would_change_the_circuit_is_news() -> None:
    one = probing()
    assert not one.is_news(MODEL, fault(later(seconds=-1)), later(seconds=2))
    # This fault is of a call other than the probe.
    assert not one.is_news(MODEL, fault(later(seconds=1)), later(seconds=2))
    assert one.is_news(MODEL, fault(later(seconds=1), turn=1), later(seconds=2))
    assert one.is_news(OTHER, fault(), later(seconds=2))


def test_no_fault_is_blamed_on_an_item_while_the_circuit_is_open() -> None:
    health = Health()
    health.record_answer(MODEL, most=64, now=NOON)
    health.circuits.learn_shared({MODEL: circuit()}, NOON)
    assert health.record_fault(MODEL, [ONE], now=later(seconds=1)) is Blame.PROVIDER


def test_a_model_that_answers_other_drains_again_restarts_with_one_call() -> None:
    health = Health(jitter=lambda: 1.0)
    health.circuits.learn_shared({MODEL: circuit()}, NOON)
    assert (health.calls(MODEL, NOON), health.next_change(NOON), health.holds_back(NOON)) == (
        0,
        later(seconds=1),
        True,
    )
    assert health.circuits.learn_shared({}, later(seconds=1)) == [MODEL]
    health.restart(MODEL)
    assert health.calls(MODEL, later(seconds=1)) == 1
    assert not health.holds_back(later(seconds=1))


def test_a_drains_own_faults_rest_the_model_and_are_reported_without_a_known_circuit() -> None:
    health = Health(jitter=lambda: 1.0)
    for work in range(3):
        health.record_fault(MODEL, [WorkId(work)], began_at=later(seconds=-2), now=NOON)
    told = health.fault(MODEL, "529", began_at=NOON, turn=None)
    assert told == Fault("529", 3, NOON, later(seconds=-2), None)
    assert health.calls(MODEL, NOON) == 0


def test_a_single_fault_is_not_reported_unless_the_probe_faulted() -> None:
    health = Health()
    health.record_fault(MODEL, [ONE], now=NOON)
    assert health.fault(MODEL, "529", began_at=NOON, turn=None) is None
    assert health.fault(MODEL, "529", began_at=NOON, turn=1) is not None

"""A drain asks nothing of a model whose circuit is open, but for the probe that it holds."""

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
    """The circuit of one model was opened at noon."""
    one = KnownCircuits()
    one.learn_shared({MODEL: circuit()}, NOON)
    return one


def probing() -> KnownCircuits:
    """It holds the probe since a second later."""
    one, at = known(), later(seconds=1)
    one.record_probe(MODEL, circuit().take_probe(at), at)
    return one


def test_nothing_is_asked_of_a_model_that_rests_and_of_others_as_much_as_ever() -> None:
    one = known()
    assert one.room(MODEL, NOON) == 0
    assert one.room(OTHER, NOON) is None
    assert one.next_probe_at(NOON) == later(seconds=1)
    assert one.to_probe(NOON) == {}
    assert one.to_probe(later(seconds=1)) == {MODEL: circuit()}


def test_who_holds_the_probe_may_begin_one_call_and_knows_it_by_its_items() -> None:
    one, now = probing(), later(seconds=1)
    assert one.room(MODEL, now) == 1
    assert one.list_unused_probes() == {MODEL: 1}
    one.record_call(MODEL, [ONE, TWO])
    assert (one.room(MODEL, now), one.list_unused_probes()) == (0, {})
    assert one.turn_of(MODEL, [TWO]) == 1  # also of a part of it
    assert one.turn_of(MODEL, [WorkId(3)]) is None
    one.record_no_call(MODEL, [ONE, TWO])
    assert one.room(MODEL, now) == 1


def test_a_probe_is_no_longer_held_once_another_may_be_taken() -> None:
    one, now = probing(), later(seconds=16)
    one.learn_shared({MODEL: circuit().take_probe(later(seconds=1))}, now)
    assert one.room(MODEL, now) == 0
    assert MODEL in one.to_probe(now)


def test_who_was_slower_waits_for_whoever_probes() -> None:
    one = known()
    one.record_missed_probe(MODEL, circuit(), later(seconds=1))
    assert one.to_probe(later(seconds=4)) == {}


def test_who_found_the_probe_locked_probes_as_soon_as_it_hears_that_nobody_took_it() -> None:
    one = known()
    one.record_missed_probe(MODEL, circuit(), later(seconds=1))
    one.learn_shared({MODEL: circuit()}, later(seconds=2))
    assert one.to_probe(later(seconds=2)) == {MODEL: circuit()}


def test_what_nobody_was_heard_of_for_five_seconds_holds_nothing_back() -> None:
    assert known().room(MODEL, later(seconds=6)) is None
    one = known()
    one.forget()
    assert one.room(MODEL, NOON) is None


def test_the_end_of_an_outage_is_heard_whether_it_is_closed_or_gone() -> None:
    for newest in ({MODEL: circuit().apply_answer(later(seconds=1))}, {}):
        one = known()
        assert one.learn_shared(newest, later(seconds=2)) == [MODEL]
        assert one.room(MODEL, later(seconds=2)) is None
        assert one.learn_shared(newest, later(seconds=3)) == []


def test_what_was_read_before_its_own_change_is_not_believed() -> None:
    one = known()
    assert one.record_answer(MODEL, later(seconds=1))
    one.learn_shared({MODEL: circuit()}, later(seconds=1))
    assert one.room(MODEL, later(seconds=1)) is None
    fresh = KnownCircuits()
    fresh.record_change(MODEL, circuit(), later(seconds=1))
    assert fresh.learn_shared({}, NOON) == []
    assert fresh.room(MODEL, later(seconds=1)) == 0


def test_an_answer_closes_it_here_at_once_and_is_told_once() -> None:
    one = probing()
    one.record_call(MODEL, [ONE])
    assert one.record_answer(MODEL, later(seconds=1))
    assert one.room(MODEL, later(seconds=2)) is None
    assert not one.record_answer(MODEL, later(seconds=1))
    assert not known().record_answer(MODEL, later(seconds=-1))  # it began before the last fault


def test_only_a_fault_that_says_something_new_is_told() -> None:
    one = probing()
    assert not one.is_news(MODEL, fault(later(seconds=-1)), later(seconds=2))
    assert not one.is_news(
        MODEL, fault(later(seconds=1)), later(seconds=2)
    )  # of a call beside the probe
    assert one.is_news(MODEL, fault(later(seconds=1), turn=1), later(seconds=2))
    assert one.is_news(OTHER, fault(), later(seconds=2))


def test_no_fault_is_an_items_while_the_circuit_is_open() -> None:
    health = Health()
    health.record_answer(MODEL, most=64, now=NOON)
    health.circuits.learn_shared({MODEL: circuit()}, NOON)
    assert health.record_fault(MODEL, [ONE], now=later(seconds=1)) is Blame.PROVIDER


def test_a_model_that_others_found_to_answer_is_asked_by_degrees() -> None:
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


def test_what_a_drain_sees_alone_holds_back_where_no_circuit_is_known() -> None:
    health = Health(jitter=lambda: 1.0)
    for work in range(3):
        health.record_fault(MODEL, [WorkId(work)], began_at=later(seconds=-2), now=NOON)
    told = health.fault(MODEL, "529", began_at=NOON, turn=None)
    assert told == Fault("529", 3, NOON, later(seconds=-2), None)
    assert health.calls(MODEL, NOON) == 0


def test_a_hiccup_is_not_told_unless_it_was_the_probe() -> None:
    health = Health()
    health.record_fault(MODEL, [ONE], now=NOON)
    assert health.fault(MODEL, "529", began_at=NOON, turn=None) is None
    assert health.fault(MODEL, "529", began_at=NOON, turn=1) is not None

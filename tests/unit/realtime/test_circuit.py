"""The circuit of a model that does not answer: one call of one drain probes it at a time, until an answer closes it."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.realtime.circuit import (
    LONGEST_REST_S,
    PROBE,
    Circuit,
    CircuitState,
    Fault,
    open_circuit,
    rest,
)
from tests.conftest import NOON, later


def fault(
    began_at: datetime = NOON, *, faults: int = 3, turn: int | None = None, why: str = "529"
) -> Fault:
    return Fault(why, faults, began_at, began_at, turn)


def probed(at: datetime | None = None) -> Circuit:
    """Return a circuit that opened at noon and was probed at `at`, by default a second later."""
    return open_circuit(fault(), NOON).take_probe(at or later(seconds=1))


def test_a_circuit_opens_with_a_rest_of_one_second() -> None:
    one = open_circuit(fault(later(seconds=-1)), NOON)
    assert (one.state, one.since, one.faults, one.next_probe_at) == (
        CircuitState.RESTING,
        NOON,
        3,
        later(seconds=1),
    )
    assert not one.may_be_probed(later(seconds=0.9))
    assert one.may_be_probed(later(seconds=1))


def test_each_fault_of_a_probe_lengthens_the_rest_up_to_five_seconds() -> None:
    one, rests = open_circuit(fault(), NOON), []
    for _ in range(6):
        at = one.next_probe_at
        assert at is not None
        one = one.take_probe(at)
        one = one.apply_fault(fault(at, faults=1, turn=one.turn), at)
        assert one.next_probe_at is not None
        rests.append((one.next_probe_at - at).total_seconds())
    assert rests == [2, 4, 5, 5, 5, 5]
    assert one.faults == 9


def test_a_call_from_before_the_last_fault_neither_closes_the_circuit_nor_lengthens_its_rest() -> (
    None
):
    one = open_circuit(fault(), NOON)
    assert one.apply_answer(later(seconds=-1)) is one
    assert one.apply_fault(fault(later(seconds=-1)), later(seconds=0.5)) is one
    assert one.apply_answer(later(seconds=0.5)).state is CircuitState.CLOSED


def test_a_fault_of_a_call_other_than_the_probe_does_not_end_the_probe() -> None:
    one = probed()
    assert one.apply_fault(fault(later(seconds=2), turn=None), later(seconds=3)) is one
    assert one.apply_fault(fault(later(seconds=2), turn=one.turn - 1), later(seconds=3)) is one
    assert (
        one.apply_fault(fault(later(seconds=2), turn=one.turn), later(seconds=3)).state
        is CircuitState.RESTING
    )


def test_a_new_probe_is_allowed_if_the_prober_does_not_report_in_time() -> None:
    one = probed(NOON)
    assert not one.may_be_probed(NOON + PROBE - timedelta(seconds=1))
    assert one.may_be_probed(NOON + PROBE)


def test_an_inconclusive_probe_repeats_the_rest_and_an_unused_probe_is_free_at_once() -> None:
    one = probed()
    assert one.rest_again(later(seconds=2)).next_probe_at == later(seconds=3)
    assert one.rest_again(later(seconds=2)).faults == one.faults
    assert one.free_probe(later(seconds=2)).may_be_probed(later(seconds=2))


def test_a_circuit_that_reopens_starts_with_a_short_rest() -> None:
    one = replace(probed(), rests=9).apply_answer(later(seconds=1.5))
    again = one.apply_fault(fault(later(seconds=9), faults=3), later(seconds=10))
    assert (again.state, again.faults, again.next_probe_at) == (
        CircuitState.RESTING,
        3,
        later(seconds=11),
    )
    assert again.since == NOON  # the start of the same outage


@given(st.integers(-3, 10_000))
def test_every_rest_lasts_between_one_and_five_seconds(rests: int) -> None:
    assert 1 <= rest(rests).total_seconds() <= LONGEST_REST_S


class Drains:
    """Drains that share a circuit as in Postgres: each decides from its last read, and writes only if that is still current."""

    def __init__(self, many: int) -> None:
        self.now, self.shared = NOON, open_circuit(fault(), NOON)
        self.read = [self.shared] * many
        # By drain: the turn of its probe, and the time at which the drain took the probe.
        self.probes: dict[int, tuple[int, datetime]] = {}

    def passes(self, drain: int) -> None:
        self.now += timedelta(seconds=0.7 * (1 + drain))

    def reads(self, drain: int) -> None:
        self.read[drain] = self.shared

    def probes_it(self, drain: int) -> None:
        seen = self.read[drain]
        if (
            seen.is_open
            and seen.may_be_probed(self.now)
            and self._write(seen, seen.take_probe(self.now))
        ):
            self.probes[drain] = (self.shared.turn, self.now)
            self.reads(drain)

    def faults(self, drain: int) -> None:
        turn, began_at = self.probes.pop(drain, (None, self.now))
        told = fault(began_at, turn=turn)
        self._write(self.shared, self.shared.apply_fault(told, self.now))

    def answers(self, drain: int) -> None:
        """Answer the drain's probe, if it has one: only a probe is certain to have begun after the last fault."""
        if drain in self.probes:
            _, began_at = self.probes.pop(drain)
            before = self.shared
            self._write(self.shared, self.shared.apply_answer(began_at))
            assert not self.shared.is_open or before.faulted_at >= began_at

    def tells_nothing(self, drain: int) -> None:
        turn, _ = self.probes.pop(drain, (None, self.now))
        if turn == self.shared.turn:
            self._write(self.shared, self.shared.rest_again(self.now))

    def dies(self, drain: int) -> None:
        """Replace the drain, without a report, by a new drain that does not know of the probe."""
        self.probes.pop(drain, None)

    def _write(self, seen: Circuit, after: Circuit) -> bool:
        if seen.turn != self.shared.turn or after == self.shared:
            return False
        self.shared = after
        if not after.is_open:
            self.probes.clear()  # from now on they are ordinary calls
        return True


DEEDS = ("passes", "reads", "probes_it", "faults", "answers", "tells_nothing", "dies")


@given(st.lists(st.tuples(st.sampled_from(DEEDS), st.integers(0, 3)), max_size=80))
def test_at_most_one_probe_is_live_at_a_time_and_no_wait_for_the_next_probe_is_long(
    deeds: list[tuple[str, int]],
) -> None:
    drains = Drains(4)
    for deed, drain in deeds:
        getattr(drains, deed)(drain)
        heard_of = [
            turn for turn, taken_at in drains.probes.values() if drains.now < taken_at + PROBE
        ]
        assert len(heard_of) <= 1
        until = drains.shared.next_probe_at
        assert (until is None) is not drains.shared.is_open
        assert until is None or until - drains.now <= max(PROBE, timedelta(seconds=LONGEST_REST_S))


@pytest.mark.parametrize("state", CircuitState)
def test_an_answered_probe_closes_the_circuit_in_every_state(
    state: CircuitState,
) -> None:
    one = probed(later(seconds=1))
    others = {
        CircuitState.CLOSED: one.apply_answer(later(seconds=1)),
        CircuitState.PROBING: one.take_probe(later(seconds=20)),
        CircuitState.RESTING: one.rest_again(later(seconds=3)),
    }
    assert others[state].state is state
    assert not others[state].apply_answer(later(seconds=1)).is_open


def test_the_description_of_a_circuit_states_the_start_of_the_outage_and_the_next_probe() -> None:
    resting = open_circuit(Fault("529", 3, NOON, NOON), NOON)
    assert resting.describe("haiku", "acme", NOON) == (
        "haiku of account acme has not answered since 12:00 UTC (3 calls in a row, the last met: 529), and one call "
        "probes it in 1.0 s, if work waits for it then"
    )
    over = resting.describe("haiku", "acme", later(seconds=2))
    assert over.endswith(", and one call probes it as soon as work waits for it")
    probing = resting.take_probe(later(seconds=2)).describe("haiku", "acme", later(seconds=7))
    assert probing.endswith(", and one call probes it now, and another in 10 s at the latest")

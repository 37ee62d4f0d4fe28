"""The circuit of one model of an account, shared by all drains: whether it is asked, and by whom. Pure: `now` comes in.

                a drain met faults in a row, and no call is answered
     CLOSED ---------------------------------------------------------> RESTING <-------------------------------+
       ^                                                                  |                                    |
       |                               its rest is over: one drain of all |     its probe faulted, told nothing, |
       |                                                                  v     or was not asked at all          |
       +--------------------------------------------------------------- PROBING -------------------------------+
          a call is answered that began after the last fault,
          by any drain, from RESTING too                        a prober that is not heard of: the next one probes

A call that began before the last fault is no evidence about the present: its answer and its fault are both ignored. Limits of
the provider are no faults. A drain probes a model only if work waits for it and nothing else holds that work back.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from lanes.backoff import Backoff
from lanes.ids import WorkId
from lanes.units import clock, pluralize, seconds

FIRST_REST_S = 1.0
# rests double up to this, so that it is found soon that calls are answered again
LONGEST_REST_S = 5.0
# a prober that is not heard of for so long is dead, or its call hangs: another may probe
PROBE = timedelta(seconds=15)


class CircuitState(StrEnum):
    """The state of a circuit: how its model is called. Each comment says what changes the state."""

    CLOSED = "closed"  # as far as there are places; a drain whose calls fault in a row opens it
    RESTING = "resting"  # not at all until `next_probe_at`; then the first drain that has work for it takes the probe
    PROBING = "probing"  # by one call of one drain, whose end moves it on; from `next_probe_at` the next drain may


@dataclass(frozen=True)
class Fault:
    """A call that began at `began_at` got no answer.

    The drain that asked was answered nothing since `failing_since`, in `faults` calls in a row. `turn` is that of the
    circuit whose probe it was, None: it was none. `host` asked.
    """

    why: str
    faults: int
    began_at: datetime
    failing_since: datetime
    turn: int | None = None
    host: str | None = None


@dataclass(frozen=True)
class Circuit:
    """As it was read. `turn` rises with each change: of two who change what they read, one does. `id` is its outage's."""

    id: int
    state: CircuitState
    since: datetime  # when the outage began
    faulted_at: datetime  # when the last call that counts got no answer
    faults: int  # calls in a row without an answer, as far as they count
    why: str  # what the last of them met
    next_probe_at: datetime | None  # None: it is closed
    rests: int = 1  # of them in a row, the one under way too
    turn: int = 0
    host: str | None = None  # whose calls alone got no answer; None: those of several hosts

    @property
    def is_open(self) -> bool:
        """Whether it rests or is probed: calls of its model wait."""
        return self.state is not CircuitState.CLOSED

    def describe(self, model: str, account: str, now: datetime) -> str:
        """Describe the circuit for a person: the model, since when, and when it is asked again."""
        due_s = (self.next_probe_at - now).total_seconds() if self.next_probe_at else 0
        asked = "one call probes it as soon as work waits for it"
        if self.state is CircuitState.PROBING and due_s > 0:
            asked = f"one call probes it now, and another in {seconds(due_s)} at the latest"
        elif due_s > 0:
            asked = f"one call probes it in {seconds(due_s)}, if work waits for it then"
        return (
            f"{model} of account {account} has not answered since {clock(self.since, beside=now)} "
            f"({pluralize(self.faults, 'call')} in a row, the last met: {self.why}), and {asked}"
        )

    def may_be_probed(self, now: datetime) -> bool:
        """Return whether a drain may take the probe."""
        return self.next_probe_at is not None and self.next_probe_at <= now

    def take_probe(self, now: datetime) -> "Circuit":
        """Return the circuit with its probe taken: one drain may make one call, and reports within 15 s."""
        return self._move(CircuitState.PROBING, now + PROBE)

    def apply_fault(self, fault: Fault, now: datetime) -> "Circuit":
        """Return the circuit after a fault: its rest begins or gets longer.

        It stays as it is if the fault is no evidence about the present, or if a probe runs and the fault is not the probe's.
        """
        of_another = self.state is CircuitState.PROBING and fault.turn != self.turn
        if of_another or fault.began_at <= self.faulted_at:
            return self
        rests = self.rests + 1 if self.is_open else 1
        faults = max(self.faults + 1 if self.is_open else 0, fault.faults)
        host = fault.host if fault.host == self.host or not self.is_open else None
        rested = self._move(CircuitState.RESTING, now + rest(rests))
        more = {"rests": rests, "faults": faults, "why": fault.why, "faulted_at": now, "host": host}
        return replace(rested, **more)

    def rest_again(self, now: datetime) -> "Circuit":
        """Return the circuit after a probe that showed nothing, such as a limit: it rests as long again."""
        return self._move(CircuitState.RESTING, now + rest(self.rests))

    def free_probe(self, now: datetime) -> "Circuit":
        """Return the circuit after an unused probe: the next drain that has work may take it."""
        return self._move(CircuitState.RESTING, now)

    def apply_answer(self, began_at: datetime) -> "Circuit":
        """Return the circuit after a call that began then was answered: closed, unless the call is too old."""
        return (
            self._move(CircuitState.CLOSED, None)
            if self.is_open and began_at > self.faulted_at
            else self
        )

    def _move(self, state: CircuitState, next_probe_at: datetime | None) -> "Circuit":
        return replace(self, state=state, next_probe_at=next_probe_at, turn=self.turn + 1)


def open_circuit(fault: Fault, now: datetime) -> Circuit:
    """Return the circuit of a model after a fault that opens it."""
    until = now + rest(1)
    faults, why, host = fault.faults, fault.why, fault.host
    return Circuit(0, CircuitState.RESTING, now, now, faults, why, until, host=host)


def rest(rests: int) -> timedelta:
    """Return the length of the n-th rest in a row: 1 s, doubled up to 5 s."""
    return Backoff.of_seconds(FIRST_REST_S, LONGEST_REST_S).after(max(rests, 1))


# what was heard before says nothing: drains hear each other once a second
STALE = timedelta(seconds=5)
# by then a probe that was taken is asked, where there is something to ask
SOON = timedelta(seconds=1)


@dataclass
class _Probe:
    """Held under this turn. `work`: what is asked; None: nothing yet."""

    turn: int
    taken_at: datetime
    work: frozenset[WorkId] | None = None

    def may_begin(self, now: datetime) -> bool:
        return self.work is None and now < self.taken_at + PROBE


class KnownCircuits:
    """By model. Where nothing was heard for five seconds none is known, and the drain goes on with what it sees itself."""

    def __init__(self) -> None:
        self._known: dict[str, Circuit] = {}
        self._probes: dict[str, _Probe] = {}
        self._moved_at: dict[str, datetime] = {}  # when this drain moved one on itself
        self._heard_at: datetime | None = None

    def of(self, model: str, now: datetime) -> Circuit | None:
        """Return the circuit of the model if it is open; None: it is closed, or its state is unknown."""
        known = self._known.get(model)
        fresh = self._heard_at is not None and now - self._heard_at <= STALE
        return known if fresh and known is not None and known.is_open else None

    def has_open(self, now: datetime) -> bool:
        """Return whether calls of some model wait for its circuit."""
        return any(self.of(model, now) is not None for model in self._known)

    def room(self, model: str, now: datetime) -> int | None:
        """Return how many calls of the model may start; None where its circuit sets no limit.

        It is one where this drain holds the probe and has not called yet.
        """
        if self.of(model, now) is None:
            return None
        probe = self._probes.get(model)
        return int(probe is not None and probe.may_begin(now))

    def next_probe_at(self, now: datetime) -> datetime | None:
        """Return when the first circuit may be probed next; None if none is later than now."""
        moments = (
            circuit.next_probe_at
            for model in self._known
            if (circuit := self.of(model, now)) is not None
        )
        return min((each for each in moments if each is not None and each > now), default=None)

    def learn_shared(self, newest: Mapping[str, Circuit], read_at: datetime) -> list[str]:
        """Take over the circuits that others reported; return the models that answer again."""
        self._heard_at = read_at
        before = [model for model, circuit in self._known.items() if circuit.is_open]
        over = [
            model
            for model in self._known.keys() - newest.keys()
            if self._moved_at.get(model, read_at) <= read_at
        ]
        for model in over:
            del self._known[model]
        for model, circuit in newest.items():
            self._learn(model, circuit)
        again = [
            model for model in before if model not in self._known or not self._known[model].is_open
        ]
        for model in again:
            self._probes.pop(model, None)
        return again

    def record_change(self, model: str, circuit: Circuit | None, now: datetime) -> None:
        """Record the circuit of a model as this drain changed it or tried to; None if it has none."""
        self._heard_at, self._moved_at[model] = now, now
        if circuit is not None:
            self._learn(model, circuit)

    def forget(self) -> None:
        """Forget all circuits."""
        self._heard_at = None

    def open_models(self, now: datetime) -> list[str]:
        """Return the models whose calls wait for their circuits."""
        return [model for model in self._known if self.of(model, now) is not None]

    def to_probe(self, now: datetime) -> dict[str, Circuit]:
        """Return the circuits whose rest is over, or whose prober is not heard of, by model."""
        known = {
            model: circuit for model in self._known if (circuit := self.of(model, now)) is not None
        }
        return {model: each for model, each in known.items() if each.may_be_probed(now)}

    def probes(self, now: datetime) -> list[str]:
        """Return the models whose probe is held here and not asked yet."""
        return [model for model in self._probes if self.room(model, now)]

    def record_probe(self, model: str, probed: Circuit, now: datetime) -> None:
        """Record that this drain alone may make one call of the model."""
        self.record_change(model, probed, now)
        self._probes[model] = _Probe(probed.turn, now)

    def record_missed_probe(self, model: str, circuit: Circuit, now: datetime) -> None:
        """Record that another drain took the probe or holds the row lock: assume that it probes until its state is read."""
        self._learn(model, replace(circuit, state=CircuitState.PROBING, next_probe_at=now + PROBE))

    def record_call(self, model: str, work: Iterable[WorkId]) -> None:
        """Record that a call of these items begins: the probe, if one is held and unused."""
        probe = self._probes.get(model)
        if probe is not None and probe.work is None:
            probe.work = frozenset(work)

    def turn_of(self, model: str, work: Collection[WorkId]) -> int | None:
        """Return the turn of the probe that a call of these items belongs to; None if it is no probe."""
        probe = self._probes.get(model)
        return (
            probe.turn
            if probe is not None and probe.work is not None and probe.work.issuperset(work)
            else None
        )

    def let_go(self, model: str) -> None:
        """Record that no probe of the model is held here any more."""
        self._probes.pop(model, None)

    def record_no_call(self, model: str, work: Collection[WorkId]) -> None:
        """Record that the call of these items did not take place, so that another may be the probe."""
        if self.turn_of(model, work) is not None:
            self._probes[model].work = None

    def list_unused_probes(self, now: datetime | None = None) -> dict[str, int]:
        """Return the turns of held and unused probes by model; with `now`, those older than a second."""
        held = {model: each for model, each in self._probes.items() if each.work is None}
        return {
            model: each.turn
            for model, each in held.items()
            if now is None or now - each.taken_at > SOON
        }

    def record_answer(self, model: str, began_at: datetime) -> bool:
        """Close the model's circuit here if this answer does so; return whether it did."""
        known = self._known.get(model)
        if known is None or (after := known.apply_answer(began_at)) == known:
            return False
        self._known[model] = after
        self.let_go(model)
        return True

    def is_news(self, model: str, fault: Fault, now: datetime) -> bool:
        """Return whether a fault says something that other drains do not know yet."""
        known = self.of(model, now)
        return known is None or known.apply_fault(fault, now) != known

    def _learn(self, model: str, circuit: Circuit) -> None:
        """Store the circuit unless it is older than the known one."""
        known = self._known.get(model)
        if known is None or (circuit.id, circuit.turn) >= (known.id, known.turn):
            self._known[model] = circuit

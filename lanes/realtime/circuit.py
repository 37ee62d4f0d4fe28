"""The circuit of one model of an account, shared by all drains: whether the model is called, and by which drain. Pure.

                a drain had faults in a row, and no answer
     CLOSED ---------------------------------------------------------> RESTING <-------------------------------+
       ^                                                                  |                                    |
       |                    the rest has ended: one drain takes the probe |     its probe faulted, showed        |
       |                                                                  v     nothing, or was not sent         |
       +--------------------------------------------------------------- PROBING -------------------------------+
          a call that began after the last fault was answered,
          by any drain, also from RESTING                       the probe timed out: the next drain probes

A call that began before the last fault is no evidence about the present: its answer and its fault are both ignored. The
provider's rate limits are not faults. A drain probes a model only if work for the model waits and nothing else holds it back.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from lanes.backoff import Backoff
from lanes.ids import WorkId
from lanes.units import clock, pluralize, seconds

FIRST_REST_S = 1.0
# Rests double up to this maximum. It is short so that a recovery is noticed soon.
LONGEST_REST_S = 5.0
# A prober that has not reported for this long is dead, or its call hangs: another drain may probe.
PROBE = timedelta(seconds=15)


class CircuitState(StrEnum):
    """The state of a circuit. Each comment gives the calls that it allows and its next transition."""

    CLOSED = "closed"  # calls are not limited; a drain whose calls fault in a row opens the circuit
    RESTING = "resting"  # no call until `next_probe_at`; then the first drain with work for the model takes the probe
    PROBING = "probing"  # one call of one drain, whose end changes the state; from `next_probe_at` the next drain may probe


@dataclass(frozen=True)
class Fault:
    """A call without an answer that began at `began_at`.

    The drain that made the call has got no answer since `failing_since`, in `faults` calls in a row. `turn` is the circuit's
    turn if the call was its probe, else None. `host` is the drain's host.
    """

    why: str
    faults: int
    began_at: datetime
    failing_since: datetime
    turn: int | None = None
    host: str | None = None


@dataclass(frozen=True)
class Circuit:
    """The state of a model's circuit at the time of reading.

    `id` identifies the outage. `turn` rises with each change and serves as an optimistic lock: of two drains that change the
    same turn, only one succeeds.
    """

    id: int
    state: CircuitState
    since: datetime  # start of the outage
    faulted_at: datetime  # time of the last fault that counts
    faults: int  # faults in a row that count
    why: str  # cause of the last fault
    next_probe_at: datetime | None  # None: closed
    rests: int = 1  # rests in a row, including the current one
    turn: int = 0
    host: str | None = None  # the only host with faults; None: several hosts

    @property
    def is_open(self) -> bool:
        """Whether the circuit is resting or probing: calls of its model wait."""
        return self.state is not CircuitState.CLOSED

    def describe(self, model: str, account: str, now: datetime) -> str:
        """Return a description for a person: the model, the start of its outage, and the next probe."""
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
        """Return the circuit with its probe taken: one drain may make one call and must report within `PROBE`, 15 s."""
        return self._move(CircuitState.PROBING, now + PROBE)

    def apply_fault(self, fault: Fault, now: datetime) -> "Circuit":
        """Return the circuit after a fault: a rest begins, longer than the previous one.

        The circuit does not change if the fault's call began before the last fault, or if a probe is under way and the fault is
        of another call.
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
        """Return the circuit after a probe that showed nothing, such as a rate limit: it rests as long as before."""
        return self._move(CircuitState.RESTING, now + rest(self.rests))

    def free_probe(self, now: datetime) -> "Circuit":
        """Return the circuit after an unused probe: the next drain with work for the model may take the probe."""
        return self._move(CircuitState.RESTING, now)

    def apply_answer(self, began_at: datetime) -> "Circuit":
        """Return the circuit after an answered call that began at `began_at`: closed if the call began after the last fault."""
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
    """Return the length of the n-th rest in a row: 1 s, doubled each time up to 5 s."""
    return Backoff.from_seconds(FIRST_REST_S, LONGEST_REST_S).rest_after(max(rests, 1))


# Older circuit states are not used: drains share their states once a second.
STALE = timedelta(seconds=5)
# Within this time a drain with work sends the call of a probe that it has taken.
SOON = timedelta(seconds=1)


@dataclass
class _Probe:
    """A probe that this drain has taken at the circuit's `turn`. `work`: the work of its call, None before the call."""

    turn: int
    taken_at: datetime
    work: frozenset[WorkId] | None = None

    def may_begin(self, now: datetime) -> bool:
        return self.work is None and now < self.taken_at + PROBE


class KnownCircuits:
    """The circuits as this drain knows them, by model.

    After five seconds without news all circuits count as unknown, and the drain relies on its own calls.
    """

    def __init__(self) -> None:
        self._known: dict[str, Circuit] = {}
        self._probes: dict[str, _Probe] = {}
        self._moved_at: dict[str, datetime] = {}  # time of this drain's last change
        self._heard_at: datetime | None = None

    def of(self, model: str, now: datetime) -> Circuit | None:
        """Return the circuit of the model if it is open; None if it is closed or unknown."""
        known = self._known.get(model)
        fresh = self._heard_at is not None and now - self._heard_at <= STALE
        return known if fresh and known is not None and known.is_open else None

    def has_open(self, now: datetime) -> bool:
        """Return whether the circuit of some model is open."""
        return any(self.of(model, now) is not None for model in self._known)

    def room(self, model: str, now: datetime) -> int | None:
        """Return the number of calls of the model that may start; None if its circuit sets no limit.

        With an open circuit the number is 0, or 1 if this drain holds the probe and has not made its call yet.
        """
        if self.of(model, now) is None:
            return None
        probe = self._probes.get(model)
        return int(probe is not None and probe.may_begin(now))

    def next_probe_at(self, now: datetime) -> datetime | None:
        """Return the earliest time after `now` at which a circuit may be probed; None if there is none."""
        moments = (
            circuit.next_probe_at
            for model in self._known
            if (circuit := self.of(model, now)) is not None
        )
        return min((each for each in moments if each is not None and each > now), default=None)

    def learn_shared(self, newest: Mapping[str, Circuit], read_at: datetime) -> list[str]:
        """Store the shared circuits, and return the models that answer again.

        A change by this drain after `read_at` is not overwritten.
        """
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
        """Record the circuit of a model after this drain changed it or tried to; None if the model has no circuit."""
        self._heard_at, self._moved_at[model] = now, now
        if circuit is not None:
            self._learn(model, circuit)

    def forget(self) -> None:
        """Forget all circuits."""
        self._heard_at = None

    def open_models(self, now: datetime) -> list[str]:
        """Return the models with an open circuit."""
        return [model for model in self._known if self.of(model, now) is not None]

    def to_probe(self, now: datetime) -> dict[str, Circuit]:
        """Return the circuits by model whose rest has ended, or whose prober has not reported in time."""
        known = {
            model: circuit for model in self._known if (circuit := self.of(model, now)) is not None
        }
        return {model: each for model, each in known.items() if each.may_be_probed(now)}

    def probes(self, now: datetime) -> list[str]:
        """Return the models whose probe this drain holds and has not used yet."""
        return [model for model in self._probes if self.room(model, now)]

    def record_probe(self, model: str, probed: Circuit, now: datetime) -> None:
        """Record that this drain has taken the probe: it alone may make one call of the model."""
        self.record_change(model, probed, now)
        self._probes[model] = _Probe(probed.turn, now)

    def record_missed_probe(self, model: str, circuit: Circuit, now: datetime) -> None:
        """Record that another drain took the probe or holds the row lock; assume that it probes until the next read."""
        self._learn(model, replace(circuit, state=CircuitState.PROBING, next_probe_at=now + PROBE))

    def record_call(self, model: str, work: Iterable[WorkId]) -> None:
        """Record that a call of these items begins; it is the probe if this drain holds an unused one."""
        probe = self._probes.get(model)
        if probe is not None and probe.work is None:
            probe.work = frozenset(work)

    def turn_of(self, model: str, work: Collection[WorkId]) -> int | None:
        """Return the turn of the probe that a call of these items belongs to; None if the call is no probe."""
        probe = self._probes.get(model)
        return (
            probe.turn
            if probe is not None and probe.work is not None and probe.work.issuperset(work)
            else None
        )

    def let_go(self, model: str) -> None:
        """Record that this drain no longer holds a probe of the model."""
        self._probes.pop(model, None)

    def record_no_call(self, model: str, work: Collection[WorkId]) -> None:
        """Record that the call of these items did not take place, so that another call may be the probe."""
        if self.turn_of(model, work) is not None:
            self._probes[model].work = None

    def list_unused_probes(self, now: datetime | None = None) -> dict[str, int]:
        """Return the turns of the unused probes of this drain by model; with `now`, only of those older than a second."""
        held = {model: each for model, each in self._probes.items() if each.work is None}
        return {
            model: each.turn
            for model, each in held.items()
            if now is None or now - each.taken_at > SOON
        }

    def record_answer(self, model: str, began_at: datetime) -> bool:
        """Apply an answered call to the model's circuit, and return whether it closed the circuit."""
        known = self._known.get(model)
        if known is None or (after := known.apply_answer(began_at)) == known:
            return False
        self._known[model] = after
        self.let_go(model)
        return True

    def is_news(self, model: str, fault: Fault, now: datetime) -> bool:
        """Return whether a fault would change the model's circuit, so that other drains must learn about it."""
        known = self.of(model, now)
        return known is None or known.apply_fault(fault, now) != known

    def _learn(self, model: str, circuit: Circuit) -> None:
        """Store the circuit unless it is older than the known one."""
        known = self._known.get(model)
        if known is None or (circuit.id, circuit.turn) >= (known.id, known.turn):
            self._known[model] = circuit

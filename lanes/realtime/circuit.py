"""The circuit of one model of an account, shared by all drains: whether it is asked, and by whom. Pure: `now` comes in.

                a drain met faults in a row, and nobody is answered
     CLOSED ---------------------------------------------------------> RESTING <-------------------------------+
       ^                                                                  |                                    |
       |                               its rest is over: one drain of all |     its probe faulted, told nothing, |
       |                                                                  v     or was not asked at all          |
       +--------------------------------------------------------------- PROBING -------------------------------+
          a call is answered that began after the last fault,
          whoever asked it, from RESTING too                    a prober that is not heard of: the next one probes

What began before the last fault says nothing of now: neither its answer, nor its fault. Limits of the provider are no faults.
Nobody probes a model for which nothing waits, nor where something else holds back what would ask it.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from lanes.backoff import Backoff
from lanes.units import clock, counted, seconds

FIRST_REST_S = 1.0
LONGEST_REST_S = (
    5.0  # rests double up to this, so that it is found soon that calls are answered again
)
PROBE = timedelta(
    seconds=15
)  # a prober that is not heard of for so long is dead, or its call hangs: another may probe


class CircuitState(StrEnum):
    """How a model is asked; the comment says who moves it on."""

    CLOSED = "closed"  # as far as there are places; a drain whose calls fault in a row opens it
    RESTING = "resting"  # by nobody until `next_probe_at`; then the first drain that has work for it takes the probe
    PROBING = "probing"  # by one call of one drain, whose end moves it on; from `next_probe_at` the next drain may


@dataclass(frozen=True)
class Fault:
    """A call that began at `began_at` got no answer. The drain that asked was answered nothing since `failing_since`, in
    `faults` calls in a row. `turn` is that of the circuit whose probe it was, None: it was none."""

    why: str
    faults: int
    began_at: datetime
    failing_since: datetime
    turn: int | None = None


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

    @property
    def is_open(self) -> bool:
        """Whether it rests or is probed: calls of its model wait."""
        return self.state is not CircuitState.CLOSED

    def said(self, model: str, account: str, now: datetime) -> str:
        """How it stands, for a person: which model, since when, and when it is asked again."""
        due_s = (self.next_probe_at - now).total_seconds() if self.next_probe_at else 0
        asked = "is asked by one call as soon as something waits for it"
        if self.state is CircuitState.PROBING and due_s > 0:
            asked = f"is asked by one call now, and by another in {seconds(due_s)} at the latest"
        elif due_s > 0:
            asked = f"is asked by one call in {seconds(due_s)}, if something waits for it then"
        return (
            f"{model} of account {account} answers nobody since {clock(self.since, beside=now)} "
            f"({counted(self.faults, 'call')} in a row, the last met: {self.why}), and {asked}"
        )

    def may_be_probed(self, now: datetime) -> bool:
        """Whether a drain may take the probe."""
        return self.next_probe_at is not None and self.next_probe_at <= now

    def probed(self, now: datetime) -> "Circuit":
        """One drain may ask one call, and is heard of within 15 seconds."""
        return self._moved(CircuitState.PROBING, now + PROBE)

    def faulted(self, fault: Fault, now: datetime) -> "Circuit":
        """A fault lengthens the rest, or begins it; itself, where it says nothing of now, or of a probe of somebody else's."""
        of_another = self.state is CircuitState.PROBING and fault.turn != self.turn
        if of_another or fault.began_at <= self.faulted_at:
            return self
        rests = self.rests + 1 if self.is_open else 1
        faults = max(self.faults + 1 if self.is_open else 0, fault.faults)
        rested = self._moved(CircuitState.RESTING, now + rest(rests))
        return replace(rested, rests=rests, faults=faults, why=fault.why, faulted_at=now)

    def told_nothing(self, now: datetime) -> "Circuit":
        """Its probe was answered neither well nor by a fault, but by a limit, say: it rests as long once more."""
        return self._moved(CircuitState.RESTING, now + rest(self.rests))

    def not_asked(self, now: datetime) -> "Circuit":
        """Its probe was taken, and nothing was left to ask: the next drain that has something may."""
        return self._moved(CircuitState.RESTING, now)

    def answered(self, began_at: datetime) -> "Circuit":
        """A call that began then was answered: it is closed for all, unless that call says nothing of now."""
        return (
            self._moved(CircuitState.CLOSED, None)
            if self.is_open and began_at > self.faulted_at
            else self
        )

    def _moved(self, state: CircuitState, next_probe_at: datetime | None) -> "Circuit":
        return replace(self, state=state, next_probe_at=next_probe_at, turn=self.turn + 1)


def opened(fault: Fault, now: datetime) -> Circuit:
    """The circuit of a model, by a fault that opens it."""
    return Circuit(0, CircuitState.RESTING, now, now, fault.faults, fault.why, now + rest(1))


def rest(rests: int) -> timedelta:
    """How long the n-th rest in a row is: 1 s, doubling up to 5 s."""
    return Backoff.of_seconds(FIRST_REST_S, LONGEST_REST_S).after(max(rests, 1))

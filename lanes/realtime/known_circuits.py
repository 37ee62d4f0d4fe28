"""What one drain knows of the circuits of its account, and the probes that it holds. Pure: `now` comes in."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from lanes.ids import WorkId
from lanes.realtime.circuit import PROBE, Circuit, CircuitState, Fault

STALE = timedelta(
    seconds=5
)  # what was heard before says nothing: drains hear each other once a second
SOON = timedelta(
    seconds=1
)  # by then a probe that was taken is asked, where there is something to ask


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
        """The circuit of the model where it is open; None: it is closed, or nobody can tell."""
        known = self._known.get(model)
        fresh = self._heard_at is not None and now - self._heard_at <= STALE
        return known if fresh and known is not None and known.is_open else None

    def any_open(self, now: datetime) -> bool:
        """Whether calls of some model wait for its circuit."""
        return any(self.of(model, now) is not None for model in self._known)

    def room(self, model: str, now: datetime) -> int | None:
        """How many calls of the model may begin: one, where this drain holds the probe and has asked nothing yet; None: its
        circuit holds nothing back."""
        if self.of(model, now) is None:
            return None
        probe = self._probes.get(model)
        return int(probe is not None and probe.may_begin(now))

    def next_probe_at(self, now: datetime) -> datetime | None:
        """When the first of them may be probed next; None: none of them later than now."""
        moments = (
            circuit.next_probe_at
            for model in self._known
            if (circuit := self.of(model, now)) is not None
        )
        return min((each for each in moments if each is not None and each > now), default=None)

    def heard(self, newest: Mapping[str, Circuit], read_at: datetime) -> list[str]:
        """They are as the others know them; the models that answer again since this drain looked last."""
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

    def moved(self, model: str, circuit: Circuit | None, now: datetime) -> None:
        """This drain saw how the model's circuit stands, as it changed it or tried to; None: it has none."""
        self._heard_at, self._moved_at[model] = now, now
        if circuit is not None:
            self._learn(model, circuit)

    def forget(self) -> None:
        """Nothing can be told of any of them."""
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

    def took(self, model: str, probed: Circuit, now: datetime) -> None:
        """This drain alone may ask one call of the model."""
        self.moved(model, probed, now)
        self._probes[model] = _Probe(probed.turn, now)

    def missed(self, model: str, circuit: Circuit, now: datetime) -> None:
        """Somebody else was quicker, or has its row locked: for all we know they probe it, until it is heard how it stands."""
        self._learn(model, replace(circuit, state=CircuitState.PROBING, next_probe_at=now + PROBE))

    def began(self, model: str, work: Iterable[WorkId]) -> None:
        """A call of these items begins: the probe, where one is held and nothing is asked yet."""
        probe = self._probes.get(model)
        if probe is not None and probe.work is None:
            probe.work = frozenset(work)

    def turn_of(self, model: str, work: Collection[WorkId]) -> int | None:
        """The turn of the probe that a call of these items is, or is a part of; None: it is none."""
        probe = self._probes.get(model)
        return (
            probe.turn
            if probe is not None and probe.work is not None and probe.work.issuperset(work)
            else None
        )

    def let_go(self, model: str) -> None:
        """No probe of the model is held here any more."""
        self._probes.pop(model, None)

    def not_asked(self, model: str, work: Collection[WorkId]) -> None:
        """The call of these items did not take place: if it was to be the probe, another may be."""
        if self.turn_of(model, work) is not None:
            self._probes[model].work = None

    def unasked(self, now: datetime | None = None) -> dict[str, int]:
        """The turns of the probes that are held and not asked, by model; where it is `now`, those of more than a second ago."""
        held = {model: each for model, each in self._probes.items() if each.work is None}
        return {
            model: each.turn
            for model, each in held.items()
            if now is None or now - each.taken_at > SOON
        }

    def answered(self, model: str, began_at: datetime) -> bool:
        """Whether a call of the model that began then closes its circuit by its answer; here it is closed at once."""
        known = self._known.get(model)
        if known is None or (after := known.answered(began_at)) == known:
            return False
        self._known[model] = after
        self.let_go(model)
        return True

    def is_news(self, model: str, fault: Fault, now: datetime) -> bool:
        """Whether a fault says something that the others do not know yet."""
        known = self.of(model, now)
        return known is None or known.faulted(fault, now) != known

    def _learn(self, model: str, circuit: Circuit) -> None:
        """What is older than what is known is not believed."""
        known = self._known.get(model)
        if known is None or (circuit.id, circuit.turn) >= (known.id, known.turn):
            self._known[model] = circuit

"""The blame for failed calls, and the rests of a model that answers none.

A fault (a timeout, a 5xx, a reset) is an item's only when the model demonstrably answers others: some call of it was
answered within the last minute, and no other item's call has faulted since. Every other fault is the provider's. No item
fails on old evidence: the fault that would end it counts only if others were answered after its previous fault.

A call that we cut ourselves, because it took longer than it may, is a fault of the provider only if the model answered no call
at all meanwhile. Otherwise the model is well, and the next try of the item may take longer.

Within a batch, a fault is a request's own if other requests of the batch were answered. If none was, `at_fault` judges by what
became of other requests since this one first faulted.

Each drain judges by what it sees. Whether a model is asked at all, all drains decide together by its circuit; a drain that
cannot read circuits rests by itself.
"""

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from lanes.backoff import Backoff
from lanes.ids import WorkId
from lanes.realtime.circuit import Circuit, Fault, KnownCircuits
from lanes.realtime.limiter import MAY_START, Limiter, MayStart, Pack, Wait, WaitReason
from lanes.realtime.pace import MOST_PATIENCE
from lanes.routing.capacity import Need
from lanes.workload.version import Version

FRESH = timedelta(minutes=1)  # how long an answer proves that a model answers
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0  # before jitter, which only shortens
DOWN_AFTER = 3  # faults of the provider in a row that are an outage, and no longer a hiccup


class Blame(StrEnum):
    """The party that a fault is counted against."""

    ITEM = "item"  # others are answered: it spends the retry budget
    PACK = "pack"  # others are answered, and one of its items may be at fault: each is asked alone, and spends nothing
    PROVIDER = "provider"  # it spends nothing, and the model rests


@dataclass(frozen=True)
class PastFaults:
    """The history of a request that faulted in a batch in which no request was answered.

    `beside_answers`: it faulted before while others were answered. `answered_since`: its model has answered others since it
    first faulted.
    """

    beside_answers: bool
    answered_since: bool


def at_fault(
    requests: Mapping[int, PastFaults], *, answered_meanwhile: bool, others_faulted: bool
) -> set[int]:
    """Return the numbers of the requests whose faults are their own, of all that faulted in a batch without an answer.

    `answered_meanwhile`: the model answered others while the batch was out. `others_faulted`: in other batches, requests that
    were no more at fault have met the same since, or the model's circuit is open. An outage makes requests fault together that
    never faulted beside answers, so one of them clears all.
    """
    seen = requests.values()
    if others_faulted:
        return set()
    suspect = all(each.beside_answers or each.answered_since for each in seen)
    proved = len(requests) == 1 or answered_meanwhile or all(each.beside_answers for each in seen)
    return set(requests) if suspect and proved else set()


@dataclass
class ModelHealth:
    """The health of one model, as one drain sees it."""

    answered_at: datetime | None = None
    # the work whose calls faulted since the last answer
    faulted: set[WorkId] = field(default_factory=set[WorkId])
    faults: int = 0  # of the provider, since the last answer here or in another drain
    # start of the first call that faulted since the last answer
    failing_since: datetime | None = None
    rests_until: datetime | None = None
    patience: int = 1  # how many times as long as usual its calls may take, because calls were cut
    at_once: int | None = None  # calls in flight while it recovers: one, then one more an answer
    in_flight: int = 0


class Health(Limiter):
    """The health of one account's models, and the circuits that all drains share."""

    def __init__(self, *, jitter: Callable[[], float] = random.random) -> None:
        self._jitter, self.circuits = jitter, KnownCircuits()
        self._models: dict[str, ModelHealth] = {}

    def of(self, model: str) -> ModelHealth:
        """Return what this drain saw of the model."""
        return self._models.setdefault(model, ModelHealth())

    def record_answer(self, model: str, *, most: int, quick: bool = True, now: datetime) -> None:
        """Learn from an answered call, valid or not.

        A model that rested gets its `most` calls back one by one. One that answers `quick`ly (within half of the time that a
        call may take) needs no more patience.
        """
        seen = self.of(model)
        if quick:
            seen.patience = 1
        if seen.at_once is not None:
            seen.at_once = seen.at_once + 1 if seen.at_once < most else None
        seen.answered_at, seen.rests_until, seen.faults, seen.failing_since = now, None, 0, None
        seen.faulted.clear()

    def restart(self, model: str) -> None:
        """Start the model again, one call at a time: another drain found that it answers."""
        seen = self.of(model)
        seen.at_once, seen.rests_until, seen.faults = 1, None, 0

    def record_fault(
        self,
        model: str,
        work: Collection[WorkId],
        *,
        innocent: bool = False,
        last_chance: bool = False,
        cut: bool = False,
        began_at: datetime | None = None,
        now: datetime,
    ) -> Blame:
        """Learn from a call that faulted, and return whose fault it was.

        `innocent`: no item can cause such a fault (an overload, a refused connection), as none can while the circuit is open.
        `last_chance`: the fault would end an item. `cut`: we gave the call up. `began_at`: when it started; None: just now.
        """
        seen = self.of(model)
        if cut and seen.answered_at is not None and seen.answered_at >= (began_at or now):
            return Blame.ITEM if len(work) == 1 else Blame.PACK
        if cut:
            seen.patience = min(MOST_PATIENCE, 2 * seen.patience)
        innocent = innocent or self.circuits.of(model, now) is not None
        answers = not cut and seen.answered_at is not None and now - seen.answered_at <= FRESH
        others_faulted = not seen.faulted <= set(work)
        old_evidence = last_chance and not seen.faulted.isdisjoint(work)
        seen.faulted.update(work)
        if answers and not (innocent or others_faulted or old_evidence):
            return Blame.ITEM if len(work) == 1 else Blame.PACK
        seen.failing_since = seen.failing_since or began_at or now
        self._rest(seen, now)
        return Blame.PROVIDER

    def admits(self, pack: Pack, now: datetime) -> MayStart | Wait:
        """Admit a pack whose circuit is closed, or which probes it, and whose model has recovered enough."""
        if self.calls(pack.model, now) != 0:
            return MAY_START
        if (circuit := self.circuits.of(pack.model, now)) is not None:
            return Wait(circuit.next_probe_at, WaitReason.CIRCUIT)
        until = self.of(pack.model).rests_until
        return Wait(until if until is not None and until > now else None, WaitReason.RECOVERING)

    def room(self, version: Version, now: datetime) -> int | None:
        """Return how many more calls of the version's model may start; None when it is well."""
        return self.calls(version.spec.realtime_model, now)

    def calls(self, model: str, now: datetime) -> int | None:
        """Return how many more calls of the model may start; None when it is well."""
        seen, shared = self.of(model), self.circuits.room(model, now)
        if shared is not None:
            return shared
        if seen.rests_until is not None and now < seen.rests_until:
            return 0
        return None if seen.at_once is None else max(0, seen.at_once - seen.in_flight)

    def started(self, pack: Pack, now: datetime) -> None:
        """Count a call in flight, which is the probe if one is held."""
        self.of(pack.model).in_flight += 1
        self.circuits.record_call(pack.model, pack.work)

    def ended(self, pack: Pack, used: Need | None, now: datetime) -> None:
        """Stop counting the call; a pack that was never asked leaves its probe to another."""
        self.of(pack.model).in_flight -= 1
        if used is not None and used.requests == 0:
            self.circuits.record_no_call(pack.model, pack.work)

    def patience(self, model: str, failures: int) -> int:
        """Return how many times as long as usual a call may take, whose items failed up to `failures` times."""
        return min(MOST_PATIENCE, max(self.of(model).patience, 2**failures))

    def is_down(self, model: str) -> bool:
        """Return whether the model is in an outage."""
        return self.of(model).faults >= DOWN_AFTER

    def fault(self, model: str, why: str, *, began_at: datetime, turn: int | None) -> Fault | None:
        """Return what other drains should know of a fault of the provider: in an outage, or of a probe; None of a hiccup."""
        seen = self.of(model)
        if turn is None and not self.is_down(model):
            return None
        return Fault(why, seen.faults, began_at, seen.failing_since or began_at, turn)

    def record_probe(self, model: str, circuit: Circuit, now: datetime) -> None:
        """Let this drain alone start one call of the model; if it is answered, more follow one by one."""
        self.of(model).at_once = 1
        self.circuits.record_probe(model, circuit, now)

    def next_change(self, now: datetime) -> datetime | None:
        """Return when the first resting model may be asked again; None when none rests."""
        alone = (
            each.rests_until
            for model, each in self._models.items()
            if self.circuits.of(model, now) is None
        )
        rests = [*alone, self.circuits.next_probe_at(now)]
        return min((until for until in rests if until is not None and until > now), default=None)

    def holds_back(self, now: datetime) -> bool:
        """Return whether some model is asked less than there are places, because it does not answer."""
        return self.next_change(now) is not None or self.circuits.has_open(now)

    def _rest(self, seen: ModelHealth, now: datetime) -> None:
        """Let the model rest, longer with each fault, but not with calls that were in flight when the rest began."""
        seen.at_once = 1
        seen.faults += 1
        if seen.rests_until is not None and now < seen.rests_until:
            return
        backoff = Backoff.of_seconds(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        seen.rests_until = now + backoff.after(seen.faults, draw=self._jitter())


ACCOUNT = "the account"


@dataclass(frozen=True)
class Standstill:
    """A model, or the account, that does not answer: `calls` in a row, of which the last met `why`.

    `bad` is the figure of its incident, in words, once there is one: a number of calls, or of held items.
    """

    whom: str
    since: datetime
    calls: int
    why: str
    bad: str = ""


class Standstills:
    """The standstills that one drain met."""

    def __init__(self) -> None:
        self._open: dict[str, Standstill] = {}
        self._answered_at: datetime | None = None

    @property
    def all(self) -> Sequence[Standstill]:
        """The open standstills, the oldest first."""
        return sorted(self._open.values(), key=lambda each: (each.since, each.whom))

    def none_answered_since(self, moment: datetime) -> bool:
        """Return whether nothing at all was answered since then."""
        return self._answered_at is None or self._answered_at < moment

    def record_failure(
        self, whom: str, why: str, *, calls: int | None = None, now: datetime
    ) -> None:
        """Note a call without an answer; `calls` in a row if that is known, else one more than before."""
        known = self._open.get(whom) or Standstill(whom, now, 0, why)
        self._open[whom] = replace(
            known, calls=known.calls + 1 if calls is None else calls, why=why
        )

    def close(self, model: str) -> None:
        """Close the standstill of a model that answers other drains."""
        self._open.pop(model, None)

    def record_answer(self, model: str, now: datetime) -> None:
        """Close the standstills of a model that answered, and of its account."""
        self._answered_at = now
        for whom in (model, ACCOUNT):
            self._open.pop(whom, None)

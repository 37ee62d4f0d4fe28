"""The blame for failed calls, and the rests of a model that does not answer.

A fault (a timeout, a 5xx, a reset) is blamed on an item only if the model demonstrably answers others: it answered a call
within the last minute, and no other item's call has faulted since. Every other fault is blamed on the provider. An item does
not fail on old evidence: the fault that would end it counts only if the model answered others after the item's previous fault.

A call that we cut because of its timeout is blamed on the provider only if the model answered no call at all since the call
began. Otherwise the model is healthy, and the item's next try may take longer.

Within a batch, a fault is blamed on its request if other requests of the batch were answered. If none was, `find_faulty`
decides by the results of other requests since this one first faulted.

Each drain evaluates its own observations. All drains share the circuit that decides whether a model is called at all. A drain
that cannot read circuits lets a failing model rest by itself.
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

FRESH = timedelta(minutes=1)  # for this long an answer proves that the model answers
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0  # before jitter, which only shortens a pause
DOWN_AFTER = 3  # number of provider faults in a row that make an outage


class Blame(StrEnum):
    """The party that a fault is counted against."""

    ITEM = "item"  # the model answers others: the fault spends the item's retry budget
    PACK = "pack"  # the model answers others, so any item may be the cause: each is retried alone and spends no retry
    PROVIDER = "provider"  # the fault spends no retry, and the model rests


@dataclass(frozen=True)
class PastFaults:
    """The history of a request that faulted in a batch without any answered request.

    `beside_answers`: the request faulted earlier while others were answered. `answered_since`: the model has answered others
    since the request first faulted.
    """

    beside_answers: bool
    answered_since: bool


def find_faulty(
    requests: Mapping[int, PastFaults], *, answered_meanwhile: bool, others_faulted: bool
) -> set[int]:
    """Return the numbers of the requests that are blamed for their faults, of all `requests` of a batch without an answer.

    `answered_meanwhile`: the model answered others while the batch was running. `others_faulted`: requests of other batches,
    for which there was no more evidence, have faulted since too, or the model's circuit is open. In an outage requests without
    a suspicious history fault together with the others, so one of them clears all.
    """
    histories = requests.values()
    if others_faulted:
        return set()
    suspect = all(each.beside_answers or each.answered_since for each in histories)
    proved = (
        len(requests) == 1 or answered_meanwhile or all(each.beside_answers for each in histories)
    )
    return set(requests) if suspect and proved else set()


@dataclass
class ModelHealth:
    """The health of one model, as one drain sees it."""

    answered_at: datetime | None = None
    # The work whose calls have faulted since the last answer.
    faulted: set[WorkId] = field(default_factory=set[WorkId])
    faults: int = 0  # of the provider, since the last answer here or in another drain
    # The start of the first call that faulted since the last answer.
    failing_since: datetime | None = None
    rests_until: datetime | None = None
    patience: int = 1  # factor on the timeout of its calls; rises after calls were cut
    at_once: int | None = None  # most calls in flight during recovery; each answer adds one
    in_flight: int = 0


class Health(Limiter):
    """The health of one account's models, with the circuits that all drains share."""

    def __init__(self, *, jitter: Callable[[], float] = random.random) -> None:
        self._jitter, self.circuits = jitter, KnownCircuits()
        self._models: dict[str, ModelHealth] = {}

    def of(self, model: str) -> ModelHealth:
        """Return the model's health as this drain sees it."""
        return self._models.setdefault(model, ModelHealth())

    def record_answer(self, model: str, *, most: int, quick: bool = True, now: datetime) -> None:
        """Record an answered call; the answer need not be valid.

        A model that rested gets its places for calls back one by one, up to `most`. A `quick` answer, within half of the
        timeout, resets the patience.
        """
        health = self.of(model)
        if quick:
            health.patience = 1
        if health.at_once is not None:
            health.at_once = health.at_once + 1 if health.at_once < most else None
        health.answered_at, health.rests_until, health.faults, health.failing_since = (
            now,
            None,
            0,
            None,
        )
        health.faulted.clear()

    def restart(self, model: str) -> None:
        """Begin the model's recovery with one call at a time, because another drain found that the model answers."""
        health = self.of(model)
        health.at_once, health.rests_until, health.faults = 1, None, 0

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
        """Record a call that faulted, and return the blame.

        `innocent`: no item can cause this fault (an overload, a refused connection); every fault with an open circuit counts as
        innocent too. `last_chance`: the fault would end an item. `cut`: we gave up the call. `began_at`: the start of the call,
        None for `now`.
        """
        health = self.of(model)
        if cut and health.answered_at is not None and health.answered_at >= (began_at or now):
            return Blame.ITEM if len(work) == 1 else Blame.PACK
        if cut:
            health.patience = min(MOST_PATIENCE, 2 * health.patience)
        innocent = innocent or self.circuits.of(model, now) is not None
        answers = not cut and health.answered_at is not None and now - health.answered_at <= FRESH
        others_faulted = not health.faulted <= set(work)
        old_evidence = last_chance and not health.faulted.isdisjoint(work)
        health.faulted.update(work)
        if answers and not (innocent or others_faulted or old_evidence):
            return Blame.ITEM if len(work) == 1 else Blame.PACK
        health.failing_since = health.failing_since or began_at or now
        self._rest(health, now)
        return Blame.PROVIDER

    def admits(self, pack: Pack, now: datetime) -> MayStart | Wait:
        """Admit a pack if the circuit is closed and the model has recovered enough, or if the pack is the probe."""
        if self.calls(pack.model, now) != 0:
            return MAY_START
        if (circuit := self.circuits.of(pack.model, now)) is not None:
            return Wait(circuit.next_probe_at, WaitReason.CIRCUIT)
        until = self.of(pack.model).rests_until
        return Wait(until if until is not None and until > now else None, WaitReason.RECOVERING)

    def room(self, version: Version, now: datetime) -> int | None:
        """Return the number of further calls of the version's model that may start; None if the model is healthy."""
        return self.calls(version.spec.realtime_model, now)

    def calls(self, model: str, now: datetime) -> int | None:
        """Return the number of further calls of the model that may start; None if the model is healthy."""
        health, shared = self.of(model), self.circuits.room(model, now)
        if shared is not None:
            return shared
        if health.rests_until is not None and now < health.rests_until:
            return 0
        return None if health.at_once is None else max(0, health.at_once - health.in_flight)

    def started(self, pack: Pack, now: datetime) -> None:
        """Count a call in flight; it is the probe if this drain holds an unused one."""
        self.of(pack.model).in_flight += 1
        self.circuits.record_call(pack.model, pack.work)

    def ended(self, pack: Pack, used: Need | None, now: datetime) -> None:
        """Stop counting the call; a pack that was never sent leaves its probe to another pack."""
        self.of(pack.model).in_flight -= 1
        if used is not None and used.requests == 0:
            self.circuits.record_no_call(pack.model, pack.work)

    def patience(self, model: str, failures: int) -> int:
        """Return the factor on the timeout of a call whose items have failed up to `failures` times."""
        return min(MOST_PATIENCE, max(self.of(model).patience, 2**failures))

    def is_down(self, model: str) -> bool:
        """Return whether the model is in an outage."""
        return self.of(model).faults >= DOWN_AFTER

    def fault(self, model: str, why: str, *, began_at: datetime, turn: int | None) -> Fault | None:
        """Return the fault to publish to other drains, None if it is neither part of an outage nor of a probe."""
        health = self.of(model)
        if turn is None and not self.is_down(model):
            return None
        return Fault(why, health.faults, began_at, health.failing_since or began_at, turn)

    def record_probe(self, model: str, circuit: Circuit, now: datetime) -> None:
        """Record that this drain has taken the probe: it may start one call, and one more after each answer."""
        self.of(model).at_once = 1
        self.circuits.record_probe(model, circuit, now)

    def next_change(self, now: datetime) -> datetime | None:
        """Return the time when the next resting model may be called again; None if no model rests."""
        alone = (
            each.rests_until
            for model, each in self._models.items()
            if self.circuits.of(model, now) is None
        )
        rests = [*alone, self.circuits.next_probe_at(now)]
        return min((until for until in rests if until is not None and until > now), default=None)

    def holds_back(self, now: datetime) -> bool:
        """Return whether calls of some model wait because the model does not answer."""
        return self.next_change(now) is not None or self.circuits.has_open(now)

    def _rest(self, health: ModelHealth, now: datetime) -> None:
        """Let the model rest, longer after each fault; a fault during a rest, of an earlier call, does not prolong the rest."""
        health.at_once = 1
        health.faults += 1
        if health.rests_until is not None and now < health.rests_until:
            return
        backoff = Backoff.from_seconds(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        health.rests_until = now + backoff.rest_after(health.faults, draw=self._jitter())


ACCOUNT = "the account"


@dataclass(frozen=True)
class Standstill:
    """A model, or the account, that has not answered `calls` in a row; `why` is the cause of the last failure.

    `bad` is the figure of its incident in words, a number of calls or of held items; empty without an incident.
    """

    whom: str
    since: datetime
    calls: int
    why: str
    bad: str = ""


class Standstills:
    """The standstills that one drain has observed."""

    def __init__(self) -> None:
        self._open: dict[str, Standstill] = {}
        self._answered_at: datetime | None = None

    @property
    def all(self) -> Sequence[Standstill]:
        """The open standstills, the oldest first."""
        return sorted(self._open.values(), key=lambda each: (each.since, each.whom))

    def none_answered_since(self, moment: datetime) -> bool:
        """Return whether no call of any model has been answered since `moment`."""
        return self._answered_at is None or self._answered_at < moment

    def record_failure(
        self, whom: str, why: str, *, calls: int | None = None, now: datetime
    ) -> None:
        """Record a call without an answer; `calls` is the number in a row, one more than before if None."""
        known = self._open.get(whom) or Standstill(whom, now, 0, why)
        self._open[whom] = replace(
            known, calls=known.calls + 1 if calls is None else calls, why=why
        )

    def close(self, model: str) -> None:
        """Close the standstill of a model that answers the calls of other drains."""
        self._open.pop(model, None)

    def record_answer(self, model: str, now: datetime) -> None:
        """Close the standstills of a model that answered, and of its account."""
        self._answered_at = now
        for whom in (model, ACCOUNT):
            self._open.pop(whom, None)

"""The events that a drain's state machine takes, and the effects that it requests of its shell."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from lanes.ids import VersionId
from lanes.money.pack_size import PackDecision, PackPlace
from lanes.packing import Claim, ClaimedWork
from lanes.realtime.circuit import Circuit, Fault
from lanes.realtime.health import Blame
from lanes.realtime.limiter import Pack
from lanes.realtime.turns import TurnOrder, WaitingConsumer
from lanes.routing.capacity import Limit, Need, Prediction
from lanes.workload.version import Version


class CallEnding(StrEnum):
    """The way that one call ended."""

    ANSWERED = "answered"
    REFUSED = "refused"  # the request itself: the provider will never accept it
    LIMITED = "limited"  # a rate limit
    FROZEN_MODEL = "frozen model"  # the account may not ask the model: a person must act
    FROZEN_ACCOUNT = "frozen account"  # the account is refused: a person must act
    FAULTED = "faulted"  # no answer: a timeout, a 5xx, a reset


@dataclass(frozen=True)
class Needed:
    """The most urgent claimable work of a workload that would ask a certain model: its version and its rank."""

    version: Version
    rank_at: datetime


class Event:
    """An input of the state machine."""


class Effect:
    """An action that the state machine requests of its shell."""


# Events


@dataclass(frozen=True)
class Tick(Event):
    """Time has passed. `expired`: the drain has slept as long as it intended to."""

    expired: bool = False


@dataclass(frozen=True)
class WorkMayBeReady(Event):
    """Something was committed: work may be claimable that the drain has not seen."""


@dataclass(frozen=True)
class QueueSeen(Event):
    """The waiting work: by workload, the version and rank of its most urgent work.

    `needed`: work that would ask the models that `LookAtQueue` named, None where it named none. The look took `took_s`.
    `consumers`: those whose work waits in the workloads that it named for turns.
    """

    waiting: Mapping[str, Version]
    since: Mapping[str, datetime]
    needed: Sequence[Needed] | None = None
    took_s: float = 0.0
    consumers: Mapping[str, Sequence[WaitingConsumer]] = field(
        default_factory=dict[str, Sequence[WaitingConsumer]]
    )


@dataclass(frozen=True)
class ProbesTaken(Event):
    """The probes that this drain tried to take: the circuit by model as it is now, None if another drain was quicker."""

    circuits: Mapping[str, Circuit | None]


@dataclass(frozen=True)
class WorkClaimed(Event):
    """The claimed work, the most urgent first, and those of its versions that can be read.

    `probes`: how many of the claimed, at the front, are probes. Of workloads in `held_back` something waits for money; of
    those in `used_up` no call can be paid. `is_full`: the claim stopped at its limit of bytes.
    """

    claimed: Sequence[ClaimedWork]
    versions: Mapping[VersionId, Version]
    probes: int = 0
    held_back: Set[str] = frozenset()
    used_up: Set[str] = frozenset()
    is_full: bool = False


@dataclass(frozen=True)
class LookFailed(Event):
    """The database was away during a look; `claimed` may be claimed, but cannot be asked."""

    claimed: Sequence[Claim] = ()


@dataclass(frozen=True)
class HeadersHeard(Event):
    """An answer to a call of this pack came with these headers."""

    pack: Pack
    headers: Mapping[str, str]


@dataclass(frozen=True)
class CallEnded(Event):
    """One call ended, which carried `items` of the pack. `untried` are items that were given up with it.

    `is_quick`: it took less than half of its time limit. `why` quotes no item. `innocent`: no item can cause such a fault;
    `cut`: we gave the call up.
    """

    pack: Pack
    items: Sequence[ClaimedWork]
    ending: CallEnding
    began_at: datetime
    seconds: float
    untried: Sequence[ClaimedWork] = ()
    is_quick: bool = True
    why: str = ""
    retry_after_s: float | None = None
    innocent: bool = False
    cut: bool = False


@dataclass(frozen=True)
class PackEnded(Event):
    """All calls of a pack have ended; `used`: what they took of the limits, None when that is unknown.

    `not_asked` are items without a call, because their claims could not be renewed.
    """

    pack: Pack
    used: Need | None
    not_asked: Sequence[ClaimedWork] = ()


@dataclass(frozen=True)
class AttemptsSaved(Event):
    """Attempts are saved, so their claims are no longer held.

    `count` of them count as answered. `again`: some work will be tried again. The versions of `refused` workloads are refused.
    """

    claims: Sequence[Claim]
    count: int = 0
    again: bool = False
    refused: Sequence[str] = ()


@dataclass(frozen=True)
class ClaimsReturned(Event):
    """Claims were given back, so they are no longer held. `again`: their work may be claimable at once."""

    claims: Sequence[Claim]
    again: bool = False


@dataclass(frozen=True)
class LimitsHeard(Event):
    """The newest limits of the account, by model, and how many drains share them (None: as before)."""

    limits: Mapping[str, Sequence[Limit]]
    drains: int | None = None


@dataclass(frozen=True)
class EstimatesLearned(Event):
    """New predictions by workload, and new pack sizes; None if there is nothing new."""

    predictions: Mapping[str, Prediction] | None = None
    sizes: Mapping[PackPlace, PackDecision] | None = None


@dataclass(frozen=True)
class CircuitsHeard(Event):
    """All circuits of the account, by model."""

    circuits: Mapping[str, Circuit]


@dataclass(frozen=True)
class CircuitMoved(Event):
    """The circuit of a model after this drain changed or read it; None if it has none."""

    model: str
    circuit: Circuit | None


@dataclass(frozen=True)
class CircuitsLost(Event):
    """Circuits can be neither read nor written, so the drain relies on its own calls."""


@dataclass(frozen=True)
class Stop(Event):
    """The drain ends: it claims and asks nothing more."""


# Effects


@dataclass(frozen=True)
class LookAtQueue(Effect):
    """Read the waiting work, and answer with `QueueSeen`.

    From the ranks `since` on, for workloads that are named; not what asks the models `passed_over`. If `needed` names models,
    also read the most urgent work for them. Only work that ranks `before` a moment is read and claimed, if it is given.
    `turns`: workloads whose waiting consumers are listed, from behind a name on.
    """

    since: Mapping[str, datetime]
    passed_over: Set[str]
    needed: Set[str]
    before: datetime | None = None
    turns: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class TakeProbes(Effect):
    """Take the probes of these circuits, by model, and answer with `ProbesTaken`."""

    circuits: Mapping[str, Circuit]


@dataclass(frozen=True)
class ClaimOrder:
    """Claim up to `most` items by workload, from the ranks `since` on; `only`: of these versions.

    In the workloads of `turns`, urgent and due work goes first, then each consumer has its turns, then the rank decides.
    """

    most: Mapping[str, int]
    since: Mapping[str, datetime]
    only: Sequence[VersionId] = ()
    turns: Mapping[str, TurnOrder] = field(default_factory=dict[str, TurnOrder])


@dataclass(frozen=True)
class ClaimWork(Effect):
    """Claim the probes first, then the rest, reserve money where a hard budget asks for it, and answer with `WorkClaimed`."""

    probes: Sequence[ClaimOrder]
    rest: ClaimOrder


@dataclass(frozen=True)
class AskPack(Effect):
    """Ask the pack; answer with `CallEnded` for each call, then with `PackEnded`.

    Calls may take `patience` times as long as usual.
    """

    pack: Pack
    patience: int


@dataclass(frozen=True)
class Save(Effect):
    """Save what an ended call means for its items; `blame`: whose fault it was, if it faulted. Answer with `AttemptsSaved`."""

    call: CallEnded
    blame: Blame | None = None


@dataclass(frozen=True)
class GiveBack(Effect):
    """Make these claims ready from `ready_at` on: they were not tried. Answer with `ClaimsReturned`."""

    claims: Sequence[Claim]
    ready_at: datetime
    again: bool = False


@dataclass(frozen=True)
class ReportFreeze(Effect):
    """Tell people that the provider refuses the account, or the `model`, which holds `items` of the workload back."""

    workload: str
    model: str | None
    items: int
    why: str


@dataclass(frozen=True)
class CircuitNews(Effect):
    """News for the circuit of a model, which all drains share: an answer, a fault, or a probe that is free again."""

    model: str
    answered_began_at: datetime | None = None
    fault: Fault | None = None
    free_turn: int | None = None
    was_asked: bool = True  # the freed probe

    def join(self, later: "CircuitNews") -> "CircuitNews":
        """Return both as one: the fault that says more (a probe's, else the newer one), and otherwise the later news."""
        fault = max(
            (each for each in (self.fault, later.fault) if each is not None),
            key=lambda each: (each.turn is not None, each.began_at),
            default=None,
        )
        began_at = later.answered_began_at or self.answered_began_at
        freed = self if later.free_turn is None else later
        return CircuitNews(self.model, began_at, fault, freed.free_turn, freed.was_asked)


@dataclass(frozen=True)
class Sleep(Effect):
    """Wait for an event, until then at the latest."""

    until: datetime

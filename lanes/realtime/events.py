"""The events that a drain's state machine accepts, and the effects that it requests from its shell."""

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
    """The outcome of one call."""

    ANSWERED = "answered"
    REFUSED = "refused"  # the provider will never accept this request
    LIMITED = "limited"  # a rate limit
    FROZEN_MODEL = "frozen model"  # the account may not use the model: a person must act
    FROZEN_ACCOUNT = "frozen account"  # the provider refuses the account: a person must act
    FAULTED = "faulted"  # no answer: a timeout, a 5xx, a reset


@dataclass(frozen=True)
class Needed:
    """The most urgent claimable work of a workload for a certain model: its version and its rank."""

    version: Version
    rank_at: datetime


class Event:
    """An input of the state machine."""


class Effect:
    """An action that the state machine requests of its shell."""


# Events


@dataclass(frozen=True)
class Tick(Event):
    """The passing of time. `expired`: the drain has slept for the whole intended time."""

    expired: bool = False


@dataclass(frozen=True)
class WorkMayBeReady(Event):
    """A commit after which the drain may find new claimable work."""


@dataclass(frozen=True)
class QueueSeen(Event):
    """The waiting work: the version and the rank of each workload's most urgent work.

    `needed`: work for the models that `LookAtQueue` named, None if it named none. `took_s`: the duration of the read.
    `consumers`: the consumers with waiting work, for the workloads in `LookAtQueue.turns`; they were read in `listed_s`.
    """

    waiting: Mapping[str, Version]
    since: Mapping[str, datetime]
    needed: Sequence[Needed] | None = None
    took_s: float = 0.0
    listed_s: float = 0.0
    consumers: Mapping[str, Sequence[WaitingConsumer]] = field(
        default_factory=dict[str, Sequence[WaitingConsumer]]
    )


@dataclass(frozen=True)
class ProbesTaken(Event):
    """The probes that this drain tried to take: the current circuit by model, None if another drain was quicker."""

    circuits: Mapping[str, Circuit | None]


@dataclass(frozen=True)
class WorkClaimed(Event):
    """The claimed work, the most urgent first, and those of its versions that can be read.

    `probes`: the number of claimed items, at the front, that are probes. `held_back`: workloads with some work that waits for
    money. `used_up`: workloads that cannot pay for any call. `is_full`: the claim stopped at its limit of bytes.
    """

    claimed: Sequence[ClaimedWork]
    versions: Mapping[VersionId, Version]
    probes: int = 0
    held_back: Set[str] = frozenset()
    used_up: Set[str] = frozenset()
    is_full: bool = False


@dataclass(frozen=True)
class LookFailed(Event):
    """The database was unavailable during a read; `claimed` may be claimed but cannot be sent."""

    claimed: Sequence[Claim] = ()


@dataclass(frozen=True)
class HeadersHeard(Event):
    """The headers of an answer to a call of this pack."""

    pack: Pack
    headers: Mapping[str, str]


@dataclass(frozen=True)
class CallEnded(Event):
    """The end of one call with `items` of the pack. `untried`: items that were in no call because this call failed.

    `is_quick`: the call took less than half of its timeout. `why` quotes no item. `innocent`: no item can cause this fault.
    `cut`: we gave up the call because of its timeout.
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
    """The end of all calls of a pack. `used`: their use of the rate limits, None while unknown.

    `not_asked`: items without a call, because their claims could not be renewed.
    """

    pack: Pack
    used: Need | None
    not_asked: Sequence[ClaimedWork] = ()


@dataclass(frozen=True)
class AttemptsSaved(Event):
    """Saved attempts, which end their claims.

    `count`: the number of attempts that count as answered. `again`: some work will be retried. `refused`: workloads whose
    versions the provider refuses.
    """

    claims: Sequence[Claim]
    count: int = 0
    again: bool = False
    refused: Sequence[str] = ()


@dataclass(frozen=True)
class ClaimsReturned(Event):
    """Released claims. `again`: their work may be claimable at once."""

    claims: Sequence[Claim]
    again: bool = False


@dataclass(frozen=True)
class LimitsHeard(Event):
    """The newest limits of the account by model, and the number of drains that share them (None: unchanged)."""

    limits: Mapping[str, Sequence[Limit]]
    drains: int | None = None


@dataclass(frozen=True)
class EstimatesLearned(Event):
    """New predictions by workload, and new pack sizes; None for either if unchanged."""

    predictions: Mapping[str, Prediction] | None = None
    sizes: Mapping[PackPlace, PackDecision] | None = None


@dataclass(frozen=True)
class CircuitsHeard(Event):
    """All circuits of the account, by model."""

    circuits: Mapping[str, Circuit]


@dataclass(frozen=True)
class CircuitMoved(Event):
    """The circuit of a model after this drain changed or read it; None if the model has no circuit."""

    model: str
    circuit: Circuit | None


@dataclass(frozen=True)
class CircuitsLost(Event):
    """A failure to read or write circuits, after which the drain relies on its own calls."""


@dataclass(frozen=True)
class Stop(Event):
    """The end of the drain: it no longer claims work or starts calls."""


# Effects


@dataclass(frozen=True)
class LookAtQueue(Effect):
    """A request to read the waiting work; the shell answers with `QueueSeen`.

    `since`: the rank by workload at which the read starts, for workloads that it names. `passed_over`: models whose work is
    skipped. `needed`: models whose most urgent work is read too. `before`: if given, only work of an earlier rank is read and
    claimed. `turns`: workloads whose waiting consumers are listed, each with the name after which its list starts.
    """

    since: Mapping[str, datetime]
    passed_over: Set[str]
    needed: Set[str]
    before: datetime | None = None
    turns: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class TakeProbes(Effect):
    """A request to take the probes of these circuits, by model; the shell answers with `ProbesTaken`."""

    circuits: Mapping[str, Circuit]


@dataclass(frozen=True)
class ClaimOrder:
    """The bounds and the order of a claim.

    `most`: the largest number of items by workload. `since`: the rank by workload at which the claim starts. `only`: if given,
    the only versions. In the workloads of `turns`, urgent and due work goes first, then each consumer has its turns, then the
    rank decides. `turns_since`: the rank by consumer at which its turns start, by workload.
    """

    most: Mapping[str, int]
    since: Mapping[str, datetime]
    only: Sequence[VersionId] = ()
    turns: Mapping[str, TurnOrder] = field(default_factory=dict[str, TurnOrder])
    turns_since: Mapping[str, Mapping[str, datetime]] = field(
        default_factory=dict[str, Mapping[str, datetime]]
    )


@dataclass(frozen=True)
class ClaimWork(Effect):
    """A request to claim the probes, then the rest, with a reservation under a hard budget; the answer is `WorkClaimed`."""

    probes: Sequence[ClaimOrder]
    rest: ClaimOrder


@dataclass(frozen=True)
class AskPack(Effect):
    """A request to send the pack; the shell answers with `CallEnded` for each call, then with `PackEnded`.

    Calls may take `patience` times the usual timeout.
    """

    pack: Pack
    patience: int


@dataclass(frozen=True)
class Save(Effect):
    """A request to save the outcome of a call for its items, with the `blame` for a fault; the answer is `AttemptsSaved`."""

    call: CallEnded
    blame: Blame | None = None


@dataclass(frozen=True)
class GiveBack(Effect):
    """A request to release untried claims; their work is ready from `ready_at`. The shell answers with `ClaimsReturned`."""

    claims: Sequence[Claim]
    ready_at: datetime
    again: bool = False


@dataclass(frozen=True)
class ReportFreeze(Effect):
    """A request to report that the provider refuses the account or the `model`, so that `items` of the workload must wait."""

    workload: str
    model: str | None
    items: int
    why: str


@dataclass(frozen=True)
class CircuitNews(Effect):
    """A change to publish for the shared circuit of a model: an answer, a fault, or a probe that is free again."""

    model: str
    answered_began_at: datetime | None = None
    fault: Fault | None = None
    free_turn: int | None = None
    was_asked: bool = True  # whether the freed probe made its call

    def join(self, later: "CircuitNews") -> "CircuitNews":
        """Return both changes as one: a probe's fault before others, else the newer fault; other values from `later` first."""
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
    """A request to wait for an event, at the latest until `until`."""

    until: datetime

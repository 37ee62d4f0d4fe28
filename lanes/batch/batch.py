"""A batch, from the intent that is committed before it is paid for until its last result is booked."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from lanes.ids import BatchId, VersionId
from lanes.units import counted, usd
from lanes.words import BLOCK, BatchState

UNCONFIRMED = (
    BatchState.INTENDED,
    BatchState.HELD,
)  # the provider has not said that it has the batch
AT_PROVIDER = (BatchState.SUBMITTED, BatchState.ENDED)  # and its work belongs to it
PRIMER = (
    "primes the provider's cache for the batches after it"  # the note of a batch of one request
)
OVER = (BatchState.COLLECTED, BatchState.RELEASED)  # finished


@dataclass(frozen=True)
class BatchKind:
    """One batch holds work of one version only."""

    workload: str
    version_id: VersionId
    provider: str = BLOCK  # the block of the account that it is sent to


@dataclass(frozen=True)
class Intent:
    """The record of a batch that is committed before it is paid for."""

    nonce: str
    account: str
    workload: str
    version_id: VersionId
    model: str
    bytes: int
    body_hash: str
    flow_run_id: UUID | None = None
    stated_back_at: datetime | None = None
    note: str | None = None
    provider: str = BLOCK  # the block of the account


class CreateAnswer(StrEnum):
    """The outcome of an answered create."""

    SUBMITTED = "submitted"  # the batch is the provider's of that id
    UNWANTED = "unwanted"  # its work was released, or the batch certainly is another of the provider's: to be cancelled


@dataclass(frozen=True)
class OpenBatch:
    """A batch that is not finished."""

    id: BatchId
    nonce: str
    account: str
    workload: str
    version_id: VersionId
    model: str
    state: BatchState
    requests: int
    items: int
    provider_batch_id: str | None
    intended_at: datetime
    submitted_at: datetime | None
    create_ended_at: datetime | None = None
    unproved: bool = False  # adopted from the provider's list; no result has proved it yet
    unknown_since: datetime | None = None
    cancel_at: datetime | None = None
    provider: str = BLOCK  # the block of the account

    @property
    def begun_at(self) -> datetime:
        """Return when its items were first tried: once the provider had the batch, or was to have it."""
        return self.submitted_at or self.intended_at

    @property
    def unsure(self) -> bool:
        """Return whether it may have to be found in the provider's list, by its number of requests."""
        return self.state in UNCONFIRMED or (self.state in AT_PROVIDER and self.unproved)


class BatchDecision(StrEnum):
    """A person's decision about an open batch."""

    ADOPT = "adopt"  # it is the batch of that id at the provider
    RESUBMIT = "resubmit"  # its items are ready again for the next batch
    GIVE_UP = "give_up"  # its items fail, until they are retried


@dataclass(frozen=True)
class Stakes:
    """An open batch with the `items` it still owns, and what deciding about it may cost.

    `again_usd` estimates what sending the items again costs, `most_usd` bounds what the provider can bill for them. Both are
    None where the model has no price any more.
    """

    batch_id: BatchId
    workload: str
    state: BatchState
    provider_batch_id: str | None
    items: int
    again_usd: Decimal | None
    most_usd: Decimal | None

    @property
    def held_by(self) -> str:
        """Say whether the provider has it."""
        if self.provider_batch_id is None:
            return "it is not known whether the provider has it"
        return f"the provider has it as {self.provider_batch_id}"


def sentence(decision: BatchDecision, at_stake: Stakes) -> str:
    """Say what a decision does and what it may cost."""
    items, again, most = (
        counted(at_stake.items, "item"),
        _usd(at_stake.again_usd),
        _usd(at_stake.most_usd),
    )
    this = f"batch {at_stake.batch_id} of {at_stake.workload} is {at_stake.state} and holds {items}; {at_stake.held_by}"
    match decision:
        case BatchDecision.ADOPT:
            return (
                f"{this}. Adopting a batch of the provider costs nothing by itself: it is billed, at most {most}, whether "
                "adopted or not, and its first result proves whether it is this one"
            )
        case BatchDecision.RESUBMIT:
            return (
                f"{this}. Resubmitting sends its items again for about {again}; what the provider works off of this batch "
                f"all the same is billed too, at most {most}, booked, and never shown"
            )
        case BatchDecision.GIVE_UP:
            return (
                f"{this}. Giving it up fails its items, which `lanes retry` brings back for about {again}; what the provider "
                f"works off of this batch all the same is billed, at most {most}, booked, and never shown"
            )


def _usd(amount: Decimal | None) -> str:
    return "an unknown sum" if amount is None else usd(amount)

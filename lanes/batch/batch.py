"""A batch, from what is committed before it is paid for until nobody has to move it on any more."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from lanes.ids import BatchId, VersionId
from lanes.words import BatchState

UNCONFIRMED = (
    BatchState.INTENDED,
    BatchState.HELD,
)  # the provider has not said that it has the batch
AT_PROVIDER = (BatchState.SUBMITTED, BatchState.ENDED)  # and its work belongs to it
OVER = (BatchState.COLLECTED, BatchState.RELEASED)  # nobody moves it on


@dataclass(frozen=True)
class Kind:
    """One batch holds work of one version only."""

    workload: str
    version_id: VersionId


@dataclass(frozen=True)
class Intent:
    """What is committed before a batch is paid for."""

    nonce: str
    account: str
    workload: str
    version_id: VersionId
    model: str
    bytes: int
    body_hash: str
    flow_run_id: UUID | None = None
    stated_back_at: datetime | None = None


class Answer(StrEnum):
    """What a create's answer led to."""

    SUBMITTED = "submitted"  # the batch is the provider's of that id
    UNWANTED = "unwanted"  # its work was released, or the batch certainly is another of the provider's: to be cancelled


@dataclass(frozen=True)
class OpenBatch:
    """A batch that somebody still has to move on."""

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

    @property
    def begun_at(self) -> datetime:
        """Since when its items are tried: from when the provider had it, or was to have it."""
        return self.submitted_at or self.intended_at

    @property
    def unsure(self) -> bool:
        """Whether it may still have to be found in the provider's list, by its number of requests."""
        return self.state in UNCONFIRMED or (self.state in AT_PROVIDER and self.unproved)

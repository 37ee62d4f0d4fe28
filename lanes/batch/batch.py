"""A batch's life, from the intent, which is committed before the batch is paid for, to its last recorded result.

This module counts the outcomes of a batch and decides about requests that have no result.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from lanes.ids import BatchId, VersionId
from lanes.units import pluralize, usd
from lanes.words import BLOCK, BatchState, Outcome

# The provider has not confirmed that it has the batch.
UNCONFIRMED = (BatchState.INTENDED, BatchState.HELD)
AT_PROVIDER = (BatchState.SUBMITTED, BatchState.ENDED)  # the batch owns its work
# The note of a batch of one request.
PRIMER = "primes the provider's cache for the batches after it"


@dataclass(frozen=True)
class BatchKind:
    """The workload, version and provider that all work of a batch shares."""

    workload: str
    version_id: VersionId
    provider: str = BLOCK  # the block of the account that the batch is sent to


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

    SUBMITTED = "submitted"  # the provider has the batch under the answered id
    UNWANTED = "unwanted"  # the work was released, or the batch is known under another id: cancel the created batch


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
    # Adopted from the provider's list, but no result has proved that the batch is ours.
    unproved: bool = False
    unknown_since: datetime | None = None
    cancel_at: datetime | None = None
    provider: str = BLOCK  # the block of the account

    @property
    def begun_at(self) -> datetime:
        """Return when the batch's items were first tried: at the submission, or at the intent before that."""
        return self.submitted_at or self.intended_at

    @property
    def unsure(self) -> bool:
        """Return whether the batch may have to be found in the provider's list, by its number of requests."""
        return self.state in UNCONFIRMED or (self.state in AT_PROVIDER and self.unproved)


class BatchDecision(StrEnum):
    """A person's decision about an open batch."""

    ADOPT = "adopt"  # the named batch at the provider is this one
    RESUBMIT = "resubmit"  # the items become ready for the next batch
    GIVE_UP = "give_up"  # the items fail until a person retries them


@dataclass(frozen=True)
class Stakes:
    """An open batch, the number of `items` that it still owns, and the possible costs of a decision about it.

    `again_usd` estimates the cost of sending the items again; `most_usd` is the most that the provider can bill for them.
    Both are None if the model no longer has a price.
    """

    batch_id: BatchId
    workload: str
    state: BatchState
    provider_batch_id: str | None
    items: int
    again_usd: Decimal | None
    most_usd: Decimal | None

    @property
    def whereabouts(self) -> str:
        """Return a clause that states whether the provider has the batch."""
        if self.provider_batch_id is None:
            return "it is not known whether the provider has it"
        return f"the provider has it as {self.provider_batch_id}"


def sentence(decision: BatchDecision, at_stake: Stakes) -> str:
    """Return a sentence that explains what a decision does and what it may cost."""
    items, again, most = (
        pluralize(at_stake.items, "item"),
        _usd(at_stake.again_usd),
        _usd(at_stake.most_usd),
    )
    this = f"batch {at_stake.batch_id} of {at_stake.workload} is {at_stake.state} and holds {items}; {at_stake.whereabouts}"
    match decision:
        case BatchDecision.ADOPT:
            return (
                f"{this}. Adopting a batch of the provider costs nothing by itself: it is billed, at most {most}, whether "
                "adopted or not, and its first result proves whether it is this one"
            )
        case BatchDecision.RESUBMIT:
            return (
                f"{this}. Resubmitting sends its items again for about {again}; requests of this batch that the "
                f"provider still answers are billed too, at most {most}, recorded, and never shown"
            )
        case BatchDecision.GIVE_UP:
            return (
                f"{this}. Giving it up fails its items, which `lanes retry` brings back for about {again}; requests that the "
                f"provider still answers are billed, at most {most}, recorded, and never shown"
            )


def _usd(amount: Decimal | None) -> str:
    return "an unknown sum" if amount is None else usd(amount)


COUNTED = {
    Outcome.VALID: "succeeded",
    Outcome.INVALID: "invalid",
    Outcome.REFUSED: "invalid",
    Outcome.TRUNCATED: "invalid",
    Outcome.ERRORED: "errored",
    Outcome.POISON: "errored",
    Outcome.PACK_REFUSED: "errored",
    Outcome.UNSERVED: "errored",
    Outcome.UNKNOWN: "errored",  # the result cannot be read
    Outcome.CANCELED: "canceled",
    Outcome.EXPIRED: "expired",
    Outcome.MISSING: "missing",
}  # no other outcome ends a request of a batch
COUNTS = tuple(dict.fromkeys(COUNTED.values()))


@dataclass(frozen=True)
class Tally:
    """The sums of a batch's outcomes; the provider sent no result for the items of `missing`."""

    items: int
    outcomes: int
    missing: int

    @property
    def surplus(self) -> int:
        """Return the number of outcomes beyond one for each item; negative if there are fewer outcomes than items."""
        return self.outcomes - self.items

    @property
    def wrong(self) -> int:
        """Return how many items have no result of their own or have too many outcomes; 0 for a complete batch."""
        return self.missing + abs(self.surplus)


def counts(outcomes: Mapping[Outcome, int]) -> Counter[str]:
    """Return how these outcomes change a batch's counts; a negative number removes outcomes."""
    sums: Counter[str] = Counter()
    for outcome, number in outcomes.items():
        if outcome in COUNTED:
            sums[COUNTED[outcome]] += number
    return sums


REPEATED = 3  # consecutive short reads without results for the same requests
# The least time between two counted reads, so that one outage does not count three times.
APART = timedelta(minutes=1)


@dataclass(frozen=True)
class ShortReads:
    """The number of consecutive reads whose results lacked the same requests, and the time of the last counted read."""

    times: int
    lacking: str
    counted_at: datetime

    @property
    def is_repeated(self) -> bool:
        """Return whether the reads suffice, so that another read would reveal nothing new."""
        return self.times >= REPEATED


def count_short_read(
    previous: ShortReads | None, lacking: Collection[int], *, now: datetime
) -> ShortReads:
    """Count one more short read, which lacks these request numbers; a read that follows too soon changes nothing."""
    digest = hashlib.sha256(",".join(map(str, sorted(lacking))).encode()).hexdigest()
    if previous is None or previous.lacking != digest:
        return ShortReads(1, digest, now)
    if now - previous.counted_at < APART:
        return previous
    return ShortReads(previous.times + 1, digest, now)


def doubt(
    lacking: int, *, requests: int, answered: int, succeeded: int | None, is_ours: bool
) -> str | None:
    """Return why the lacking requests must not be recorded as missing; None if they may be.

    The results hold answers to `answered` of the batch's `requests`; the provider counts `succeeded` answers. An answer that
    the provider counts but the results do not contain has been paid for, and may belong to any lacking request: sending
    that request again would pay twice. Unless the batch is proved to be ours (`is_ours`), its results prove nothing about
    our requests.
    """
    if not is_ours:
        return f"it was adopted, and its results, which lack {lacking:,} of {requests:,} requests, do not prove that it is ours"
    if succeeded is None:
        return f"its results lack {lacking:,} of {requests:,} requests, and the provider's own count of answers cannot be read"
    if succeeded > answered:
        return (
            f"the provider counts {succeeded:,} answers, but its results hold {answered:,}, however often they are read: "
            f"{succeeded - answered:,} of them, which are paid, cannot be read"
        )
    return None

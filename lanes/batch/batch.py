"""A batch, from the intent that is committed before it is paid for until its last result is booked.

Its outcomes are counted here, and a rule decides about requests whose results are lacking.
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

UNCONFIRMED = (
    BatchState.INTENDED,
    BatchState.HELD,
)  # the provider has not said that it has the batch
AT_PROVIDER = (BatchState.SUBMITTED, BatchState.ENDED)  # and its work belongs to it
PRIMER = (
    "primes the provider's cache for the batches after it"  # the note of a batch of one request
)


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
    def whereabouts(self) -> str:
        """Say whether the provider has it."""
        if self.provider_batch_id is None:
            return "it is not known whether the provider has it"
        return f"the provider has it as {self.provider_batch_id}"


def sentence(decision: BatchDecision, at_stake: Stakes) -> str:
    """Say what a decision does and what it may cost."""
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
    Outcome.UNKNOWN: "errored",  # its result cannot be read
    Outcome.CANCELED: "canceled",
    Outcome.EXPIRED: "expired",
    Outcome.MISSING: "missing",
}  # any other outcome ends no request of a batch
COUNTS = tuple(dict.fromkeys(COUNTED.values()))


@dataclass(frozen=True)
class Tally:
    """The sums of a batch's outcomes; the provider sent no result for the items of `missing`."""

    items: int
    outcomes: int
    missing: int

    @property
    def surplus(self) -> int:
        """Return the number of outcomes beyond one for each item; negative where items have none."""
        return self.outcomes - self.items

    @property
    def wrong(self) -> int:
        """Return how many items lack a result of their own or have too many outcomes; 0 for a complete batch."""
        return self.missing + abs(self.surplus)


def counts(outcomes: Mapping[Outcome, int]) -> Counter[str]:
    """Return the change of a batch's counts by these outcomes; negative numbers take outcomes back."""
    sums: Counter[str] = Counter()
    for outcome, number in outcomes.items():
        if outcome in COUNTED:
            sums[COUNTED[outcome]] += number
    return sums


REPEATED = 3  # short reads that lack the same requests
APART = timedelta(minutes=1)  # between two reads that count, so that one outage is not three proofs


@dataclass(frozen=True)
class ShortReads:
    """The number of times in a row that results ended without the same requests, and when that was counted last."""

    times: int
    lacking: str
    counted_at: datetime

    @property
    def is_repeated(self) -> bool:
        """Return whether another read would tell nothing new."""
        return self.times >= REPEATED


def count_short_read(
    before: ShortReads | None, lacking: Collection[int], *, now: datetime
) -> ShortReads:
    """Count one more short read, which lacks these request numbers; one that comes too soon changes nothing."""
    digest = hashlib.sha256(",".join(map(str, sorted(lacking))).encode()).hexdigest()
    if before is None or before.lacking != digest:
        return ShortReads(1, digest, now)
    if now - before.counted_at < APART:
        return before
    return ShortReads(before.times + 1, digest, now)


def doubt(
    lacking: int, *, requests: int, answered: int, succeeded: int | None, is_ours: bool
) -> str | None:
    """Return why the lacking requests may not be called missing, None when they are.

    `answered` of the batch's `requests` were read with an answer, and the provider's own count says that `succeeded` have
    one. An answer that was counted and not read is paid, and any lacking request may be the one that has it: to send it
    again would pay twice. Without a proof that the batch `is_ours`, its results say nothing about our requests.
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

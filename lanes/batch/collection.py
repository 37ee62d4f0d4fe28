"""Counts of a batch's outcomes, and the rule for requests whose results are lacking."""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from lanes.words import Outcome

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
    """How often in a row the results ended without the same requests, and when that was counted last."""

    times: int
    lacking: str
    counted_at: datetime

    @property
    def is_repeated(self) -> bool:
        """Return whether another read would tell nothing new."""
        return self.times >= REPEATED


def counted(before: ShortReads | None, lacking: Collection[int], *, now: datetime) -> ShortReads:
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
        return f"it was adopted, and its results, which lack {lacking:,} of {requests:,} requests, do not prove it ours"
    if succeeded is None:
        return f"its results lack {lacking:,} of {requests:,} requests, and the provider's own count of answers cannot be read"
    if succeeded > answered:
        return (
            f"the provider counts {succeeded:,} answers, and its results hold {answered:,}, however often they are read: "
            f"{succeeded - answered:,} of them, which are paid, cannot be read"
        )
    return None

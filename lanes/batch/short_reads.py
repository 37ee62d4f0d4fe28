"""Results that end early without a word: how often they must do so before what they lack is believed to be missing."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

BELIEVED = 3  # short reads that lack the same requests
APART = timedelta(minutes=1)  # at least, from one that counts to the next: an outage in between is not three proofs


@dataclass(frozen=True)
class ShortReads:
    """How often in a row the results ended without the same requests, and when that was last counted."""

    times: int
    lacking: str
    counted_at: datetime

    @property
    def believed(self) -> bool:
        """Whether what they lack is missing for good."""
        return self.times >= BELIEVED


def counted(before: ShortReads | None, lacking: Collection[int], *, now: datetime) -> ShortReads:
    """The short reads with one more that lacks these request numbers; one that comes too soon changes nothing."""
    digest = hashlib.sha256(",".join(map(str, sorted(lacking))).encode()).hexdigest()
    if before is None or before.lacking != digest:
        return ShortReads(1, digest, now)
    if now - before.counted_at < APART:
        return before
    return ShortReads(before.times + 1, digest, now)

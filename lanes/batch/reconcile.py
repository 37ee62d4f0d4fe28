"""The search for a batch whose create ended without an answer.

The rule; moments are in the provider's clock wherever they are compared with ours:

1. The create is over when its sender saw it end, or, when the sender is gone, once the longest create has passed since
   the intent: from then on no process can still be creating it.
2. A batch that was created is listed within the grace period after that. Until then no list proves anything, because
   ours may still appear beside the one that fits.
3. A listed batch fits when it has as many requests, was created between the intent and the end of the grace period,
   belongs to no other batch of ours and was not found to be a stranger's before.
4. After the grace period, exactly one that fits is adopted, until the nonce of its first result proves or disproves it.
   Several are held at once: a person decides. None: the batch was never created.
5. A held batch keeps its work whatever is found, but the search goes on: one that is left over is adopted.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

MARGIN = timedelta(minutes=2)  # the drift between the two clocks since the intent


class BatchFinding(StrEnum):
    """The conclusion from the provider's list."""

    ADOPT = "adopt"  # exactly one batch fits, and ours would be listed by now
    WAIT = "wait"  # ours may still appear
    RELEASE = "release"  # none fits after the grace period: it was never created
    HOLD = "hold"  # several fit, or a held one is not found: a person decides


@dataclass(frozen=True)
class ListedBatch:
    """A batch that the provider lists, by the provider's clock; None stands for what cannot be read."""

    id: str
    requests: int | None
    created_at: datetime | None

    def fits(self, requests: int, possible: "CreationSpan") -> bool:
        """Return whether it may be a batch with this number of requests that was created in that span."""
        return self.requests in (None, requests) and (
            self.created_at is None or self.created_at in possible
        )


@dataclass(frozen=True)
class LostCreate:
    """A create without an answer, by our clock. From `over_at` on no process can still be creating it."""

    requests: int
    intended_at: datetime
    over_at: datetime
    held: bool = False


@dataclass(frozen=True)
class FoundBatch:
    """A finding, with the batch to adopt."""

    finding: BatchFinding
    batch_id: str | None = None


@dataclass(frozen=True)
class CreationSpan:
    """The time in which a batch can have been created, both ends included."""

    first: datetime
    last: datetime

    def __contains__(self, moment: datetime) -> bool:
        return self.first <= moment <= self.last


def over_at(
    intended_at: datetime, create_ended_at: datetime | None, *, longest: timedelta
) -> datetime:
    """Return when the create was over: as its sender saw it, else `longest` after the intent."""
    return create_ended_at or intended_at + longest


def span(lost: LostCreate, *, grace: timedelta, ahead: timedelta) -> CreationSpan:
    """Return when the batch can have been created by the provider's clock, which is `ahead` of ours."""
    return CreationSpan(lost.intended_at + ahead - MARGIN, lost.over_at + grace + ahead + MARGIN)


def find(
    lost: LostCreate,
    listed: Sequence[ListedBatch],
    taken: Collection[str],
    *,
    grace: timedelta,
    ahead: timedelta,
    now: datetime,
) -> FoundBatch:
    """Find the listed batch that the create became. The list was read at or after `now`; `taken` batches are not ours to adopt.

    Count and time of creation identify it, because an account has one unresolved create at a time and no two open
    intents of an account share a count.
    """
    possible = span(lost, grace=grace, ahead=ahead)
    fitting = [
        batch.id
        for batch in listed
        if batch.fits(lost.requests, possible) and batch.id not in taken
    ]
    if len(fitting) > 1:
        return FoundBatch(BatchFinding.HOLD)
    if now < lost.over_at + grace:
        return FoundBatch(BatchFinding.WAIT)
    if fitting:
        return FoundBatch(BatchFinding.ADOPT, fitting[0])
    return FoundBatch(BatchFinding.HOLD if lost.held else BatchFinding.RELEASE)

"""The search for a batch whose create ended without an answer, and the labels by which orphans find their items.

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
Orphans are batches at the provider that a restored database does not know, because they left after its copy was made. The
name of each request says which work it carries, so that its answer, which is paid, finds its items again.
"""

import base64
import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from lanes.ids import VersionId, WorkId
from lanes.json_data import dumps
from lanes.packing import ClaimedWork

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


# Of a label: a custom_id has 64 characters, of which the nonce and the number take 23.
MOST_BYTES = 30
VERSION_BYTES, DIGEST_BYTES = 2, 3
ADOPTED = "adopted after a restore"  # begins the note of such a batch


@dataclass(frozen=True)
class Copy:
    """A database that was restored or promoted: `noticed` is when Lanes found out, `as_of` the moment of its newest rows."""

    noticed: datetime
    as_of: datetime


@dataclass(frozen=True)
class RequestLabel:
    """The version and the works that the name of a request states, in the order of their slots."""

    version: bytes
    digest: bytes
    version_id: VersionId
    work_ids: tuple[WorkId, ...]


def version_tag(content_hash: str) -> bytes:
    """Return the part of a label by which a version is recognized."""
    return bytes.fromhex(content_hash)[:VERSION_BYTES]


def write_label(tag: bytes, pack: Sequence[ClaimedWork]) -> str:
    """Return the label of a request with this work, empty where a custom_id has no room for it.

    Works that wait beside each other have neighboring numbers, so each is written as its difference from the one before.
    """
    ids = [each.claim.work_id for each in pack]
    steps = (_encode_zigzag(id_ - before) for before, id_ in zip([0, *ids], ids, strict=False))
    numbers = bytes(_varints([pack[0].version_id, *steps]))
    whole = tag + digest(pack) + numbers
    return base64.urlsafe_b64encode(whole).decode().rstrip("=") if len(whole) <= MOST_BYTES else ""


def read_label(label: str) -> RequestLabel | None:
    """Return what a label says, None if Lanes did not write it."""
    try:
        whole = base64.urlsafe_b64decode(label + "=" * (-len(label) % 4))
    except ValueError:
        return None
    version_id, *steps = _numbers(whole[VERSION_BYTES + DIGEST_BYTES :]) or [0]
    work_ids, id_ = list[WorkId](), 0
    for step in steps:
        id_ += (step >> 1) ^ -(step & 1)
        work_ids.append(WorkId(id_))
    if not work_ids:
        return None
    tag, digested = whole[:VERSION_BYTES], whole[VERSION_BYTES : VERSION_BYTES + DIGEST_BYTES]
    return RequestLabel(tag, digested, VersionId(version_id), tuple(work_ids))


def digest(pack: Iterable[ClaimedWork]) -> bytes:
    """Return a digest of the items: a restored database may give a number of theirs to another item."""
    said = dumps([[each.workload, each.key, each.payload, each.purpose] for each in pack])
    return hashlib.blake2b(said.encode(), digest_size=DIGEST_BYTES).digest()


def _encode_zigzag(step: int) -> int:
    return step << 1 if step >= 0 else (-step << 1) - 1


def _varints(numbers: Iterable[int]) -> Iterator[int]:
    for number in numbers:
        while number > 127:
            yield number & 127 | 128
            number >>= 7
        yield number


def _numbers(coded: bytes) -> list[int]:
    found, number, shift = list[int](), 0, 0
    for byte in coded:
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            found.append(number)
            number = shift = 0
    return found

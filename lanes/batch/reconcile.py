"""The search for a batch whose create ended without an answer, and the request labels that link orphans to their items.

The rule; times are compared by the provider's clock:

1. The create has ended when its sender saw it end, or, if the sender no longer runs, once the longest possible create has
   passed since the intent: from then on no process can still be creating the batch.
2. The provider lists a created batch within the grace period after that. Until then no list proves anything, because
   ours may still appear in addition to the one that fits.
3. A listed batch fits if it has the same number of requests, was created between the intent and the end of the grace
   period, belongs to no other batch of ours and was never found to be another sender's.
4. After the grace period, a single batch that fits is adopted, until the nonce of its first result proves or disproves it.
   If several fit, the batch is held and a person decides. If none fits, the batch was never created.
5. A held batch keeps its work whatever the list shows, but the search continues: a single remaining fit is adopted.

Orphans are batches at the provider that a restored database does not know, because they were sent after the copy was made.
The name of each request states which work it carries, so that its answer, which is paid for, can be matched to its items.
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

# The most that the two clocks can have drifted apart since the intent.
MARGIN = timedelta(minutes=2)


class BatchFinding(StrEnum):
    """The conclusion from the provider's list."""

    ADOPT = "adopt"  # exactly one batch fits, and the provider would list ours by now
    WAIT = "wait"  # ours may still appear
    RELEASE = "release"  # none fits after the grace period: the batch was never created
    HOLD = "hold"  # several fit, or a held batch is not found: a person decides


@dataclass(frozen=True)
class ListedBatch:
    """A batch in the provider's list, by the provider's clock; None stands for a value that cannot be read."""

    id: str
    requests: int | None
    created_at: datetime | None

    def fits(self, requests: int, possible: "CreationSpan") -> bool:
        """Return whether this may be the batch with that number of requests that was created in that span."""
        return self.requests in (None, requests) and (
            self.created_at is None or self.created_at in possible
        )


@dataclass(frozen=True)
class LostCreate:
    """A create without an answer, by our clock. After `over_at` no process can still be creating the batch."""

    requests: int
    intended_at: datetime
    over_at: datetime
    held: bool = False


@dataclass(frozen=True)
class FoundBatch:
    """A finding; for `ADOPT`, with the batch to adopt."""

    finding: BatchFinding
    batch_id: str | None = None


@dataclass(frozen=True)
class CreationSpan:
    """The time in which a batch can have been created, both ends included."""

    first: datetime
    last: datetime

    def __contains__(self, moment: datetime) -> bool:
        return self.first <= moment <= self.last


def create_end(
    intended_at: datetime, create_ended_at: datetime | None, *, longest: timedelta
) -> datetime:
    """Return when the create ended: when its sender saw it end, otherwise `longest` after the intent."""
    return create_ended_at or intended_at + longest


def span(create: LostCreate, *, grace: timedelta, ahead: timedelta) -> CreationSpan:
    """Return the span in which the batch can have been created, by the provider's clock, which is `ahead` of ours."""
    return CreationSpan(
        create.intended_at + ahead - MARGIN, create.over_at + grace + ahead + MARGIN
    )


def find(
    create: LostCreate,
    listed: Sequence[ListedBatch],
    taken: Collection[str],
    *,
    grace: timedelta,
    ahead: timedelta,
    now: datetime,
) -> FoundBatch:
    """Find the listed batch that the create produced.

    The list must have been read at or after `now`; `taken` batches cannot be ours. The number of requests and the creation
    time identify the batch, because an account has one unresolved create at a time, and no two open intents of an account
    have the same number of requests.
    """
    possible = span(create, grace=grace, ahead=ahead)
    fitting = [
        batch.id
        for batch in listed
        if batch.fits(create.requests, possible) and batch.id not in taken
    ]
    if len(fitting) > 1:
        return FoundBatch(BatchFinding.HOLD)
    if now < create.over_at + grace:
        return FoundBatch(BatchFinding.WAIT)
    if fitting:
        return FoundBatch(BatchFinding.ADOPT, fitting[0])
    return FoundBatch(BatchFinding.HOLD if create.held else BatchFinding.RELEASE)


# The most bytes of a label: a custom_id has 64 characters, of which the nonce and the number take 23.
MOST_BYTES = 30
VERSION_BYTES, DIGEST_BYTES = 2, 3
ADOPTED = "adopted after a restore"  # the start of the note of an adopted orphan


@dataclass(frozen=True)
class Copy:
    """A restored or promoted database: Lanes noticed the copy at `noticed`, and the newest rows are from `as_of`."""

    noticed: datetime
    as_of: datetime


@dataclass(frozen=True)
class RequestLabel:
    """The version and the work ids that a request's name states, in the order of the slots."""

    version: bytes
    digest: bytes
    version_id: VersionId
    work_ids: tuple[WorkId, ...]


def version_tag(content_hash: str) -> bytes:
    """Return the part of a label that identifies a version."""
    return bytes.fromhex(content_hash)[:VERSION_BYTES]


def write_label(tag: bytes, pack: Sequence[ClaimedWork]) -> str:
    """Return the label of a request with this work; empty if it does not fit a custom_id.

    Ids of work that became ready together are close to each other, so each id is written as the difference from the
    previous one.
    """
    ids = [each.claim.work_id for each in pack]
    steps = (_encode_zigzag(id_ - before) for before, id_ in zip([0, *ids], ids, strict=False))
    numbers = bytes(_varints([pack[0].version_id, *steps]))
    whole = tag + digest(pack) + numbers
    return base64.urlsafe_b64encode(whole).decode().rstrip("=") if len(whole) <= MOST_BYTES else ""


def read_label(label: str) -> RequestLabel | None:
    """Return the content of a label; None if Lanes did not write it."""
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
    """Return a digest of the items, because a restored database may give their work ids to other items."""
    content = dumps([[each.workload, each.key, each.payload, each.purpose] for each in pack])
    return hashlib.blake2b(content.encode(), digest_size=DIGEST_BYTES).digest()


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

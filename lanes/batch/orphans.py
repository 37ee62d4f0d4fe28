"""Orphans: batches at the provider that a restored database does not know, because they left after its copy was made.

The name of each request says which work it carries, so that its answer, which is paid, finds its items again.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from lanes.ids import VersionId, WorkId
from lanes.json_data import dumps
from lanes.packing import ClaimedWork

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
    steps = (_unsigned(id_ - before) for before, id_ in zip([0, *ids], ids, strict=False))
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


def _unsigned(step: int) -> int:
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

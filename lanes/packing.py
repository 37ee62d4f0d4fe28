"""Claimed work and its grouping: into chunks for one transaction, and into packs for one provider call."""

import base64
import hashlib
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from lanes.ids import VersionId, WorkId
from lanes.json_data import call_bytes
from lanes.words import ANSWERING, MEASURING, FlushReason, PackScope, Purpose

T = TypeVar("T")

# How much later than live work shadows, golden items and replays are ranked.
AFTER_LIVE_WORK = timedelta(days=1)
# For real-time replays: however long a replay takes, no live work is ranked behind it.
AFTER_ALL_LIVE_WORK = timedelta(days=365)

MOST_BYTES = 8 * 1024**2  # in one chunk at a door; a single input may be larger
FRAME_CHARS = 128  # length of the frame that identifies an item within a pack; the same in bytes
HISTORY_FRAME_CHARS = len("<history>\n\n</history>\n")
ALONE = "1"  # the id of an item that has a call to itself; the model does not see it
DIGEST_BYTES = 5  # eight characters in base32: a guess succeeds once in 10**12 tries


class Claim(NamedTuple):
    """A claim on some work; `number` fences every later write."""

    work_id: WorkId
    number: int


@dataclass(frozen=True, slots=True)
class BufferStay:
    """The time that an item spent in its buffer window, in milliseconds, and why it left."""

    left: FlushReason
    ms: int


class ClaimedWork(NamedTuple):
    """A claim with the fields that a call needs.

    `failures` counts earlier tries. `alone` marks an item that may have spoiled its pack, and `urgent` one that its sender
    marked as urgent. `gathered` is set for an item that passed through a buffer window.
    """

    claim: Claim
    version_id: VersionId
    workload: str
    key: str
    payload: dict[str, Any]
    purpose: Purpose
    failures: int
    rank_at: datetime
    due_at: datetime | None = None
    alone: bool = False
    urgent: bool = False
    gathered: BufferStay | None = None
    consumer: str | None = None

    def shares_with(self, scope: PackScope) -> str | None:
        """Return the consumer whose items may share its call, or None if all items of its version may.

        Items without a consumer share calls with each other, as if they had one consumer.
        """
        return (self.consumer or "") if scope is PackScope.CONSUMER else None

    @property
    def measures(self) -> bool:
        """Whether no sender waits for its answer: live work goes first, and this work uses only the remaining capacity."""
        return self.purpose not in ANSWERING

    @property
    def travels_alone(self) -> bool:
        """Whether its call must contain no other item: the item failed before, may have spoiled a pack, or only measures."""
        return self.alone or self.failures > 0 or self.purpose in MEASURING


Weigh = Callable[[ClaimedWork], int]


def chunks(
    inputs: Iterable[T], *, most: int, most_bytes: int, weight: Callable[[T], int]
) -> Iterator[list[T]]:
    """Yield the inputs in order, in chunks of up to `most` that end once they weigh `most_bytes`, without reading ahead."""
    chunk: list[T] = []
    size = 0
    for entry in inputs:
        chunk.append(entry)
        size += weight(entry)
        if len(chunk) >= most or size >= most_bytes:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def new_nonce() -> str:
    """Return a secret for one batch, or for one real-time call."""
    return secrets.token_hex(8)


def pack_ids(nonce: str, request_no: int, items: int) -> list[str]:
    """Return the ids of a request's items, in slot order.

    The nonce determines them, so they can be derived again, and no input can guess them.
    """
    return [_derive_id(f"{nonce}-{request_no}-{slot}") for slot in range(items)]


def _derive_id(place: str) -> str:
    digest = hashlib.blake2b(place.encode(), digest_size=DIGEST_BYTES).digest()
    return base64.b32encode(digest).decode().lower()


def history_chars(lengths: Iterable[int]) -> int:
    """Return how many characters earlier items with payloads of these lengths add to a question."""
    return sum(length + HISTORY_FRAME_CHARS for length in lengths)


def item_bytes(item: ClaimedWork) -> int:
    """Return an upper bound of the bytes that an item takes in the body of a call."""
    return call_bytes(item.payload) + FRAME_CHARS


@dataclass
class _Pack:
    """A call that is being filled, and the size of its items in bytes."""

    items: list[ClaimedWork] = field(default_factory=list)
    bytes: int = 0


def packs(
    claimed: Sequence[ClaimedWork],
    size: int,
    *,
    most: int | None = None,
    scope: PackScope = PackScope.WORKLOAD,
) -> list[list[ClaimedWork]]:
    """Return calls of up to `size` items, ordered by their first items; a shared call holds up to `most` bytes.

    An item that failed before, or may have spoiled a pack, gets a call of its own. A call never mixes versions or purposes,
    because the ledger records one of each per call, nor consumers if the scope forbids it.
    """
    places = {id(each): place for place, each in enumerate(claimed)}
    return sorted(
        fill_packs(claimed, size, most=most, scope=scope), key=lambda pack: places[id(pack[0])]
    )


def fill_packs(
    claimed: Iterable[ClaimedWork],
    size: int,
    *,
    most: int | None,
    weigh: Weigh = item_bytes,
    scope: PackScope = PackScope.WORKLOAD,
) -> Iterator[list[ClaimedWork]]:
    """Yield the calls of `packs`, each as soon as it is full, to hold only unfilled calls in memory; these come last."""
    filling: dict[tuple[VersionId, Purpose, str | None], _Pack] = {}
    for item in claimed:
        if item.travels_alone or size == 1:
            yield [item]
            continue
        kind = (item.version_id, item.purpose, item.shares_with(scope))
        item_size = 0 if most is None else weigh(item)
        pack = filling.setdefault(kind, _Pack())
        if most is not None and pack.items and pack.bytes + item_size > most:
            yield pack.items
            pack = filling[kind] = _Pack()
        pack.items.append(item)
        pack.bytes += item_size
        if len(pack.items) == size:
            del filling[kind]
            yield pack.items
    yield from (pack.items for pack in filling.values())


def avoid_counts(
    packs: Sequence[Sequence[ClaimedWork]], taken: Collection[int]
) -> list[list[ClaimedWork]]:
    """Return the packs, dropped or split until their count is not in `taken`; an empty list if there is no such count.

    As few of the last packs as possible are dropped and left for the next batch. If every smaller count is taken too, packs
    are split, the fullest first, and all items are kept.
    """
    all_packs = [list(pack) for pack in packs]
    smaller_count = next((count for count in range(len(all_packs), 0, -1) if count not in taken), 0)
    if smaller_count:
        return all_packs[:smaller_count]
    largest = sum(map(len, all_packs))
    larger_count = next(
        (count for count in range(len(all_packs) + 1, largest + 1) if count not in taken), None
    )
    if larger_count is None:
        return []
    while len(all_packs) < larger_count:
        fullest = max(range(len(all_packs)), key=lambda place: len(all_packs[place]))
        half = len(all_packs[fullest]) // 2
        all_packs[fullest : fullest + 1] = [all_packs[fullest][:half], all_packs[fullest][half:]]
    return all_packs

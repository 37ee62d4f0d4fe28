"""Claimed work, and how it is grouped: into chunks for one transaction, into packs for one provider call."""

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

AFTER_LIVE_WORK = timedelta(
    days=1
)  # how much later than live work shadows, golden items and replays rank
# real-time replays: however long one takes, no live work comes to rank behind it
AFTER_ALL_LIVE_WORK = timedelta(days=365)

MOST_BYTES = 8 * 1024**2  # of one chunk at a door; a single input may be larger
FRAME_CHARS = 128  # the frame that names an item within a pack; as many bytes
HISTORY_FRAME_CHARS = len("<history>\n\n</history>\n")
ALONE = "1"  # the id of an item that has its call to itself; the model is not told it
DIGEST_BYTES = 5  # eight characters: a guess succeeds once in a million millions


class Claim(NamedTuple):
    """A hold on some work. `number` fences every later write."""

    work_id: WorkId
    number: int


@dataclass(frozen=True, slots=True)
class BufferStay:
    """The time that an item spent in its window, in milliseconds, and why it left."""

    left: FlushReason
    ms: int


class ClaimedWork(NamedTuple):
    """A claim with what a call needs.

    `failures` counts earlier tries, `alone` marks an item that may have spoiled its pack, `urgent` one whose sender said so,
    and `gathered` is set for an item that went through a window.
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
        """Return the consumer whose items may share its call, or None if any item of its version may.

        Items without a consumer share with each other, as if they had one consumer.
        """
        return (self.consumer or "") if scope is PackScope.CONSUMER else None

    @property
    def measures(self) -> bool:
        """Whether no sender waits for its answer: live work goes first, and it takes only what that leaves."""
        return self.purpose not in ANSWERING

    @property
    def travels_alone(self) -> bool:
        """Whether its call must hold no other item: it failed before, may have spoiled a pack, or only measures."""
        return self.alone or self.failures > 0 or self.purpose in MEASURING


Weigh = Callable[[ClaimedWork], int]


def chunks(
    inputs: Iterable[T], *, most: int, most_bytes: int, weight: Callable[[T], int]
) -> Iterator[list[T]]:
    """Yield the inputs in order, in chunks of up to `most` that end once they weigh `most_bytes`, without reading ahead."""
    chunk: list[T] = []
    held = 0
    for each in inputs:
        chunk.append(each)
        held += weight(each)
        if len(chunk) >= most or held >= most_bytes:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk


def new_nonce() -> str:
    """Return a secret for one batch, or for one real-time call."""
    return secrets.token_hex(8)


def pack_ids(nonce: str, request_no: int, items: int) -> list[str]:
    """Return the ids of a request's items in the order of their slots.

    The nonce determines them, so they can be derived again, and no input can guess them.
    """
    return [_derive_id(f"{nonce}-{request_no}-{slot}") for slot in range(items)]


def _derive_id(place: str) -> str:
    digest = hashlib.blake2b(place.encode(), digest_size=DIGEST_BYTES).digest()
    return base64.b32encode(digest).decode().lower()


def history_chars(lengths: Iterable[int]) -> int:
    """Return the characters that earlier items with payloads of these lengths add to a question."""
    return sum(length + HISTORY_FRAME_CHARS for length in lengths)


def item_bytes(each: ClaimedWork) -> int:
    """Return the most bytes that an item takes in the body of a call."""
    return call_bytes(each.payload) + FRAME_CHARS


@dataclass
class _Pack:
    """A call that is being filled, and the bytes of its items."""

    items: list[ClaimedWork] = field(default_factory=list)
    bytes: int = 0


def packs(
    claimed: Sequence[ClaimedWork],
    size: int,
    *,
    most: int | None = None,
    scope: PackScope = PackScope.WORKLOAD,
) -> list[list[ClaimedWork]]:
    """Return calls of up to `size` items, in the order of their first items; a shared call takes up to `most` bytes.

    An item that failed before, or may have spoiled a pack, travels alone. A call never mixes versions or purposes, because the
    ledger books it under one of each, nor consumers if the scope forbids it.
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
    """Yield the calls of `packs`, each as soon as it is full, so that only unfilled ones are held; these come last."""
    filling: dict[tuple[VersionId, Purpose, str | None], _Pack] = {}
    for each in claimed:
        if each.travels_alone or size == 1:
            yield [each]
            continue
        kind = (each.version_id, each.purpose, each.shares_with(scope))
        more = 0 if most is None else weigh(each)
        pack = filling.setdefault(kind, _Pack())
        if most is not None and pack.items and pack.bytes + more > most:
            yield pack.items
            pack = filling[kind] = _Pack()
        pack.items.append(each)
        pack.bytes += more
        if len(pack.items) == size:
            del filling[kind]
            yield pack.items
    yield from (pack.items for pack in filling.values())


def avoid_counts(
    packs: Sequence[Sequence[ClaimedWork]], taken: Collection[int]
) -> list[list[ClaimedWork]]:
    """Return the packs in a number that is not in `taken`; an empty list if there is no such number.

    As few of the last packs as possible are left for the next batch. If every smaller number is taken too, packs are divided,
    the fullest first, and all items are kept.
    """
    whole = [list(pack) for pack in packs]
    fewer = next((count for count in range(len(whole), 0, -1) if count not in taken), 0)
    if fewer:
        return whole[:fewer]
    largest = sum(map(len, whole))
    more = next((count for count in range(len(whole) + 1, largest + 1) if count not in taken), None)
    if more is None:
        return []
    while len(whole) < more:
        fullest = max(range(len(whole)), key=lambda place: len(whole[place]))
        half = len(whole[fullest]) // 2
        whole[fullest : fullest + 1] = [whole[fullest][:half], whole[fullest][half:]]
    return whole

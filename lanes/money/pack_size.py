"""The number of items that share a call, decided here for both lanes.

The size is the one that the workload allows, unless answers from packs agree with single answers less often than single answers
agree with each other. Possible sizes are the allowed one and its halves, down to 1. The evidence for a size comes from calls of
that many items, or of more than half as many. Its bounds hold at every look (`lanes.statistics.shares`):

- If a size surely does harm, the next size is half of the smallest such size.
- If a size is surely as good as single answers, within `TOLERATED`, it is doubled, unless the doubled size did harm recently:
  that size rests for a day, twice as long each time, 16 days at most, and its old evidence is then discarded.
- Otherwise the evidence is insufficient, and the size stays.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING

from lanes.backoff import Backoff
from lanes.ids import VersionId
from lanes.money.cost import FRAME_TOKENS, bound_shared_bytes, most_answer_tokens
from lanes.statistics.shares import NOTHING, SampleShare, bounds
from lanes.words import Lane
from lanes.workload import prices

if TYPE_CHECKING:
    from lanes.workload.version import Spec, Version


# The chance that packing is ever blamed without harm; half of it for each of two bounds.
ALPHA = 0.05
TOLERATED = 0.05  # the loss of agreement that is tolerated when a size grows
FEWEST_ALONE = 20  # the number of repeated single answers that a larger size requires
REST = Backoff(timedelta(days=1), timedelta(days=16))


@dataclass(frozen=True)
class PackPlace:
    """The scope of a pack size: a workload on a lane, as long as the lane uses the same model."""

    workload: str
    lane: Lane
    model: str

    @classmethod
    def of(cls, version: "Version", lane: Lane) -> "PackPlace":
        return cls(version.workload, lane, version.spec.model_of(lane))


@dataclass(frozen=True)
class PackEvidence:
    """The comparisons of packed and single answers so far.

    `packed` counts, by pack size, the packed answers since the last decision, with those that agree with the single answer as
    hits. `alone` counts recent items that were answered singly twice, with those whose two answers agree as hits.
    """

    packed: Mapping[int, SampleShare] = field(default_factory=dict)
    alone: SampleShare = NOTHING


@dataclass(frozen=True)
class PackDecision:
    """A decision that `size` of `allowed` items share a call from `decided_at` on, with its evidence.

    `hurt` is the size that was reduced because it did harm.
    """

    size: int
    allowed: int
    decided_at: datetime
    why: str = ""
    hurt: int | None = None
    packed: SampleShare = NOTHING
    alone: SampleShare = NOTHING


@dataclass(frozen=True)
class PackHarm:
    """The number of times that a pack size was reduced because it harmed answers, and the last time."""

    times: int
    last_at: datetime

    @property
    def rests_until(self) -> datetime:
        """Return when the size may be tried again."""
        return self.last_at + REST.rest_after(self.times)


class PackSizes:
    """The pack sizes in force, according to the last decisions."""

    def __init__(self, decided: Mapping[PackPlace, PackDecision] | None = None) -> None:
        self._decided = dict(decided or {})
        self._bytes: dict[tuple[VersionId, Lane], int | None] = {}

    def learn(self, decided: Mapping[PackPlace, PackDecision]) -> None:
        """Put these decisions in force."""
        self._decided = dict(decided)
        self._bytes.clear()

    def of(self, version: "Version", lane: Lane) -> int:
        """Return how many items of the version may share a call."""
        most = most_items(version.spec, lane)
        return (
            most
            if most == 1
            else size_in_force(self._decided.get(PackPlace.of(version, lane)), most)
        )

    def most_bytes(self, version: "Version", lane: Lane, at: datetime) -> int | None:
        """Return how many bytes the items of a call may have together; None if there is no bound."""
        key = version.id, lane
        if key not in self._bytes:
            self._bytes[key] = most_bytes(version, lane, at)
        return self._bytes[key]


def size_in_force(last: PackDecision | None, allowed: int) -> int:
    """Return the size in force: the last decision, or the allowed size if the decision was to allow all."""
    if last is None or last.size >= last.allowed:
        return allowed
    return next(each for each in sizes(allowed) if each <= max(1, last.size))


def sizes(allowed: int) -> list[int]:
    """Return the allowed size and its halves down to 1."""
    found = [allowed]
    while found[-1] > 1:
        found.append(found[-1] // 2)
    return found


def decide(
    last: PackDecision | None,
    allowed: int,
    evidence: PackEvidence,
    hurts: Mapping[int, PackHarm],
    *,
    now: datetime,
) -> PackDecision | None:
    """Return the next size with its reason; None if the size stays."""
    size = size_in_force(last, allowed)
    ladder = sizes(allowed)
    known = {
        candidate: _select_evidence(evidence.packed, candidate, ladder) for candidate in ladder
    }
    lowest, _ = bounds(evidence.alone, alpha=ALPHA / 2)
    for candidate in sorted(known):
        if 1 < candidate <= size and bounds(known[candidate], alpha=ALPHA / 2)[1] < lowest:
            return PackDecision(
                ladder[ladder.index(candidate) + 1],
                allowed,
                now,
                _describe_agreement(f"packs of {candidate} hurt", known[candidate], evidence.alone),
                hurt=candidate,
                packed=known[candidate],
                alone=evidence.alone,
            )
    return _grown(size, ladder, known[size], evidence.alone, hurts, now) if size < allowed else None


def _grown(
    size: int,
    ladder: Sequence[int],
    here: SampleShare,
    alone: SampleShare,
    hurts: Mapping[int, PackHarm],
    now: datetime,
) -> PackDecision | None:
    """Return the next larger size; None if it must not be tried yet."""
    larger = ladder[ladder.index(size) - 1]
    if any(now < each.rests_until for of, each in hurts.items() if size < of <= larger):
        return None
    why = f"packs of {larger} rested, and are tried again"
    if size > 1:
        single = alone.value
        if (
            single is None
            or alone.samples < FEWEST_ALONE
            or bounds(here, alpha=ALPHA / 2)[0] < single - TOLERATED
        ):
            return None
        why = _describe_agreement(f"packs of {size} do no harm", here, alone)
    return PackDecision(larger, ladder[0], now, why, packed=here, alone=alone)


def _select_evidence(
    packed: Mapping[int, SampleShare], size: int, ladder: Sequence[int]
) -> SampleShare:
    """Return the evidence from calls of `size` items, or fewer but more than the next smaller size."""
    smaller = ladder[ladder.index(size) + 1] if size > 1 else 0
    return total(share for items, share in packed.items() if smaller < items <= size)


def total(shares: Iterable[SampleShare]) -> SampleShare:
    """Return the sum of these shares."""
    hits, samples = 0, 0
    for each in shares:
        hits, samples = hits + each.hits, samples + each.samples
    return SampleShare(hits, samples)


def _describe_agreement(what: str, packed: SampleShare, alone: SampleShare) -> str:
    return (
        f"{what}: packed agrees {_format_share(packed)}, single with single {_format_share(alone)}"
    )


def _format_share(share: SampleShare) -> str:
    return "with nothing yet" if share.value is None else f"{share.value:.2f} (n {share.samples})"


# The longest answer of the models with the lowest limit. A call requests the longest answers of all of its items, reasoning
# included, and is refused if that exceeds its model's limit.
MOST_ANSWER_TOKENS = 64_000
BYTES_PER_TOKEN = 3  # of UTF-8, at least: English has more than four, Chinese about three


def most_items(spec: "Spec", lane: Lane) -> int:
    """Return how many items may share a call, as far as the workload and the models' answer limits allow; at least 1."""
    longest = most_answer_tokens(spec, 2) // 2  # the longest answer of one item within a pack
    return max(1, min(spec.pack_of(lane), MOST_ANSWER_TOKENS // longest))


def most_bytes(version: "Version", lane: Lane, at: datetime) -> int | None:
    """Return how many bytes a call's items may have together, so that its prompt stays below the length at which prices rise.

    None if the model has a single price, or its price is no longer known. A single item that exceeds the bound pays the higher
    price. In real time the bound counts a token per byte: an item reserves money for a call of its own, and a call that
    several items share must never cost more than their reserves together.
    """
    spec = version.spec
    start = prices.dearer_above(spec.model_of(lane), lane, at)
    if start is None:
        return None
    if lane is Lane.REALTIME:
        return max(0, start - bound_shared_bytes(spec))
    shared = len(spec.instructions.encode()) + len(json.dumps(spec.output_schema).encode())
    return max(0, (start - FRAME_TOKENS) * BYTES_PER_TOKEN - shared)


SALT = "lanes.pack_check.1"
# The share of checked items answered singly twice: their agreement is the standard for packing.
TWICE = 1 / 3
WHOLE = 2**64


def is_checked(workload: str, key: str, share: float) -> bool:
    """Return whether the item is among the `share`, 0 to 1, of items that are also answered singly; its key decides."""
    return _place(workload, key) < share


def is_checked_twice(workload: str, key: str, share: float) -> bool:
    """Return whether the item is answered singly a second time."""
    return _place(workload, key) < share * TWICE


def _place(workload: str, key: str) -> float:
    """Return the item's constant position, 0 to 1."""
    text = "\x1f".join((workload, SALT, key))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) / WHOLE

"""The splits: the share of undecided items that goes to real time, and the share of items that goes to a candidate version.

Each kind of split has its own sticky buckets, so that the lane of an item is independent of its version.
"""

from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # rollout pages need no rules and no schemas, which are slow to load
    from lanes.workload.version import Version

BUCKETS = 10_000
SALT = "lanes.split.1"  # never changes: another salt would move items between the lanes
VERSION_SALT = "lanes.version.1"  # never changes: another salt would move items between versions
# never changes: another salt would change the sample of second passes
SAMPLE_SALT = "lanes.second_pass.1"


@dataclass(frozen=True)
class Split:
    """The share of a workload's undecided items, of one consumer or of all (`consumer` None), that goes to real time.

    `basis_points` is 0 (all to batch) to 10,000 (all to real-time).
    """

    workload: str
    consumer: str | None
    basis_points: int


@dataclass(frozen=True)
class SplitRecord:
    """A recorded change of a split. If `basis_points` is None, the consumer inherits the workload's split from `set_at`."""

    basis_points: int | None
    who: str
    why: str
    set_at: datetime


def bucket(workload: str, *, entity: str | None, key: str) -> int:
    """Return the item's constant bucket, 0 to 9,999; items of one entity share it."""
    return _bucket(workload, SALT, entity if entity is not None else key)


def version_bucket(workload: str, *, entity: str | None, key: str) -> int:
    """Return the item's constant bucket in the version split, which is independent of its lane bucket."""
    return _bucket(workload, VERSION_SALT, entity if entity is not None else key)


def is_sampled(workload: str, key: str, share: float) -> bool:
    """Return whether the item is in the uniform sample that gets a second pass; `share` is the sample's share, 0 to 1."""
    return _bucket(workload, SAMPLE_SALT, key) < share * BUCKETS


def _bucket(workload: str, salt: str, sticky: str) -> int:
    text = "\x1f".join((workload, salt, sticky))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) % BUCKETS


def to_realtime(split: Split, place: int) -> bool:
    """Return whether a bucket goes to real time: the low buckets do, so a higher split only adds buckets."""
    return place < split.basis_points


class Splits:
    """The splits in force. A consumer's own split precedes the workload's; a consumer that inherits has no entry."""

    def __init__(self, splits: list[Split]) -> None:
        self._of = {(split.workload, split.consumer): split for split in splits}

    def of(self, workload: str, consumer: str | None) -> Split:
        """Return the narrowest split of a workload and consumer; without any, everything goes to batch."""
        return (
            self._of.get((workload, consumer))
            or self._of.get((workload, None))
            or Split(workload, None, 0)
        )

    def has_own(self, workload: str, consumer: str | None) -> bool:
        """Return whether this exact split is set, so that no wider split applies."""
        return (workload, consumer) in self._of

    def of_workload(self, workload: str) -> list[Split]:
        """Return the split of a workload, then the own splits of its consumers."""
        own = sorted((c, each) for (name, c), each in self._of.items() if name == workload and c)
        return [self.of(workload, None), *(each for _, each in own)]

    def reach_realtime(self, workload: str) -> bool:
        """Return whether any split may send items of the workload to real time."""
        return any(
            split.basis_points > 0 for (name, _), split in self._of.items() if name == workload
        )


@dataclass(frozen=True)
class Canary:
    """A candidate version that gets `basis_points` of its workload's newly routed items."""

    candidate: "Version"
    basis_points: int

    def choose(self, in_force: "Version", *, entity: str | None, key: str) -> "tuple[Version, str]":
        """Return the version of an item, and the sentence that explains it."""
        place = version_bucket(in_force.workload, entity=entity, key=key)
        chosen = self.candidate if place < self.basis_points else in_force
        where = "inside" if chosen is self.candidate else "outside"
        return chosen, (
            f"version {chosen.number}: the canary sends {self.basis_points / 100:g} % to version {self.candidate.number}, "
            f"and version bucket {place:,} of {BUCKETS:,} is {where}"
        )

"""Work that is ours for a while."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lanes.ids import VersionId, WorkId
from lanes.words import Left, PackScope, Purpose


@dataclass(frozen=True, slots=True)
class Claim:
    """Work that is ours: `number` fences every later write."""

    work_id: WorkId
    number: int


@dataclass(frozen=True, slots=True)
class Gathered:
    """Why it left the window in which it gathered, and how many milliseconds it had been there."""

    left: Left
    ms: int


@dataclass(frozen=True)
class Claimed:
    """A claim with what a call needs. `failures` counts earlier tries; `alone`: it may have spoiled its pack; `urgent`: its
    sender said so; `gathered`: where it was in a window."""

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
    gathered: Gathered | None = None
    consumer: str | None = None

    def shares_with(self, scope: PackScope) -> str | None:
        """Return the consumer whose items alone may share its call; None where every item of its version may.

        Items without a consumer share with each other: they count as those of one.
        """
        return (self.consumer or "") if scope is PackScope.CONSUMER else None

    @property
    def measures(self) -> bool:
        """Whether nobody waits for it: a shadow. It shares its call with no other item."""
        return self.purpose is Purpose.SHADOW

    @property
    def travels_alone(self) -> bool:
        """Whether it shares its call with no other item: it failed once, may have spoiled a pack, or is there to show what a
        call says of it alone."""
        return self.alone or self.failures > 0 or self.measures

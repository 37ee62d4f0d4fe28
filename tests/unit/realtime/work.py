"""Claimed work for tests of the drain's rules."""

from datetime import datetime
from typing import Any

from lanes.ids import WorkId
from lanes.packing import Claim, ClaimedWork
from lanes.words import Purpose
from lanes.workload.version import Version
from tests.conftest import later
from tests.examples import version

LETTERS = version(1, "letters", buffer_s=0)


def claimed(
    number: int,
    of: Version = LETTERS,
    *,
    rank_at: datetime | None = None,
    failures: int = 0,
    purpose: Purpose = Purpose.ANSWER,
    **fields: Any,
) -> ClaimedWork:
    """Return work with this number, claimed once."""
    claim = Claim(WorkId(number), 1)
    at = rank_at or later(hours=1)
    return ClaimedWork(claim, of.id, of.workload, f"k{number}", {}, purpose, failures, at, **fields)

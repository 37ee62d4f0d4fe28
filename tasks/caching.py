"""Decides in the background whether a drain's calls use the provider's prompt cache."""

import time
from collections.abc import Callable, Sequence

from prefect.logging import get_run_logger

from lanes.ids import VersionId
from lanes.money.caching import Marking, Marks
from lanes.store.database import Database
from lanes.store.money import caching
from lanes.words import Lane
from lanes.workload.version import Version

EVERY_S = 15.0


class Caching:
    """The cache marks of a drain for the versions that it `met`; nothing is marked before the first look."""

    def __init__(self, db: Database, met: Callable[[], Sequence[Version]]) -> None:
        self._db, self._met = db, met
        self._marking = Marking()

    def marks(self, version: Version) -> bool:
        """Whether the next call of the version marks what it shares."""
        return self._marking.marks(version.id, at=time.monotonic())

    async def look(self) -> None:
        """Update the marks to the last decision of any drain, and log changes."""
        found: dict[VersionId, Marks] = {}
        for version in self._met():
            async with self._db.transaction() as run:
                try:
                    decided = await run(caching.weigh, version, Lane.REALTIME, now=run.now)
                except LookupError:  # no price is known for its model: nothing says that it pays
                    continue
            found[version.id] = decided.marks
            if decided.marks is not self._marking.of(version.id):
                get_run_logger().info(
                    "%s: cache %s: %s", version.workload, decided.said(Lane.REALTIME), decided.why
                )
        self._marking.decided(found)

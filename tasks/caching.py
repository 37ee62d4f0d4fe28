"""Whether a drain's calls mark what they share for the provider's cache, looked at beside its loop."""

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
    """That of one drain, for the versions that it `met`. Until it looked, and where it cannot, nothing is marked."""

    def __init__(self, db: Database, met: Callable[[], Sequence[Version]]) -> None:
        self._db, self._met = db, met
        self._marking = Marking()

    def marks(self, version: Version) -> bool:
        """Whether the next call of the version marks what it shares."""
        return self._marking.marks(version.id, at=time.monotonic())

    async def look(self) -> None:
        """Calls mark as was decided last, by whichever drain. What changes stands in the log."""
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

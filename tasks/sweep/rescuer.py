"""The rescuer: work whose claimer went away is somebody's again. Drains rescue too, so that it does not wait for a sweep."""

from datetime import datetime

from lanes.standing.duty import Duty
from lanes.store import work
from lanes.store.database import Database
from tasks.saving import save


class Rescuer:
    """A lease that ran out, or a session that is gone, tells a lost claim."""

    duty = Duty("lost claims")

    def __init__(self, db: Database) -> None:
        self._db = db

    async def turn(self, now: datetime) -> None:
        """Claims that nobody answers for any more are attempts without an answer, and ready again."""
        await save(self._db, await self._db.run(work.abandoned, now=now))

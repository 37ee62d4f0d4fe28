"""The rescuer: work whose lease ran out is ready again. Drains rescue too, so that it does not wait for a sweep."""

from datetime import datetime

from lanes.standing.duty import Duty
from lanes.store import work
from lanes.store.database import Database
from tasks.saving import save


class Rescuer:
    """Turns claims whose leases ran out into attempts."""

    duty = Duty("lost claims")

    def __init__(self, db: Database) -> None:
        self._db = db

    async def turn(self, now: datetime) -> None:
        """Record an attempt without an answer for each lost claim; its work is ready again."""
        await save(self._db, await self._db.run(work.abandoned, now=now))

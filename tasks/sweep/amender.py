"""The amender: late data that came before its item finds it."""

from datetime import datetime

from lanes.standing.duty import Duty
from lanes.store.database import Database
from lanes.store.doors import amendments


class Amender:
    """Amendments wait for items that are not there yet."""

    duty = Duty("late data")

    def __init__(self, db: Database) -> None:
        self._db = db

    async def turn(self, now: datetime) -> None:
        """Amendments whose items have come were applied to them."""
        await self._db.run(amendments.apply_waiting, now=now)

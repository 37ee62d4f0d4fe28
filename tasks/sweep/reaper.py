"""The reaper: nobody waits for ever. What could not be answered for its workload's `give_up_after_h` is given up."""

from datetime import datetime, timedelta

from lanes.standing.duty import Duty
from lanes.store.database import Database
from lanes.store.realtime import giving_up
from lanes.words import Lane
from tasks.saving import save


class Reaper:
    """It has a turn every few minutes, because it reads everything that waits."""

    duty = Duty("what waits for ever", every=timedelta(minutes=5))

    def __init__(self, db: Database) -> None:
        self._db = db

    async def turn(self, now: datetime) -> None:
        """What waited too long has its last attempt, on either lane."""
        for lane in Lane:
            await save(self._db, await self._db.run(giving_up.hopeless, lane, now=now))

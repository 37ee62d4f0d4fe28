"""The finisher: a replay whose work has ended is complete, and its artifact says so."""

from datetime import datetime
from functools import partial

from lanes.standing.duty import Duty
from lanes.store.database import Database
from lanes.store.replays import replays
from tasks.replay import write_diff
from tasks.sweep.errands import Errands

PREFECT_S = 10.0  # without Prefect `lanes diff` says the same


class Finisher:
    """Each replay is told complete once."""

    duty = Duty("replays")

    def __init__(self, db: Database, errands: Errands) -> None:
        self._db, self._errands = db, errands

    async def turn(self, now: datetime) -> None:
        """Replays that have ended are complete, and their reports are being written."""
        for complete in await self._db.run(replays.finish, now=now):
            self._errands.send(
                f"the report of {complete.name}",
                partial(write_diff, self._db, complete),
                within_s=PREFECT_S,
            )

"""The early-departure clerk: batch work that its schedule would send too late leaves now."""

from datetime import datetime
from functools import partial

from lanes.standing import runs
from lanes.standing.duty import Duty
from lanes.store.batch.deadlines import pressing
from lanes.store.database import Database
from tasks.asking import ask_for_run
from tasks.sweep.errands import Errands

PREFECT_S = 10.0


class DepartureClerk:
    """It asks for a run of `depart`, of each workload at most once a minute."""

    duty = Duty("deadlines")

    def __init__(self, db: Database, errands: Errands) -> None:
        self._db, self._errands = db, errands

    async def turn(self, now: datetime) -> None:
        """A run is being asked for wherever a deadline presses, or an earlier run was put off until now."""
        for workload in await self._db.run(pressing, now=now):
            wanted = runs.depart(workload).once_a_minute(f"deadline {workload}", now)
            self._errands.send(
                f"an early departure of {workload}",
                partial(ask_for_run, wanted),
                within_s=PREFECT_S,
            )

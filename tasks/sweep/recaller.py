"""The recaller: a batch of which nobody wants anything any more is cancelled, so that what has not run is not paid for."""

from datetime import datetime, timedelta

from prefect.logging import get_run_logger

from lanes.standing.duty import Duty
from lanes.store.batch import unwanted
from lanes.store.database import Database


class Recaller:
    """It has a turn every minute: a batch that is wanted is passed over at the first of its items that is."""

    duty = Duty("batches that nobody wants", every=timedelta(minutes=1))

    def __init__(self, db: Database) -> None:
        self._db = db

    async def turn(self, now: datetime) -> None:
        """`collect` cancels them at the provider when it polls them next."""
        for each in await self._db.run(unwanted.recall, now=now):
            get_run_logger().info(
                "batch %d is cancelled: nobody waits for any of its items any more", each
            )

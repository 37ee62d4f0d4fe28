"""The resumer: work of a version that the provider refuses goes on with the version in force."""

from datetime import datetime

from prefect.logging import get_run_logger

from lanes.standing.duty import Duty
from lanes.store.database import Database
from lanes.store.settling import refusals
from lanes.units import counted


class Resumer:
    """It moves some thousand works a turn, and ends what stopped their workload after the last."""

    duty = Duty("versions that the provider refuses")

    def __init__(self, db: Database) -> None:
        self._db = db

    async def turn(self, now: datetime) -> None:
        """Move the work of refused versions, and end the stops that are over."""
        if moved := await self._db.run(refusals.go_on, now=now):
            get_run_logger().info(
                "%s of refused versions goes on with the version in force",
                counted(moved, "piece of work"),
            )

"""The packer: fewer items share a call where that is seen to hurt their answers, and more again where it is not."""

from datetime import datetime, timedelta

from prefect.logging import get_run_logger
from sqlalchemy import Connection

from lanes.money.pack_size import Decided
from lanes.standing.duty import Duty
from lanes.store.database import Database
from lanes.store.money import pack_sizes
from lanes.store.workload import workloads


class Packer:
    """Drains and batches read what it decides; without it the sizes stay as they are."""

    duty = Duty("pack sizes", every=timedelta(seconds=30))

    def __init__(self, db: Database) -> None:
        self._db = db

    async def turn(self, now: datetime) -> None:
        """Every size in force is what is known of packing by now."""
        for each in await self._db.run(_decide, now=now):
            get_run_logger().info(
                "packs of %d of %d allowed: %s", each.size, each.allowed, each.why
            )


def _decide(connection: Connection, *, now: datetime) -> list[Decided]:
    return pack_sizes.decide_all(connection, workloads.in_force(connection).values(), now=now)

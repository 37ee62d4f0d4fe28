"""Everybody of the sweep has a turn once a tick, if it is due."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Protocol

from lanes.standing.duty import Duty
from lanes.store.database import Database
from tasks.connections import Connections
from tasks.sweep.amender import Amender
from tasks.sweep.departure_clerk import DepartureClerk
from tasks.sweep.errands import Errands
from tasks.sweep.finisher import Finisher
from tasks.sweep.folder import Folder
from tasks.sweep.packer import Packer
from tasks.sweep.reaper import Reaper
from tasks.sweep.recaller import Recaller
from tasks.sweep.rescuer import Rescuer
from tasks.sweep.resolver import Resolver
from tasks.sweep.resumer import Resumer


class Person(Protocol):
    """Somebody with a duty."""

    @property
    def duty(self) -> Duty: ...

    async def turn(self, now: datetime, /) -> None:
        """What its duty is about was seen to at `now`; what asks the provider or Prefect may have been sent as an errand."""
        ...


class Sweeper:
    """Each person stands alone: one that breaks is named in the log, one that hangs is ended, and the tick goes on."""

    def __init__(self, db: Database, people: Sequence[Person], errands: Errands) -> None:
        self._db, self._people, self._errands = db, people, errands
        self._began: dict[str, datetime] = {}

    async def sweep(self) -> None:
        """Everything that waits has somebody who will come for it, as far as each of them could see to it."""
        now = await self._db.now()
        for each in self._people:
            duty = each.duty
            if duty.is_due(self._began.get(duty.name), now):
                self._began[duty.name] = now
                await self._errands.alone(
                    duty.name, partial(each.turn, now), within_s=duty.within_s
                )


def everybody(at: Connections, errands: Errands) -> list[Person]:
    """Those of a sweep, in the order of their turns."""
    return [
        Rescuer(at.db),
        Reaper(at.db),
        Recaller(at.db),
        Resumer(at.db),
        Amender(at.db),
        Resolver(at, errands),
        Finisher(at.db, errands),
        DepartureClerk(at.db, errands),
        Packer(at.db),
        Folder(at.db),
    ]


@asynccontextmanager
async def sweeping(at: Connections) -> AsyncIterator[Sweeper]:
    """A sweeper; at the end it leaves nothing behind."""
    errands = Errands()
    try:
        yield Sweeper(at.db, everybody(at, errands), errands)
    finally:
        await errands.close()

"""The waker: work or received items that no drain serves, or a drain that should be warm and is not, call for one."""

from datetime import datetime
from functools import partial

from lanes.realtime.waking import Calls, Unserved
from lanes.settings import Settings
from lanes.standing import runs
from lanes.standing.duty import Duty
from lanes.store import work
from lanes.store.database import Database
from lanes.store.doors import items
from lanes.store.realtime.calls import call_for_drain
from lanes.store.signals import Role, holder_exists
from lanes.words import Lane
from tasks.asking import ask_for_run
from tasks.sweep.errands import Errands

PREFECT_S = 10.0


class Waker:
    """It calls by an event; where one was in vain it asks for a run besides, since a trigger can fail without a trace."""

    duty = Duty("silent drains")

    def __init__(self, db: Database, errands: Errands, *, calls: Calls | None = None) -> None:
        self._db, self._errands = db, errands
        self._calls = calls or Calls()

    async def turn(self, now: datetime) -> None:
        """A drain reads, or nothing needs one, or one was called for."""
        if await self._db.run(holder_exists, Role.ROUTER):
            self._calls.served()
            return
        if not self._calls.due(now):
            return
        unserved = await self._unserved(now)
        if not unserved.needs_a_drain:
            return
        in_vain = self._calls.call(now)
        await self._db.run(call_for_drain, ready=unserved.ready, received=int(unserved.received), now=now)
        if in_vain:
            wanted = runs.answer().once_a_minute("waiting work", now)
            self._errands.send("a drain", partial(ask_for_run, wanted), within_s=PREFECT_S)

    async def _unserved(self, now: datetime) -> Unserved:
        ready = (await self._db.run(work.backlog, Lane.REALTIME, now=now)).ready
        received = await self._db.run(items.any_received)
        return Unserved(ready, received, keep_warm=Settings.read().keep_warm > 0)

"""The second look's other half: what real time cannot serve now, and may wait, leaves for a batch."""

from collections.abc import Sequence

from prefect.logging import get_run_logger

from lanes.routing.load import Load, Rest
from lanes.routing.shedding import Line, Shedding
from lanes.store.database import Database
from lanes.store.money import budgets
from lanes.store.realtime import circuits
from lanes.store.routing import sheds, turnarounds
from lanes.store.routing.sheds import END
from lanes.store.workload import workloads
from lanes.units import counted

MOST_CHUNKS = 40  # of one look, each a transaction: the next goes on from there


class Shedder:
    """Looks at the queue from its end, and in a long one goes on where the last look ended. One collector has it."""

    def __init__(self, db: Database, account: str) -> None:
        self._db, self._account = db, account
        self._before = END
        self._line: Line | None = None  # where that is

    async def look(self, load: Load) -> int:
        """What has to leave, and was looked at, has left; how much that was. `load` is that of the real-time lane."""
        async with self._db.transaction() as run:
            going = await run(sheds.going)
            rests = [
                Rest(model, each.since, each.why)
                for (account, model), each in (await run(circuits.not_closed, now=run.now)).items()
                if account == self._account
            ]
            statuses = await run(budgets.statuses, going, now=run.now)
            shedding = Shedding(
                rests, statuses, load, await run(turnarounds.prospects, now=run.now), now=run.now
            )
        names = shedding.looked_at(going)
        if not names:
            self._before = END
            return 0
        if self._line is None or self._before == END:
            self._line = shedding.line(going, await self._db.look(sheds.standing, names))
        left = 0
        for _ in range(MOST_CHUNKS):
            left += await self._leave(shedding, self._line, names)
            if self._before == END:
                break
        if left:
            get_run_logger().info("%s shed to batches", counted(left, "item"))
        return left

    async def _leave(self, shedding: Shedding, line: Line, names: Sequence[str]) -> int:
        """What has to leave of the next chunk has left; how much that was."""
        async with self._db.transaction() as run:
            found = await run(sheds.last, names, before=self._before)
            known = await run(workloads.versions, {each.version_id for each in found.waiting})
            leaving = shedding.leaving(found.waiting, known, line)
            moved = await run(sheds.save, leaving, now=run.now) if leaving else 0
        self._before = found.before or END
        return moved

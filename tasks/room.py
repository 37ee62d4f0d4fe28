"""What real time has room for, as a router sees it: looked at every few seconds, and only where the answer could matter."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from lanes.routing.room import Ahead, Room, Usual
from lanes.routing.split import Splits
from lanes.store.database import Run
from lanes.store.realtime import limits
from lanes.store.routing import room
from lanes.workload.version import Version

LOOK_EVERY = timedelta(seconds=5)
LEARN_EVERY = timedelta(minutes=1)


class Rooms:
    """The room of the newest look, with what was routed since."""

    def __init__(self) -> None:
        self._room: Room | None = None
        self._looked_at: datetime | None = None
        self._usual: dict[str, tuple[datetime, Usual]] = {}

    async def of(self, run: Run, versions: Iterable[Version], splits: Splits) -> Room | None:
        """What real time has room for; None where no item of these versions goes there but what must."""
        asked = [each for each in versions if may_choose_realtime(each, splits)]
        if not asked:
            return None
        if self._room is None or self._looked_at is None or not self._looked_at <= run.now < self._looked_at + LOOK_EVERY:
            load = await run(room.load, now=run.now)
            if load.limits:
                limited = [each for each in (*asked, *map(_version, load.ahead)) if each.spec.realtime_model in load.limits]
                await self._learn(run, {each.workload: each for each in limited}.values())
            usual = {name: known for name, (_, known) in self._usual.items()}
            self._room, self._looked_at = Room(load, usual), run.now
        return self._room

    async def _learn(self, run: Run, versions: Iterable[Version]) -> None:
        for each in versions:
            known = self._usual.get(each.workload)
            if known is None or not known[0] <= run.now < known[0] + LEARN_EVERY:
                tries = await run(limits.tries, each.workload, now=run.now)
                self._usual[each.workload] = run.now, Usual.learned(each.spec, tries)


def may_choose_realtime(version: Version, splits: Splits) -> bool:
    """Whether value or split may send some item to real time that could wait as well."""
    return bool(version.spec.value_usd) or splits.reach_realtime(version.workload)


def _version(ahead: Ahead) -> Version:
    return ahead.version

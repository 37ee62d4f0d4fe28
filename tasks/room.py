"""What real time has room for, as a router sees it: looked at every few seconds, and only where the answer could matter."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from lanes.routing.room import Room
from lanes.routing.split import Splits
from lanes.store.database import Run
from lanes.store.money import sharing
from lanes.store.realtime import load
from lanes.workload.version import Version

LOOK_EVERY = timedelta(seconds=5)


class Rooms:
    """The room of the newest look, with what was routed since; of one account, whose drains ask `most_calls` at once (0: as
    many as they can)."""

    def __init__(self, account: str, most_calls: int = 0) -> None:
        self._account, self._most_calls = account, most_calls
        self._room: Room | None = None
        self._looked_at: datetime | None = None

    async def of(self, run: Run, versions: Iterable[Version], splits: Splits) -> Room | None:
        """What real time has room for. Where no item of these versions goes there but what must, nobody looks anew: such items
        take of the room that is still known, if any is."""
        if (
            self._looked_at is not None
            and self._looked_at <= run.now < self._looked_at + LOOK_EVERY
        ):
            return self._room
        if not any(may_choose_realtime(each, splits) for each in versions):
            return None
        seen = await run(
            load.snapshot, account=self._account, most_calls=self._most_calls, now=run.now
        )
        self._room, self._looked_at = Room(seen, await run(sharing.known, now=run.now)), run.now
        return self._room


def may_choose_realtime(version: Version, splits: Splits) -> bool:
    """Whether value or split may send some item to real time that could wait as well."""
    return bool(version.spec.value_usd) or splits.reach_realtime(version.workload)

"""The ways to have a file answered: on each lane, each item alone or packed; what that costs, and when it is done. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from lanes.ids import VersionId
from lanes.money.cost import Estimate
from lanes.money.sharing import Sharing
from lanes.routing.load import Load
from lanes.routing.prospect import Prospects
from lanes.routing.room import Room
from lanes.words import Lane
from lanes.workload.version import Version


@dataclass(frozen=True)
class Plan:
    """All items on one lane, `pack` of them in a call; an estimate in US dollars.

    `takes_s`: seconds until real time has answered them, behind what waits there; None of a batch, and where its load is not
    known. `probability`: that a batch is back by the time that was asked for; `back_at`: when it is, with the
    confidence of its version.
    """

    lane: Lane
    pack: int
    calls: int
    usd: Decimal
    takes_s: float | None = None
    probability: float | None = None
    back_at: datetime | None = None


class Plans:
    """Those of one file, item by item; packs are as large as `sharing` has them. `alone` is the version that packs none."""

    def __init__(self, version: Version, sharing: Sharing | None = None) -> None:
        self._version, self._sharing = version, sharing or Sharing()
        # Under an id of its own: who knows estimates by version would take it for the other.
        self.alone = replace(
            version,
            id=VersionId(-version.id),
            spec=version.spec.model_copy(update={"realtime_pack": 1, "batch_pack": 1}),
        )
        self.items = 0
        self._usd = {(lane, packed): Decimal(0) for lane in Lane for packed in (False, True)}

    def add(self, *, alone: Estimate, packed: Estimate) -> None:
        """One item more, and what it costs with the version that packs none, and with the one that does."""
        self.items += 1
        for costs, is_packed in ((alone, False), (packed, True)):
            self._usd[Lane.REALTIME, is_packed] += costs.realtime
            self._usd[Lane.BATCH, is_packed] += costs.batch

    def found(self, prospects: Prospects, load: Load | None, *, by: datetime | None) -> list[Plan]:
        """The plans for all of them, the first of each lane with each item alone; none without an item."""
        if not self.items:
            return []
        return [
            self._plan(lane, is_packed, prospects, load, by)
            for lane in Lane
            for is_packed in (False, True)
            if not is_packed or self._sharing.pack_of(self._version, lane) > 1
        ]

    def _plan(
        self,
        lane: Lane,
        is_packed: bool,
        prospects: Prospects,
        load: Load | None,
        by: datetime | None,
    ) -> Plan:
        version = self._version if is_packed else self.alone
        pack = self._sharing.pack_of(version, lane)
        calls, usd = -(-self.items // pack), self._usd[lane, is_packed]
        if lane is Lane.REALTIME:
            takes_s = (
                None if load is None else Room(load, self._sharing).takes_s(version, self.items)
            )
            return Plan(lane, pack, calls, usd, takes_s=takes_s)
        prospect = prospects.of_size(version, calls)
        back_at = prospect.presses_until if by is None else prospect.back_at
        probability = None if by is None else prospect.chance(by).probability
        return Plan(lane, pack, calls, usd, probability=probability, back_at=back_at)

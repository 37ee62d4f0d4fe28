"""The waiting batch work that its budgets can pay for, and the upper bound of a batch's cost."""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import partial

from sqlalchemy import Connection, text

from lanes.ids import BudgetId, IncidentId, WorkId
from lanes.json_data import call_bytes
from lanes.money.budget import Budget
from lanes.money.cost import pack_bound
from lanes.packing import Claim, ClaimedWork, chunks
from lanes.promises.assessment import Assessment
from lanes.promises.breaches import DEAR, too_dear
from lanes.promises.incident import Promise
from lanes.store import incidents
from lanes.store.money import budgets
from lanes.store.money.budgets import BudgetUsedUp, HardBudget
from lanes.words import Lane
from lanes.workload.context import ContextPart
from lanes.workload.version import Version

Earlier = Mapping[WorkId, Sequence[ContextPart]]
READ_AT_ONCE = 500  # work rows whose consumers are read in one query
READ_BYTES = 1024**2
# Without a workload: incidents whose workload has no ready batch work or no hard budget, or whose budget was set since.
DEAR_ITEMS = """
select i.workload, i.subject
  from lanes.incident i
 where i.state = 'open' and i.promise = 'budget' and right(i.subject, length(:ending)) = :ending
   and (i.workload = :of
        or cast(:of as text) is null
           and (not exists (select from lanes.work w where w.workload = i.workload and w.lane = 'batch' and w.state = 'ready')
                or not exists (select from lanes.budget b where b.workload = i.workload and b.hard_usd is not null)
                or exists (select from lanes.budget b where b.workload = i.workload and b.set_at > i.updated_at)))
 order by i.id
"""


@dataclass(frozen=True)
class TooDear:
    """Items that may cost more than a whole period of a budget; the dearest has `key` and may cost up to `usd`."""

    of: HardBudget
    key: str
    usd: Decimal
    items: int

    @property
    def subject(self) -> str:
        """Return the subject of the budget in incidents."""
        return Budget(self.of.workload, self.of.consumer, self.of.period, "", None, None).subject

    @property
    def breach(self) -> Assessment:
        """Return the breach to report."""
        return too_dear(
            self.of.workload,
            self.subject,
            self.of.period,
            key=self.key,
            items=self.items,
            bound_usd=self.usd,
            hard_usd=self.of.hard_usd,
        )


class Affording:
    """The hard budgets of one workload while its batch is written; without any, all work passes.

    `marked` are the numbers of the requests that mark their prefix and may cost more. The remaining amounts are read without
    a lock; `reserve` checks them again.
    """

    def __init__(
        self, connection: Connection, version: Version, *, marked: range = range(0), now: datetime
    ) -> None:
        hard_budgets = [
            hard_budget
            for hard_budget in budgets.list_hard(connection)
            if hard_budget.workload == version.workload
        ]
        self._connection, self._version, self._marked, self._now = connection, version, marked, now
        self._limited = {hard_budget.id: hard_budget for hard_budget in hard_budgets}
        self._everybodys = [
            hard_budget.id for hard_budget in hard_budgets if hard_budget.consumer is None
        ]
        self._consumers: dict[str, list[BudgetId]] = {}
        for hard_budget in hard_budgets:
            if hard_budget.consumer is not None:
                self._consumers.setdefault(hard_budget.consumer, []).append(hard_budget.id)
        self._rests = (
            budgets.read_left_usd(connection, self._limited, now=now) if hard_budgets else {}
        )
        self._least = (
            pack_bound(version, 0, items=1, lane=Lane.BATCH, at=now) if hard_budgets else Decimal(0)
        )
        self._readers: dict[WorkId, str | None] = {}
        self._sizes: dict[Claim, int] = {}
        # budgets that cannot pay the smallest request while work waits
        self._lacking: set[BudgetId] = set()
        self._waits = False  # whether some work stays behind for now
        self._read_all = False
        self._too_dear: dict[BudgetId, TooDear] = {}

    @property
    def bounds_anything(self) -> bool:
        """Return whether some budget of the workload has a hard limit."""
        return bool(self._rests)

    def read(self, waiting: Iterable[ClaimedWork]) -> Iterator[ClaimedWork]:
        """Yield the same work after loading its consumers, whose budgets pay for it."""
        if not self._consumers:
            yield from waiting
            return
        for part in chunks(waiting, most=READ_AT_ONCE, most_bytes=READ_BYTES, weight=lambda _: 1):
            ids = [each.claim.work_id for each in part]
            self._readers |= budgets.read_consumers(self._connection, ids)
            yield from part

    def payable(
        self, packs: Iterable[list[ClaimedWork]], earlier: Earlier
    ) -> Iterator[list[ClaimedWork]]:
        """Yield the packs in order, without the items that the budgets cannot pay for; later items may still fit.

        Stops once a budget of the whole workload cannot pay for the smallest request. `earlier` is the context that a batch
        reads with each item.
        """
        if not self._rests:
            yield from packs
            return
        left_usd, number = dict(self._rests), 0
        for pack in packs:
            if self._is_empty(self._everybodys, left_usd):
                return
            for item in pack:
                told = earlier.get(item.claim.work_id, ())
                history = sum(part.most_bytes for part in told)
                self._sizes[item.claim] = call_bytes(item.payload) + history
            kept = self._within(pack, left_usd, number)
            if not kept:
                continue
            for id_, usd in self._shares([[item.claim for item in kept]], number).items():
                left_usd[id_] -= usd
            number += 1
            yield kept
        self._read_all = True

    def bounds(self, packs: Sequence[Sequence[Claim]]) -> Mapping[BudgetId, Decimal]:
        """Return the upper bound of the cost of a batch of these packs, in US dollars for each budget."""
        return self._shares(packs) if self._rests else {}

    def find_shortage(self) -> BudgetUsedUp | None:
        """Return why waiting work cannot be submitted; None if no budget holds any work back."""
        if not self._waits:
            return None
        standing = budgets.statuses(self._connection, [self._version.workload], now=self._now)
        reason = "; ".join(each.sentence for each in standing if each.budget.hard_usd is not None)
        lacking = dict.fromkeys(self._lacking, self._least)
        return BudgetUsedUp(f"too little is left of its budget ({reason})", lacking)

    def report(self, connection: Connection) -> None:
        """Open incidents for items that cost more than a whole period's budget; once all work was read, resolve others."""
        for each in self._too_dear.values():
            incidents.open(connection, each.breach, now=self._now)
        if self._read_all:
            subjects = [each.subject for each in self._too_dear.values()]
            name = self._version.workload
            _end(connection, but=[(name, each + DEAR) for each in subjects], of=name, now=self._now)

    def _within(
        self, pack: list[ClaimedWork], left_usd: Mapping[BudgetId, Decimal], number: int
    ) -> list[ClaimedWork]:
        """Return the items of the pack that all of their budgets can pay for; the largest items stay behind first."""
        payable_items = pack
        while empty := self._find_exceeded(payable_items, left_usd, number):
            payers = [
                each for each in payable_items if empty.intersection(self._payers(each.claim))
            ]
            payers.sort(key=lambda each: self._sizes[each.claim])
            others = [
                each for each in payable_items if not empty.intersection(self._payers(each.claim))
            ]
            fit = bisect_left(
                range(1, len(payers)),
                True,
                key=lambda n: bool(
                    empty & self._find_exceeded([*others, *payers[:n]], left_usd, number)
                ),
            )
            staying = {each.claim for each in payers[fit:]}
            for each in payers[fit:]:
                self._stays_behind(each, left_usd)
            payable_items = [each for each in payable_items if each.claim not in staying]
        return payable_items

    def _find_exceeded(
        self, items: Sequence[ClaimedWork], left_usd: Mapping[BudgetId, Decimal], number: int
    ) -> set[BudgetId]:
        """Return the budgets that have less left than a pack of these items may cost."""
        shares = self._shares([[each.claim for each in items]], number)
        return {id_ for id_, usd in shares.items() if usd > left_usd[id_]}

    def _stays_behind(self, item: ClaimedWork, left_usd: Mapping[BudgetId, Decimal]) -> None:
        """Leave the item for the next period, or count it as too dear if a whole period's budget cannot pay for it."""
        size = self._sizes[item.claim]
        usd = pack_bound(self._version, size, items=1, lane=Lane.BATCH, at=self._now)
        dear = False
        for id_ in self._payers(item.claim):
            if usd > (of := self._limited[id_]).hard_usd > 0:
                known = self._too_dear.get(id_) or TooDear(of, item.key, usd, 0)
                dearest = known if known.usd >= usd else TooDear(of, item.key, usd, known.items)
                self._too_dear[id_], dear = replace(dearest, items=known.items + 1), True
        if not dear:
            self._waits = True
            self._is_empty(self._payers(item.claim), left_usd)

    def _is_empty(self, of: Iterable[BudgetId], left_usd: Mapping[BudgetId, Decimal]) -> bool:
        """Return whether any of these budgets has less left than the smallest request may cost, and note those that do."""
        empty = {id_ for id_ in of if id_ in left_usd and left_usd[id_] < self._least}
        self._lacking |= empty
        self._waits = self._waits or bool(empty)
        return bool(empty)

    def _shares(self, packs: Sequence[Sequence[Claim]], first: int = 0) -> dict[BudgetId, Decimal]:
        """Return the upper bound of the packs' cost for each budget; `first` is the request number of the first pack."""
        sums: dict[BudgetId, Decimal] = {}
        for number, pack in enumerate(packs, first):
            size = sum(self._sizes[claim] for claim in pack)
            marked = number in self._marked
            bound = pack_bound(
                self._version, size, items=len(pack), lane=Lane.BATCH, marked=marked, at=self._now
            )
            for claim in pack:  # divided evenly, like the bill of a pack
                for id_ in self._payers(claim):
                    sums[id_] = sums.get(id_, Decimal(0)) + bound / len(pack)
        return sums

    def _payers(self, claim: Claim) -> list[BudgetId]:
        reader = self._readers.get(claim.work_id)
        of = [*self._everybodys, *(self._consumers.get(reader, ()) if reader is not None else ())]
        return [id_ for id_ in of if id_ in self._rests]


def dear_items_are_gone(connection: Connection, *, now: datetime) -> list[IncidentId]:
    """Resolve incidents about items above a whole budget if the workload's batch work is gone or its budgets have changed.

    If an item still costs too much, the next departure reports it again.
    """
    return _end(connection, now=now)


def _end(
    connection: Connection,
    *,
    but: Collection[tuple[str, str]] = (),
    of: str | None = None,
    now: datetime,
) -> list[IncidentId]:
    """Resolve a workload's incidents except those in `but`, or without a workload all that no longer apply."""
    rows = connection.execute(text(DEAR_ITEMS), {"of": of, "ending": DEAR}).all()
    message = "Every item that waits for a batch is within its budget."
    end = partial(incidents.resolve, connection, Promise.BUDGET, sentence=message, now=now)
    keys = [(row.workload, row.subject) for row in rows]
    ended = [end(*key) for key in keys if key not in but]
    return [each for each in ended if each is not None]

"""What of the waiting batch work its budgets have something left for, and what a batch of it may cost at most."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from lanes.chunks import chunks
from lanes.claims import Claim, Claimed
from lanes.ids import BudgetId, WorkId
from lanes.money.caching import Marks, is_marked
from lanes.money.cost import pack_bound
from lanes.packing import FRAME_CHARS
from lanes.payload import characters
from lanes.store.money import budgets, holds
from lanes.store.money.holds import BudgetUsedUp
from lanes.words import Lane
from lanes.workload.version import Version

Earlier = Mapping[WorkId, Sequence[Mapping[str, Any]]]
READ_AT_ONCE = 500  # works whose readers are looked up together
READ_BYTES = 1024**2


class Affording:
    """The budgets of one workload while a batch of it is written. Without any, everything passes and nothing is kept.

    `marks` says which requests mark what they share, and may cost more. What is left is read without a lock: `reserve` finds
    out whether it still is.
    """

    def __init__(self, connection: Connection, version: Version, *, marks: Marks = Marks.NONE, now: datetime) -> None:
        of = [each for each in budgets.limited(connection) if each.workload == version.workload]
        self._connection, self._version, self._marks, self._now = connection, version, marks, now
        self._everybodys = [each.id for each in of if each.consumer is None]
        self._consumers: dict[str, list[BudgetId]] = {}
        for each in of:
            if each.consumer is not None:
                self._consumers.setdefault(each.consumer, []).append(each.id)
        self._rests = holds.rests(connection, dict.fromkeys(each.id for each in of), now=now) if of else {}
        self._readers: dict[WorkId, str | None] = {}
        self._chars: dict[Claim, int] = {}
        self.lacking: set[BudgetId] = set()  # of which there was not enough left for something that waits

    def read(self, waiting: Iterable[Claimed]) -> Iterator[Claimed]:
        """The same work; of what is yielded it is known whose budgets pay for it."""
        if not self._consumers:
            yield from waiting
            return
        for part in chunks(waiting, most=READ_AT_ONCE, most_bytes=READ_BYTES, weight=lambda each: 1):
            self._readers |= holds.consumers(self._connection, [each.claim.work_id for each in part])
            yield from part

    def payable(self, packs: Iterable[list[Claimed]], earlier: Earlier) -> Iterator[list[Claimed]]:
        """The packs in order, as far as there is something left for them; without the items of a consumer whose budget has
        too little. `earlier` is what entities said before."""
        if not self._rests:
            yield from packs
            return
        left, number = dict(self._rests), 0
        for pack in packs:
            for each in pack:
                told = earlier.get(each.claim.work_id, ())
                history = sum(characters(payload) + FRAME_CHARS for payload in told)
                self._chars[each.claim] = characters(each.payload) + history
            kept = self._within(pack, left, number)
            if not kept:
                if self.lacking.intersection(self._everybodys):
                    return
                continue
            for id_, usd in self._shares([[each.claim for each in kept]], number).items():
                left[id_] -= usd
            number += 1
            yield kept

    def bounds(self, packs: Sequence[Sequence[Claim]]) -> Mapping[BudgetId, Decimal]:
        """What a batch of these packs may cost at most, of each budget."""
        return self._shares(packs) if self._rests else {}

    def used_up(self) -> BudgetUsedUp | None:
        """Why something that waits cannot leave; None when money keeps nothing back."""
        if not self.lacking:
            return None
        standing = budgets.statuses(self._connection, [self._version.workload], now=self._now)
        said = "; ".join(each.said for each in standing if each.budget.hard_usd is not None)
        return BudgetUsedUp(f"too little is left of its budget ({said})", self.lacking)

    def _within(self, pack: list[Claimed], left: Mapping[BudgetId, Decimal], number: int) -> list[Claimed]:
        """The items of the pack that every budget of theirs has enough left for."""
        kept = pack
        while kept:
            shares = self._shares([[each.claim for each in kept]], number)
            empty = {id_ for id_, usd in shares.items() if usd > left[id_]}
            if not empty:
                return kept
            self.lacking |= empty
            kept = [each for each in kept if not empty.intersection(self._payers(each.claim))]
        return kept

    def _shares(self, packs: Sequence[Sequence[Claim]], first: int = 0) -> dict[BudgetId, Decimal]:
        """What these packs may cost at most, of each budget; the first is the request of that number."""
        sums: dict[BudgetId, Decimal] = {}
        for number, pack in enumerate(packs, first):
            chars = sum(self._chars[claim] for claim in pack)
            bound = pack_bound(
                self._version, chars, items=len(pack), lane=Lane.BATCH, marked=is_marked(self._marks, number), at=self._now
            )  # fmt: skip
            for claim in pack:  # the bill of a pack is divided evenly too
                for id_ in self._payers(claim):
                    sums[id_] = sums.get(id_, Decimal(0)) + bound / len(pack)
        return sums

    def _payers(self, claim: Claim) -> list[BudgetId]:
        reader = self._readers.get(claim.work_id)
        of = [*self._everybodys, *(self._consumers.get(reader, ()) if reader is not None else ())]
        return [id_ for id_ in of if id_ in self._rests]

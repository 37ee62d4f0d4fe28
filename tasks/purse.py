"""A drain's money: slices of the budgets that its calls are paid from, debited in memory before each call.

A workload without a budget is looked up in a dict, and that is all. Nothing is locked while a call is under way.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import uuid4

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from lanes.claims import Claim, Claimed
from lanes.errors import StillLocked
from lanes.ids import BudgetId, WorkId
from lanes.money.budget import SLICE_S
from lanes.money.cost import allocate_usd, pack_bound
from lanes.payload import characters
from lanes.realtime.pace import Pace
from lanes.store.database import Database
from lanes.store.money import budgets, holds
from lanes.store.money.budgets import Limited
from lanes.store.money.holds import Want
from lanes.words import Lane
from lanes.workload.version import Version
from tasks.saving import passes

EVERY_S = 2.0  # how often it is looked whether budgets were set or raised, or a new period began
RESTS = timedelta(seconds=30)  # how long nothing of a workload is claimed, unless its budget is found to have something left
RESTS_ALONE = timedelta(minutes=1)  # the items of one consumer; setting a budget ends it
SOON = timedelta(seconds=1)  # where it could not be asked
ZERO = Decimal(0)


@dataclass
class Slice:
    """What may still be spent of a budget, taken at a moment of `time.monotonic`."""

    left: Decimal = ZERO
    taken_at: float = float("-inf")
    debited: Decimal = ZERO  # since then

    def covers(self, usd: Decimal, now: float) -> bool:
        """Whether a call of that bound may be paid of it."""
        return usd <= self.left and now - self.taken_at < SLICE_S


@dataclass(frozen=True)
class Paid:
    """Which items of a pack are paid for; the others are not to be asked before `again_at`."""

    items: Sequence[Claimed]
    unpaid: Sequence[Claimed] = ()
    again_at: datetime | None = None


@dataclass
class _Bill:
    """What a call may cost: the part of its bound that each item has, and of each budget the sum of those that it pays."""

    bounds: dict[Claim, Decimal] = field(default_factory=dict)
    payers: dict[Claim, list[BudgetId]] = field(default_factory=dict)

    def of(self, budget: BudgetId) -> Decimal:
        return sum((usd for claim, usd in self.bounds.items() if budget in self.payers[claim]), ZERO)


class Purse:
    """The slices of one drain. `held` are its claims: what it debited for one counts until that is saved or given back."""

    def __init__(
        self, db: Database, pace: Pace, *, held: Mapping[WorkId, Claim], session: Callable[[], int | None],
        clock: Callable[[], datetime], woken: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self._db, self._pace, self._held, self._session, self._clock, self._woken = db, pace, held, session, clock, woken
        self._holder = uuid4()
        self._of: dict[str, list[Limited]] | None = None  # budgets with a hard limit, by workload
        self._slices: dict[BudgetId, Slice] = {}
        self._debits: dict[Claim, tuple[Decimal, Sequence[BudgetId]]] = {}
        self._short: dict[str, dict[BudgetId, Decimal]] = {}  # what was asked for in vain, by workload
        self._turn = asyncio.Lock()
        self._seen_on: int | None = None

    async def pay(self, version: Version, pack: Sequence[Claimed]) -> Paid:
        """The items that budgets have something left for are debited by the most that one call for them may cost, in place of
        what was debited for them before: where the provider refused that, it cost nothing."""
        if self._of is None:
            await self._look()
        of = self._of.get(version.workload) if self._of else None
        if not of:
            return Paid(pack)
        async with self._turn:
            try:
                return await self._paid(version, pack, of)
            except (DBAPIError, NoConnectionFree, StillLocked) as error:
                if not isinstance(error, StillLocked) and not passes(error):
                    raise
                return Paid((), pack, self._clock() + SOON)

    async def payable(
        self, version: Version, pack: Sequence[Claimed], give_back: Callable[[Sequence[Claimed], datetime], None]
    ) -> Sequence[Claimed]:  # fmt: skip
        """What of the pack is paid for; the rest is given back, until when it may be asked again."""
        paid = await self.pay(version, pack)
        if paid.unpaid and paid.again_at is not None:
            give_back(paid.unpaid, paid.again_at)
        return paid.items

    async def look(self) -> None:
        """Budgets that were set since are minded, slices that got old are renewed or given back, and what rests for the want
        of money goes on where there is some again."""
        await self._look()
        async with self._turn:
            await self._renew_old()
            await self._go_on()

    async def close(self) -> None:
        """Nothing is held any more but what calls that are not saved may cost."""
        if self._slices:
            self._slices.clear()
            await self._db.run(holds.give_back, self._holder, self._outstanding(), now=await self._db.now())

    async def _look(self) -> None:
        found: dict[str, list[Limited]] = {}
        for each in await self._db.look(budgets.limited):
            found.setdefault(each.workload, []).append(each)
        self._of = found

    async def _paid(self, version: Version, pack: Sequence[Claimed], of: Sequence[Limited]) -> Paid:
        self._undo([each.claim for each in pack])
        readers: Mapping[WorkId, str | None] = {}
        if any(each.consumer is not None for each in of):
            readers = await self._db.look(holds.consumers, [each.claim.work_id for each in pack])
        paid, short = pack, dict[BudgetId, Decimal]()
        while paid:  # without the items of a consumer the others' call has another bound
            bill = self._bill(version, paid, of, readers)
            if not (empty := await self._lacking({each.id: usd for each in of if (usd := bill.of(each.id))})):
                for each in paid:
                    self._debit(each.claim, bill.bounds[each.claim], bill.payers[each.claim])
                break
            short |= empty
            paid = [each for each in paid if not empty.keys() & bill.payers[each.claim]]
        return self._unpaid(version.workload, pack, paid, short, of) if short else Paid(paid)

    async def _lacking(self, needs: Mapping[BudgetId, Decimal]) -> dict[BudgetId, Decimal]:
        """What of these needs no slice covers, and none that could be taken."""
        began = time.monotonic()
        if lacking := {id_: usd for id_, usd in needs.items() if not self._slice(id_).covers(usd, began)}:
            await self._take(lacking)
        now = time.monotonic()
        return {id_: usd for id_, usd in needs.items() if not self._slice(id_).covers(usd, now)}

    def _unpaid(
        self, workload: str, pack: Sequence[Claimed], paid: Sequence[Claimed], short: dict[BudgetId, Decimal],
        of: Sequence[Limited],
    ) -> Paid:  # fmt: skip
        now = self._clock()
        everybodys = {each.id for each in of if each.consumer is None}
        if short.keys() & everybodys:
            self._pace.rest_workload(workload, now + RESTS)
            self._short[workload] = {id_: usd for id_, usd in short.items() if id_ in everybodys}
            again_at = now + SOON
        else:
            again_at = now + RESTS_ALONE
        kept = {each.claim for each in paid}
        return Paid(paid, [each for each in pack if each.claim not in kept], again_at)

    def _bill(
        self, version: Version, pack: Sequence[Claimed], of: Sequence[Limited], readers: Mapping[WorkId, str | None]
    ) -> _Bill:  # fmt: skip
        bill, chars = _Bill(), sum(characters(each.payload) for each in pack)
        bound = pack_bound(version, chars, items=len(pack), lane=Lane.REALTIME, at=self._clock())
        for each, usd in zip(pack, allocate_usd(bound, [1] * len(pack)), strict=True):  # as the bill of a pack is divided
            bill.bounds[each.claim] = usd
            reader = readers.get(each.claim.work_id)
            bill.payers[each.claim] = [one.id for one in of if one.consumer is None or one.consumer == reader]
        return bill

    def _slice(self, id_: BudgetId) -> Slice:
        return self._slices.setdefault(id_, Slice())

    def _debit(self, claim: Claim, usd: Decimal, payers: Sequence[BudgetId]) -> None:
        self._debits[claim] = usd, payers
        for id_ in payers:
            self._slice(id_).left -= usd
            self._slice(id_).debited += usd

    def _undo(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            usd, payers = self._debits.pop(claim, (ZERO, ()))
            for id_ in payers:
                self._slice(id_).left += usd
                self._slice(id_).debited -= usd

    def _outstanding(self) -> dict[BudgetId, Decimal]:
        """What calls that are not saved yet may cost, of each budget."""
        self._debits = {claim: of for claim, of in self._debits.items() if self._held.get(claim.work_id) == claim}
        sums: dict[BudgetId, Decimal] = {}
        for usd, payers in self._debits.values():
            for id_ in payers:
                sums[id_] = sums.get(id_, ZERO) + usd
        return sums

    async def _take(self, needs: Mapping[BudgetId, Decimal]) -> None:
        """New slices of these budgets, in place of what is left of the old ones."""
        outstanding, began = self._outstanding(), time.monotonic()
        wants = {id_: Want(outstanding.get(id_, ZERO), need, self._minute(id_, began)) for id_, need in needs.items()}
        for id_ in needs:
            self._slice(id_).left = ZERO
        self._seen_on = self._session()
        async with self._db.transaction() as run:
            given = await run(holds.take, self._holder, self._seen_on, wants, now=run.now)
        for id_ in needs:
            if id_ in given:
                self._slices[id_] = Slice(given[id_] or ZERO, began)
            else:  # there is no such budget any more, or it limits nothing
                self._slices[id_] = Slice(Decimal("Infinity"), began + EVERY_S - SLICE_S)

    def _minute(self, id_: BudgetId, now: float) -> Decimal:
        """What a minute spends of the budget, as far as its slice tells."""
        of = self._slice(id_)
        took = now - of.taken_at
        if of.taken_at < 0 or took <= 0:
            return ZERO
        return of.debited * Decimal(min(SLICE_S, SLICE_S / max(took, 1.0)))

    async def _renew_old(self) -> None:
        """Slices of a minute ago are taken anew where something was spent of them, and given back otherwise; all of them where
        the session changed by which others see that we live."""
        now, moved = time.monotonic(), self._session() != self._seen_on
        old = [id_ for id_, of in self._slices.items() if moved or now - of.taken_at >= SLICE_S]
        if spent := {id_: ZERO for id_ in old if moved or self._slices[id_].debited}:
            await self._take(spent)
        if len(spent) < len(old):
            for id_ in set(old) - spent.keys():
                del self._slices[id_]
            kept = {id_: of.left for id_, of in self._slices.items() if of.left.is_finite()}
            outstanding = self._outstanding()
            both = {id_: kept.get(id_, ZERO) + outstanding.get(id_, ZERO) for id_ in kept.keys() | outstanding.keys()}
            await self._db.run(holds.give_back, self._holder, both, now=await self._db.now())

    async def _go_on(self) -> None:
        for workload, needs in list(self._short.items()):
            left = await self._db.look(holds.rests, needs, now=await self._db.now())
            if all(left.get(id_, need) >= need for id_, need in needs.items()):
                del self._short[workload]
                self._pace.go_on(workload)
                self._woken()
            else:
                self._pace.rest_workload(workload, self._clock() + RESTS)

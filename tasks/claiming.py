"""Read the waiting work of the real-time lane and claim it, as a drain's state requests."""

import os
import socket
import time
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from lanes.ids import VersionId
from lanes.json_data import weight
from lanes.packing import ClaimedWork
from lanes.realtime import events
from lanes.realtime.calltime import LEASE
from lanes.store import work
from lanes.store.database import Database, Run
from lanes.store.money import budgets
from lanes.store.realtime import circuits, paid_claims
from lanes.store.realtime.paid_claims import PaidClaims
from lanes.store.workload import workloads
from lanes.words import Lane
from tasks.leases import Leases
from tasks.sharing import take_probes


@dataclass
class QueueReader:
    """One look at the queue and its claims, on one connection whose statements are committed one by one."""

    db: Database
    run: Run
    leases: Leases
    claimed: list[ClaimedWork] = field(default_factory=list[ClaimedWork])
    _but: Sequence[VersionId] = ()
    _limited: Set[str] = frozenset()

    async def perform(
        self, effect: events.LookAtQueue | events.TakeProbes | events.ClaimWork
    ) -> list[events.Event]:
        """Perform one step of the look, and return what came of it."""
        match effect:
            case events.LookAtQueue():
                return [await self._look(effect)]
            case events.TakeProbes():
                return await take_probes(self.run, effect, self.run.now)
            case events.ClaimWork():
                return [await self._claim_all(effect)]

    async def _look(self, look: events.LookAtQueue) -> events.Event:
        now, began = self.run.now, time.monotonic()
        needed = await self.run(circuits.needed, look.needed, now=now) if look.needed else None
        if look.passed_over:
            self._but = await self.run(circuits.by_models, look.passed_over)
        seen = await self.run(work.waiting, Lane.REALTIME, since=look.since, but=self._but, now=now)
        self._limited, took_s = seen.limited, time.monotonic() - began
        return events.QueueSeen(seen.versions, seen.since, needed, took_s)

    async def _claim_all(self, wanted: events.ClaimWork) -> events.Event:
        """Claim the probes, then the rest.

        A claim is committed before its versions are read. If that fails, `claimed` holds what must be given back.
        """
        for order in wanted.probes:
            hard = {each.workload for each in await self.run(budgets.limited)}
            await self._claim(order, hard)
            await self._claim_paid(order, hard)
        probes = len(self.claimed)
        await self._claim(wanted.rest, self._limited)
        paid = await self._claim_paid(wanted.rest, self._limited)
        claimed, ids = self.claimed, {each.version_id for each in self.claimed}
        versions = await self.run(workloads.versions, ids) if ids else {}
        most_bytes = work.MOST_BYTES // max(1, len(wanted.rest.most)) // 2
        is_full = sum(weight(each.payload) for each in claimed) >= most_bytes
        return events.WorkClaimed(
            claimed, versions, probes, paid.held_back, paid.stopped, is_full=is_full
        )

    async def _claim(self, order: events.ClaimOrder, limited: Set[str]) -> None:
        """Claim work of workloads without a hard budget."""
        most = {name: number for name, number in order.most.items() if name not in limited}
        if most:
            began, now = time.monotonic(), self.run.now
            claimed = await self.run(work.claim, Lane.REALTIME, most, now=now, **self._how(order))
            self._take(claimed, began)

    async def _claim_paid(self, order: events.ClaimOrder, limited: Set[str]) -> PaidClaims:
        """Claim work of workloads with a hard budget, in a transaction of its own, which reserves its money."""
        most = {name: number for name, number in order.most.items() if name in limited}
        if not most:
            return PaidClaims()
        began = time.monotonic()
        async with self.db.transaction() as run:
            paid = await run(paid_claims.claim, most, now=run.now, **self._how(order))
        self._take(paid.claimed, began)
        return paid

    def _take(self, claimed: Sequence[ClaimedWork], began: float) -> None:
        self.leases.claimed((each.claim for each in claimed), at=began)
        self.claimed += claimed

    def _how(self, order: events.ClaimOrder) -> dict[str, Any]:
        within = work.ClaimBounds(order.since, self._but, order.only)
        worker = f"{socket.gethostname()}:{os.getpid()}"
        return {"worker": worker, "lease": LEASE, "within": within}

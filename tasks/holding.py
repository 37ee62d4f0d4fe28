"""The claims that a drain answers for: taken from the lane, renewed for as long as they are held, given back unasked."""

import os
import socket
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from lanes.claims import Claim, Claimed
from lanes.provider.requests import max_tokens
from lanes.realtime.calltime import lease, longest_call_s
from lanes.realtime.turns import Turns
from lanes.store import work
from lanes.store.database import Database
from lanes.store.signals import RoleLock
from lanes.store.workload import workloads
from lanes.words import Lane
from lanes.workload.version import Version
from tasks.saving import give_back

UNREADABLE_REST = timedelta(minutes=1)


class Holding:
    """What is held on the session of `alive`, by which others see that its holder lives. `claims` by the id of their work."""

    def __init__(self, db: Database, alive: RoleLock, turns: Turns) -> None:
        self._db, self._alive, self._turns = db, alive, turns
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._versions: dict[int, Version] = {}  # that it has met
        self.claims: dict[int, Claim] = {}

    async def claim(self) -> tuple[list[Claimed], datetime]:
        """As much of the most urgent work is ours as there are turns for it; the database's time."""
        async with self._db.transaction() as run:
            now = run.now
            waiting = await run(work.waiting, Lane.REALTIME, now=now)
            await self._learn(each.version_id for each in waiting.values())
            in_force = {name: self._versions.get(each.version_id) for name, each in waiting.items()}
            readable = {name: version for name, version in in_force.items() if version is not None}
            claimed = await run(
                work.claim, Lane.REALTIME, self._turns.wanted(readable, now), worker=self._name,
                session=self._alive.session, lease=self._lease(), now=now,
            )  # fmt: skip
        return claimed, now

    async def take_in(self, claimed: Sequence[Claimed], now: datetime) -> None:
        """What was claimed is held, and waits for its turn. Work of versions that cannot be read rests; the others go on."""
        await self._learn(each.version_id for each in claimed)
        readable = [each for each in claimed if each.version_id in self._versions]
        self.claims |= {each.claim.work_id: each.claim for each in readable}
        self._turns.take_in(readable, self._versions, now)
        if put_aside := [each.claim for each in claimed if each.version_id not in self._versions]:
            await give_back(self._db, put_aside, ready_at=now + UNREADABLE_REST)

    async def renew(self) -> None:
        """What is held is ours for another lease: in a window, in a call, or not saved yet."""
        claims, now = list(self.claims.values()), await self._db.now()
        await self._db.run(work.renew, claims, session=self._alive.session, lease=self._lease(), now=now)

    async def give_back_unasked(self, now: datetime) -> None:
        """What was not asked is ready again, and no longer held."""
        unasked = [each.claim for each in self._turns.give_up()]
        await give_back(self._db, unasked, ready_at=now)
        for claim in unasked:
            self.claims.pop(claim.work_id, None)

    async def _learn(self, ids: Iterable[int]) -> None:
        if unknown := set(ids) - self._versions.keys():
            self._versions |= await self._db.run(workloads.versions, unknown)

    def _lease(self) -> timedelta:
        """Long enough for the longest call of any workload that this drain has met."""
        specs = self._versions.values()
        calls = [longest_call_s(max_tokens(each, each.spec.pack_of(Lane.REALTIME))) for each in specs]
        return lease(max(calls, default=0))

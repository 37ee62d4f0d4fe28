"""The claims that a drain answers for: taken from the lane, renewed for as long as they are held, given back unasked."""

import os
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from lanes.ids import VersionId, WorkId
from lanes.json_data import weight
from lanes.packing import Claim, ClaimedWork
from lanes.realtime.calltime import LEASE
from lanes.realtime.circuit import Circuit
from lanes.realtime.heads import Heads
from lanes.realtime.turns import Turns
from lanes.store import work
from lanes.store.database import Database, Run
from lanes.store.money import budgets
from lanes.store.realtime import circuits, paid_claims
from lanes.store.realtime.circuits import Needed
from lanes.store.realtime.paid_claims import PaidClaims
from lanes.store.workload import workloads
from lanes.words import Lane
from lanes.workload.version import Version
from tasks import saving
from tasks.leases import Leases

UNREADABLE_REST = timedelta(minutes=1)
STOPPED_S = 2.0  # from one look at a budget that is used up to the next: it may be raised, or a new period begin
SEEK_EVERY = timedelta(
    seconds=0.5
)  # how often what would ask the models of open circuits is looked for
GiveBack = Callable[
    [Sequence[ClaimedWork], datetime], None
]  # makes them ready again, from that moment on
Probe = Callable[
    [Run, Mapping[str, Circuit], datetime], Awaitable[None]
]  # takes the probes of these models


@dataclass(frozen=True)
class Taken:
    """What one claim took at `now`, by the database's clock; `versions` are those of it that can be read.

    `all`: nothing that could be claimed was left.
    """

    claimed: Sequence[ClaimedWork]
    versions: Mapping[VersionId, Version]
    now: datetime
    all: bool


class Holding:
    """What a drain holds, for as long as its leases are renewed. `claims` by the id of their work."""

    def __init__(self, db: Database, turns: Turns, probe: Probe) -> None:
        self._db, self._turns, self._probe = db, turns, probe
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._heads = Heads[datetime]()
        self._needed: Sequence[
            Needed
        ] = []  # what would ask the models of open circuits, as it was when that was looked for
        self._sought_at = datetime.min.replace(tzinfo=UTC)
        self._stopped: dict[
            str, float
        ] = {}  # workloads whose budget is used up, until when they are not looked at
        self.claims: dict[WorkId, Claim] = {}
        self.leases = Leases(db, self.claims)

    async def claim(self, give_back: GiveBack) -> Taken:
        """Claim the most urgent work, as much as there are turns for it.

        A claim is committed before its versions are read. If that read fails, `give_back` returns the claimed work: no call was
        made for it, and it need not wait for its lease to expire.
        """
        async with self._db.statements() as run:
            now, began = run.now, time.monotonic()
            look = self._heads.look(began)
            probes = await self._claim_probes(run, now)
            but = await run(circuits.by_models, self._turns.passed_over(now))
            waiting = await run(work.waiting, Lane.REALTIME, since=look.since, but=but, now=now)
            known = time.monotonic()
            wanted = self._turns.wanted(waiting.versions, now)
            free = {name: most for name, most in wanted.items() if name not in waiting.limited}
            claimed = probes + (
                await self._claim(run, free, since=waiting.since, but=but) if free else []
            )
            try:
                paid = await self._claim_paid(
                    wanted, wanted.keys() & waiting.limited, since=waiting.since, but=but
                )
                claimed += paid.claimed
                versions = (
                    await run(workloads.versions, {each.version_id for each in claimed})
                    if claimed
                    else {}
                )
            except BaseException:
                give_back(claimed, now)
                raise
        # In the order of their ranks; what only measures stands behind everything that is still to come.
        behind = [
            each
            for each in claimed[len(probes) :]
            if not each.measures and each.workload not in paid.held_back
        ]
        last = {each.workload: each.rank_at for each in behind}
        if not look.whole:  # what is urgent was found before the head, and leaves it where it is
            last = {
                name: max(rank_at, look.since.get(name, rank_at)) for name, rank_at in last.items()
            }
        self._heads.looked(look, last, took_s=known - began, at=time.monotonic())
        over = not self._needed and not paid.held_back
        return Taken(claimed, versions, now, all=over and _all(claimed, waiting.versions, wanted))

    async def _claim_probes(self, run: Run, now: datetime) -> list[ClaimedWork]:
        """Take the probes that are due, of models for which something waits or is held, and claim what is to be asked.

        Work is judged by its own version: a model may be asked by no version that is in force any more.
        """
        due, open_ = self._turns.due_probes(now), self._turns.open_models(now)
        if not open_:
            self._needed = []
            return []
        if now - self._sought_at >= SEEK_EVERY or not self._needed:
            self._needed, self._sought_at = await run(circuits.needed, open_, now=now), now
        versions = (*(each.version for each in self._needed), *self._turns.held)
        askable = {each.spec.realtime_model for each in versions if self._turns.askable(each, now)}
        await self._probe(
            run, {model: circuit for model, circuit in due.items() if model in askable}, now
        )
        claimed: list[ClaimedWork] = []
        for model in self._turns.probes(now) if self._needed else ():
            first = next(
                (each for each in self._needed if each.version.spec.realtime_model == model), None
            )
            if first is not None and (
                most := self._turns.wanted({first.version.workload: first.version}, now)
            ):
                since, only = {first.version.workload: first.rank_at}, [first.version.id]
                limited = most.keys() & {each.workload for each in await run(budgets.limited)}
                if limited:
                    claimed += (
                        await self._claim_paid(most, limited, since=since, only=only)
                    ).claimed
                else:
                    claimed += await self._claim(run, most, since=since, only=only)
                self._needed = []  # as it was before
        return claimed

    async def _claim(
        self,
        run: Run,
        most: Mapping[str, int],
        *,
        since: Mapping[str, datetime],
        but: Sequence[VersionId] = (),
        only: Sequence[VersionId] = (),
    ) -> list[ClaimedWork]:
        began = time.monotonic()
        claimed = await run(
            work.claim,
            Lane.REALTIME,
            most,
            worker=self._name,
            lease=LEASE,
            since=since,
            but=but,
            only=only,
            now=run.now,
        )
        self.leases.claimed((each.claim for each in claimed), at=began)
        return claimed

    def rest_s(self) -> float:
        """In how many seconds the whole queue is looked through again; 0 when the next claim does."""
        return self._heads.rest_s(time.monotonic())

    async def _claim_paid(
        self,
        wanted: Mapping[str, int],
        limited: Set[str],
        *,
        since: Mapping[str, datetime],
        but: Sequence[VersionId] = (),
        only: Sequence[VersionId] = (),
    ) -> PaidClaims:
        """Claim work of workloads with a hard budget, in a transaction of its own; one that stopped is left for a while."""
        began = time.monotonic()
        stopped = {name for name, again_at in self._stopped.items() if began < again_at}
        if not (most := {name: wanted[name] for name in limited - stopped}):
            return PaidClaims(held_back=limited)
        async with self._db.transaction() as run:
            paid = await run(
                paid_claims.claim,
                most,
                worker=self._name,
                lease=LEASE,
                since=since,
                but=but,
                only=only,
                now=run.now,
            )
        self.leases.claimed((each.claim for each in paid.claimed), at=began)
        kept = {name: at for name, at in self._stopped.items() if name in stopped}
        self._stopped = kept | dict.fromkeys(paid.stopped, time.monotonic() + STOPPED_S)
        return replace(paid, held_back=paid.held_back | (limited & stopped))

    async def take_in(self, taken: Taken) -> None:
        """What was claimed is held, and waits for its turn. Work of versions that cannot be read rests; the others go on."""
        readable = [each for each in taken.claimed if each.version_id in taken.versions]
        self.claims |= {each.claim.work_id: each.claim for each in readable}
        self._turns.take_in(readable, taken.versions, taken.now)
        if unreadable := [
            each.claim for each in taken.claimed if each.version_id not in taken.versions
        ]:
            await saving.give_back(self._db, unreadable, ready_at=taken.now + UNREADABLE_REST)

    async def give_back_unasked(self, now: datetime) -> None:
        """What was not asked is ready again, and no longer held."""
        unasked = [each.claim for each in self._turns.give_up()]
        await saving.give_back(self._db, unasked, ready_at=now)
        for claim in unasked:
            if self.claims.get(claim.work_id) == claim:
                del self.claims[claim.work_id]


def _all(claimed: Sequence[ClaimedWork], waiting: Iterable[str], wanted: Mapping[str, int]) -> bool:
    """Whether each workload that waits had less than it was given room for, in number and in bytes."""
    taken = Counter(each.workload for each in claimed)
    size = sum(weight(each.payload) for each in claimed)
    return (
        all(taken[name] < wanted.get(name, 0) for name in waiting)
        and size < work.MOST_BYTES // max(1, len(wanted)) // 2
    )

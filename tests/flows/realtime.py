"""The real-time lane in one step: what waits is claimed, asked and saved, as a drain does it."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import text

from lanes.money.pack_size import PackSizes
from lanes.packing import ClaimedWork, packs
from lanes.realtime.health import Health
from lanes.realtime.pace import Pace
from lanes.store import work
from lanes.store.money import sharing
from lanes.store.workload import workloads
from lanes.words import Lane, Outcome
from tasks.answer import Answering
from tasks.connections import Connections, HostClock
from tasks.wakes import Wakes


async def claim(at: Connections, *, limit: int = 50) -> list[ClaimedWork]:
    """Claim what may be claimed now, up to `limit` of each version."""
    now = await at.db.now()
    waiting = await at.db.run(work.waiting, Lane.REALTIME, now=now)
    most = dict.fromkeys(waiting.versions, limit)
    return await at.db.run(
        work.claim, Lane.REALTIME, most, worker="w", lease=timedelta(minutes=2), now=now
    )


async def answer(
    at: Connections, pace: Pace | None = None, health: Health | None = None
) -> Counter[Outcome]:
    """What waits is asked once and saved; the attempts that this added, by outcome."""
    before = await outcomes(at)
    await ask(at, await claim(at), pace or Pace(), health or Health())
    return await outcomes(at) - before


async def ask(at: Connections, claimed: Sequence[ClaimedWork], pace: Pace, health: Health) -> None:
    """Ask what was claimed once, all of it at once, and save what comes."""
    versions = await at.db.run(workloads.versions, {each.version_id for each in claimed})
    sizes = PackSizes(await at.db.run(sharing.in_force))
    held = {each.claim.work_id: each.claim for each in claimed}
    clock = HostClock(await at.db.now())
    answering = Answering(at, pace, health, held=held, wakes=Wakes(), clock=clock)
    for version_id, version in versions.items():
        theirs = [each for each in claimed if each.version_id == version_id]
        for pack in packs(theirs, sizes.of(version, Lane.REALTIME), scope=version.spec.pack_scope):
            answering.begin(version, pack, now=await at.db.now())
    await answering.close()
    assert (pace.in_flight, held) == ({}, {})


async def outcomes(at: Connections) -> Counter[Outcome]:
    """Every attempt so far, by outcome."""
    rows = await at.db.run(
        lambda c: c.execute(
            text("select outcome, count(*) from lanes.attempt_log group by 1")
        ).all()
    )
    return Counter({Outcome(outcome): number for outcome, number in rows})

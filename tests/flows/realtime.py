"""One-step helpers for the real-time lane: claim, ask and save waiting work, as a drain does."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import text

from lanes.money.pack_size import PackSizes
from lanes.packing import ClaimedWork, packs
from lanes.realtime.events import AskPack
from lanes.realtime.limiter import Pack
from lanes.realtime.state import DrainState
from lanes.store import work
from lanes.store.money import sharing
from lanes.store.workload import workloads
from lanes.words import Lane, Outcome
from tasks.background import Wakes
from tasks.connections import Connections, HostClock
from tasks.effects import Performer
from tests.conftest import NOON


def a_state(**how: Any) -> DrainState:
    """Return the state of a new drain whose back-offs have their full length."""
    return DrainState(NOON, jitter=lambda: 1.0, **how)


async def claim(at: Connections, *, limit: int = 50) -> list[ClaimedWork]:
    """Claim the work that is ready now, up to `limit` of each version."""
    now = await at.db.now()
    waiting = await at.db.run(work.read_waiting, Lane.REALTIME, now=now)
    most = dict.fromkeys(waiting.versions, limit)
    return await at.db.run(
        work.claim, Lane.REALTIME, most, worker="w", lease=timedelta(minutes=2), now=now
    )


async def answer(at: Connections, state: DrainState | None = None) -> Counter[Outcome]:
    """Claim, ask and save the ready work once; return the attempts that this added, by outcome."""
    before = await outcomes(at)
    await ask(at, await claim(at), state)
    return await outcomes(at) - before


async def ask(
    at: Connections, claimed: Sequence[ClaimedWork], state: DrainState | None = None
) -> None:
    """Ask the claimed work once, all at the same time, and save the results."""
    sizes = PackSizes(await at.db.run(sharing.read_pack_sizes))
    made: list[Pack] = []
    for version in (await versions_of(at, claimed)).values():
        theirs = [each for each in claimed if each.version_id == version.id]
        size, scope = sizes.of(version, Lane.REALTIME), version.spec.pack_scope
        made += [Pack(version, items, NOON) for items in packs(theirs, size, scope=scope)]
    await ask_packs(at, made, state or a_state())


async def versions_of(at: Connections, claimed: Sequence[ClaimedWork]) -> Any:
    """Return the versions of claimed work by id."""
    return await at.db.run(workloads.versions, {each.version_id for each in claimed})


async def begun(at: Connections, made: Sequence[Pack], state: DrainState, **how: Any) -> Performer:
    """Return a performer that has begun to ask these packs, whatever the limiters allow."""
    now = await at.db.now()
    performer = Performer(at, state, HostClock(now), Wakes(), **how)
    begin(performer, made)
    return performer


def begin(performer: Performer, made: Sequence[Pack]) -> None:
    """Begin to ask these packs with the same performer."""
    for pack in made:
        performer.state.claims.update({each.claim.work_id: each.claim for each in pack.items})
        performer.state.scheduler.begin(pack, performer.clock())
        failures = max(each.failures for each in pack.items)
        patience = performer.state.health.patience(pack.model, failures)
        performer.perform([AskPack(pack, patience)])


async def ask_packs(at: Connections, made: Sequence[Pack], state: DrainState, **how: Any) -> None:
    """Ask these packs and save the results; check that no place or claim remains."""
    await (await begun(at, made, state, **how)).close()
    assert (state.places.in_flight, state.claims) == ({}, {})


async def outcomes(at: Connections) -> Counter[Outcome]:
    """Return the number of attempts so far, by outcome."""
    rows = await at.db.run(
        lambda c: c.execute(
            text("select outcome, count(*) from lanes.attempt_log group by 1")
        ).all()
    )
    return Counter({Outcome(outcome): number for outcome, number in rows})

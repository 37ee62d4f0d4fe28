"""The real-time lane's work: a micro-batch is asked concurrently and saved as its answers come in."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from lanes import promises
from lanes.claims import Claimed
from lanes.pace import Pace
from lanes.packing import packs
from lanes.promises import Assessment
from lanes.provider.answering import Answered, answer
from lanes.provider.errors import FREEZES, Action
from lanes.store import incidents, work
from lanes.words import Lane, Outcome
from lanes.workload import Version
from tasks.connections import Connections
from tasks.saving import save


@task(name="answer micro-batch", cache_policy=NO_CACHE, persist_result=False)
async def answer_micro_batch(
    at: Connections, versions: dict[int, Version], claimed: Sequence[Claimed], pace: Pace
) -> Counter[Outcome]:
    """Every claim was answered, failed, or given back; answers are committed as they come in.

    The caller reserved the items' places; each is released when its call ends.
    """
    total: Counter[Outcome] = Counter()
    pending: set[asyncio.Task[tuple[Version, Answered]]] = set()
    for version_id, theirs in _by_version(claimed).items():
        version = versions[version_id]
        for pack in packs(theirs, version.spec.pack_of(Lane.REALTIME)):
            pending.add(asyncio.create_task(_paced(at, version, pack, pace)))
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        total += await _save(at, [each.result() for each in done], pace)
    return total


async def _paced(
    at: Connections, version: Version, pack: Sequence[Claimed], pace: Pace
) -> tuple[Version, Answered]:
    try:
        return version, await answer(at.client, version, pack)
    finally:
        pace.release(len(pack))


async def _save(at: Connections, done: Sequence[tuple[Version, Answered]], pace: Pace) -> Counter[Outcome]:
    now = await at.db.now()
    frozen: dict[str, Assessment] = {}
    for version, each in done:
        if not each.failures:
            pace.succeeded()
        for failure in each.failures:
            if failure.action in FREEZES:
                get_run_logger().error("nothing paid until this is mended: %s", failure)
                if failure.action is Action.UNKNOWN_MODEL:
                    pace.freeze_workload(version.workload, now)
                else:
                    pace.freeze(now)
                frozen[version.workload] = promises.frozen(
                    version.workload, Lane.REALTIME, len(each.given_back), str(failure)
                )
            elif failure.action is Action.SLOW_DOWN:
                pace.slow_down(retry_after_s=failure.retry_after_s, now=now)
    attempts = [attempt for _, each in done for attempt in each.attempts]
    saved = await save(at.db, attempts, now=now)
    async with at.db.transaction() as run:
        for version, each in done:
            await run(work.give_back, each.given_back, ready_at=pace.next_try(version.workload, now))
        for breach in frozen.values():
            await run(incidents.open, breach, now=now)
    return saved.outcomes


def _by_version(claimed: Sequence[Claimed]) -> dict[int, list[Claimed]]:
    grouped: dict[int, list[Claimed]] = {}
    for each in claimed:
        grouped.setdefault(each.version_id, []).append(each)
    return grouped

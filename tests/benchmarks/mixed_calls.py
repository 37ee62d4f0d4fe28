"""Calls of every kind, on both lanes, alone and packed, cached and not: the ledger compared with the bill.

Some answers are cut off, declined, of another shape or with other ids; some arrive after their claim was lost, and their items
are sent again.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import groupby

from sqlalchemy import Connection, text

from lanes.packing import ClaimedWork, packs
from lanes.provider.client import CallResult, answer
from lanes.provider.requests import Writer
from lanes.realtime.limiter import Pack
from lanes.settling import attempts
from lanes.settling.attempts import CallTimes
from lanes.store import work
from lanes.store.doors import items as door
from lanes.store.workload import workloads
from lanes.words import Lane
from lanes.workload.version import Version
from tasks.router import route_received
from tasks.saving import save
from tests.benchmarks.at_its_time import Ground, standing
from tests.benchmarks.bank_messages import Messages
from tests.conftest import NOON
from tests.examples import publish, submission
from tests.flows.realtime import a_state, ask_packs

PACKS = {"alone": 1, "packed": 5}  # workloads, by their packs
EACH = 500  # items of each workload that each lane gets in a turn
LATE = 10  # one real-time pack in ten is answered after its claim was lost
LEASE = timedelta(minutes=2)
SPOILT = {"truncate": 0.04, "refusal": 0.04, "invalid_output": 0.04, "wrong_ids": 0.02}
SPENT = """
select count(*) as calls, sum(cost_usd) as usd, count(*) filter (where lane = 'batch') as batch,
       count(*) filter (where items > 1) as packed, count(*) filter (where cache_read_tokens > 0) as read,
       count(*) filter (where cache_write_tokens > 0) as wrote
  from lanes.spend
"""
OUTCOMES = """
select case when outcome = 'valid' and not shown then 'late' else outcome end as what, count(*) as n
  from lanes.attempt group by 1
"""


@dataclass(frozen=True)
class MixedRun:
    """The number of billed calls, the US dollars by which bill and ledger differ, and the kinds of calls and tries."""

    calls: int
    difference: Decimal
    kinds: Mapping[str, int]


def lead(url: str, messages: Messages, calls: int) -> MixedRun:
    """Make at least `calls` calls in the database at `url`, and check that the ledger contains all billed calls."""
    return asyncio.run(_lead(url, messages, calls))


async def _lead(url: str, messages: Messages, calls: int) -> MixedRun:
    async with standing(url, batch_cache_hits=0.9) as ground:
        for where in ("messages", "batch_request"):
            for kind, rate in SPOILT.items():
                ground.endpoint.fault(where, kind, rate=rate)
        now = await ground.at.db.now()

        def set_up(connection: Connection) -> None:
            for name, pack in PACKS.items():
                publish(
                    connection,
                    name,
                    now=now,
                    **messages.spec,
                    realtime_pack=pack,
                    batch_pack=pack,
                    max_failures=20,
                )

        await ground.at.db.run(set_up)
        sent = 0
        while ground.endpoint.bill()["responses"] < calls:
            await _send(ground, messages, sent)
            sent += EACH
            await _realtime(ground, marked=sent // EACH % 2 == 0)
            await ground.batched()
            ground.time.passes(minutes=10)  # so that work in back-off may be tried again
            print(f"called: {ground.endpoint.bill()['responses']:,} of {calls:,}", flush=True)
        bill = ground.endpoint.bill()
        spent = await ground.at.db.run(lambda c: c.execute(text(SPENT)).one())
        tries = Counter(
            {
                row.what: row.n
                for row in await ground.at.db.run(lambda c: c.execute(text(OUTCOMES)).all())
            }
        )
    assert spent.calls == bill["responses"], (
        f"{spent.calls} of {bill['responses']} calls are in the ledger"
    )
    kinds = {
        "batch": spent.batch,
        "packed": spent.packed,
        "read_a_cache": spent.read,
        "wrote_a_cache": spent.wrote,
    }
    kinds |= {f"tries_{what}": number for what, number in tries.items()}
    return MixedRun(spent.calls, abs(Decimal(bill["usd"]) - spent.usd), kinds)


async def _send(ground: Ground, messages: Messages, first: int) -> None:
    now = await ground.at.db.now()
    sent = [
        submission(f"{first + place} {lane}", workload, payload=payload, lane=lane)
        for workload in PACKS
        for lane in Lane
        for place, payload in enumerate(messages.payloads(EACH, first=first))
    ]

    def admit(connection: Connection) -> None:
        door.admit(connection, sent, door="client", now=now)

    await ground.at.db.run(admit)
    while await route_received(ground.at.db):
        pass


async def _realtime(ground: Ground, *, marked: bool) -> None:
    """Call the provider once for all waiting work; some answers arrive after their claim was lost."""
    claimed = await _claim(ground)
    versions = await ground.at.db.run(workloads.versions, {each.version_id for each in claimed})
    asked: list[tuple[Version, Sequence[ClaimedWork]]] = []
    for version_id, theirs in groupby(
        sorted(claimed, key=lambda each: each.version_id), key=lambda each: each.version_id
    ):
        version = versions[version_id]
        asked += [(version, pack) for pack in packs([*theirs], version.spec.pack_of(Lane.REALTIME))]
    late = [await _asked(ground, version, pack, marked) for version, pack in asked[::LATE]]
    in_time = [each for place, each in enumerate(asked) if place % LATE]
    made = [Pack(version, pack, NOON) for version, pack in in_time]
    await ask_packs(ground.at, made, a_state(), marks=lambda _: marked)
    ground.time.passes(seconds=2 * LEASE.total_seconds())
    now = await ground.at.db.now()
    await save(ground.at.db, await ground.at.db.run(work.list_abandoned, now=now))
    for (version, _), calls in zip(asked[::LATE], late, strict=True):
        for each in calls:
            assert each.response is not None
            times = CallTimes.ended_before(now, age_s=0, seconds=each.seconds)
            await save(
                ground.at.db,
                attempts.build_answered(version, each.pack, each.response, times, ids=each.ids),
            )


async def _claim(ground: Ground) -> list[ClaimedWork]:
    now = await ground.at.db.now()
    waiting = await ground.at.db.run(work.read_waiting, Lane.REALTIME, now=now)
    most = dict.fromkeys(waiting.versions, 2 * EACH)
    return await ground.at.db.run(
        work.claim, Lane.REALTIME, most, worker="bench", lease=LEASE, now=now
    )


async def _asked(
    ground: Ground, version: Version, pack: Sequence[ClaimedWork], marked: bool
) -> list[CallResult]:
    writer = Writer(version, Lane.REALTIME)
    return [each async for each in answer(await ground.at.client(), writer, pack, marked=marked)]

"""Real time takes over what a batch will hardly answer in time, at the latest moment at which it still can."""

from prefect.logging import get_run_logger

from lanes.promises.deadlines import risks
from lanes.routing.load import Load
from lanes.routing.second_look import BOUND_AHEAD, looked_until, rescue, weigh
from lanes.store.database import Database
from lanes.store.promises import at_risk
from lanes.store.routing import rescues, turnarounds
from lanes.store.workload import workloads
from lanes.units import counted


async def rescue_late(db: Database, load: Load) -> int:
    """Due items whose batch is late, and that have to begin now, are real time's; how many. Chunk by chunk: what is taken goes
    on at once. What is at risk has its incident."""
    now = load.at
    async with db.transaction() as run:
        known = await run(workloads.in_force)
        furthest = looked_until(load, known.values(), dict.fromkeys(known, rescues.PASSED_OVER))
        until = looked_until(
            load, known.values(), await run(rescues.numbers, until=furthest, now=now)
        )
        due = await run(rescues.due, until=until, now=now)
        bound = await run(rescues.bound, until=now + BOUND_AHEAD, now=now)
        if not due and not bound:
            await run(at_risk.record, [], now=now)
            return 0
        prospects = await run(turnarounds.prospects, now=now)
    looked = rescue(weigh([*due, *bound], prospects, now=now), load, now=now)
    taken = 0
    for first in range(0, len(looked.taken), rescues.CHUNK):
        async with db.transaction() as run:
            taken += await run(
                rescues.take, looked.taken[first : first + rescues.CHUNK], now=run.now
            )
    await db.run(at_risk.record, risks(looked.at_risk, load), now=now)
    if taken:
        get_run_logger().info(
            "%s rescued: a batch would hardly be back by the time they are due",
            counted(taken, "item"),
        )
    return taken

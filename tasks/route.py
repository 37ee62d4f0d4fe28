"""The router's work: what was received gets its position, its route and its work."""

from lanes.routing import decide
from lanes.store import amendments, items, routes, workloads
from lanes.store.database import Database

MOST = 1000  # items routed in one transaction


async def route_received(db: Database) -> int:
    """A chunk of what was received is routed; the number of items. Another router at work leaves it to that one."""
    now = await db.now()
    async with db.transaction() as run:
        if not await run(routes.may_route):
            return 0
        await run(amendments.apply_waiting, now=now)
        waiting = await run(items.received, MOST)
        if not waiting:
            return 0
        versions, splits = await run(workloads.in_force), await run(workloads.splits)
        decided = [
            (item, version, decide(item.arrived, version, splits, now=now))
            for item in waiting
            for version in [versions[item.arrived.workload]]
        ]
        await run(routes.save, decided, now=now)
    return len(decided)

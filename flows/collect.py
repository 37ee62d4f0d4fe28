"""The return of batches: a standing run that polls and collects them, sweeps, reconsiders routes, and then hands over."""

from prefect import flow
from prefect.logging import get_run_logger

from lanes.standing.roles import Role
from tasks.background import closing
from tasks.collect import Collector
from tasks.connections import connections
from tasks.outgoing import publishing
from tasks.publish import publish_workloads
from tasks.second_look import looking_again
from tasks.standing import Tenure
from tasks.sweep import sweeping, waking
from tasks.webhooks import delivering


@flow(name="collect", flow_run_name="batch collect", persist_result=False)
async def collect() -> int:
    """Collect batches until the next run takes over; return the number of items."""
    async with (
        connections(calls_at_once=False) as at,  # take the vacant role first; the SDK loads later
        Tenure(at.db, Role.COLLECTOR, every_s=at.provider.poll_s) as tenure,
        publishing(at.db) as publisher,
        delivering(at.db),
        waking(at.db, publisher.wake.set),
        sweeping(at) as sweeper,
        closing(Collector(at)) as collector,
        looking_again(at),
    ):
        async for number in tenure.ticks():
            if number == 0:
                await publish_workloads(at.db)
            await collector.tick()
            await sweeper.sweep()
    get_run_logger().info("%d items collected by this run", collector.items)
    return collector.items

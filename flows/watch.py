"""The watch over the promises: a standing run that evaluates them, opens and resolves incidents, and notifies Slack.

It also evaluates the gates of rollouts that wait for a person, because the runs of these rollouts are suspended.
"""

from prefect import flow
from prefect.logging import get_run_logger

from lanes.standing.roles import Role
from tasks.background import closing
from tasks.migrate import guarding
from tasks.outgoing import publishing
from tasks.runs import database
from tasks.standing import Tenure
from tasks.watch import Watcher, pause_s
from tasks.webhooks import delivering


@flow(name="watch", flow_run_name="promise watch", persist_result=False)
async def watch() -> int:
    """Evaluate the promises until the next run takes over, and return the number of incidents opened."""
    async with (
        database() as db,
        Tenure(db, Role.WATCHER, every_s=pause_s()) as tenure,
        publishing(db),
        delivering(db),
        guarding(db),
        closing(Watcher(db)) as watcher,
    ):
        async for _ in tenure.ticks():
            await watcher.tick()
        get_run_logger().info("%d incidents opened by this run", watcher.opened)
        return watcher.opened

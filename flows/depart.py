"""The departure of batches: off-peak by schedule, or at once."""

from prefect import State, flow
from prefect.logging import get_run_logger
from pydantic import Field

from lanes.errors import UnknownWorkload
from lanes.workload.form import Form, offer_published
from tasks.connections import connections
from tasks.departure import check_in, send_waiting
from tasks.publish import publish_workloads
from tasks.reconcile import sole_submitter
from tasks.runs import refuse, stop_signals


class Departure(Form):
    """The batch work to send."""

    workload: str | None = Field(
        default=None, title="Workload", json_schema_extra=offer_published()
    )
    """The published workload whose waiting items are sent. Empty: those of all workloads."""

    @property
    def what(self) -> str:
        """The text in the run's name."""
        return self.workload or "everything"


@flow(name="depart", flow_run_name="depart {departure.what}", persist_result=False)
async def depart(departure: Departure = Departure()) -> int | State[int] | State[str]:  # noqa: B008
    """Send all waiting batch work to the provider and return the number of items.

    A later run retries the items that could not be sent. A run fails, or ends as waiting, only after it has tried everything.
    It ends as refused if the workload has no published version.
    """
    try:
        async with connections() as at:
            await check_in(at, departure.workload)
            async with sole_submitter(at):
                await publish_workloads(at.db)
                with stop_signals() as stop:
                    departed = await send_waiting(at, departure.workload, stop=stop)
    except UnknownWorkload as reason:
        return refuse(reason)
    get_run_logger().info("%d items left", departed.items)
    return departed.ending()

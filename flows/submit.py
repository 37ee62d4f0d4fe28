"""The batch lane's departure: off-peak by schedule, or at once."""

from prefect import State, flow
from prefect.logging import get_run_logger
from pydantic import Field

from lanes.errors import UnknownWorkload
from lanes.workload.form import Form, of_workloads
from tasks.connections import connections
from tasks.departure import depart
from tasks.publish import publish_workloads
from tasks.refusal import refused
from tasks.waiting import sole_submitter


class Departure(Form):
    """What to submit."""

    workload: str | None = Field(
        default=None,
        title="Workload",
        description="A published one whose items leave; without one, everything that waits.",
        json_schema_extra=of_workloads(),
    )

    @property
    def what(self) -> str:
        """What the run's name says."""
        return self.workload or "everything"


@flow(name="submit", flow_run_name="batch submit {departure.what}", persist_result=False)
async def submit(departure: Departure = Departure()) -> int | State[int] | State[str]:  # noqa: B008
    """Everything that waited for the batch lane is with the provider; the number of items.

    What could not leave is tried by a later run; a run fails, or ends as waiting, only after it tried everything. A workload
    that nobody published ends it as refused.
    """
    try:
        async with connections() as at, sole_submitter(at):
            await publish_workloads(at.db)
            departed = await depart(at, departure.workload)
    except UnknownWorkload as reason:
        return refused(reason)
    get_run_logger().info("%d items submitted", departed.items)
    return departed.ending()

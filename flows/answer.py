"""The real-time lane: woken by an event, warm for as long as there is something to answer."""

from uuid import UUID

from prefect import State, flow
from prefect.logging import get_run_logger
from pydantic import Field

from lanes.workload.form import Form
from tasks.connections import connections
from tasks.drain import drain


class Wake(Form):
    """Why this drain runs."""

    standing: bool = Field(
        default=False,
        title="Standing",
        description="Take over from the drain that is kept warm, and stay warm.",
    )
    event_id: UUID | None = Field(
        default=None,
        title="Event",
        description="Id of the event that woke it; empty for a run by hand.",
    )


@flow(name="answer", flow_run_name="realtime drain", persist_result=False)
async def answer(wake: Wake = Wake()) -> int | State[int]:  # noqa: B008
    """Real-time work was claimed and answered until this drain was no longer needed; the number of items.

    A run that the provider answers nothing says so in its state, while it goes on and when it ends.
    """
    async with connections() as at, drain(at, standing=wake.standing) as open_drain:
        while await open_drain.stays():
            await open_drain.claim()
            await open_drain.ask()
            await open_drain.wait()
        get_run_logger().info("%d items answered by this drain", open_drain.answered)
        return open_drain.ending()

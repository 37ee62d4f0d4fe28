"""The real-time lane: an event starts a drain, which stays warm for as long as there is work to answer."""

from uuid import UUID

from prefect import State, flow
from prefect.logging import get_run_logger
from pydantic import Field

from lanes.workload.form import Form
from tasks.connections import connections
from tasks.drain import drain


class Wake(Form):
    """The reason why this drain runs."""

    standing: bool = Field(default=False, title="Standing")
    """Take over from the drain that is kept warm, and stay warm."""
    event_id: UUID | None = Field(default=None, title="Event")
    """Id of the event that started this drain; empty for a manual run."""


@flow(name="answer", flow_run_name="realtime drain", persist_result=False)
async def answer(wake: Wake = Wake()) -> int | State[int]:  # noqa: B008
    """Claim and answer real-time work until this drain is no longer needed; return the number of items.

    While the provider does not answer, the state of the run shows it. If this is still so at the end, its final state shows it.
    """
    async with connections() as at, drain(at, standing=wake.standing) as open_drain:
        while await open_drain.stays():
            await open_drain.turn()
        get_run_logger().info("%d items answered by this drain", open_drain.answered)
        return open_drain.ending()

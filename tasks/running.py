"""Which flow run this process is."""

from uuid import UUID

from prefect.runtime import flow_run


def this_run() -> UUID | None:
    """The flow run that calls, also from what goes on beside it; None outside of one."""
    return UUID(str(flow_run.id)) if flow_run.id else None

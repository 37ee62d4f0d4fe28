"""What became of batches whose create brought no answer: asked now, rather than at the next sweep."""

from prefect import flow
from prefect.logging import get_run_logger

from tasks.connections import connections
from tasks.reconcile import sole_submitter, unconfirmed


@flow(name="reconcile", flow_run_name="batch reconcile", persist_result=False)
async def reconcile() -> list[str]:
    """Ask the provider, and return a sentence for each batch that is still unconfirmed."""
    async with connections() as at, sole_submitter(at):
        left = await unconfirmed(at)
    for sentence in left or ["every batch is confirmed"]:
        get_run_logger().info("%s", sentence)
    return left

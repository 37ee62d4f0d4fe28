"""Compare the bill, and look for batches whose create brought no answer, now instead of at the next sweep."""

from prefect import flow
from prefect.logging import get_run_logger

from tasks.connections import connections
from tasks.reconcile import compare_bill, describe_unconfirmed, sole_submitter


@flow(name="reconcile", flow_run_name="batch reconcile", persist_result=False)
async def reconcile() -> list[str]:
    """Compare the bill and ask about batches; return a sentence for each difference, and each batch that is unconfirmed."""
    async with connections() as at:
        billed = await compare_bill(at)
        async with sole_submitter(at):
            left = await describe_unconfirmed(at)
    for sentence in [*billed, *(left or ["every batch is confirmed"])]:
        get_run_logger().info("%s", sentence)
    return billed + left

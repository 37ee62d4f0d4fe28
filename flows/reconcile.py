"""Reconciliation with the provider: compares the bill, and searches for batches without a create response, on demand."""

from prefect import flow
from prefect.logging import get_run_logger

from tasks.connections import connections
from tasks.reconcile import compare_bill, describe_unconfirmed, sole_submitter


@flow(name="reconcile", flow_run_name="batch reconcile", persist_result=False)
async def reconcile() -> list[str]:
    """Compare the bill and search for lost batches; return a sentence for each difference and each unconfirmed batch."""
    async with connections() as at:
        differences = await compare_bill(at)
        async with sole_submitter(at):
            open_batches = await describe_unconfirmed(at)
    for sentence in [*differences, *(open_batches or ["every batch is confirmed"])]:
        get_run_logger().info("%s", sentence)
    return differences + open_batches

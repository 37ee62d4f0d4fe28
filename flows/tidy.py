"""Housekeeping: rows whose retention has ended are deleted, emptied or archived."""

from prefect import flow
from prefect.logging import get_run_logger
from pydantic import Field

from lanes.workload.form import Form
from tasks.runs import database
from tasks.tidy import archive_out, empty_out, sweep_out


class Retention(Form):
    """The time that rows are kept before they are deleted."""

    refused_days: int = Field(default=90, ge=1, le=3650, title="Refused inputs (days)")
    """Age at which rows of lanes.rejected_log are deleted, 1 to 3650."""
    amendments_days: int = Field(default=90, ge=10, le=3650, title="Amendments (days)")
    """Age at which outcomes of amendments, and amendments whose item never came, are deleted, 10 to 3650. Revisions stay."""
    labels_days: int = Field(default=400, ge=30, le=3650, title="Labels (days)")
    """Age at which labels, the right answers according to a person or a source, are deleted, 30 to 3650."""
    reads_days: int = Field(default=400, ge=30, le=3650, title="Reads (days)")
    """Age at which rows of the consumption ledger are deleted, 30 to 3650. The first read of each answer stays."""
    webhooks_days: int = Field(default=7, ge=1, le=3650, title="Events of webhooks (days)")
    """Age at which events are deleted, 1 to 3650. Webhooks can replay events until then; undelivered events are lost."""


@flow(name="tidy", flow_run_name="tidy", persist_result=False)
async def tidy(retention: Retention = Retention()) -> dict[str, int]:  # noqa: B008
    """Delete rows whose retention has ended, empty and archive old items, and return the number of rows of each kind."""
    async with database() as db:
        deleted = await sweep_out(db, **retention.model_dump())
        emptied = await empty_out(db)
        archived = await archive_out(db)
    counts = ", ".join(f"{number:,} {kind}" for kind, number in deleted.items())
    message = "deleted %s; emptied %s items; archived %s items"
    get_run_logger().info(message, counts, f"{emptied:,}", f"{archived:,}")
    return {**deleted, "emptied items": emptied, "archived items": archived}

"""Housekeeping: what is kept for a while only is deleted or emptied when its time is over."""

from prefect import flow
from prefect.logging import get_run_logger
from pydantic import Field

from lanes.workload.form import Form
from tasks.runs import database
from tasks.tidy import archive_out, empty_out, sweep_out


class Retention(Form):
    """The time that rows are kept before they are deleted."""

    refused_days: int = Field(default=90, ge=1, le=3650, title="Refused inputs (days)")
    """In lanes.rejected_log, 1 to 3650."""
    amendments_days: int = Field(default=90, ge=10, le=3650, title="Amendments (days)")
    """What became of each amendment, and those whose item never came, 10 to 3650. Revisions stay."""
    labels_days: int = Field(default=400, ge=30, le=3650, title="Labels (days)")
    """What is right according to a source, 30 to 3650."""
    reads_days: int = Field(default=400, ge=30, le=3650, title="Reads (days)")
    """Of the consumption ledger, 30 to 3650."""
    webhooks_days: int = Field(default=7, ge=1, le=3650, title="Events of webhooks (days)")
    """For replays, 1 to 3650; what a webhook has not taken by then it does not get."""


@flow(name="tidy", flow_run_name="tidy", persist_result=False)
async def tidy(retention: Retention = Retention()) -> dict[str, int]:  # noqa: B008
    """Delete what has outlived its retention, empty and archive old items, and return the number of rows of each kind."""
    async with database() as db:
        deleted = await sweep_out(db, **retention.model_dump())
        emptied = await empty_out(db)
        archived = await archive_out(db)
    said = ", ".join(f"{number:,} {kind}" for kind, number in deleted.items())
    told = "deleted %s; emptied %s items; archived %s items"
    get_run_logger().info(told, said, f"{emptied:,}", f"{archived:,}")
    return {**deleted, "emptied items": emptied, "archived items": archived}

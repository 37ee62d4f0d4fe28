"""Advice on a whole workload: real-time, batch, hybrid or lambda, from its own ledger."""

from prefect import flow
from prefect.logging import get_run_logger
from pydantic import Field

from lanes.advice.breakeven import Overheads
from lanes.workload.form import Form
from tasks.advise import write_advice
from tasks.database import database


class Question(Form):
    """Which workload, over which period, and what running the batch lane takes."""

    workload: str = Field(min_length=1, title="Workload", description="Name of the workload to advise on.")
    days: int = Field(default=30, ge=1, le=365, title="Days", description="How far to look back, 1 to 365.")
    items_per_month: float | None = Field(
        default=None,
        gt=0,
        le=1e12,
        title="Items a month",
        description="A volume to assume; empty: projected from the period, which must span a day.",
    )
    infra_usd: float = Field(
        default=50, ge=0, le=1e12, title="Infrastructure (USD a month)", description="What the batch lane runs on."
    )
    engineering_hours: float = Field(
        default=4, ge=0, le=1e12, title="Engineering (hours a month)", description="Work to keep the batch lane running."
    )
    hourly_usd: float = Field(default=100, ge=0, le=1e12, title="Hourly rate (USD)", description="What such an hour costs.")
    realtime_infra_usd: float = Field(
        default=20,
        ge=0,
        le=1e12,
        title="Real-time: infrastructure (USD a month)",
        description="What the real-time lane runs on.",
    )
    realtime_engineering_hours: float = Field(
        default=1,
        ge=0,
        le=1e12,
        title="Real-time: engineering (hours a month)",
        description="Work to keep the real-time lane running.",
    )
    correction_usd: float = Field(
        default=1, ge=0, le=1e12, title="Worth of a corrected answer (USD)",
        description="Lambda is recommended where an answer that the authoritative pass corrects costs no more than that.",
    )  # fmt: skip


@flow(name="advise", flow_run_name="advise {question.workload}", persist_result=False)
async def advise(question: Question) -> str:
    """The advice is the newest version of artifact `lanes-advice-<workload>`; its headline."""
    overheads = Overheads(
        question.infra_usd, question.engineering_hours, question.hourly_usd, question.realtime_infra_usd,
        question.realtime_engineering_hours, question.correction_usd,
    )  # fmt: skip
    async with database() as db:
        said = await write_advice(
            db, question.workload, days=question.days, overheads=overheads, items_per_month=question.items_per_month
        )
    get_run_logger().info("%s", said)
    return said

"""Advice on a whole workload: real-time, batch, hybrid or Lambda, based on its own ledger."""

from prefect import State, flow
from prefect.logging import get_run_logger
from pydantic import Field

from lanes.money.overhead import EVERY
from lanes.workload.form import Form, SignedLine, offer_published
from tasks.report import review, write_advice
from tasks.runs import REFUSALS, database, refuse


class AdviceQuestion(Form):
    """The workload, the period and the assumptions of the advice; `set_overhead` sets the monthly cost of each lane."""

    workload: SignedLine = Field(title="Workload", json_schema_extra=offer_published(EVERY))
    """The published workload to advise on. * advises on all workloads and also proposes rollouts; it uses only Days below."""
    days: int = Field(default=30, ge=1, le=365, title="Days")
    """How far to look back, 1 to 365."""
    items_per_month: float | None = Field(default=None, gt=0, le=1e12, title="Items a month")
    """The volume to assume. Empty: projected from the period, which must span a day."""
    correction_usd: float | None = Field(
        default=None,
        ge=0,
        le=1e12,
        title="Worth of a corrected answer (USD)",
        description="What it is worth to correct an answer that is wrong as a whole, 0 to 1,000,000,000,000; of one that "
        "changes in part, as much of it. Lambda is recommended where a correction costs no more. Empty: not stated, so no such "
        "amount is counted, and whether there is a second pass stays as it is.",
    )


@flow(
    name="advise",
    flow_run_name="advise on {question.workload}, {question.days} days",
    persist_result=False,
)
async def advise(question: AdviceQuestion) -> str | State[str]:
    """Write the advice as the newest version of artifact `lanes-advice-<workload>` and return its headline.

    For all workloads (`*`), also propose rollouts to batch for the consumers that certainly read late, in artifact
    `lanes-proposals-<workload>`. An unpublished workload ends the run as refused.
    """
    try:
        async with database() as db:
            if question.workload == EVERY:
                headline = await review(db, days=question.days)
            else:
                headline = await write_advice(
                    db,
                    question.workload,
                    days=question.days,
                    items_per_month=question.items_per_month,
                    correction_usd=question.correction_usd,
                )
    except REFUSALS as reason:
        return refuse(reason)
    get_run_logger().info("%s", headline)
    return headline

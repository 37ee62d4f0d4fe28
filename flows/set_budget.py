"""The form by which a person sets a budget: what a workload, or one consumer of it, may cost in a day or a month."""

from decimal import Decimal
from typing import Literal

from prefect import State, flow
from pydantic import Field

from lanes.money.budget import Period
from lanes.workload.form import Form, of_workloads
from tasks.act import Act, Deed, Money, by_hand
from tasks.signed import Line, SignedLine, Who, Why


class Bounds(Form):
    """What may be spent on what, and on whose word. Both limits take the place of those that the budget of that period has."""

    workload: SignedLine = Field(
        title="Workload", description="One that is published.", json_schema_extra=of_workloads()
    )
    consumer: Line = Field(
        default="",
        title="Consumer",
        description="Whose items it pays; empty is the budget of all of them together.",
    )
    period: Literal["day", "month"] = Field(
        default="day",
        title="Period",
        description="Day or month, from midnight in the time zone on.",
    )
    zone: Line = Field(
        default="",
        title="Time zone",
        description="IANA name, for example Europe/Berlin. Empty: as it is; UTC of a new budget.",
    )
    hard_usd: float | None = Field(
        default=None,
        ge=0,
        le=1e9,
        title="Hard limit",
        description="US dollars, 0 to 1,000,000,000; never exceeded, and 0 pays nothing. Empty: none.",
    )
    soft_usd: float | None = Field(
        default=None,
        ge=0,
        le=1e9,
        title="Soft limit",
        description="US dollars, 0 to 1,000,000,000; from here on what may wait goes to batch. Empty: none.",
    )
    who: Who
    why: Why


@flow(
    name="set_budget",
    flow_run_name="set budget {budget.workload} by {budget.period}",
    persist_result=False,
)
async def set_budget(budget: Bounds) -> str | State[str]:
    """The budget is in force; what is true now. What cannot be done ends the run as refused, with the reason."""
    soft, hard = (
        None if each is None else Decimal(str(each)) for each in (budget.soft_usd, budget.hard_usd)
    )
    return await by_hand(
        Act(
            Deed.SET_BUDGET,
            budget.workload,
            None,
            budget.consumer or None,
            budget.who,
            budget.why,
            money=Money(Period(budget.period), budget.zone, soft, hard),
        )
    )

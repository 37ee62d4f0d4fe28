"""The form by which a person says what keeping a lane takes a month, beside the provider's bill."""

from datetime import date
from decimal import Decimal
from typing import Literal

from prefect import State, flow
from pydantic import Field

from lanes.money.overhead import EVERY, OverheadKind
from lanes.words import Lane
from lanes.workload.form import Form, of_workloads
from tasks.act import Act, Deed, Keeping, by_hand
from tasks.signed import SignedLine, Who, Why


class Upkeep(Form):
    """What which lane takes a month, for what, and on whose word."""

    workload: SignedLine = Field(
        title="Workload",
        description="One that is published; * is every one that has no amount of its own.",
        json_schema_extra=of_workloads(EVERY),
    )
    lane: Literal["realtime", "batch"] = Field(
        title="Lane", description="Which lane it keeps running."
    )
    kind: Literal["infrastructure", "engineering"] = Field(
        title="Kind", description="What it runs on, or the work that keeps it running."
    )
    monthly_usd: float = Field(
        ge=0,
        le=1e9,
        title="A month",
        description="US dollars a month, 0 to 1,000,000,000; 0 is nothing any more.",
    )
    from_date: date | None = Field(
        default=None,
        title="From",
        description="The day from which it is so (UTC), not after today, which it is when left empty.",
    )
    who: Who
    why: Why


@flow(
    name="set_overhead",
    flow_run_name="set overhead {overhead.workload} {overhead.lane} {overhead.kind}",
    persist_result=False,
)
async def set_overhead(overhead: Upkeep) -> str | State[str]:
    """Report, advice and quote count it; what is true now. What cannot be done ends the run as refused, with the reason."""
    usd = Decimal(str(overhead.monthly_usd))
    keeping = Keeping(Lane(overhead.lane), OverheadKind(overhead.kind), usd, overhead.from_date)
    return await by_hand(
        Act(
            Deed.SET_OVERHEAD,
            overhead.workload,
            None,
            None,
            overhead.who,
            overhead.why,
            keeping=keeping,
        )
    )

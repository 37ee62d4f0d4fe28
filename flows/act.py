"""One form for everything that a person does by hand. Splits, budgets, overheads and batches have forms of their own too."""

from datetime import date
from decimal import Decimal
from typing import Literal

from prefect import State, flow
from pydantic import Field

from lanes.money.budget import Period
from lanes.money.overhead import EVERY, OverheadKind
from lanes.words import Lane
from lanes.workload.form import Form, of_workloads
from tasks.act import DECISIONS, Act, Deed, Keeping, Money, by_hand, decided
from tasks.signed import LARGEST, Line, SignedLine, Who, Why


class Action(Form):
    """To which workload, what to do, and on whose word."""

    workload: SignedLine = Field(
        title="Workload",
        description="One that is published. For set_overhead, * is every one that has no amount of its own.",
        json_schema_extra=of_workloads(EVERY),
    )
    deed: Literal[
        "set_split",
        "set_budget",
        "remove_budget",
        "set_overhead",
        "pause",
        "resume",
        "abort_rollout",
        "adopt_batch",
        "resubmit_batch",
        "give_up_batch",
    ] = Field(
        title="Action",
        description="set_split: the share of undecided items to real-time. set_budget: what it may cost in a day or a month; "
        "what waited for money goes on. remove_budget: it has none any more. set_overhead: what keeping a lane takes a month "
        "beside the provider's bill, which report, advice and quote count. pause, resume: whether the workload's items "
        "are served. abort_rollout: ends its open rollout and sets the share before it. adopt_batch: says which batch at "
        "the provider an open one is. resubmit_batch: its items wait for the next batch and may be paid twice. "
        "give_up_batch: its items fail. About a batch, the first run only says what it may cost; see Sure.",
    )
    percent: float | None = Field(
        default=None,
        ge=0,
        le=100,
        title="Percent to real-time",
        description="For set_split: 0 to 100; empty ends the split of a consumer, and the workload's counts for it again.",
    )
    consumer: Line = Field(
        default="",
        title="Consumer",
        description="For set_split: whose items; empty sets the split for everybody else. For "
        "budgets: whose items it pays; empty is the budget of all of them together.",
    )
    period: Literal["day", "month"] = Field(
        default="day",
        title="Period",
        description="For budgets: day or month, from midnight in the time zone on.",
    )
    zone: Line = Field(
        default="",
        title="Time zone",
        description="For set_budget: IANA name, for example Europe/Berlin. Empty: as it is; UTC of a new budget.",
    )
    soft_usd: float | None = Field(
        default=None,
        ge=0,
        le=1e9,
        title="Soft limit",
        description="For set_budget: US dollars, 0 to 1,000,000,000; from here on what may wait goes to batch. Empty: none.",
    )
    hard_usd: float | None = Field(
        default=None,
        ge=0,
        le=1e9,
        title="Hard limit",
        description="For set_budget: US dollars, 0 to 1,000,000,000; never exceeded, and 0 pays nothing. Empty: none.",
    )
    lane: Literal["realtime", "batch"] = Field(
        default="batch", title="Lane", description="For set_overhead: which lane."
    )
    kind: Literal["infrastructure", "engineering"] = Field(
        default="engineering",
        title="Kind",
        description="For set_overhead: what it runs on, or the work that keeps it running.",
    )
    monthly_usd: float | None = Field(
        default=None,
        ge=0,
        le=1e9,
        title="A month",
        description="For set_overhead: US dollars a month, 0 to 1,000,000,000.",
    )
    from_date: date | None = Field(
        default=None,
        title="From",
        description="For set_overhead: the day from which it is so (UTC), not after today, which "
        "it is when left empty.",
    )
    batch: int | None = Field(
        default=None,
        ge=1,
        le=LARGEST,
        title="Batch",
        description="For adopt_batch, resubmit_batch, give_up_batch: its number, from 1.",
    )
    provider_batch: Line = Field(
        default="",
        title="Batch at the provider",
        description="For adopt_batch: its id there, such as msgbatch_01ab.",
    )
    sure: bool = Field(
        default=False,
        title="Sure",
        description="For decisions about a batch: do it. Without, the run says what it may cost.",
    )
    who: Who
    why: Why

    @property
    def what(self) -> str:
        """What the run's name says."""
        deed = Deed(self.deed)
        if deed in DECISIONS:
            return decided(deed, self.batch, self.workload, sure=self.sure)
        share = ""
        if deed is Deed.SET_SPLIT:
            share = " as inherited" if self.percent is None else f" to {self.percent:g} %"
        return f"{deed.replace('_', ' ')} {self.workload}{share}"


@flow(name="act", flow_run_name="{action.what}", persist_result=False)
async def act(action: Action) -> str | State[str]:
    """It is done; what is true now. What cannot be done ends the run as refused, with the reason."""
    soft, hard, monthly = (
        None if each is None else Decimal(str(each))
        for each in (action.soft_usd, action.hard_usd, action.monthly_usd)
    )
    return await by_hand(
        Act(
            Deed(action.deed),
            action.workload,
            action.percent,
            action.consumer or None,
            action.who,
            action.why,
            action.batch,
            action.provider_batch or None,
            action.sure,
            Money(Period(action.period), action.zone, soft, hard),
            Keeping(Lane(action.lane), OverheadKind(action.kind), monthly, action.from_date),
        )
    )

"""The form by which a person sets a split: the share of undecided items that go to real-time."""

from prefect import State, flow
from pydantic import Field

from lanes.workload.form import Form, of_workloads
from tasks.act import Act, Deed, by_hand
from tasks.signed import Line, SignedLine, Who, Why


class Share(Form):
    """Whose undecided items, which share of them, and on whose word."""

    workload: SignedLine = Field(
        title="Workload", description="One that is published.", json_schema_extra=of_workloads()
    )
    percent: float | None = Field(
        default=None,
        ge=0,
        le=100,
        title="Percent to real-time",
        description="0 to 100, of items that neither their sender, their due time, a rule nor their value decides about. The "
        "others go to batch. Leave it empty, with a consumer, to end that consumer's own split: the workload's counts again.",
    )
    consumer: Line = Field(
        default="",
        title="Consumer",
        description="Whose items; empty sets the split for everybody else.",
    )
    who: Who
    why: Why

    @property
    def to(self) -> str:
        """The share, as the run's name says it."""
        return "as inherited" if self.percent is None else f"to {self.percent:g} %"


@flow(name="set_split", flow_run_name="set split {split.workload} {split.to}", persist_result=False)
async def set_split(split: Share) -> str | State[str]:
    """Put the split in force; return what is true now. What cannot be done ends the run as refused, with the reason."""
    return await by_hand(
        Act(
            Deed.SET_SPLIT,
            split.workload,
            split.percent,
            split.consumer or None,
            split.who,
            split.why,
        )
    )

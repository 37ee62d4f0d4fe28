"""The form by which a person decides about a batch that does not come home."""

from typing import Literal

from prefect import State, flow
from pydantic import Field

from lanes.workload.form import Form, of_workloads
from tasks.act import Act, Deed, by_hand, decided
from tasks.signed import LARGEST, Line, SignedLine, Who, Why


class Decision(Form):
    """About which batch, what becomes of it, and on whose word."""

    workload: SignedLine = Field(
        title="Workload",
        description="One that is published, whose batch it is.",
        json_schema_extra=of_workloads(),
    )
    batch: int = Field(
        ge=1,
        le=LARGEST,
        title="Batch",
        description="Its number, from 1; `lanes batches` and lanes.batch_status show it.",
    )
    deed: Literal["adopt_batch", "resubmit_batch", "give_up_batch"] = Field(
        title="Action",
        description="adopt_batch: it is that batch at the provider. resubmit_batch: its items wait for the next batch and may "
        "be paid twice. give_up_batch: its items fail.",
    )
    provider_batch: Line = Field(
        default="",
        title="Batch at the provider",
        description="For adopt_batch: its id there, such as msgbatch_01ab.",
    )
    sure: bool = Field(
        default=False,
        title="Sure",
        description="Do it. Without, the run only says what it may cost.",
    )
    who: Who
    why: Why

    @property
    def what(self) -> str:
        """What the run's name says."""
        return decided(Deed(self.deed), self.batch, self.workload, sure=self.sure)


@flow(name="decide_batch", flow_run_name="{decision.what}", persist_result=False)
async def decide_batch(decision: Decision) -> str | State[str]:
    """It is done, or what it may cost is said; what is true now. What cannot be done ends the run as refused."""
    return await by_hand(
        Act(
            Deed(decision.deed),
            decision.workload,
            None,
            None,
            decision.who,
            decision.why,
            decision.batch,
            decision.provider_batch or None,
            decision.sure,
        )
    )

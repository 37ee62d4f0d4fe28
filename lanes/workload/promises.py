"""What a workload may promise, as its author edits it: limits whose breach opens an incident."""

from pydantic import ConfigDict, Field

from lanes.workload.form import Form


class Promises(Form):
    """What a workload promises its consumers; a breach opens an incident. A limit of 0 is no promise."""

    model_config = ConfigDict(extra="forbid")

    batch_max_minutes: int = Field(
        default=120,
        ge=0,
        title="Batch: longest run (minutes)",
        description="A batch that is still open after this many minutes opens an incident. 0 = no promise.",
    )
    batch_max_failure_percent: float = Field(
        default=5,
        ge=0,
        le=100,
        title="Batch: largest share of failures (%)",
        description="Of the items of one batch: errored, expired, canceled or missing. 0 = no promise.",
    )
    batch_max_invalid_percent: float = Field(
        default=5,
        ge=0,
        le=100,
        title="Batch: largest share of invalid outputs (%)",
        description="Of the answers of one batch: those that break the output schema. 0 = no promise.",
    )
    realtime_p95_s: float = Field(
        default=5,
        ge=0,
        title="Real-time: p95 latency (seconds)",
        description="From received to answered, over the last 15 minutes. 0 = no promise.",
    )
    realtime_max_error_percent: float = Field(
        default=5,
        ge=0,
        le=100,
        title="Real-time: largest share of errors (%)",
        description="Of the attempts of the last 15 minutes. 0 = no promise.",
    )
    deadline_max_missed_percent: float = Field(
        default=5,
        ge=0,
        le=100,
        title="Due times: largest share missed (%)",
        description="Of the items that were due in the last hour, or are overdue: those answered later, or not at all. "
        "0 = no promise.",
    )
